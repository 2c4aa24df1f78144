//! The passthrough lane: a body goes up as it came, but for the model's name. Usage always comes without asking.

use bytes::Bytes;

use crate::{openai, scan::RequestScan, splice::Segments};

/// Splices the upstream's name of the model into a body.
pub fn upstream_body(body: Bytes, scan: &RequestScan<'_>, model: &str) -> Segments {
    openai::renamed_body(body, scan, model)
}
