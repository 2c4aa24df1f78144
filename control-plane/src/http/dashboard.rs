//! The dashboard: static files under `control-plane/dashboard`, compiled in. They know only REST.

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use http::{HeaderValue, header};

use super::error::{ApiError, Code};

/// Nothing inline, nothing from elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// Name, type, content.
const FILES: [(&str, &str, &str); 3] = [
    ("index.html", "text/html; charset=utf-8", include_str!("../../dashboard/index.html")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("../../dashboard/app.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../dashboard/style.css")),
];

pub(super) fn router() -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/dashboard") }))
        .route("/dashboard", get(|| async { file("index.html") }))
        .route("/dashboard/", get(|| async { file("index.html") }))
        .route("/dashboard/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
}

fn file(name: &str) -> Result<Response, ApiError> {
    let Some((_, content_type, content)) = FILES.iter().find(|(known, _, _)| *known == name) else {
        return Err(ApiError::new(Code::NotFound, "The dashboard has no such file"));
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Asked again each time: an upgrade is seen at once.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, *content).into_response())
}
