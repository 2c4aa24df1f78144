-- What of a price has no column of its own, as JSON: further classes, long prompts, batch and other services.
ALTER TABLE prices ADD COLUMN terms TEXT;

-- The service for which the provider charged, in its own word; empty for the usual one.
ALTER TABLE usage_events ADD COLUMN service_tier TEXT NOT NULL DEFAULT '';

-- A hidden model is not listed; who names it with its provider gets it all the same.
ALTER TABLE models ADD COLUMN hidden BIGINT NOT NULL DEFAULT 0;

-- Other names for models.
CREATE TABLE model_aliases (
    alias TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX model_aliases_by_revision ON model_aliases (revision);
