use std::{net::IpAddr, path::PathBuf};

use super::{ByteSize, Secret, Span, Threads, settings};
use crate::client_address::TrustedProxies;

settings! {
    /// Settings of a proxy.
    pub struct DataPlaneSettings for "omniroute-data-plane" {
        #[doc = "Where files live: the proxy's identity, its copy of the snapshot, the usage journal."]
        data_dir: PathBuf = "~/.omniroute", ["DATA_DIR"];
        #[doc = "Address on which clients connect."]
        host: IpAddr = "127.0.0.1", ["HOST"];
        #[doc = "Port on which clients connect."]
        port: u16 = "20128", ["PORT"];
        #[doc = "Name of this proxy in the fleet; empty means one that is generated and kept in `data_dir`."]
        proxy_id: String = "", ["OMNIROUTE_PROXY_ID"];
        #[doc = "Control plane's gRPC address, `http://` or `https://`."]
        control_plane_url: String = "http://127.0.0.1:20130", ["CONTROL_PLANE_URL"];
        #[doc = "Control plane's REST address, to which `/api`, `/dashboard`, `/a2a` and the agent card are forwarded; empty turns forwarding off."]
        forward_url: String = "", ["CONTROL_PLANE_FORWARD_URL"];
        #[doc = "Secret that proves to the control plane that this proxy belongs to the fleet; also encrypts the snapshot on disk."]
        join_token: Secret = "", ["OMNIROUTE_JOIN_TOKEN"];
        #[doc = "CA certificates (PEM) that sign the control plane's certificate; empty means the public ones."]
        grpc_tls_ca: PathBuf = "", ["GRPC_TLS_CA"];
        #[doc = "This proxy's certificate (PEM) for mutual TLS."]
        grpc_tls_cert: PathBuf = "", ["GRPC_TLS_CERT"];
        #[doc = "Private key (PEM) of `grpc_tls_cert`."]
        grpc_tls_key: PathBuf = "", ["GRPC_TLS_KEY"];
        #[doc = "Allow a control plane without TLS on an address that is not loopback."]
        grpc_allow_plaintext: bool = "false", ["GRPC_ALLOW_PLAINTEXT"];
        #[doc = "Redis shared by the fleet, `redis://` or `rediss://`; empty means in-process state, right for a single proxy."]
        redis_url: Secret = "", ["REDIS_URL"];
        #[doc = "Refuse /v1 calls without an API key. `false` only counts while the proxy listens on loopback."]
        require_api_key: bool = "true", ["REQUIRE_API_KEY"];
        #[doc = "Oldest snapshot copy on disk that a proxy starts from when the control plane is away."]
        snapshot_max_age: Span = "7d", ["SNAPSHOT_MAX_AGE"];
        #[doc = "Directory of the usage journal; empty means `journal` in `data_dir`."]
        journal_dir: PathBuf = "", ["JOURNAL_DIR"];
        #[doc = "Largest size of the usage journal. When it is full, new events are counted as lost; requests go on."]
        journal_max: ByteSize = "1GiB", ["JOURNAL_MAX"];
        #[doc = "Size at which a journal segment is closed and a new one begun."]
        journal_segment: ByteSize = "16MiB", ["JOURNAL_SEGMENT"];
        #[doc = "Also survive a power cut: fsync after each group of writes. Slower."]
        journal_fsync: bool = "false", ["JOURNAL_FSYNC"];
        #[doc = "CA certificates (PEM) that are trusted towards providers and media hosts, beside the public ones; for servers of one's own."]
        upstream_tls_ca: PathBuf = "", ["UPSTREAM_TLS_CA"];
        #[doc = "Let connections use this machine's own identity in AWS, Azure or Google Cloud: environment, credential files, web identity, metadata service. Whoever may edit connections then acts as this machine, at its cloud's model hosts."]
        ambient_credentials: bool = "false", ["AMBIENT_CREDENTIALS"];
        #[doc = "Let URLs in clients' requests lead to loopback and private networks, over http too, where the proxy fetches media for a provider that takes no URLs. Whoever has an API key can then read what this proxy reaches there. Link-local addresses stay closed."]
        allow_private_media_urls: bool = "false", ["ALLOW_PRIVATE_MEDIA_URLS"];
        #[doc = "Time to connect to a provider, TLS included."]
        connect_timeout: Span = "5s", ["UPSTREAM_CONNECT_TIMEOUT"];
        #[doc = "Time until a provider's first byte, since it has all of the request."]
        first_byte_timeout: Span = "120s", ["UPSTREAM_FIRST_BYTE_TIMEOUT"];
        #[doc = "Time until a provider's first byte where the model thinks, told by its name or by the request."]
        thinking_first_byte_timeout: Span = "600s", ["UPSTREAM_THINKING_FIRST_BYTE_TIMEOUT"];
        #[doc = "Time until the first byte where pictures are made; the longer of this one and what a connection has otherwise."]
        image_first_byte_timeout: Span = "10m", ["UPSTREAM_IMAGE_FIRST_BYTE_TIMEOUT"];
        #[doc = "Longest silence within a provider's answer."]
        idle_timeout: Span = "300s", ["UPSTREAM_IDLE_TIMEOUT"];
        #[doc = "Longest whole request."]
        total_timeout: Span = "1h", ["REQUEST_TIMEOUT"];
        #[doc = "Silence on a stream after which the client gets a comment or a ping where its format has one, so that nothing between closes it."]
        keepalive_interval: Span = "15s", ["STREAM_KEEPALIVE_INTERVAL"];
        #[doc = "How long the client of a stream waits for the provider's first frame until it gets a status and, every `keepalive_interval`, a comment or a ping where its format has one. An error then comes as an event. 0s turns that off."]
        first_sign: Span = "30s", ["STREAM_FIRST_SIGN"];
        #[doc = "Longest silence while a client sends its head or body."]
        client_timeout: Span = "30s", ["CLIENT_TIMEOUT"];
        #[doc = "Bodies held in memory at once, all requests together, of which one API key may take half; beyond it requests wait shortly, then get 503."]
        body_memory: ByteSize = "512MiB", ["BODY_MEMORY"];
        #[doc = "How long answers of `/v1/responses` are kept, to go on from and to fetch. Without Redis they do not outlive the process."]
        stored_response_ttl: Span = "30d", ["STORED_RESPONSE_TTL"];
        #[doc = "Largest answer, with its input, that is kept; a larger one cannot be gone on from."]
        stored_response_max: ByteSize = "8MiB", ["STORED_RESPONSE_MAX"];
        #[doc = "Stored answers of one API key; beyond it the oldest make room."]
        stored_responses_per_key: ByteSize = "256MiB", ["STORED_RESPONSES_PER_KEY"];
        #[doc = "Memory for stored answers, all API keys together; beyond it the oldest make room."]
        stored_responses_memory: ByteSize = "128MiB", ["STORED_RESPONSES_MEMORY"];
        #[doc = "How long signatures of thoughts and tool calls, and thoughts that their model wants back, are kept for clients that do not send them."]
        signature_ttl: Span = "24h", ["SIGNATURE_TTL"];
        #[doc = "Memory for kept signatures; one API key may take half of it."]
        signature_memory: ByteSize = "32MiB", ["SIGNATURE_MEMORY"];
        #[doc = "How long after an answer a request with the same `Idempotency-Key` or `X-Request-Id` gets it again; 0s turns that off."]
        idempotency_window: Span = "5s", ["IDEMPOTENCY_WINDOW"];
        #[doc = "Largest answer that is given twice; a duplicate of a larger one runs on its own."]
        idempotency_answer_max: ByteSize = "1MiB", ["IDEMPOTENCY_ANSWER_MAX"];
        #[doc = "Memory for answers that may be given twice; one API key may take half of it."]
        idempotency_memory: ByteSize = "64MiB", ["IDEMPOTENCY_MEMORY"];
        #[doc = "Client connections at once."]
        max_connections: u32 = "10000", ["MAX_CONNECTIONS"];
        #[doc = "Addresses or ranges (comma-separated) of load balancers and reverse proxies whose `Forwarded` and `X-Forwarded-For` are believed. Empty means nobody but this machine."]
        trusted_proxies: TrustedProxies = "", ["TRUSTED_PROXIES"];
        #[doc = "Connections from `trusted_proxies` begin with a header of the PROXY protocol (version 1 or 2), which names the client; those that do not are closed."]
        proxy_protocol: bool = "false", ["PROXY_PROTOCOL"];
        #[doc = "Idle HTTP/1 connections kept open per provider host."]
        upstream_idle_connections: u32 = "256", ["UPSTREAM_IDLE_CONNECTIONS"];
        #[doc = "How long `/readyz` says 503 after SIGTERM while requests are still served, so that load balancers turn away first; empty means `5s`, and `0s` on loopback."]
        lame_duck: Option<Span> = "", ["LAME_DUCK"];
        #[doc = "How long streams may go on after that before they are cut."]
        drain_deadline: Span = "10m", ["DRAIN_DEADLINE"];
        #[doc = "Threads that serve requests, 1024 at most; 0 means one per core."]
        worker_threads: Threads = "0", ["WORKER_THREADS"];
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
