//! `/api/openapi.json` and the page that shows it, both served from the program itself.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use super::{
    error::{ApiError, Code},
    openapi,
};

/// The page has inline styles and inlined images; scripts come from files only.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

pub(super) fn router(document: OpenApi) -> Router {
    let json: Bytes = openapi::render(document).into();
    let config = Arc::new(Config::new(["/api/openapi.json"]).try_it_out_enabled(true).with_credentials(true));
    Router::new()
        .route("/api/openapi.json", get(move || async move { document_json(json) }))
        .route("/api/docs", get(|| async { Redirect::permanent("/api/docs/") }))
        .route("/api/docs/", get(index).with_state(Arc::clone(&config)))
        .route("/api/docs/{*rest}", get(file).with_state(config))
}

fn document_json(json: Bytes) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}

async fn index(State(config): State<Arc<Config<'static>>>) -> Result<Response, ApiError> {
    serve("", config)
}

async fn file(State(config): State<Arc<Config<'static>>>, Path(path): Path<String>) -> Result<Response, ApiError> {
    serve(&path, config)
}

fn serve(path: &str, config: Arc<Config<'static>>) -> Result<Response, ApiError> {
    let found = utoipa_swagger_ui::serve(path, config).map_err(|error| ApiError::internal(&error))?;
    let file = found.ok_or_else(|| ApiError::new(Code::NotFound, "The API page has no such file"))?;
    let content_type = HeaderValue::from_str(&file.content_type).map_err(|error| ApiError::internal(&error))?;
    let mut response = (StatusCode::OK, Body::from(file.bytes.into_owned())).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
