-- Whether the control planes renew the connection's secret by themselves: then a proxy may ask for a new one.
ALTER TABLE connections ADD COLUMN refreshes BIGINT NOT NULL DEFAULT 0;

-- What goes with the access token of a connection that was signed in; the token itself is `connections.secret`. Both change
-- in one transaction. `generation` grows with every new token: who has read an older one replaces nothing.
CREATE TABLE oauth_tokens (
    id TEXT PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    -- Scheme, host and port of the token endpoint that the tokens are from; they are sent to no other.
    origin TEXT NOT NULL,
    refresh_token BYTEA,
    scope TEXT NOT NULL,
    generation BIGINT NOT NULL,
    -- 'active', or 'expired': only signing in helps.
    state TEXT NOT NULL,
    expires_at BIGINT,
    -- When something is to be done about it; NULL means never.
    due_at BIGINT,
    refreshed_at BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX oauth_tokens_by_due ON oauth_tokens (due_at);

-- Sign-ins under way. `id` is a hash of what the caller holds: a state, or the handle of a device code.
CREATE TABLE oauth_flows (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- The connection that is to be renewed; NULL means a new one.
    connection_id TEXT,
    name TEXT,
    redirect_uri TEXT NOT NULL,
    nonce TEXT NOT NULL,
    -- What proves that it is ours: PKCE's verifier.
    verifier BYTEA,
    -- The provider's device code, or the authorization code that came back.
    code BYTEA,
    error TEXT,
    error_description TEXT,
    interval_ms BIGINT NOT NULL,
    next_poll_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX oauth_flows_by_expiry ON oauth_flows (expires_at);

-- The operator's registrations at providers.
CREATE TABLE oauth_clients (
    id TEXT PRIMARY KEY,
    -- 'settings', or 'environment': a copy of what a process was started with.
    source TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_secret BYTEA,
    options TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
