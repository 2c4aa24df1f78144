//! The classes of failure that a client can be told about. Each dialect renders them in its own shape (`wire`).

use std::time::Duration;

/// What went wrong, from the client's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    BadRequest,
    ContextTooLong,
    Unauthenticated,
    /// A budget or a quota is used up.
    Payment,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    /// It contradicts what the client sent before.
    Conflict,
    TooLarge,
    /// The body is in a form that is not read here.
    UnsupportedMedia,
    RateLimited,
    /// Nothing can take the request now; trying later helps.
    Overloaded,
    /// The client took too long to send its request.
    RequestTimeout,
    UpstreamTimeout,
    /// The upstream failed, or answered something that is no answer.
    Upstream,
    Internal,
}

/// An error on its way to a client. `message` and `hint` are for the client's eyes: no secret, no internal address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct GatewayError {
    pub class: ErrorClass,
    /// Stable: programs match on it.
    pub code: &'static str,
    pub message: String,
    /// The upstream's own code, where it is one of the client's family.
    pub upstream_code: Option<Box<str>>,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// The request field at fault, as a path.
    pub param: Option<String>,
    pub retry_after: Option<Duration>,
}

// === impl ErrorClass ===

impl ErrorClass {
    /// HTTP status in the OpenAI family; Anthropic differs for two classes (see `wire`).
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::ContextTooLong => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::Payment | Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Upstream => 502,
            Self::Overloaded => 503,
            Self::UpstreamTimeout => 504,
        }
    }
}

// === impl GatewayError ===

impl GatewayError {
    pub fn new(class: ErrorClass, code: &'static str, message: impl Into<String>) -> Self {
        Self { class, code, message: message.into(), upstream_code: None, hint: None, param: None, retry_after: None }
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::BadRequest, code, message)
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}
