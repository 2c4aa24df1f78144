use std::{net::IpAddr, path::PathBuf};

use super::{ByteSize, Secret, Span, settings};
use crate::client_address::TrustedProxies;

settings! {
    /// Settings of a control plane.
    pub struct ControlPlaneSettings for "omniroute-control-plane" {
        #[doc = "Where files live: the SQLite database, generated secrets."]
        data_dir: PathBuf = "~/.omniroute", ["DATA_DIR"];
        #[doc = "Address on which REST and the dashboard listen. Off loopback, put TLS in front of it."]
        control_plane_host: IpAddr = "127.0.0.1", ["CONTROL_PLANE_HOST"];
        #[doc = "Port of REST and the dashboard."]
        control_plane_port: u16 = "20129", ["CONTROL_PLANE_PORT", "API_PORT", "DASHBOARD_PORT"];
        #[doc = "Address on which proxies connect. Off loopback it needs TLS or `grpc_allow_plaintext`."]
        grpc_host: IpAddr = "127.0.0.1", ["GRPC_HOST"];
        #[doc = "Port on which proxies connect (gRPC)."]
        grpc_port: u16 = "20130", ["GRPC_PORT"];
        #[doc = "Certificate chain (PEM) of the gRPC port; with `grpc_tls_key` turns TLS on."]
        grpc_tls_cert: PathBuf = "", ["GRPC_TLS_CERT"];
        #[doc = "Private key (PEM) of `grpc_tls_cert`."]
        grpc_tls_key: PathBuf = "", ["GRPC_TLS_KEY"];
        #[doc = "CA certificates (PEM) that sign proxies' certificates; set, it makes mutual TLS the way in."]
        grpc_tls_client_ca: PathBuf = "", ["GRPC_TLS_CLIENT_CA"];
        #[doc = "Allow gRPC without TLS on an address that is not loopback. Provider secrets then cross the network in the clear."]
        grpc_allow_plaintext: bool = "false", ["GRPC_ALLOW_PLAINTEXT"];
        #[doc = "Secret that a proxy must prove to join; required unless mutual TLS is configured."]
        join_token: Secret = "", ["OMNIROUTE_JOIN_TOKEN"];
        #[doc = "`postgres://…` or `sqlite://path`; empty means `storage.sqlite` in `data_dir`."]
        database_url: Secret = "", ["DATABASE_URL"];
        #[doc = "Connections to the database at most."]
        database_connections: u32 = "10", ["DATABASE_CONNECTIONS"];
        #[doc = "Redis shared by the fleet, `redis://` or `rediss://`; empty means in-process state, right for a single proxy."]
        redis_url: Secret = "", ["REDIS_URL"];
        #[doc = "Master keys for secrets at rest, comma-separated: the first seals, all open. Losing them loses every stored provider secret."]
        storage_encryption_key: Secret = "", ["STORAGE_ENCRYPTION_KEY"];
        #[doc = "Signs the session cookie."]
        jwt_secret: Secret = "", ["JWT_SECRET"];
        #[doc = "Pepper of the API-key hash. Changing it invalidates every API key."]
        api_key_secret: Secret = "", ["API_KEY_SECRET"];
        #[doc = "Admin password at the first start, taken as given; later changes happen through REST."]
        initial_password: Secret = "", ["INITIAL_PASSWORD"];
        #[doc = "How long a login lasts."]
        session_ttl: Span = "7d", ["SESSION_TTL"];
        #[doc = "Mark the session cookie `Secure` (set it when TLS ends in front of the control plane)."]
        cookie_secure: bool = "false", ["AUTH_COOKIE_SECURE"];
        #[doc = "Failed logins from one address before it has to wait."]
        login_attempts: u32 = "5", ["LOGIN_ATTEMPTS"];
        #[doc = "How long it then waits, and the window in which failures count."]
        login_window: Span = "15m", ["LOGIN_WINDOW"];
        #[doc = "Allow provider URLs on loopback and private networks. Link-local addresses stay closed."]
        allow_private_upstreams: bool = "false", ["ALLOW_PRIVATE_UPSTREAMS"];
        #[doc = "CA certificates (PEM) that are trusted towards providers, beside the public ones; for servers of one's own."]
        upstream_tls_ca: PathBuf = "", ["UPSTREAM_TLS_CA"];
        #[doc = "Let tests and lists of models of connections use this machine's own identity in AWS, Azure or Google Cloud, as the proxies' setting of this name lets requests."]
        ambient_credentials: bool = "false", ["AMBIENT_CREDENTIALS"];
        #[doc = "Largest body that REST accepts."]
        rest_max_body: ByteSize = "10MiB", ["REST_MAX_BODY"];
        #[doc = "Days of configuration history kept for deltas, audit and roll back."]
        config_log_days: u32 = "30", ["CONFIG_LOG_DAYS"];
        #[doc = "Days that single usage events are kept; hourly sums stay."]
        usage_retention_days: u32 = "90", ["USAGE_RETENTION_DAYS"];
        #[doc = "Origins (comma-separated) that may call REST from a browser, besides its own."]
        cors_origins: String = "", ["CORS_ORIGINS", "CORS_ORIGIN"];
        #[doc = "Addresses or ranges (comma-separated) of load balancers and reverse proxies whose `Forwarded` and `X-Forwarded-For` are believed. Empty means nobody but this machine."]
        trusted_proxies: TrustedProxies = "", ["TRUSTED_PROXIES"];
        #[doc = "Connections from `trusted_proxies` begin with a header of the PROXY protocol (version 1 or 2), which names the client; those that do not are closed."]
        proxy_protocol: bool = "false", ["PROXY_PROTOCOL"];
        #[doc = "How long `/readyz` says 503 after SIGTERM while calls are still answered, so that load balancers turn away first; empty means `5s`, and `0s` on loopback."]
        lame_duck: Option<Span> = "", ["LAME_DUCK"];
        #[doc = "How long running calls may take to finish after SIGTERM."]
        control_plane_drain: Span = "10s", ["CONTROL_PLANE_DRAIN"];
        #[doc = "Log filter: a level, or directives such as `info,omniroute=debug`."]
        log_level: String = "info", ["LOG_LEVEL", "RUST_LOG"];
        #[doc = "`text` or `json`."]
        log_format: String = "text", ["LOG_FORMAT"];
        #[doc = "OTLP/gRPC endpoint for traces; empty means none are sent."]
        otlp_endpoint: String = "", ["OTEL_EXPORTER_OTLP_ENDPOINT"];
        #[doc = "Share of requests that are traced, 0 to 1."]
        trace_sample_ratio: f64 = "0.1", ["OTEL_TRACES_SAMPLER_ARG"];
    }
}
