-- Servers through which connections to providers are opened. `username` and `password` are sealed.
CREATE TABLE outbound_proxies (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    host TEXT NOT NULL,
    port BIGINT NOT NULL,
    username BLOB,
    password BLOB,
    region TEXT,
    notes TEXT,
    status TEXT NOT NULL,
    source TEXT NOT NULL,
    family TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX outbound_proxies_by_age ON outbound_proxies (updated_at, id);
CREATE INDEX outbound_proxies_by_revision ON outbound_proxies (revision);

-- What goes through which of them. The id is made of scope and scope_id, so that each has one; scope_id is empty for the one
-- of all.
CREATE TABLE proxy_assignments (
    id TEXT PRIMARY KEY,
    proxy_id TEXT NOT NULL REFERENCES outbound_proxies (id),
    scope TEXT NOT NULL,
    scope_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    UNIQUE (scope, scope_id)
);
CREATE INDEX proxy_assignments_by_proxy ON proxy_assignments (proxy_id);
CREATE INDEX proxy_assignments_by_revision ON proxy_assignments (revision);

-- What went through each, in slots of ten minutes (their beginning, Unix milliseconds): state, not configuration.
CREATE TABLE outbound_proxy_health (
    proxy_id TEXT NOT NULL REFERENCES outbound_proxies (id) ON DELETE CASCADE,
    slot BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    timed_out BIGINT NOT NULL,
    tests BIGINT NOT NULL,
    tests_passed BIGINT NOT NULL,
    opened BIGINT NOT NULL,
    opening_us BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (proxy_id, slot)
);
CREATE INDEX outbound_proxy_health_by_slot ON outbound_proxy_health (slot);

-- What a process of the fleet last said of each, counted since its start: what it says next is added by the difference.
CREATE TABLE outbound_proxy_reports (
    boot_id TEXT NOT NULL,
    proxy_id TEXT NOT NULL REFERENCES outbound_proxies (id) ON DELETE CASCADE,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    timed_out BIGINT NOT NULL,
    opened BIGINT NOT NULL,
    opening_us BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (boot_id, proxy_id)
);
CREATE INDEX outbound_proxy_reports_by_age ON outbound_proxy_reports (seen_at);
