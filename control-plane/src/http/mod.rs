//! REST, whatever its routes are: what every request passes and what every handler is written with.
//!
//! A request passes, outside in: [`envelope`] (request id, the shape of errors, headers), CORS, panics made answers,
//! the limit on bodies, the guard that [`service`] is given, the router. Handlers take validated input ([`extract`],
//! [`fields`]), call the rules of their area and give the answer a shape; the types are also its documentation.
//! [`openapi`] collects that into `/api/openapi.json`, and `/api/docs` shows it without the network. [`mod@serve`] is the
//! accept loop.

mod cors;
mod dashboard;
mod docs;
mod envelope;
mod error;
pub mod extract;
mod fields;
mod openapi;
mod serve;
pub mod shapes;
mod spelling;

use std::any::Any;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::from_fn,
    response::{IntoResponse as _, Response},
};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

pub use self::{
    cors::AllowedOrigins,
    error::{ApiError, Code, Detail, EditError, ErrorBody},
    extract::RequestId,
    fields::{Edit, Fields, FromFields, merged},
    openapi::{SESSION_COOKIE, Tag, document},
    serve::{ProxyProtocolTrust, serve},
    spelling::nearest,
};

/// What holds for every route.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub max_body: usize,
    /// Origins that browsers let in.
    pub allowed_origins: AllowedOrigins,
}

/// The whole HTTP service: the routes of `api`, its document and the pages, behind what `guard` puts before them.
pub fn service(api: OpenApiRouter, limits: &Limits, guard: impl FnOnce(Router) -> Router) -> Router {
    // A router adds `Allow` outside of its layers, also to a 401 for a method that does not exist: taken off here.
    let routes = layered(routes(api), limits, guard);
    Router::new().fallback_service(routes).layer(from_fn(envelope::allow_only_with_405))
}

/// The routes of `api`, those that show its document, and the dashboard's.
pub(crate) fn routes(api: OpenApiRouter) -> Router {
    let (api, document) = api.split_for_parts();
    api.merge(docs::router(document)).merge(dashboard::router())
}

/// `routes` behind everything that a request passes before it reaches one.
pub(crate) fn layered(routes: Router, limits: &Limits, guard: impl FnOnce(Router) -> Router) -> Router {
    let routes = routes.fallback(no_such_path).method_not_allowed_fallback(no_such_method);
    let router = guard(routes).layer(DefaultBodyLimit::max(limits.max_body)).layer(CatchPanicLayer::custom(panicked));
    let router = match limits.allowed_origins.cors() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn(envelope::envelope))
}

async fn no_such_path() -> ApiError {
    ApiError::new(Code::NotFound, "No such path; /api/docs lists those that exist")
}

async fn no_such_method() -> ApiError {
    ApiError::new(Code::MethodNotAllowed, "This path does not know that method; see the Allow header")
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<&str>().copied().or_else(|| cause.downcast_ref::<String>().map(String::as_str));
    ApiError::internal(&format_args!("a handler panicked: {}", text.unwrap_or("no message"))).into_response()
}
