//! What Ollama's clients ask beside chatting. These paths lie under `/api`, and win over the forwarding of the rest of that
//! tree to the control plane.

use std::time::Duration;

use axum::{
    body::Bytes as WholeBody,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, Uri};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::{
    ollama::{Shape, Timing, decode_show_request, encode_version},
    translate::Dialect,
};

use super::{
    model_lists::{answer, json_response},
    router::{Shared, refuse_in},
};
use crate::{
    admit::body::{self, BodyLimits},
    models,
};

/// The version of Ollama whose API this is: clients switch features on by it.
const VERSION: &str = "0.12.6";
/// A body that names a model is not longer.
const MAX_BODY: u64 = 64 * 1024;
const BODY_TIME: Duration = Duration::from_secs(10);

/// `GET /api/tags`.
pub(super) async fn tags(State(stages): Shared, uri: Uri, headers: HeaderMap) -> Response {
    answer(&stages, &dialect(), &uri, &headers, |snapshot, caller| {
        Ok(models::ollama::list(snapshot, &models::usable(snapshot, caller)))
    })
}

/// `POST /api/show`.
pub(super) async fn show(State(stages): Shared, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let limits = BodyLimits { max_bytes: MAX_BODY, silence: BODY_TIME };
    let body: WholeBody = match body::read(body, None, limits, stages.admission.memory()).await {
        Ok(body) => body,
        Err(error) => return refuse_in(error.into(), &dialect(), &head.headers),
    };
    answer(&stages, &dialect(), &head.uri, &head.headers, |snapshot, caller| {
        let name = decode_show_request(&body)?;
        let name = name.as_ref();
        // Ollama's own client adds the tag that it takes for granted.
        let found = models::find(snapshot, caller, name).or_else(|error| {
            let bare = name.strip_suffix(":latest").ok_or(error)?;
            models::find(snapshot, caller, bare)
        });
        let listed = found.map_err(|_| unknown(name))?;
        Ok(models::ollama::show(snapshot, &listed))
    })
}

/// `GET /api/ps`: nothing runs here.
pub(super) async fn running() -> Response {
    json_response(br#"{"models":[]}"#.to_vec())
}

/// Whatever manages models: without an answer in Ollama's words, its client would show what the management API says of a path
/// that it does not have.
pub(super) async fn manages_no_models(headers: HeaderMap) -> Response {
    let error = GatewayError::new(
        ErrorClass::NotFound,
        "model_management_unsupported",
        "this is a gateway, which holds no models: pull, push, create, copy and delete them on the Ollama server itself",
    );
    let mut response = refuse_in(error, &dialect(), &headers);
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}

/// `GET /api/version`.
pub(super) async fn version() -> Response {
    let mut out = Vec::with_capacity(32);
    encode_version(VERSION, &mut out);
    json_response(out)
}

/// In the words that clients look for.
fn unknown(name: &str) -> GatewayError {
    let shown: String = name.chars().take(128).collect();
    GatewayError::new(ErrorClass::NotFound, "model_not_found", format!("model '{shown}' not found")).with_param("model")
}

fn dialect() -> Dialect {
    Dialect::Ollama { shape: Shape::Chat, timing: Timing::default() }
}
