//! The settings that the operator edits at run time. Their table is the store's, for what all control planes of a fleet
//! have in common lies in it too.

mod kind;
mod routes;
mod rules;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use omniroute_core::settings::Secret;
use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::routes::ChangeSettings;
pub use self::{kind::SettingsKind, rules::GatewaySettings};
use crate::{
    auth::{ClientOrigin, Principal},
    http::ApiError,
    store::{Store, records::Actor},
};

/// In scopes.
pub const NAME: &str = "settings";

/// A change of the admin password that came along with settings.
pub struct PasswordChange {
    pub new: Secret,
    pub current: Secret,
}

/// Who keeps the admin password answers this.
#[async_trait]
pub trait AdminPassword: Send + Sync + 'static {
    /// # Errors
    /// When the database fails.
    async fn is_set(&self) -> Result<bool, ApiError>;

    /// Changes it. Whoever did so from a session gets a new one, in this header.
    ///
    /// # Errors
    /// 400 and 401 as for a change of the password alone.
    async fn change(
        &self,
        actor: Actor,
        principal: &Principal,
        client: &ClientOrigin,
        change: PasswordChange,
    ) -> Result<Option<(HeaderName, HeaderValue)>, ApiError>;
}

/// Ports of the control plane.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub rest: u16,
    pub grpc: u16,
}

/// The settings that the operator edits.
pub struct Settings {
    pub store: Store,
    pub ports: Ports,
    pub password: Arc<dyn AdminPassword>,
}

// === impl Settings ===

impl Settings {
    pub fn router(self: &Arc<Self>) -> OpenApiRouter {
        OpenApiRouter::new().routes(routes!(routes::show, routes::change)).with_state(Arc::clone(self))
    }
}
