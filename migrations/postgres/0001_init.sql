-- The clock of the configuration. Every writing transaction increments `n` first: the row's lock makes the order of
-- commits the order of revisions. `log_floor` is the last revision that config_log no longer holds.
CREATE TABLE config_revision (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    n BIGINT NOT NULL,
    log_floor BIGINT NOT NULL
);
INSERT INTO config_revision (id, n, log_floor) VALUES (1, 0, 0);

-- What changed, in which revision, by whom. `before` and `after` are sealed.
CREATE TABLE config_log (
    revision BIGINT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    op TEXT NOT NULL,
    -- Revision of the version that this change replaced; with it the digests follow the log alone.
    prev_revision BIGINT,
    actor TEXT NOT NULL,
    address TEXT,
    request_id TEXT,
    at BIGINT NOT NULL,
    before BYTEA,
    after BYTEA,
    PRIMARY KEY (revision, kind, id)
);
CREATE INDEX config_log_by_resource ON config_log (kind, id, revision);
CREATE INDEX config_log_by_time ON config_log (at);

-- A known text, sealed: tells at start whether the master keys are the right ones.
CREATE TABLE master_key_check (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    sealed BYTEA NOT NULL
);

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL UNIQUE,
    api_type TEXT,
    base_url TEXT NOT NULL,
    chat_path TEXT,
    models_path TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX nodes_by_revision ON nodes (revision);

-- `secret`, `headers` and `provider_data` are sealed.
CREATE TABLE connections (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    auth_type TEXT NOT NULL,
    priority BIGINT NOT NULL,
    is_active BIGINT NOT NULL,
    secret BYTEA,
    base_url TEXT,
    headers BYTEA,
    provider_data BYTEA,
    extras TEXT NOT NULL,
    connect_ms BIGINT NOT NULL,
    first_byte_ms BIGINT NOT NULL,
    idle_ms BIGINT NOT NULL,
    total_ms BIGINT NOT NULL,
    max_concurrent BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX connections_by_provider ON connections (provider, priority, id);
CREATE INDEX connections_by_revision ON connections (revision);

-- The last test of a connection: state, not configuration.
CREATE TABLE connection_tests (
    connection_id TEXT PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    tested_at BIGINT,
    latency_ms BIGINT,
    error TEXT,
    error_code TEXT
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    masked TEXT NOT NULL,
    prefix TEXT NOT NULL,
    is_active BIGINT NOT NULL,
    no_log BIGINT NOT NULL,
    allowed_models TEXT NOT NULL,
    allowed_connections TEXT NOT NULL,
    scopes TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    max_body_bytes BIGINT,
    extras TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX api_keys_by_age ON api_keys (created_at, id);
CREATE INDEX api_keys_by_revision ON api_keys (revision);

-- Written by the ledger, so that use of a key is no edit of it.
CREATE TABLE api_key_use (
    api_key_id TEXT PRIMARY KEY,
    last_used_at BIGINT NOT NULL
);

CREATE TABLE models (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    name TEXT,
    kind TEXT NOT NULL,
    context_window BIGINT,
    max_output_tokens BIGINT,
    source TEXT NOT NULL,
    created BIGINT NOT NULL,
    extras TEXT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (provider, model)
);
CREATE INDEX models_by_revision ON models (revision);

-- One row. `process` is a fingerprint of the settings that come from the process (pepper, address policy): when they
-- change, the published settings have changed too and need a revision of their own.
CREATE TABLE settings (
    id TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    process BYTEA NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE admin (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    password_hash TEXT NOT NULL,
    session_epoch BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    address TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Micro-dollars per million tokens.
CREATE TABLE prices (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    source TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cache_read BIGINT,
    cache_write_5m BIGINT,
    cache_write_1h BIGINT,
    reasoning BIGINT,
    audio_in BIGINT,
    audio_out BIGINT,
    revision BIGINT NOT NULL,
    PRIMARY KEY (provider, model, source, valid_from)
);
CREATE INDEX prices_by_revision ON prices (revision);

-- Which version of the facts that come with the program is in the database.
CREATE TABLE seeds (
    name TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    fence BIGINT NOT NULL
);

CREATE TABLE proxies (
    id TEXT PRIMARY KEY,
    boot_id TEXT NOT NULL,
    version TEXT NOT NULL,
    protocol BIGINT NOT NULL,
    address TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    stale BIGINT NOT NULL,
    draining BIGINT NOT NULL,
    requests_in_flight BIGINT NOT NULL,
    streams_in_flight BIGINT NOT NULL,
    requests_total BIGINT NOT NULL,
    memory_rss_bytes BIGINT NOT NULL,
    journal_pending BIGINT NOT NULL,
    journal_lost BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    last_error_at BIGINT NOT NULL,
    cooling TEXT NOT NULL
);

-- What a proxy could not take of the configuration: written from the other stream than the row above.
CREATE TABLE proxy_rejections (
    proxy_id TEXT PRIMARY KEY,
    rejections TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- Orders for proxies that are attached to another replica.
CREATE TABLE proxy_commands (
    id TEXT PRIMARY KEY,
    proxy_id TEXT NOT NULL,
    command TEXT NOT NULL,
    deadline_ms BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX proxy_commands_by_proxy ON proxy_commands (proxy_id, created_at);

-- The ledger: one row per request that reached an upstream, partitioned by day (days since 1970-01-01 UTC, out of the
-- id). Partitions are made ahead and on demand; dropping one is how retention forgets a day.
CREATE TABLE usage_events (
    day BIGINT NOT NULL,
    id BYTEA NOT NULL,
    at BIGINT NOT NULL,
    proxy_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    api_key_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    model TEXT NOT NULL,
    operation TEXT NOT NULL,
    stream BIGINT NOT NULL,
    outcome BIGINT NOT NULL,
    status BIGINT NOT NULL,
    error_code TEXT NOT NULL,
    -- Tokens; NULL means unknown.
    input BIGINT,
    cache_read BIGINT,
    cache_write_5m BIGINT,
    cache_write_1h BIGINT,
    output BIGINT,
    reasoning BIGINT,
    audio_in BIGINT,
    audio_out BIGINT,
    estimated BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    first_byte_us BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    finish_reason TEXT NOT NULL,
    -- Micro-dollars; NULL when no price was known.
    price_revision BIGINT,
    cost BIGINT,
    cost_input BIGINT,
    cost_cache BIGINT,
    cost_output BIGINT,
    PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
CREATE INDEX usage_events_by_time ON usage_events (at, id);
CREATE INDEX usage_events_by_key ON usage_events (api_key_id, at);
CREATE INDEX usage_events_by_connection ON usage_events (connection_id, at);
CREATE INDEX usage_events_by_request ON usage_events (request_id);

-- Sums per hour (start of the hour), kept for ever. Updated only from events that were really inserted.
CREATE TABLE usage_hourly (
    hour BIGINT NOT NULL,
    api_key_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    outcome BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    input BIGINT NOT NULL,
    cache_read BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    audio_in BIGINT NOT NULL,
    audio_out BIGINT NOT NULL,
    cost BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (hour, api_key_id, provider, model, connection_id, outcome)
);
CREATE INDEX usage_hourly_by_connection ON usage_hourly (connection_id, hour);
