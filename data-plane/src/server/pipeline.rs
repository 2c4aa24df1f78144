//! The request pipeline: a model call, from its head to the beginning of its answer.
//!
//! [`steps`] calls the stages in order; none knows another. What is known of the request from its first moment travels as
//! [`Arrival`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header, request};
use http_body::Body;
use omniroute_core::error::GatewayError;
use omniroute_providers::Operation;
use omniroute_telemetry::{RequestSpan, genai, request_span};
use omniroute_wire::{
    gemini,
    responses::summary_request,
    scan::{RequestScan, ScanError, scan},
    translate::Dialect,
};
use tokio::time::Instant;

use super::{Stages, compaction, preload, refuse, route::Route};
use crate::{
    admit::Admitted,
    dispatch::{Call, ClientRequest},
    idempotency::{self, Lookup},
    reply::{Reply, headers::X_OMNIROUTE_PROGRESS, refusal::Refusal},
    request::{Arrival, RequestId, SessionId, X_OMNIROUTE_SESSION_ID, is_true, memory::Reservation, requested_timeout},
    resolve::resolve,
    respond::{
        ModelNames,
        early_head::{self, WaitSignal},
    },
};

/// Answers one request, however its body comes. `paid` is the memory that the body has already been given. `sign` is told when
/// the upstream is waited for.
pub(super) async fn serve<B>(
    stages: Arc<Stages>,
    route: Route,
    request: Request<B>,
    paid: Option<Reservation>,
    sign: Option<Arc<WaitSignal>>,
) -> Response<Reply>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let (head, mut body) = request.into_parts();
    let operation = route.operation;
    let request_id = RequestId::of(&head.headers);
    let arrival = Arrival {
        operation,
        request_id: request_id.clone(),
        started: Instant::now(),
        at: stages.clock.now(),
        in_flight: stages.lifecycle.begin(),
        span: span(operation, &request_id, &head.headers),
    };
    let span = arrival.span.clone();
    match steps(&stages, arrival, &route, &head, &mut body, (paid, sign.as_deref())).await {
        Ok(response) => response,
        Err(refusal) => {
            span.record(genai::ERROR_TYPE, refusal.error.code);
            span.record(genai::HTTP_RESPONSE_STATUS_CODE, refusal.error.class.status());
            if refusal.connection.is_none() {
                stages.sinks.refused(operation, &refusal.error);
            }
            if sign.is_some_and(|sign| sign.has_begun()) {
                return early_head::refused(&refusal, &route.dialect, &request_id);
            }
            let is_waiting = head.headers.contains_key(header::EXPECT);
            refuse::refuse(&refusal, &route.dialect, &request_id, (!is_waiting).then_some(body))
        }
    }
}

