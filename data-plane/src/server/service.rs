//! Where a request goes: model calls to [`pipeline`] without any detour, the rest to the router.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::ConnectInfo;
use futures_util::{FutureExt as _, future::Either};
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use omniroute_providers::Operation;
use tower::ServiceExt;

use super::{
    Shared, Stages, base_url, cors, pipeline, refuse,
    route::{Route, dialect_of_path},
};
use crate::{
    admit, metrics,
    reply::{Reply, refusal::Refusal},
    request::{RequestId, X_REQUEST_ID},
    respond::early_head::{self, WaitSignal},
};

/// Anthropic's clients send it, and look for a request's id under a name of their own.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Answers one request. Never fails: what goes wrong is an answer too. The future is small, since hyper moves it to its
/// place: what is large in it is on the heap.
pub(super) fn answer(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> impl Future<Output = Response<Reply>> + Send + use<> {
    base_url::mend(request.uri_mut());
    let from_page = cors::applies(&request);
    let is_anthropics =
        request.uri().path().starts_with("/v1/messages") || request.headers().contains_key(ANTHROPIC_VERSION);
    let answering = match Route::of(&request) {
        Some(route) => Either::Left(model_call(Arc::clone(&shared.stages), route, request)),
        None => Either::Right(Box::pin(route(Arc::clone(shared), peer, request))),
    };
    answering.map(move |mut response| {
        if is_anthropics && let Some(id) = response.headers().get(X_REQUEST_ID).cloned() {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        if from_page {
            cors::allow(response.headers_mut());
        }
        response
    })
}

fn model_call(
    stages: Arc<Stages>,
    route: Route,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Reply>> + Send {
    let (after, every) = (stages.limits.first_sign, stages.limits.keepalive);
    let sign = early_head::sign(&route.dialect).filter(|_| route.operation == Operation::Chat && !after.is_zero());
    let told = sign.map(|sign| (route.dialect.clone(), sign, Arc::<WaitSignal>::default()));
    let waiting = told.as_ref().map(|(.., waiting)| Arc::clone(waiting));
    // It may have to go on as the body of its own answer, and is gone once there is one.
    let answering = Box::pin(pipeline::serve(stages, route, request, None, waiting));
    match told {
        Some((dialect, sign, waiting)) => {
            Either::Left(early_head::answer_or_sign(answering, waiting, (dialect, sign), (after, every)))
        }
        None => Either::Right(answering),
    }
}

async fn route(shared: Arc<Shared>, peer: SocketAddr, request: Request<Incoming>) -> Response<Reply> {
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

/// The answer to a request that was cut before it had one.
pub(super) fn cut_off(path: &str, request_id: Option<HeaderValue>) -> Response<Reply> {
    let request_id = RequestId::of(&request_id.map(|id| (X_REQUEST_ID, id)).into_iter().collect());
    let error = admit::draining("this proxy is stopping, and the answer did not begin in time");
    metrics::refused(error.code);
    let refusal = Refusal { error, connection: None };
    refuse::refuse(&refusal, &dialect_of_path(path), &request_id, None::<axum::body::Body>)
}
