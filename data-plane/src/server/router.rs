//! Everything but the model calls: lists, health, metrics, the control plane's paths, and what does not exist.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, Request, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_telemetry::MetricsReport;
use serde_json::{Value, json};

use super::{Gateway, Phase, route::dialect_of_path, service::accepting};
use crate::{
    admit::{Caller, admit, request_id::RequestId},
    metrics::{self, Levels},
    models,
    respond::refusal::{Refusal, error_response},
    snapshot::Index,
};

type Shared = State<Arc<Gateway>>;

/// The routes. Those of the control plane exist only where it is configured.
pub(super) fn router(gateway: &Arc<Gateway>) -> Router {
    let mut router = Router::new()
        .route("/v1/models", get(list_models))
        .route("/v1/models/{*id}", get(one_model))
        // The POST of these two is answered before the router is asked.
        .route("/v1/embeddings", get(list_embedding_models).fallback(get_or_post))
        .route("/v1/chat/completions", any(post_only))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .fallback(unknown_path)
        .method_not_allowed_fallback(get_only);
    if gateway.forwarder.is_some() {
        for tree in ["/api", "/dashboard"] {
            for path in [tree.to_owned(), format!("{tree}/"), format!("{tree}/{{*rest}}")] {
                router = router.route(&path, any(forward));
            }
        }
        router = router.route("/a2a", any(forward)).route("/.well-known/agent.json", any(forward));
    }
    router.with_state(Arc::clone(gateway))
}

// === lists ===

async fn list_models(State(gateway): Shared, headers: HeaderMap) -> Response {
    list(&gateway, &headers, |index, caller| Ok(models::list(index, caller, |_| true)))
}

async fn list_embedding_models(State(gateway): Shared, headers: HeaderMap) -> Response {
    list(&gateway, &headers, |index, caller| Ok(models::list(index, caller, |model| model.kind == "embedding")))
}

async fn one_model(State(gateway): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    list(&gateway, &headers, |index, caller| models::one(index, caller, &id))
}

/// Answers with what `look_up` makes of the configuration for this caller.
fn list(
    gateway: &Gateway,
    headers: &HeaderMap,
    look_up: impl FnOnce(&Index, &Caller) -> Result<Value, GatewayError>,
) -> Response {
    let index = gateway.snapshot.load();
    let found = accepting(gateway)
        .and_then(|()| admit(&index, gateway.access, headers, None, gateway.clock.now()))
        .and_then(|caller| look_up(&index, &caller));
    match found {
        Ok(list) => axum::Json(list).into_response(),
        Err(error) => refuse(error, "/v1/models", headers),
    }
}

// === health ===

async fn healthz() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

async fn readyz(State(gateway): Shared) -> Response {
    let draining = gateway.lifecycle.phase() != Phase::Serving;
    let (status, word) = match (draining, gateway.snapshot.ready()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "waiting for configuration"),
        (false, true) => (StatusCode::OK, "ready"),
    };
    let revision = gateway.snapshot.load().revision();
    let body = json!({"status": word, "revision": revision, "stale": gateway.snapshot.stale()});
    (status, axum::Json(body)).into_response()
}

async fn prometheus(State(gateway): Shared) -> Response {
    metrics::report(&Levels {
        requests: gateway.lifecycle.requests_in_flight(),
        streams: gateway.lifecycle.streams_in_flight(),
        connections: gateway.lifecycle.connections(),
        body_memory: gateway.memory.held(),
        cooldowns: gateway.coordination.cooldowns().len() as u64,
    });
    ([(header::CONTENT_TYPE, MetricsReport::CONTENT_TYPE)], gateway.report.render()).into_response()
}

// === the control plane's ===

async fn forward(State(gateway): Shared, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> Response {
    let headers = request.headers().clone();
    let Some(forwarder) = &gateway.forwarder else {
        return unknown_path(request).await;
    };
    match forwarder.forward(request, peer.ip()).await {
        Ok(response) => response,
        Err(error) => refuse(error, "/api", &headers),
    }
}

// === what does not exist ===

async fn unknown_path(request: Request) -> Response {
    let error = GatewayError::new(ErrorClass::NotFound, "unknown_path", "there is nothing at this path");
    refuse(error, request.uri().path(), request.headers())
}

async fn get_only(request: Request) -> Response {
    method_not_allowed(&request, HeaderValue::from_static("GET, HEAD"))
}

async fn post_only(request: Request) -> Response {
    method_not_allowed(&request, HeaderValue::from_static("POST"))
}

async fn get_or_post(request: Request) -> Response {
    method_not_allowed(&request, HeaderValue::from_static("GET, HEAD, POST"))
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
fn refuse(error: GatewayError, path: &str, headers: &HeaderMap) -> Response {
    let request_id = RequestId::of(headers);
    metrics::refused(error.code);
    let refusal = Refusal { error, connection: None };
    refusal.log(&request_id);
    error_response(&refusal.error, &dialect_of_path(path), &request_id).map(Body::new)
}
