//! Outbound proxies: servers through which providers are called ([`record`], [`rows`]), what goes through which
//! ([`assignments`]), and how they are ([`health`]). The same can be said level by level, without ids of proxies
//! ([`settings`]).
//!
//! Which proxy applies is decided by the nearest assignment: of the connection, of its provider, of all. Where that one's
//! proxy cannot be used, the connection is not used at all: nothing goes out directly that was meant to go through a proxy.

mod assignments;
mod health;
mod kind;
mod record;
mod references;
mod routes;
pub mod rows;
mod rules;
mod settings;
mod shapes;
mod trial;

#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use omniroute_core::{address::AddressPolicy, time::Clock};
use omniroute_egress::{CallLimits, Caller};
use rustls::ClientConfig;
use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::{
    assignments::{Assign, BulkAssign},
    settings::ChangeProxySettings,
    shapes::{ChangeProxy, CreateProxy},
    trial::TryProxy,
};
pub use self::{
    health::jobs,
    kind::{OutboundProxyKind, ProxyAssignmentKind},
    record::{AssignmentRecord, Credentials, ProxyDraft, ProxyPatch, ProxyRecord, Scope},
    references::{forget_connections, forget_provider},
    rules::Resolved,
};
use crate::store::{Store, StoreError, Write};

/// In scopes.
pub const NAME: &str = "egress";

/// What is read of the service that tells which address a call came from.
const TRIAL: CallLimits =
    CallLimits { connect: Duration::from_secs(10), total: Duration::from_secs(10), body: 64 * 1024 };

/// Who knows providers and connections answers this.
#[async_trait]
pub trait KnownScopes: Send + Sync + 'static {
    /// Id of the provider or node of this id, alias or prefix, as this transaction sees it.
    ///
    /// # Errors
    /// When the database fails.
    async fn provider(&self, write: &mut Write, name: &str) -> Result<Option<String>, StoreError>;

    /// Whether there is such a connection, as this transaction sees it.
    ///
    /// # Errors
    /// When the database fails.
    async fn has_connection(&self, write: &mut Write, id: &str) -> Result<bool, StoreError>;

    /// Id of the provider or node of a connection, if there is such a connection.
    ///
    /// # Errors
    /// When the database fails.
    async fn provider_of(&self, connection: &str) -> Result<Option<String>, StoreError>;
}

/// Outbound proxies.
pub struct Egress {
    store: Store,
    clock: Arc<dyn Clock>,
    scopes: Arc<dyn KnownScopes>,
    /// Tries proxies out.
    caller: Caller,
}

// === impl Egress ===

impl Egress {
    /// `tls` says which certificates are trusted.
    pub fn new(store: Store, clock: Arc<dyn Clock>, scopes: Arc<dyn KnownScopes>, tls: Arc<ClientConfig>) -> Self {
        let in_force = store.clone();
        let policy = Arc::new(move || AddressPolicy::from_allow_private(in_force.allow_private_upstreams()));
        Self { caller: Caller::new(policy, tls, TRIAL), store, clock, scopes }
    }

    pub fn router(self: &Arc<Self>) -> OpenApiRouter {
        OpenApiRouter::new()
            .routes(routes!(routes::list, routes::create, routes::change, routes::delete))
            .routes(routes!(assignments::list, assignments::assign))
            .routes(routes!(assignments::bulk_assign))
            .routes(routes!(health::show))
            .routes(routes!(settings::show, settings::change, settings::delete))
            .routes(routes!(trial::test))
            .with_state(Arc::clone(self))
    }

    /// Where proxies and providers may be.
    fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::from_allow_private(self.store.allow_private_upstreams())
    }
}
