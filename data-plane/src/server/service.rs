//! Where a request goes: model calls to [`life`] without any detour, the rest to the router.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::extract::ConnectInfo;
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use omniroute_core::error::{ErrorClass, GatewayError};
use tower::ServiceExt;

use super::{Gateway, Phase, Shared, cors, doubled, life, route::Route};
use crate::{
    admit::request_id::{RequestId, X_REQUEST_ID},
    respond::Reply,
};

/// Anthropic's clients send it, and look for a request's id under a name of their own.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(super) async fn answer(
    shared: Arc<Shared>,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    doubled::mend(request.uri_mut());
    let from_page = cors::applies(&request);
    let is_anthropics =
        request.uri().path().starts_with("/v1/messages") || request.headers().contains_key(ANTHROPIC_VERSION);
    let mut response = match Route::of(&request) {
        Some(route) => life::serve(&shared.gateway, route, request, None).await,
        // A large future that few requests need.
        None => Box::pin(route(&shared, peer, request)).await,
    };
    if is_anthropics && let Some(id) = response.headers().get(X_REQUEST_ID).cloned() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if from_page {
        cors::allow(response.headers_mut());
    }
    Ok(response)
}

async fn route(shared: &Shared, peer: SocketAddr, request: Request<Incoming>) -> Response<Reply> {
    if let Some(preflight) = cors::preflight(&request) {
        return preflight;
    }
    let request_id = RequestId::of(request.headers());
    let mut request = request.map(axum::body::Body::new);
    // So that whoever answers, or logs, uses the same one.
    request.headers_mut().insert(X_REQUEST_ID, request_id.header());
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = match shared.router.clone().oneshot(request).await {
        Ok(response) => response.map(Reply::routed),
        Err(never) => match never {},
    };
    response.headers_mut().entry(X_REQUEST_ID).or_insert(request_id.header());
    response
}

/// Whether model calls are taken at this moment.
///
/// # Errors
/// When the proxy has no configuration yet, or is on its way out.
pub(super) fn accepting(gateway: &Gateway) -> Result<(), GatewayError> {
    if gateway.lifecycle.phase() != Phase::Serving {
        return Err(GatewayError::new(ErrorClass::Overloaded, "draining", "this proxy takes no new requests")
            .with_hint("try again: another proxy will answer")
            .with_retry_after(Duration::from_secs(1)));
    }
    if !gateway.snapshot.ready() {
        return Err(GatewayError::new(ErrorClass::Overloaded, "not_ready", "this proxy has no configuration yet")
            .with_hint("it is waiting for the control plane")
            .with_retry_after(Duration::from_secs(1)));
    }
    Ok(())
}
