//! Everything but the model calls: the table of paths, health, metrics, the control plane's paths, and what does not exist.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_telemetry::MetricsReport;
use omniroute_wire::translate::Dialect;
use serde_json::json;

use super::{
    Stages, base_url, model_lists, ollama, responses,
    route::{MODEL_MANAGEMENT, dialect_of_path},
    token_counts, websocket,
};
use crate::{
    lifecycle::Phase,
    metrics::{self, Levels},
    reply::refusal::{Refusal, error_response},
    request::RequestId,
};

pub(super) type Shared = State<Arc<Stages>>;

/// The routes. Those of the control plane exist only where it is configured.
pub(super) fn router(stages: &Arc<Stages>) -> Router {
    let mut router = Router::new()
        .route("/", get(root))
        .route("/v1/models", get(model_lists::list))
        .route("/v1/models/{*id}", get(model_lists::one).post(token_counts::gemini).fallback(of_model))
        .route("/v1beta/models", get(model_lists::gemini))
        .route("/v1beta/models/{*id}", get(model_lists::gemini_one).post(token_counts::gemini).fallback(of_model))
        .route("/v1beta/{*rest}", post(token_counts::gemini).fallback(action_or_unknown))
        .route("/v1/messages/count_tokens", post(token_counts::messages).fallback(post_only))
        // The POST of these is answered before the router is asked.
        .route("/v1/embeddings", get(model_lists::embeddings).fallback(get_or_post))
        .route("/v1/images/generations", get(model_lists::images).fallback(get_or_post))
        .route("/v1/chat/completions", any(post_only))
        .route("/v1/completions", any(post_only))
        .route("/v1/messages", any(post_only))
        .route("/v1/responses", any(post_only))
        .route("/v1/responses/input_tokens", post(token_counts::responses).fallback(post_only))
        .route("/v1/responses/compact", any(post_only))
        .route("/v1/responses/{id}", get(responses::show).delete(responses::delete).fallback(get_or_delete))
        .route("/v1/responses/{id}/input_items", get(responses::input_items))
        .route("/v1/ws", get(websocket::open))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .fallback(unknown_path);
    for prefix in ["/api", "/v1/api"] {
        let path = |name: &str| format!("{prefix}/{name}");
        router = router
            .route(&path("tags"), get(ollama::tags))
            .route(&path("show"), post(ollama::show).fallback(post_only))
            .route(&path("version"), get(ollama::version))
            .route(&path("ps"), get(ollama::running))
            .route(&path("chat"), any(post_only))
            .route(&path("generate"), any(post_only))
            .route(&path("embed"), any(post_only))
            .route(&path("embeddings"), any(post_only));
        for name in MODEL_MANAGEMENT {
            router = router.route(&path(name), any(ollama::manages_no_models));
        }
        router = router.route(&path("blobs/{digest}"), any(ollama::manages_no_models));
    }
    // It holds for the routes that are there by now.
    router = router.method_not_allowed_fallback(get_only);
    if stages.control_plane_proxy.is_some() {
        for tree in ["/api", "/dashboard"] {
            for path in [tree.to_owned(), format!("{tree}/"), format!("{tree}/{{*rest}}")] {
                router = router.route(&path, any(forward));
            }
        }
        router = router.route("/a2a", any(forward)).route("/.well-known/agent.json", any(forward));
    }
    router.with_state(Arc::clone(stages))
}

/// People look here for the dashboard; Ollama's client and load balancers only want to know whether somebody is there.
async fn root(State(stages): Shared, headers: HeaderMap) -> Response {
    let is_person = headers.get(header::ACCEPT).is_some_and(|kinds| kinds.as_bytes().starts_with(b"text/html"));
    if is_person && stages.control_plane_proxy.is_some() {
        return Redirect::temporary("/dashboard").into_response();
    }
    "OmniRoute is running\n".into_response()
}

// === health ===

async fn healthz() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

