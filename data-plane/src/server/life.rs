//! The life of a model request, from its head to the beginning of its answer.
//!
//! Each line of [`steps`] is a room of its own; what is known of the request from its first moment travels as
//! [`Arrival`].

use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use omniroute_core::error::GatewayError;
use omniroute_providers::Operation;
use omniroute_telemetry::{RequestSpan, genai, request_span};
use omniroute_wire::{
    openai::{renamed_body, upstream_body},
    scan::{RequestScan, ScanError, scan},
};
use tokio::time::Instant;

use super::{Gateway, refuse, service::accepting};
use crate::{
    admit::{
        Caller, admit,
        body::{self, BodyLimits},
        request_id::RequestId,
    },
    dispatch::{Call, Segmented, dispatch},
    resolve::{Plan, resolve},
    respond::{self, Reply, meter::Arrival, refusal::Refusal},
    snapshot::Index,
};

/// Answers one request.
pub(super) async fn serve(gateway: &Arc<Gateway>, operation: Operation, request: Request<Incoming>) -> Response<Reply> {
    let (head, mut body) = request.into_parts();
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
    match steps(arrival, &head.headers, &mut body).await {
        Ok(response) => response,
        Err(refusal) => {
            span.record(genai::ERROR_TYPE, refusal.error.code);
            span.record(genai::HTTP_RESPONSE_STATUS_CODE, refusal.error.class.status());
            if refusal.connection.is_none() {
                gateway.metrics.operation(operation).refused(&refusal.error);
            }
            let is_waiting = head.headers.contains_key(header::EXPECT);
            refuse::refuse(&refusal, &request_id, (!is_waiting).then_some(body))
        }
    }
}

async fn steps(
    arrival: Arrival,
    headers: &HeaderMap,
    incoming: &mut Incoming,
) -> Result<Response<Reply>, Box<Refusal>> {
    let gateway = Arc::clone(&arrival.gateway);
    accepting(&gateway)?;
    let index = Guard::into_inner(gateway.snapshot.load());
    let caller = admit(&index, gateway.access, headers, arrival.at)?;
    let limits = BodyLimits {
        max_bytes: caller.max_body_bytes(index.settings().max_body_bytes),
        silence: gateway.limits.client_timeout,
    };
    let body = body::read(incoming, limits, &gateway.memory).await.map_err(GatewayError::from)?;
    let (plan, call) = prepare(&gateway, &index, &caller, arrival.operation, headers, body)?;
    drop(index);
    let dispatched = dispatch(arrival, &plan, call).await?;
    Ok(respond::begin(dispatched, plan.model()).await)
}

/// Everything between the body and the upstream: what it says, where it goes, and how it is sent there.
fn prepare<'a>(
    gateway: &Gateway,
    index: &Arc<Index>,
    caller: &'a Caller,
    operation: Operation,
    headers: &'a HeaderMap,
    body: Bytes,
) -> Result<(Plan, Call<'a>), GatewayError> {
    let prompt_bytes = body.len() as u64;
    let original = body.clone();
    let scan = scan(&original).map_err(|error| malformed(&error))?;
    let plan = resolve(index, caller, named_model(&scan)?)?;
    let is_chat = operation == Operation::Chat;
    let (segments, hide_usage) = if is_chat {
        let upstream = upstream_body(body, &scan, plan.model());
        (upstream.segments, upstream.hide_usage)
    } else {
        (renamed_body(body, &scan, plan.model()), false)
    };
    let settings = index.settings();
    let call = Call {
        caller,
        headers,
        body: Segmented::new(segments),
        prompt_bytes,
        stream: is_chat && scan.stream.is_some_and(|stream| stream.value),
        hide_usage,
        max_attempts: settings.max_attempts,
        times: gateway.limits.times.overridden(&settings.timeouts),
    };
    Ok((plan, call))
}

fn named_model<'s>(scan: &'s RequestScan<'_>) -> Result<&'s str, GatewayError> {
    match &scan.model {
        Some(field) if !field.value.is_empty() => Ok(&field.value),
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
