//! How a client says that it would rather be refused than lose something.

use http::{HeaderMap, HeaderName, HeaderValue};
use omniroute_core::error::GatewayError;

/// Asks for a refusal instead of an answer to a request that had to be cut down for its upstream.
const X_OMNIROUTE_STRICT: HeaderName = HeaderName::from_static("x-omniroute-strict");

/// Whether the client would rather be refused than lose something.
pub(crate) fn is_strict(headers: &HeaderMap) -> bool {
    headers.get(X_OMNIROUTE_STRICT).is_some_and(is_true)
}

/// How our own switches are written in a head.
pub(crate) fn is_true(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"true") || value.as_bytes() == b"1"
}

/// What a client is told that would rather be refused. `names`: what its answer would lack.
pub(crate) fn would_be_lost(names: &str) -> GatewayError {
    GatewayError::bad_request(
        "unsupported_feature",
        format!("the provider of this model has nothing that corresponds to: {names}"),
    )
    .with_hint("without `X-OmniRoute-Strict` these are left out")
}
