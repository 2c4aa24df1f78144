//! REST: everything under `/api`, the probes, the dashboard's files.
//!
//! A request passes, outside in: [`envelope`] (request id, the shape of errors, headers), CORS, panics made answers,
//! the limit on bodies, [`crate::auth::guard`], the router. Handlers take validated input ([`extract`], [`fields`]),
//! call one service and give its answer a shape; one file per resource, whose types are also its documentation.
//! [`openapi`] collects that into `/api/openapi.json`, and `/api/docs` shows it without the network.

mod dashboard;
mod docs;
mod envelope;
mod error;
mod extract;
mod fields;
mod init;
mod keys;
mod login;
mod master_key;
mod monitoring;
mod nodes;
mod openapi;
mod probes;
mod providers;
mod require_login;
mod server;
mod settings;
mod spelling;
mod usage;

#[cfg(test)]
mod tests;

use std::any::Any;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::{
    error::{ApiError, Code, Detail},
    extract::RequestId,
    fields::{Body, Edit, Fields},
    server::{Balancers, serve},
    spelling::nearest as nearest_name,
};
use crate::{auth, service::App};

/// The whole HTTP service of a control plane.
pub fn router(app: App) -> Router {
    // A router adds `Allow` outside of its layers, also to a 401 for a method that does not exist: taken off here.
    Router::new().fallback_service(routes(app)).layer(from_fn(envelope::allow_only_with_405))
}

fn routes(app: App) -> Router {
    let (api, document) = documented().split_for_parts();
    layered(api.merge(docs::router(document)).merge(dashboard::router()), app)
}

/// `routes` behind everything that a request passes before it reaches one.
fn layered(routes: Router<App>, app: App) -> Router {
    let body_limit = usize::try_from(app.settings.rest_max_body.0).unwrap_or(usize::MAX);
    let router = routes
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(App::clone(&app), auth::guard))
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(CatchPanicLayer::custom(panicked));
    let router = match cors(&app.allowed_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn(envelope::envelope)).with_state(app)
}

/// Every route that the document describes. There is no other way to add one under `/api`.
fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(init::init))
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(require_login::show, require_login::change))
        .routes(routes!(settings::show, settings::change))
        .routes(routes!(master_key::rotate))
        .routes(routes!(nodes::list, nodes::create))
        .routes(routes!(nodes::show, nodes::change, nodes::delete))
        .routes(routes!(providers::probes::validate_node))
        .routes(routes!(providers::list, providers::create))
        .routes(routes!(providers::show, providers::change, providers::delete))
        .routes(routes!(providers::probes::validate))
        .routes(routes!(providers::probes::test))
        .routes(routes!(providers::probes::models))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::show, keys::change, keys::delete))
        .routes(routes!(keys::reveal))
        .routes(routes!(keys::regenerate))
        .routes(routes!(usage::history))
        .routes(routes!(usage::logs))
        .routes(routes!(usage::request_logs))
        .routes(routes!(usage::request_log))
        .routes(routes!(usage::call_logs))
        .routes(routes!(usage::of_connection))
        .routes(routes!(monitoring::health))
        .routes(routes!(monitoring::drain))
        .routes(routes!(monitoring::resume))
        .routes(routes!(monitoring::resync))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
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

/// `None`: browsers let only our own pages in.
fn cors(allowed: &auth::origin::AllowedOrigins) -> Option<CorsLayer> {
    if allowed.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static(extract::REQUEST_ID)])
        .expose_headers([HeaderName::from_static(extract::REQUEST_ID), header::RETRY_AFTER]);
    if allowed.any() {
        return Some(layer.allow_origin(tower_http::cors::Any));
    }
    let allowed = allowed.clone();
    let predicate = move |origin: &HeaderValue, _: &http::request::Parts| allowed.allows(origin);
    Some(layer.allow_origin(AllowOrigin::predicate(predicate)).allow_credentials(true))
}
