-- What proxies obey and what comes from the environment of a control plane (pepper, address policy), sealed: set by the first
-- process that starts, published by all. NULL until a process of this version has started.
ALTER TABLE settings ADD COLUMN fleet BLOB;

-- The control planes that run, and how each is set up. `state` is JSON and holds no secret.
CREATE TABLE control_planes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    state TEXT NOT NULL
);

-- The proxy's clock was wrong: `at` is when the event arrived.
ALTER TABLE usage_events ADD COLUMN redated BIGINT NOT NULL DEFAULT 0;

-- Grows with every version of the facts, so that an older program does not put its own in place of newer ones.
ALTER TABLE seeds ADD COLUMN edition BIGINT NOT NULL DEFAULT 0;
