//! Counting tokens: `POST /v1/messages/count_tokens`, `POST /v1/responses/input_tokens` and Gemini's `:countTokens`.

use arc_swap::Guard;
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
    Gateway,
    life::{named_model, scanned},
    lists::json_response,
    router::{Shared, refuse_in},
    service::accepting,
};
use crate::{
    admit::{
        admit,
        body::{self, BodyLimits},
        coding,
    },
    count::{Asked, count},
    resolve::resolve,
    respond::head::{X_OMNIROUTE_MODEL, X_OMNIROUTE_PROVIDER},
    state::responses,
};

/// Where a count comes from: `provider`, `tokenizer`, `estimate`.
const X_OMNIROUTE_TOKEN_COUNT: HeaderName = HeaderName::from_static("x-omniroute-token-count");

/// `POST /v1/messages/count_tokens`.
pub(super) async fn messages(State(gateway): Shared, request: Request) -> Response {
    answer(&gateway, &Dialect::Messages, request).await
}

/// `POST /v1/responses/input_tokens`.
pub(super) async fn responses(State(gateway): Shared, request: Request) -> Response {
    answer(&gateway, &Dialect::Responses, request).await
}

/// `POST /v1beta/…:countTokens`. What else is asked for at such paths is answered before the router is asked, or unknown.
pub(super) async fn gemini(State(gateway): Shared, request: Request) -> Response {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    let below = path.strip_prefix("/v1beta/").or_else(|| path.strip_prefix("/v1/")).and_then(parse_path);
    let dialect = |model: &str| Dialect::Gemini { model: model.to_owned(), stream: false, framing: Framing::Sse };
    match below {
        Some((model, Action::CountTokens)) => answer(&gateway, &dialect(model), request).await,
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

async fn answer(gateway: &Gateway, dialect: &Dialect, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // A drain waits for it.
    let _running = gateway.lifecycle.begin();
    match Box::pin(steps(gateway, dialect, &head, body)).await {
        Ok(response) => response,
        Err(error) => refuse_in(error, dialect, &head.headers),
    }
}

async fn steps(
    gateway: &Gateway,
    dialect: &Dialect,
    head: &Parts,
    body: axum::body::Body,
) -> Result<Response, GatewayError> {
    accepting(gateway)?;
    let index = Guard::into_inner(gateway.snapshot.load());
    let caller = admit(&index, gateway.access, &head.headers, head.uri.query(), gateway.clock.now())?;
    let limits = BodyLimits {
        max_bytes: caller.max_body_bytes(index.settings().max_body_bytes),
        silence: gateway.limits.client_timeout,
    };
    let memory = gateway.memory.of(&caller);
    let mut body = body::read(body, None, limits, &memory).await?;
    if coding::is_packed(&head.headers) {
        body = coding::unpacked(&head.headers, body, limits.max_bytes, &memory).await?;
    }
    if let Dialect::Responses = dialect {
        let scan = scanned(dialect, &body)?;
        // What it goes on from counts too.
        let begun = responses::begin(gateway, &caller, index.settings(), (&body, &scan), limits.max_bytes).await?;
        body = begun.body.unwrap_or(body);
    }
    let scan = scanned(dialect, &body)?;
    let plan = resolve(&index, &caller, named_model(dialect, &scan)?)?;
    let asked = Asked { dialect, headers: &head.headers, body: &body, scan: &scan };
    let counted = count(gateway, &plan, asked).await?;
    let mut response = json_response(counted.encode(dialect));
    let headers = response.headers_mut();
    headers.insert(X_OMNIROUTE_TOKEN_COUNT, counted.source.header());
    if let Ok(model) = HeaderValue::from_str(plan.model()) {
        headers.insert(X_OMNIROUTE_MODEL, model);
    }
    if let Some(entry) = plan.candidates().next() {
        headers.insert(X_OMNIROUTE_PROVIDER, entry.shown.clone());
    }
    Ok(response)
}
