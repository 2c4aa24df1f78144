//! What was asked, what it used, what it cost, out of the ledger.

mod routes;
mod rules;
mod shapes;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::rules::Selection;
use crate::{
    ledger::Ledger,
    store::{Store, StoreError},
};

/// In scopes.
pub const NAME: &str = "usage";

/// What a connection is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionName {
    pub provider: String,
    pub name: String,
}

/// Who knows connections answers this.
#[async_trait]
pub trait ConnectionNames: Send + Sync + 'static {
    /// Of the connection with this id, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    async fn name(&self, id: &str) -> Result<Option<ConnectionName>, StoreError>;
}

/// Questions to the ledger.
pub struct Usage {
    pub store: Store,
    pub ledger: Ledger,
    pub connections: Arc<dyn ConnectionNames>,
}

// === impl Usage ===

impl Usage {
    pub fn router(self: &Arc<Self>) -> OpenApiRouter {
        OpenApiRouter::new()
            .routes(routes!(routes::history))
            .routes(routes!(routes::logs))
            .routes(routes!(routes::request_logs))
            .routes(routes!(routes::request_log))
            .routes(routes!(routes::call_logs))
            .routes(routes!(routes::of_connection))
            .with_state(Arc::clone(self))
    }
}
