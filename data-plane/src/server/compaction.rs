//! `/v1/responses/compact` where no upstream does it: the summary that a model wrote, in the form that clients expect.

use http::{Response, header};
use http_body_util::BodyExt;
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::responses::compaction;

use crate::reply::Reply;

/// The answer to the request for a summary as the answer to the request to compact. It has been translated, so all of it is
/// here already.
///
/// # Errors
/// When it has no summary.
pub(super) async fn told(response: Response<Reply>) -> Result<Response<Reply>, GatewayError> {
    let failed = |message: String| GatewayError::new(ErrorClass::Upstream, "upstream_malformed", message);
    let (mut head, body) = response.into_parts();
    let answer = body.collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
    let told = compaction(&answer).map_err(|error| failed(error.message))?;
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Reply::whole(told)))
}
