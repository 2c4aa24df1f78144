//! What health looks like in REST.

use std::collections::BTreeMap;

use omniroute_coordination::Backend;
use omniroute_core::{VERSION, time::UnixMillis};
use serde::Serialize;
use utoipa::ToSchema;

use super::rules::{CustomProviderHealth, Health, Known, ProviderReport, ProxyHealth};
use crate::store::{ControlPlaneRow, Engine, records::RejectionRow};

/// How the gateway is. Callers who are not signed in see the first four fields only.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(in super::super) struct HealthView {
    /// `healthy`, `degraded` (somebody should look) or `unhealthy` (the database is away or cannot be written).
    status: &'static str,
    timestamp: String,
    version: &'static str,
    setup_complete: bool,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(in super::super) struct Details {
    system: System,
    /// Seconds.
    uptime: f64,
    memory_usage: Memory,
    /// Newest revision of the configuration; null while the database is away.
    revision: Option<u64>,
    database: Database,
    coordination: Coordination,
    /// Usage events on their way, over all proxies.
    journal: Journal,
    proxies: Vec<Proxy>,
    /// The control planes that run, or did within the last hour.
    control_planes: Vec<ControlPlane>,
    provider_summary: Summary,
    /// Connections that are switched on.
    active_connections: usize,
    /// Nodes, and what the last test of their connections said.
    local_providers: BTreeMap<String, LocalProvider>,
    /// Connections that some proxy leaves alone at the moment.
    lockouts: Vec<Lockout>,
    cryptography: Cryptography,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
struct System {
    version: &'static str,
    /// Seconds.
    uptime: f64,
    started_at: String,
    memory_usage: Memory,
    pid: u32,
    #[schema(example = "linux")]
    platform: &'static str,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
struct Memory {
    /// Resident bytes; null where the system does not tell.
    rss: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct Database {
    /// `sqlite` or `postgres`.
    engine: &'static str,
    /// `healthy`, `unhealthy` (it does not answer) or `unwritable` (its disk is full, or it is read-only).
    status: &'static str,
    /// What it said; null while it is healthy.
    error: Option<String>,
    /// Since when it is not healthy.
    since: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
struct Coordination {
    /// `process` or `redis`.
    backend: &'static str,
    /// `healthy`, or `degraded` while Redis is away and each process goes on alone.
    status: &'static str,
    since: String,
    instances: u32,
    pending: usize,
    last_error: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Journal {
    /// Events that proxies hold and the ledger has not acknowledged.
    pending: u64,
    /// Events that proxies had to drop because their journals were full.
    lost: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(in super::super) struct Proxy {
    id: String,
    /// `serving`, `stale` (serves from its copy on disk), `draining` or `lost` (silent for 15 s).
    state: &'static str,
    version: String,
    protocol: u32,
    address: String,
    started_at: String,
    last_seen_at: String,
    revision: u64,
    /// Revisions behind the newest.
    lag: u64,
    requests_in_flight: u64,
    streams_in_flight: u64,
    requests_total: u64,
    memory_rss_bytes: u64,
    journal_pending: u64,
    journal_lost: u64,
    /// The id of another proxy that runs and has the same `OMNIROUTE_PROXY_ID`; this one is shown under an id of its own.
    shares_id_with: Option<String>,
    last_error: Option<String>,
    last_error_at: Option<String>,
    /// Resources that it could not take; it kept their previous versions.
    rejections: Vec<Rejection>,
}

/// A control plane and how it is set up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
struct ControlPlane {
    id: String,
    /// Machine or container, and process.
    name: String,
    /// `running`, or `lost` (silent for 15 s).
    state: &'static str,
    version: String,
    started_at: String,
    last_seen_at: String,
    /// It is the one that gave this answer.
    is_this: bool,
    /// Settings of its environment that are not the ones in force for the fleet. They come into force once no running
    /// control plane has the ones that are.
    differing_settings: Vec<String>,
    /// Id of the master key with which it seals.
    seals_with: String,
    /// Id of a master key that it lacks and another control plane has; it publishes nothing to proxies meanwhile.
    missing_master_key: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Rejection {
    kind: String,
    id: String,
    reason: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
struct Summary {
    /// Providers in the catalog.
    catalog_count: usize,
    /// Providers with a connection.
    configured_count: usize,
    /// Providers with an active connection.
    active_count: usize,
    /// Providers with a connection that was tested.
    monitored_count: usize,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
struct LocalProvider {
    node_id: String,
    prefix: String,
    /// Null before the first test.
    is_healthy: Option<bool>,
    last_check: Option<String>,
    response_time_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
struct Lockout {
    connection_id: String,
    proxy_id: String,
    until: String,
    reason: String,
}

#[derive(Serialize, ToSchema)]
struct Cryptography {
    /// `degraded` when a stored secret does not open with the master keys at hand.
    status: &'static str,
    provider: &'static str,
}

// === impl HealthView ===

impl HealthView {
    pub(super) fn new(health: Health, started_at: UnixMillis, is_manager: bool) -> Self {
        Self {
            status: health.status().as_str(),
            timestamp: health.at.to_rfc3339(),
            version: VERSION,
            setup_complete: health.has_password,
            details: is_manager.then(|| Details::new(health, started_at)),
        }
    }
}

// === impl Details ===

impl Details {
    fn new(health: Health, started_at: UnixMillis) -> Self {
        let memory = Memory { rss: omniroute_telemetry::resident_memory() };
        let uptime = health.uptime.as_secs_f64();
        let database = Database {
            engine: match health.engine {
                Engine::Sqlite => "sqlite",
                Engine::Postgres => "postgres",
            },
            status: match (&health.outage, &health.database) {
                (Some(outage), _) => outage.as_str(),
                (None, Ok(_)) => "healthy",
                (None, Err(_)) => "unhealthy",
            },
            error: match (&health.outage, &health.database) {
                (Some(outage), _) => Some(outage.why().to_owned()),
                (None, database) => database.as_ref().err().map(ToString::to_string),
            },
            since: health.outage.as_ref().map(|outage| outage.since().to_rfc3339()),
        };
        let coordination = Coordination::from(health.coordination);
        let known = health.database.ok();
        let revision = known.as_ref().map(|known| known.revision);
        let known = known.unwrap_or_else(|| Known::nothing(ProviderReport::default()));
        let live = || known.proxies.iter().filter(|proxy| !proxy.row.lost);
        let lockouts = live()
            .flat_map(|proxy| {
                proxy.row.cooling.iter().filter(|row| row.until > health.at).map(|row| Lockout {
                    connection_id: row.connection_id.clone(),
                    proxy_id: proxy.row.id.clone(),
                    until: row.until.to_rfc3339(),
                    reason: row.reason.clone(),
                })
            })
            .collect();
        let unreadable = known.providers.unreadable;
        Self {
            system: System {
                version: VERSION,
                uptime,
                started_at: started_at.to_rfc3339(),
                memory_usage: memory,
                pid: std::process::id(),
                platform: std::env::consts::OS,
            },
            uptime,
            memory_usage: memory,
            revision,
            database,
            coordination,
            journal: Journal {
                pending: known.proxies.iter().map(|proxy| proxy.row.journal_pending).sum(),
                lost: known.proxies.iter().map(|proxy| proxy.row.journal_lost).sum(),
            },
            lockouts,
            local_providers: known.providers.nodes.into_iter().map(|node| (node.id.clone(), node.into())).collect(),
            active_connections: known.providers.active_connections,
            provider_summary: Summary {
                catalog_count: known.providers.catalog,
                configured_count: known.providers.configured,
                active_count: known.providers.active,
                monitored_count: known.providers.monitored,
            },
            proxies: known.proxies.into_iter().map(Proxy::from).collect(),
            control_planes: known.control_planes.into_iter().map(ControlPlane::from).collect(),
            cryptography: Cryptography {
                status: if unreadable { "degraded" } else { "healthy" },
                provider: "aes-256-gcm",
            },
        }
    }
}

// === impl LocalProvider ===

impl From<CustomProviderHealth> for LocalProvider {
    fn from(node: CustomProviderHealth) -> Self {
        Self {
            node_id: node.id,
            prefix: node.prefix,
            is_healthy: node.is_healthy,
            last_check: node.tested_at.map(UnixMillis::to_rfc3339),
            response_time_ms: node.latency_ms,
        }
    }
}

// === impl Coordination ===

impl From<omniroute_coordination::BackendStatus> for Coordination {
    fn from(health: omniroute_coordination::BackendStatus) -> Self {
        Self {
            backend: match health.backend {
                Backend::Process => "process",
                Backend::Redis => "redis",
            },
            status: if health.connected || health.backend == Backend::Process { "healthy" } else { "degraded" },
            since: health.since.to_rfc3339(),
            instances: health.instances,
            pending: health.pending,
            last_error: health.last_error.map(|error| error.to_string()),
        }
    }
}

// === impl Proxy ===

impl From<ProxyHealth> for Proxy {
    fn from(ProxyHealth { row, state, lag, shares_id_with }: ProxyHealth) -> Self {
        let rejection = |row: RejectionRow| Rejection { kind: row.kind, id: row.id, reason: row.reason };
        Self {
            id: row.id,
            state: state.as_str(),
            version: row.version,
            protocol: row.protocol,
            address: row.address,
            started_at: row.started_at.to_rfc3339(),
            last_seen_at: row.last_seen_at.to_rfc3339(),
            revision: row.revision,
            lag,
            requests_in_flight: row.requests_in_flight,
            streams_in_flight: row.streams_in_flight,
            requests_total: row.requests_total,
            memory_rss_bytes: row.memory_rss_bytes,
            journal_pending: row.journal_pending,
            journal_lost: row.journal_lost,
            shares_id_with,
            last_error: Some(row.last_error).filter(|error| !error.is_empty()),
            last_error_at: row.last_error_at.map(UnixMillis::to_rfc3339),
            rejections: row.rejections.into_iter().map(rejection).collect(),
        }
    }
}

// === impl ControlPlane ===

impl From<ControlPlaneRow> for ControlPlane {
    fn from(row: ControlPlaneRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            state: if row.lost { "lost" } else { "running" },
            version: row.version,
            started_at: row.started_at.to_rfc3339(),
            last_seen_at: row.last_seen_at.to_rfc3339(),
            is_this: row.is_this,
            differing_settings: row.state.differs,
            seals_with: row.state.seals_with,
            missing_master_key: row.state.missing_key,
        }
    }
}
