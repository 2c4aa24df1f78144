//! Who asks.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use omniroute_core::id::ApiKeyId;

use super::{AuthError, ClientOrigin, Scopes, scope::Permission};
use crate::{
    http::{ApiError, RequestId},
    store::records::Actor,
};

/// A caller that may manage the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The administrator, signed in with the password.
    Session { id: String },
    /// An API key with a management scope.
    ApiKey { id: ApiKeyId, scopes: Scopes },
    /// The command line on a machine that holds the signing secret.
    Cli,
    /// Somebody at this machine, while login is turned off.
    Local,
}

// === impl Principal ===

impl Principal {
    /// As the configuration log names it.
    pub fn name(&self) -> String {
        match self {
            Self::Session { .. } => "admin".to_owned(),
            Self::ApiKey { id, .. } => format!("key:{id}"),
            Self::Cli => "cli".to_owned(),
            Self::Local => "local".to_owned(),
        }
    }

    /// Whether a browser adds this proof on its own, so that another website could have started the request.
    pub fn is_ambient(&self) -> bool {
        matches!(self, Self::Session { .. } | Self::Local)
    }

    /// What it may do.
    pub fn scopes(&self) -> &Scopes {
        match self {
            Self::ApiKey { scopes, .. } => scopes,
            Self::Session { .. } | Self::Cli | Self::Local => &Scopes::Everything,
        }
    }

    /// # Errors
    /// `MissingScope`, with the scope that is needed.
    pub fn expect(&self, area: &str, permission: Permission) -> Result<(), AuthError> {
        if self.scopes().allow(area, permission) {
            return Ok(());
        }
        Err(AuthError::MissingScope(super::scope::name(area, permission)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::unauthenticated)
    }
}

// === impl Actor ===

/// The caller as the configuration log names it.
impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let principal = Principal::from_request_parts(parts, state).await?;
        let address = parts.extensions.get::<ClientOrigin>().and_then(|client| client.address);
        Ok(Self {
            name: principal.name(),
            address: address.map(|address: IpAddr| address.to_string()),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.to_string()),
        })
    }
}
