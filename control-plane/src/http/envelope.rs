//! The outermost layer: gives each request its id, writes the body of errors, and sets the headers that every answer
//! carries.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use omniroute_telemetry::names;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    error::ApiError,
    extract::{REQUEST_ID, RequestId},
};

const MAX_ID: usize = 128;

/// Headers of every answer that does not set its own.
const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ),
];

pub(super) async fn envelope(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let span = tracing::info_span!("rest", request_id = %id, method = %request.method(), path = request.uri().path());
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).instrument(span).await;
    count(&method, route.as_ref().map(MatchedPath::as_str), &response, begun);
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = rendered(&error, &id, response);
    }
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), value);
    }
    response
}

/// Takes `Allow` off every other answer: it tells callers who are nobody which methods a path has.
pub(super) async fn allow_only_with_405(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().remove(header::ALLOW);
    }
    response
}

fn count(method: &Method, route: Option<&str>, response: &Response, begun: Instant) {
    // Paths and methods that nobody serves are made up by callers: they share one series.
    let route = route.unwrap_or("none").to_owned();
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let status = response.status().as_u16().to_string();
    metrics::counter!(names::REST_REQUESTS, "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!(names::REST_DURATION, "method" => method, "route" => route).record(begun.elapsed());
}

/// The answer with the body of `error`; status and headers stay.
fn rendered(error: &ApiError, id: &str, bare: Response) -> Response {
    let (mut parts, _) = bare.into_parts();
    let (json, body) = axum::Json(error.body(id)).into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(json.headers);
    Response::from_parts(parts, Body::new(body))
}

/// The caller's own id when it is one that can stand in a log line, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    match given {
        Some(id) if !id.is_empty() && id.len() <= MAX_ID && id.chars().all(fits) => id.into(),
        _ => Uuid::new_v4().to_string().into(),
    }
}
