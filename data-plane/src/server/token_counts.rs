//! Counting tokens: `POST /v1/messages/count_tokens`, `POST /v1/responses/input_tokens` and Gemini's `:countTokens`.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderName, HeaderValue, request::Parts};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::{
    gemini::{Action, Framing, parse_path},
    translate::Dialect,
};
use percent_encoding::percent_decode_str;

use super::{
    Stages,
    model_lists::json_response,
    pipeline::{named_model, scanned},
    router::{Shared, refuse_in},
};
use crate::{
    admit::Admitted,
    count::CountRequest,
    reply::headers::{X_OMNIROUTE_MODEL, X_OMNIROUTE_PROVIDER},
    resolve::resolve,
};

/// Where a count comes from: `provider`, `tokenizer`, `estimate`.
const X_OMNIROUTE_TOKEN_COUNT: HeaderName = HeaderName::from_static("x-omniroute-token-count");

/// `POST /v1/messages/count_tokens`.
pub(super) async fn messages(State(stages): Shared, request: Request) -> Response {
    answer(&stages, &Dialect::Messages, request).await
}

/// `POST /v1/responses/input_tokens`.
pub(super) async fn responses(State(stages): Shared, request: Request) -> Response {
    answer(&stages, &Dialect::Responses, request).await
}

/// `POST /v1beta/…:countTokens`. What else is asked for at such paths is answered before the router is asked, or unknown.
pub(super) async fn gemini(State(stages): Shared, request: Request) -> Response {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    let below = path.strip_prefix("/v1beta/").or_else(|| path.strip_prefix("/v1/")).and_then(parse_path);
    let dialect = |model: &str| Dialect::Gemini { model: model.to_owned(), stream: false, framing: Framing::Sse };
    match below {
        Some((model, Action::CountTokens)) => answer(&stages, &dialect(model), request).await,
        _ => {
            let error = GatewayError::new(ErrorClass::NotFound, "unknown_path", "there is nothing at this path");
            refuse_in(error, &dialect(""), request.headers())
        }
    }
}

/// Whether a path ends with something that Gemini's clients ask of a model.
pub(super) fn is_action(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    path.strip_prefix("/v1beta/").or_else(|| path.strip_prefix("/v1/")).and_then(parse_path).is_some()
}

async fn answer(stages: &Stages, dialect: &Dialect, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // A drain waits for it.
    let _running = stages.lifecycle.begin();
    match Box::pin(steps(stages, dialect, &head, body)).await {
        Ok(response) => response,
        Err(error) => refuse_in(error, dialect, &head.headers),
    }
}

async fn steps(
    stages: &Stages,
    dialect: &Dialect,
    head: &Parts,
    body: axum::body::Body,
) -> Result<Response, GatewayError> {
    let Admitted { snapshot, caller } = stages.admission.admit(&head.headers, head.uri.query(), stages.clock.now())?;
    let settings = snapshot.settings();
    let mut body = stages.admission.read_body(&head.headers, body, None, &caller, settings).await?;
    if let Dialect::Responses = dialect {
        let scan = scanned(dialect, &body)?;
        // What it goes on from counts too.
        let max_bytes = caller.max_body_bytes(settings.max_body_bytes);
        let continued = stages.responses.continue_from(&caller, settings, (&body, &scan), max_bytes).await?;
        body = continued.body.unwrap_or(body);
    }
    let scan = scanned(dialect, &body)?;
    let plan = resolve(&snapshot, &caller, named_model(dialect, &scan)?)?;
    let request = CountRequest { dialect, headers: &head.headers, body: &body, scan: &scan, pepper: &settings.pepper };
    let counted = stages.counting.count(&plan, request).await?;
    let mut response = json_response(counted.encode(dialect));
    let headers = response.headers_mut();
    headers.insert(X_OMNIROUTE_TOKEN_COUNT, counted.source.header());
    if let Ok(model) = HeaderValue::from_str(plan.model()) {
        headers.insert(X_OMNIROUTE_MODEL, model);
    }
    if let Some(target) = plan.targets().next() {
        headers.insert(X_OMNIROUTE_PROVIDER, target.entry.shown.clone());
    }
    Ok(response)
}
