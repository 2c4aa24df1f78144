//! The one shape of an error: `{"error":{"code","message","details"?,"correlation_id"}}`.
//!
//! A handler returns an [`ApiError`]; it travels inside the response until [`super::envelope`] writes the body, where
//! the id of the request is known.

use std::{borrow::Cow, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;

/// What went wrong. The names are stable: programs match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    AuthenticationRequired,
    InvalidApiKey,
    ApiKeyExpired,
    NotAllowed,
    SessionExpired,
    WrongPassword,
    SetupRequired,
    CrossOrigin,
    RateLimited,
    InvalidRequest,
    BodyTooLarge,
    UnsupportedContentType,
    BodyTimeout,
    NotFound,
    MethodNotAllowed,
    Conflict,
    Stale,
    KeyRevealDisabled,
    UpstreamUnreachable,
    DatabaseUnavailable,
    DatabaseUnwritable,
    MasterKeyMissing,
    Internal,
}

/// An error on its way to a caller. The message is for the caller's eyes: no secret, no address of ours.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", .code.as_str())]
pub struct ApiError {
    code: Code,
    message: Cow<'static, str>,
    details: Vec<Detail>,
    retry_after: Option<Duration>,
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Detail {
    /// Path of the field; `body` for the body as a whole.
    pub field: String,
    pub message: String,
}

/// The body of every answer of status 400 and above.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    pub(super) error: ErrorObject,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ErrorObject {
    /// Stable code of the error.
    #[schema(example = "VALID_001")]
    pub(super) code: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) details: Vec<Detail>,
    /// Same as the `x-request-id` header; the log names it.
    pub(super) correlation_id: String,
}

// === impl Code ===

impl Code {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthenticationRequired => "AUTH_001",
            Self::InvalidApiKey => "AUTH_002",
            Self::ApiKeyExpired => "AUTH_003",
            Self::NotAllowed => "AUTH_004",
            Self::SessionExpired => "AUTH_007",
            Self::WrongPassword => "AUTH_008",
            Self::SetupRequired => "AUTH_009",
            Self::CrossOrigin => "AUTH_010",
            Self::KeyRevealDisabled => "AUTH_011",
            Self::RateLimited => "RATE_001",
            Self::InvalidRequest => "VALID_001",
            Self::BodyTooLarge => "VALID_004",
            Self::UnsupportedContentType => "VALID_005",
            Self::BodyTimeout => "VALID_006",
            Self::NotFound => "RESOURCE_001",
            Self::Conflict => "RESOURCE_002",
            Self::Stale => "RESOURCE_003",
            Self::MethodNotAllowed => "RESOURCE_004",
            Self::UpstreamUnreachable => "PROVIDER_001",
            Self::Internal => "INTERNAL_001",
            Self::DatabaseUnavailable => "INTERNAL_002",
            Self::DatabaseUnwritable => "INTERNAL_003",
            Self::MasterKeyMissing => "INTERNAL_004",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Self::AuthenticationRequired
            | Self::InvalidApiKey
            | Self::ApiKeyExpired
            | Self::SessionExpired
            | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::NotAllowed | Self::SetupRequired | Self::CrossOrigin | Self::KeyRevealDisabled => {
                StatusCode::FORBIDDEN
            }
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::Stale => StatusCode::CONFLICT,
            Self::UpstreamUnreachable => StatusCode::BAD_GATEWAY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::DatabaseUnavailable | Self::DatabaseUnwritable | Self::MasterKeyMissing => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

// === impl ApiError ===

impl ApiError {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: Vec::new(), retry_after: None }
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// Nobody is signed in.
    pub fn unauthenticated() -> Self {
        Self::new(Code::AuthenticationRequired, "Authentication required")
    }

    /// 400 with what is wrong, field by field.
    pub fn invalid(details: Vec<Detail>) -> Self {
        Self { details, ..Self::new(Code::InvalidRequest, "Invalid request") }
    }

    /// 400 for one field.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![Detail { field: field.into(), message: message.into() }])
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("{what} not found"))
    }

    /// Logs the cause; the caller learns nothing of it but the id to quote.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a call failed");
        Self::new(Code::Internal, "Internal server error")
    }

    /// What is wrong, field by field.
    pub(super) fn into_details(self) -> Vec<Detail> {
        self.details
    }

    /// For mistakes in an object that lies inside the body.
    #[must_use]
    pub fn inside(mut self, path: &str) -> Self {
        for detail in &mut self.details {
            detail.field = format!("{path}.{}", detail.field);
        }
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What is wrong, in one line: the mistakes in fields, else the message.
    pub fn words(&self) -> String {
        if self.details.is_empty() {
            return self.message.clone().into_owned();
        }
        let details = self.details.iter().map(|Detail { field, message }| format!("{field}: {message}"));
        details.collect::<Vec<_>>().join("; ")
    }

    /// The body, once the id of the request is known.
    pub(super) fn body(&self, correlation_id: &str) -> ErrorBody {
        ErrorBody {
            error: ErrorObject {
                code: self.code.as_str().to_owned(),
                message: self.message.clone().into_owned(),
                details: self.details.clone(),
                correlation_id: correlation_id.to_owned(),
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.code.status() == StatusCode::UNAUTHORIZED {
            let challenge: (HeaderName, HeaderValue) = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response.headers_mut().insert(challenge.0, challenge.1);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { kind, .. } => Self::not_found(&capitalised(kind)),
            StoreError::Conflict { what } => Self {
                details: vec![Detail { field: what.to_owned(), message: "is already taken".into() }],
                ..Self::new(Code::Conflict, format!("The {what} is already taken"))
            },
            StoreError::Stale { kind, .. } => {
                Self::new(Code::Stale, format!("The {kind} was changed in the meantime; read it again"))
            }
            StoreError::Invalid { field, reason } => Self::invalid_field(field, reason),
            StoreError::Unavailable(cause) => {
                tracing::error!(%cause, "the database does not answer");
                Self::new(Code::DatabaseUnavailable, "The database does not answer; try again")
                    .with_retry_after(Duration::from_secs(5))
            }
            StoreError::Busy(cause) => {
                tracing::warn!(%cause, "the database is busy");
                Self::new(Code::DatabaseUnavailable, "The database is busy; try again")
                    .with_retry_after(Duration::from_secs(1))
            }
            StoreError::Unwritable(cause) => {
                tracing::error!(%cause, "the database cannot be written");
                let message =
                    "The database cannot be written: its disk is full, or it is read-only. Nothing was changed";
                Self::new(Code::DatabaseUnwritable, message).with_retry_after(Duration::from_secs(5))
            }
            StoreError::RingIncomplete(key) => {
                tracing::error!(key, "another control plane has this master key, and this one lacks it");
                let message = format!(
                    "What this would change is sealed with master key {key}, which another control plane has and this one \
                     lacks. Make the change there, or give STORAGE_ENCRYPTION_KEY of this one the same keys"
                );
                Self::new(Code::MasterKeyMissing, message)
            }
            other => Self::internal(&other),
        }
    }
}

/// Why an edit was not made: whoever makes it again after [`StoreError::Stale`] has to tell.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Request(#[from] ApiError),
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