async fn steps<B>(
    stages: &Stages,
    arrival: Arrival,
    route: &Route,
    head: &request::Parts,
    incoming: &mut B,
    (paid, sign): (Option<Reservation>, Option<&WaitSignal>),
) -> Result<Response<Reply>, Box<Refusal>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Admitted { snapshot, caller } = stages.admission.admit(&head.headers, head.uri.query(), arrival.at)?;
    let settings = snapshot.settings();
    let body = stages.admission.read_body(&head.headers, incoming, paid, &caller, settings).await?;
    let session = SessionId::of(&head.headers)?;
    let claimed = match idempotency::name(&stages.idempotency, &head.headers)? {
        Some(name) => {
            match Box::pin(idempotency::look_up(&stages.idempotency, name, head, &caller, settings, &body)).await? {
                Lookup::Miss(claimed) => Some(claimed),
                Lookup::Bypass => None,
                Lookup::Replay(response) => return Ok(response),
            }
        }
        None => None,
    };
    let received = body;
    // Of what is sent on: read again only where that is something else than what came.
    let mut scan = scanned(&route.dialect, &received)?;
    let stored = match route.dialect {
        Dialect::Responses => {
            let max_bytes = caller.max_body_bytes(settings.max_body_bytes);
            let continued = stages.responses.continue_from(&caller, settings, (&received, &scan), max_bytes);
            // A large future that other dialects do not pay for.
            Some(Box::pin(continued).await?)
        }
        _ => None,
    };
    let expanded = stored.as_ref().and_then(|stored| stored.body.clone());
    // What the client wants made shorter, beside the request for a summary that stands for it where no upstream does that.
    let whole = route.compacts.then(|| expanded.as_ref().unwrap_or(&received).clone());
    let replaced = match &whole {
        Some(whole) => Some(Bytes::from(summary_request(whole).map_err(GatewayError::from)?)),
        None => expanded,
    };
    if let Some(replaced) = &replaced {
        scan = scanned(&route.dialect, replaced)?;
    }
    let body = replaced.as_ref().unwrap_or(&received).clone();
    let requested = route.model(named_model(&route.dialect, &scan)?, &snapshot)?;
    let plan = resolve(&snapshot, &caller, &requested)?;
    if arrival.operation == Operation::Chat
        && let Some(answer) = preload::answer(&route.dialect, &body, &requested, &arrival.request_id, arrival.at)
    {
        return Ok(answer);
    }
    let stream = wants_stream(route, &scan);
    let progress = stream && head.headers.get(X_OMNIROUTE_PROGRESS).is_some_and(is_true);
    let call = Call {
        caller: &caller,
        request: ClientRequest {
            operation: arrival.operation,
            dialect: &route.dialect,
            head,
            body,
            scan: &scan,
            stream,
            embed: route.embed.clone(),
            at: arrival.at,
            pepper: &settings.pepper,
            scope: caller.scope(),
            previous: stored.as_ref().and_then(|stored| stored.previous.as_deref()),
            is_kept: !route.compacts && stored.as_ref().is_some_and(|stored| stored.capture.is_some()),
            compacted: whole.as_ref(),
        },
        session: session.as_ref(),
        max_attempts: settings.max_attempts,
        times: stages.limits.times.overridden(&settings.timeouts),
        requested_timeout: requested_timeout(&head.headers)?,
        first_byte: match arrival.operation {
            Operation::Images => stages.limits.image_first_byte,
            _ => Duration::ZERO,
        },
    };
    if let Some(sign) = sign.filter(|_| stream) {
        sign.waits(&arrival.request_id, arrival.started + call.longest(&plan));
    }
    let committed = stages.dispatcher.dispatch(arrival, &plan, &call).await?;
    let previous = stored.as_ref().and_then(|stored| stored.previous.as_deref()).filter(|_| !route.compacts);
    let named = ModelNames { requested: plan.requested(), model: plan.model(), previous };
    let is_summary = route.compacts && !committed.mode.is_passthrough();
    let (mut response, pace) = stages.responder.begin(committed, named).await;
    if is_summary {
        response = Box::pin(compaction::told(response)).await?;
    }
    if let Some(session) = session {
        response.headers_mut().insert(X_OMNIROUTE_SESSION_ID, session.header());
    }
    if let Some(capture) = stored.and_then(|stored| stored.capture).filter(|_| !route.compacts) {
        response = capture.observe(response);
    }
    // Whoever gets the answer again finds it stored.
    if let Some(claimed) = claimed {
        response = claimed.watch(response);
    }
    Ok(match pace.filter(|_| progress) {
        Some(pace) => pace.tell(response),
        None => response,
    })
}

pub(super) fn scanned<'b>(dialect: &Dialect, body: &'b Bytes) -> Result<RequestScan<'b>, GatewayError> {
    let scanned = match dialect {
        Dialect::Gemini { .. } => gemini::scan_body(body),
        _ => scan(body),
    };
    scanned.map_err(|error| malformed(&error))
}

fn wants_stream(route: &Route, scan: &RequestScan<'_>) -> bool {
    if !matches!(route.operation, Operation::Chat | Operation::Images) || route.compacts {
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
