//! Who gets in: the administrator's login and sessions ([`login`]), and clients' API keys ([`keys`]).

mod jobs;
pub mod keys;
pub mod login;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use omniroute_core::hash::KeyHash;
use utoipa_axum::router::OpenApiRouter;

pub use self::jobs::jobs;
use self::{keys::ApiKeys, login::Login};
use crate::{
    auth::{Identities, KeyIdentity, OpenRoute, Requirement},
    store::StoreError,
};

/// In scopes.
pub const NAME: &str = "access";

/// Routes that are not for managers only.
pub const OPEN: [OpenRoute; 5] = [
    (Method::POST, "/api/auth/login", Requirement::Open),
    (Method::POST, "/api/auth/logout", Requirement::Open),
    (Method::GET, "/api/settings/require-login", Requirement::Open),
    // Without a password there is nobody who could sign in; the handler then wants a caller on this machine.
    (Method::PUT, "/api/settings/require-login", Requirement::Optional),
    (Method::POST, "/api/settings/require-login", Requirement::Optional),
];

/// Logins and API keys.
#[derive(Clone)]
pub struct Access {
    pub login: Arc<Login>,
    pub keys: Arc<ApiKeys>,
}

// === impl Access ===

impl Access {
    pub fn router(&self) -> OpenApiRouter {
        let login = login::router().with_state(Arc::clone(&self.login));
        login.merge(keys::router().with_state(Arc::clone(&self.keys)))
    }
}

#[async_trait]
impl Identities for Access {
    async fn has_session(&self, id: &str) -> Result<bool, StoreError> {
        self.login.has_session(id).await
    }

    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyIdentity>, StoreError> {
        self.keys.identity(hash).await
    }

    async fn login_required(&self) -> Result<bool, StoreError> {
        self.login.is_required().await
    }
}