async fn readyz(State(stages): Shared) -> Response {
    let draining = stages.lifecycle.phase() != Phase::Serving;
    let (status, word) = match (draining, stages.snapshot.ready()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "waiting for configuration"),
        (false, true) => (StatusCode::OK, "ready"),
    };
    let revision = stages.snapshot.load().revision();
    let body = json!({"status": word, "revision": revision, "stale": stages.snapshot.stale()});
    (status, axum::Json(body)).into_response()
}

async fn prometheus(State(stages): Shared) -> Response {
    metrics::report(&Levels {
        requests: stages.lifecycle.requests_in_flight(),
        streams: stages.lifecycle.streams_in_flight(),
        connections: stages.lifecycle.connections(),
        body_memory: stages.admission.memory().held(),
        cooldowns: stages.health.cooldowns().len() as u64,
    });
    ([(header::CONTENT_TYPE, MetricsReport::CONTENT_TYPE)], stages.report.render()).into_response()
}

// === the control plane's ===

async fn forward(State(stages): Shared, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> Response {
    let headers = request.headers().clone();
    let Some(control_plane_proxy) = &stages.control_plane_proxy else {
        return unknown_path(request).await;
    };
    match control_plane_proxy.forward(request, peer.ip()).await {
        Ok(response) => response,
        Err(error) => refuse(error, "/api", &headers),
    }
}

// === what does not exist ===

async fn unknown_path(request: Request) -> Response {
    let error = GatewayError::new(ErrorClass::NotFound, "unknown_path", "there is nothing at this path");
    let error = match base_url::hint(request.uri().path()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    refuse(error, request.uri().path(), request.headers())
}

async fn get_only(request: Request) -> Response {
    method_not_allowed(&request, HeaderValue::from_static("GET, HEAD"))
}

/// Of a model, whose name may be followed by what Gemini's clients want of it.
async fn of_model(request: Request) -> Response {
    if token_counts::is_action(request.uri().path()) { post_only(request).await } else { get_only(request).await }
}

async fn action_or_unknown(request: Request) -> Response {
    if token_counts::is_action(request.uri().path()) { post_only(request).await } else { unknown_path(request).await }
}

async fn post_only(request: Request) -> Response {
    if request.headers().get(header::UPGRADE).is_some_and(|wanted| wanted.as_bytes().eq_ignore_ascii_case(b"websocket"))
    {
        // Codex tries a WebSocket here first, and falls back at once when it is told that there is none.
        return no_websocket(&request);
    }
    method_not_allowed(&request, HeaderValue::from_static("POST"))
}

async fn get_or_delete(request: Request) -> Response {
    method_not_allowed(&request, HeaderValue::from_static("DELETE, GET, HEAD"))
}

async fn get_or_post(request: Request) -> Response {
    method_not_allowed(&request, HeaderValue::from_static("GET, HEAD, POST"))
}

fn no_websocket(request: &Request) -> Response {
    let error = GatewayError::new(
        ErrorClass::MethodNotAllowed,
        "websocket_unsupported",
        "this path speaks no WebSocket; send a POST",
    )
    .with_hint("`/v1/ws` carries requests of every dialect over one WebSocket");
    let mut response = refuse(error, request.uri().path(), request.headers());
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

fn method_not_allowed(request: &Request, allowed: HeaderValue) -> Response {
    let error = GatewayError::new(
        ErrorClass::MethodNotAllowed,
        "method_not_allowed",
        "this path does not take this method; see the `Allow` header",
    );
    let mut response = refuse(error, request.uri().path(), request.headers());
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

/// Logs an error once and renders it, in the words of who calls such a path.
pub(super) fn refuse(error: GatewayError, path: &str, headers: &HeaderMap) -> Response {
    refuse_in(error, &dialect_of_path(path), headers)
}

/// Logs an error once and renders it in a dialect.
pub(super) fn refuse_in(error: GatewayError, dialect: &Dialect, headers: &HeaderMap) -> Response {
    let request_id = RequestId::of(headers);
    metrics::refused(error.code);
    let refusal = Refusal { error, connection: None };
    refusal.log(&request_id);
    error_response(&refusal.error, dialect, &request_id).map(Body::new)
}
