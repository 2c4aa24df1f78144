//! What a handler takes out of a request: a validated JSON body, validated query parameters, segments of the path.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{header, request::Parts};
use serde_json::Value;

use super::{
    error::{ApiError, Code},
    fields::{Fields, FromFields},
};
use crate::store::records::Object;

/// Header that carries the id of a request, both ways.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// A client that sends its body slower than this is not waited for.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Id of the request: the caller's `x-request-id` when it is usable, else a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// A JSON object as body. Anything else is 400, 413 or 415.
pub struct Json<T>(pub T);

/// As [`Json`], where the body may be missing.
pub struct OptionalJson<T>(pub T);

/// Parameters of the query string, read like a body.
pub struct Query<T>(pub T);

/// Segments of the path.
pub struct Path<T>(pub T);

// === impl Json ===

impl<S: Send + Sync, T: FromFields> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = is_json(&request);
        let bytes = read(request).await?;
        if !is_json {
            return Err(ApiError::new(
                Code::UnsupportedContentType,
                "The body must be JSON, with `Content-Type: application/json`",
            ));
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: FromFields> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if request.headers().contains_key(header::CONTENT_TYPE) && !is_json(&request) {
            return Json::from_request(request, state).await.map(|Json(body)| Self(body));
        }
        let bytes = read(request).await?;
        let bytes = if bytes.iter().all(u8::is_ascii_whitespace) { Bytes::from_static(b"{}") } else { bytes };
        parse(&bytes).map(Self)
    }
}

fn is_json(request: &Request) -> bool {
    let Some(Ok(value)) = request.headers().get(header::CONTENT_TYPE).map(http::HeaderValue::to_str) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    let body = Bytes::from_request(request, &());
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Err(_) => Err(ApiError::new(Code::BodyTimeout, "The body did not arrive in time")),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE => {
            Err(ApiError::new(Code::BodyTooLarge, "The body is too large"))
        }
        Ok(Err(_)) => Err(ApiError::invalid_field("body", "The body broke off")),
    }
}

fn parse<T: FromFields>(bytes: &[u8]) -> Result<T, ApiError> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|_| ApiError::invalid_field("body", "Invalid JSON body"))?;
    let Value::Object(object) = value else {
        return Err(ApiError::invalid_field("body", "expected a JSON object"));
    };
    read_fields(object)
}

pub(super) fn read_fields<T: FromFields>(object: Object) -> Result<T, ApiError> {
    let mut fields = Fields::new(object);
    let body = T::read(&mut fields);
    fields.finish(body)
}

// === impl Query ===

impl<S: Send + Sync, T: FromFields> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let object = pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
        read_fields(object).map(Self)
    }
}

// === impl Path ===

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // A segment that is no UTF-8 names nothing that exists.
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(segments)| Self(segments))
            .map_err(|_| ApiError::not_found("Resource"))
    }
}
