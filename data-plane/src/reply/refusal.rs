//! A request that gets an error instead of an answer.

use http::{HeaderValue, Response, StatusCode, header};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    id::ConnectionId,
};
use omniroute_wire::translate::Dialect;

use super::Reply;
use crate::request::{RequestId, X_REQUEST_ID};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The error and what the log wants to know about it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: GatewayError,
    /// The connection that was used last.
    pub(crate) connection: Option<ConnectionId>,
}

// === impl Refusal ===

impl From<GatewayError> for Box<Refusal> {
    fn from(error: GatewayError) -> Self {
        Self::new(Refusal { error, connection: None })
    }
}

impl Refusal {
    /// Writes the one log line of a failed request.
    pub(crate) fn log(&self, request_id: &RequestId) {
        let Self { error, connection } = self;
        let connection = connection.as_ref().map(ConnectionId::as_str);
        let status = error.class.status();
        if error.code == "incomplete_body" {
            // The client went away in mid-sentence; it knows.
            tracing::debug!(%request_id, status, code = error.code, "request refused");
        } else {
            let reason = error.message.as_str();
            tracing::warn!(%request_id, status, code = error.code, connection, reason, "request failed");
        }
    }
}

/// The error as the client sees it, in its own dialect.
pub(crate) fn error_response(error: &GatewayError, dialect: &Dialect, request_id: &RequestId) -> Response<Reply> {
    let (status, body) = dialect.encode_error(error, request_id.as_str());
    let mut response = Response::new(Reply::whole(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(X_REQUEST_ID, request_id.header());
    if let Some(wait) = error.retry_after {
        // Rounded up: a client that comes back too early is refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if error.class == ErrorClass::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
