//! Providers: endpoints that the operator added ([`nodes`]), credentials ([`connections`]), what they offer ([`models`]), what
//! that costs ([`pricing`]), and whether they would take us ([`checks`]). [`client`] is the way to them.

pub mod checks;
mod client;
pub mod connections;
pub mod models;
pub mod nodes;
pub mod pricing;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use async_trait::async_trait;
use omniroute_coordination::Coordination;
use omniroute_core::{address::AddressPolicy, time::Clock};
use omniroute_credentials::{Keeper, Machine};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa_axum::router::OpenApiRouter;

pub use self::client::{UpstreamClient, UpstreamError};
use self::{
    connections::{ConnectionRecord, canonical, rows::Connections},
    models::rows::Models,
    nodes::{NodeRecord, rows::Nodes},
};
use crate::{
    publish::ProxyRegistry,
    store::{Store, StoreError, Write},
};

/// In scopes.
pub const NAME: &str = "providers";

/// Model discoveries that run in the background at once.
const DISCOVERIES_AT_ONCE: usize = 4;

/// Who keeps ids of connections answers this.
#[async_trait]
pub trait References: Send + Sync + 'static {
    /// Connections are being deleted, in this transaction: what names them changes with them.
    ///
    /// # Errors
    /// When the database fails.
    async fn forget_connections(&self, write: &mut Write, gone: &[String]) -> Result<(), StoreError>;
}

/// What [`Providers`] needs.
pub struct ProviderHandles {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub coordination: Arc<dyn Coordination>,
    pub proxies: ProxyRegistry,
    pub references: Arc<dyn References>,
    /// Work that outlives the request that began it; waited for when the process stops.
    pub background: TaskTracker,
    /// Cancelled when the process stops.
    pub stopping: CancellationToken,
}

/// Nodes, connections and models.
pub struct Providers {
    store: Store,
    clock: Arc<dyn Clock>,
    coordination: Arc<dyn Coordination>,
    proxies: ProxyRegistry,
    references: Arc<dyn References>,
    client: UpstreamClient,
    keeper: Keeper,
    background: TaskTracker,
    stopping: CancellationToken,
    discoveries: Semaphore,
}

/// All nodes and connections as they are now.
pub struct Inventory {
    pub connections: Vec<ConnectionRecord>,
    pub nodes: Vec<NodeRecord>,
}

// === impl Providers ===

impl Providers {
    /// `upstream_ca`: a file of CA certificates that are trusted beside the public ones; empty means none. `machine`: its own
    /// identity, where connections may use it.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(handles: ProviderHandles, upstream_ca: &Path, machine: Option<Machine>) -> anyhow::Result<Self> {
        let ProviderHandles { store, clock, coordination, proxies, references, background, stopping } = handles;
        let in_force = store.clone();
        let policy = move || AddressPolicy::from_allow_private(in_force.allow_private_upstreams());
        let client = UpstreamClient::new(policy, upstream_ca)?;
        Ok(Self {
            keeper: Keeper::new(Arc::new(client.clone()), Arc::clone(&clock), machine),
            client,
            discoveries: Semaphore::new(DISCOVERIES_AT_ONCE),
            store,
            clock,
            coordination,
            proxies,
            references,
            background,
            stopping,
        })
    }

    pub fn router(self: &Arc<Self>) -> OpenApiRouter {
        nodes::router()
            .merge(connections::router())
            .merge(checks::router())
            .merge(models::router())
            .merge(pricing::router())
            .with_state(Arc::clone(self))
    }

    /// # Errors
    /// When the database fails.
    pub async fn inventory(&self) -> Result<Inventory, StoreError> {
        let connections = Connections::of(&self.store).list().await?;
        Ok(Inventory { connections, nodes: Nodes::of(&self.store).list().await? })
    }

    /// The connection with this id, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_connection(&self, id: &str) -> Result<Option<ConnectionRecord>, StoreError> {
        match Connections::of(&self.store).get(id).await {
            Ok(record) => Ok(Some(record)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of patterns of model ids, those that no model matches which is known now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unmatched_models(&self, patterns: &[String]) -> Result<Vec<String>, StoreError> {
        let nodes = Nodes::of(&self.store).list().await?;
        let mut names = BTreeSet::new();
        for model in Models::of(&self.store).list().await? {
            let node = nodes.iter().find(|node| node.id.as_str() == model.provider.as_str());
            let prefix = node.map_or(model.provider.as_str(), |node| &node.prefix);
            names.insert(format!("{prefix}/{}", model.model));
            names.insert(model.model);
        }
        let is_known = |pattern: &String| {
            let canonical = match pattern.split_once('/') {
                Some((alias, rest)) => format!("{}/{rest}", canonical(alias)),
                None => pattern.clone(),
            };
            match canonical.strip_suffix('*') {
                Some(start) => names.range(start.to_owned()..).next().is_some_and(|name| name.starts_with(start)),
                None => names.contains(&canonical),
            }
        };
        Ok(patterns.iter().filter(|pattern| !is_known(pattern)).cloned().collect())
    }

    /// Where connections may point.
    fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::from_allow_private(self.store.allow_private_upstreams())
    }
}
