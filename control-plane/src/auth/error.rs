//! Why a caller is not let in.

use crate::{
    http::{ApiError, Code},
    store::StoreError,
};

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("nobody is signed in")]
    Unauthenticated,
    #[error("the session has expired")]
    SessionExpired,
    #[error("no such API key, or one that is switched off")]
    InvalidApiKey,
    #[error("the API key has expired")]
    ApiKeyExpired,
    #[error("the API key has no scope for management")]
    NoManagementScope,
    #[error("the API key lacks the scope {0}")]
    MissingScope(String),
    #[error("another website made the request")]
    CrossOrigin,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated => Self::unauthenticated(),
            AuthError::SessionExpired => Self::new(Code::SessionExpired, "Session expired; sign in again"),
            AuthError::InvalidApiKey => Self::new(Code::InvalidApiKey, "Invalid API key"),
            AuthError::ApiKeyExpired => Self::new(Code::ApiKeyExpired, "API key expired"),
            AuthError::NoManagementScope => {
                Self::new(Code::NotAllowed, "This API key may not manage the gateway: it lacks the scope `manage`")
            }
            AuthError::MissingScope(scope) => {
                Self::new(Code::NotAllowed, format!("This API key lacks the scope `{scope}`"))
            }
            AuthError::CrossOrigin => {
                Self::new(Code::CrossOrigin, "Another website may not act with this session; see CORS_ORIGINS")
            }
            AuthError::Store(error) => error.into(),
        }
    }
}
