//! What is known of a request from its first moment.

use omniroute_core::time::UnixMillis;
use omniroute_providers::Operation;
use tokio::time::Instant;
use tracing::Span;

use super::RequestId;
use crate::lifecycle::InFlightRequest;

/// A request that has come in.
pub(crate) struct Arrival {
    pub(crate) operation: Operation,
    pub(crate) request_id: RequestId,
    pub(crate) started: Instant,
    pub(crate) at: UnixMillis,
    pub(crate) in_flight: InFlightRequest,
    pub(crate) span: Span,
}
