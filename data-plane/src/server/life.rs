//! The life of a model request, from its head to the beginning of its answer.
//!
//! Each line of [`steps`] is a room of its own; what is known of the request from its first moment travels as
//! [`Arrival`].

use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header, request};
use hyper::body::Incoming;
use omniroute_core::error::GatewayError;
use omniroute_providers::Operation;
use omniroute_telemetry::{RequestSpan, genai, request_span};
use omniroute_wire::{
    gemini,
    scan::{RequestScan, ScanError, scan},
    translate::Dialect,
};
use tokio::time::Instant;

use super::{Gateway, preload, refuse, route::Route, service::accepting};
use crate::{
    admit::{
        admit,
        body::{self, BodyLimits},
        request_id::RequestId,
    },
    dispatch::{Asked, Call, dispatch, outgoing::is_true},
    resolve::resolve,
    respond::{self, Reply, head::X_OMNIROUTE_PROGRESS, meter::Arrival, refusal::Refusal},
};

/// Answers one request.
pub(super) async fn serve(gateway: &Arc<Gateway>, route: Route, request: Request<Incoming>) -> Response<Reply> {
    let (head, mut body) = request.into_parts();
    let operation = route.operation;
    let request_id = RequestId::of(&head.headers);
    let arrival = Arrival {
        gateway: Arc::clone(gateway),
        operation,
        request_id: request_id.clone(),
        started: Instant::now(),
        at: gateway.clock.now(),
        running: gateway.lifecycle.begin(),
        span: span(operation, &request_id, &head.headers),
    };
    let span = arrival.span.clone();
    match steps(arrival, &route, &head, &mut body).await {
        Ok(response) => response,
        Err(refusal) => {
            span.record(genai::ERROR_TYPE, refusal.error.code);
            span.record(genai::HTTP_RESPONSE_STATUS_CODE, refusal.error.class.status());
            if refusal.connection.is_none() {
                gateway.metrics.operation(operation).refused(&refusal.error);
            }
            let is_waiting = head.headers.contains_key(header::EXPECT);
            refuse::refuse(&refusal, &route.dialect, &request_id, (!is_waiting).then_some(body))
        }
    }
}

async fn steps(
    arrival: Arrival,
    route: &Route,
    head: &request::Parts,
    incoming: &mut Incoming,
) -> Result<Response<Reply>, Box<Refusal>> {
    let gateway = Arc::clone(&arrival.gateway);
    accepting(&gateway)?;
    let index = Guard::into_inner(gateway.snapshot.load());
    let caller = admit(&index, gateway.access, &head.headers, head.uri.query(), arrival.at)?;
    let settings = index.settings();
    let limits = BodyLimits {
        max_bytes: caller.max_body_bytes(settings.max_body_bytes),
        silence: gateway.limits.client_timeout,
    };
    let body = body::read(incoming, limits, &gateway.memory).await.map_err(GatewayError::from)?;
    let original = body.clone();
    let scan = scanned(&route.dialect, &original)?;
    let requested = route.model(named_model(&route.dialect, &scan)?, &index)?;
    let plan = resolve(&index, &caller, &requested)?;
    if let Some(answer) = preload::answer(&route.dialect, &original, &requested, &arrival.request_id, arrival.at) {
        return Ok(answer);
    }
    let stream = wants_stream(route, &scan);
    let progress = stream && head.headers.get(X_OMNIROUTE_PROGRESS).is_some_and(is_true);
    let call = Call {
        caller: &caller,
        asked: Asked {
            operation: arrival.operation,
            dialect: &route.dialect,
            headers: &head.headers,
            body,
            scan: &scan,
            stream,
            embed: route.embed.clone(),
            at: arrival.at,
            clock: &*gateway.clock,
            pepper: &settings.pepper,
        },
        max_attempts: settings.max_attempts,
        times: gateway.limits.times.overridden(&settings.timeouts),
    };
    let dispatched = dispatch(arrival, &plan, call).await?;
    Ok(respond::begin(dispatched, plan.model(), progress).await)
}

pub(super) fn scanned<'b>(dialect: &Dialect, body: &'b Bytes) -> Result<RequestScan<'b>, GatewayError> {
    let scanned = match dialect {
        Dialect::Gemini { .. } => gemini::scan_body(body),
        _ => scan(body),
    };
    scanned.map_err(|error| malformed(&error))
}

fn wants_stream(route: &Route, scan: &RequestScan<'_>) -> bool {
    if route.operation != Operation::Chat {
        return false;
    }
    match &route.dialect {
        Dialect::Gemini { stream, .. } => *stream,
        // Ollama's clients get a stream unless they decline it.
        Dialect::Ollama { .. } => scan.stream.as_ref().is_none_or(|stream| stream.value),
        _ => scan.stream.as_ref().is_some_and(|stream| stream.value),
    }
}

pub(super) fn named_model<'s>(dialect: &'s Dialect, scan: &'s RequestScan<'_>) -> Result<&'s str, GatewayError> {
    match (dialect, &scan.model) {
        (Dialect::Gemini { model, .. }, _) => Ok(model),
        (_, Some(field)) if !field.value.is_empty() => Ok(&field.value),
        _ => Err(GatewayError::bad_request("missing_model", "the field `model` is required")
            .with_param("model")
            .with_hint("GET /v1/models lists the models")),
    }
}

fn malformed(error: &ScanError) -> GatewayError {
    let refused = GatewayError::bad_request(error.code(), error.to_string());
    match error.param() {
        Some(field) => refused.with_param(field),
        None => refused,
    }
}

fn span(operation: Operation, request_id: &RequestId, headers: &HeaderMap) -> tracing::Span {
    let request = RequestSpan {
        operation: operation.as_str(),
        request_id: request_id.as_str(),
        traceparent: headers.get("traceparent").and_then(|value| value.to_str().ok()),
    };
    request_span(request, rand::random)
}
