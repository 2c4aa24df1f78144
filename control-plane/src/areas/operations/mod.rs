//! Running the gateway: health, probes, commands to proxies, the master key.

mod database_ready;
mod health;
mod master_key;
mod probes;
mod proxies;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use http::Method;
use omniroute_coordination::Coordination;
use omniroute_core::time::{Clock, UnixMillis};
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::health::{CustomProviderHealth, ProviderReport};
#[cfg(test)]
pub(crate) use self::proxies::DrainOptions;
use crate::{
    auth::{OpenRoute, Requirement},
    publish::ProxyRegistry,
    store::{SealedColumn, Store, StoreError},
};

/// In scopes.
pub const NAME: &str = "operations";

/// Routes that are not for managers only.
pub const OPEN: [OpenRoute; 5] = [
    (Method::GET, "/healthz", Requirement::Open),
    (Method::GET, "/readyz", Requirement::Open),
    (Method::GET, "/metrics", Requirement::Open),
    (Method::GET, "/api/init", Requirement::Open),
    (Method::GET, "/api/monitoring/health", Requirement::Optional),
];

/// Who knows whether the gateway is set up answers this.
#[async_trait]
pub trait Setup: Send + Sync + 'static {
    /// Whether somebody can sign in.
    ///
    /// # Errors
    /// When the database fails.
    async fn is_complete(&self) -> Result<bool, StoreError>;

    /// As it was when the database was last asked.
    fn was_complete(&self) -> bool;
}

/// Who knows providers answers this.
#[async_trait]
pub trait ProviderReports: Send + Sync + 'static {
    /// # Errors
    /// When the database fails.
    async fn report(&self) -> Result<ProviderReport, StoreError>;

    /// The report while nothing is known of connections.
    fn none(&self) -> ProviderReport;
}

/// What [`Operations`] needs.
pub struct OperationsHandles {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub coordination: Arc<dyn Coordination>,
    pub proxies: ProxyRegistry,
    pub setup: Arc<dyn Setup>,
    pub providers: Arc<dyn ProviderReports>,
    /// What the areas seal.
    pub sealed: Vec<SealedColumn>,
    /// Cancelled when the process stops.
    pub stopping: CancellationToken,
}

/// How the gateway is, and what keeps it running.
pub struct Operations {
    store: Store,
    clock: Arc<dyn Clock>,
    coordination: Arc<dyn Coordination>,
    proxies: ProxyRegistry,
    setup: Arc<dyn Setup>,
    providers: Arc<dyn ProviderReports>,
    sealed: Vec<SealedColumn>,
    stopping: CancellationToken,
    started: Instant,
    started_at: UnixMillis,
}

// === impl Operations ===

impl Operations {
    pub fn new(handles: OperationsHandles) -> Self {
        let OperationsHandles { store, clock, coordination, proxies, setup, providers, sealed, stopping } = handles;
        Self {
            started: Instant::now(),
            started_at: clock.now(),
            store,
            clock,
            coordination,
            proxies,
            setup,
            providers,
            sealed,
            stopping,
        }
    }

    pub fn router(self: &Arc<Self>) -> OpenApiRouter {
        OpenApiRouter::new()
            .routes(routes!(database_ready::init))
            .routes(routes!(master_key::rotate))
            .routes(routes!(health::routes::health))
            .routes(routes!(proxies::drain))
            .routes(routes!(proxies::resume))
            .routes(routes!(proxies::resync))
            .routes(routes!(probes::healthz))
            .routes(routes!(probes::readyz))
            .routes(routes!(probes::metrics))
            .with_state(Arc::clone(self))
    }
}
