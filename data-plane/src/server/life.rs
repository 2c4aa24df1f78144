//! The life of a model request, from its head to the beginning of its answer.
//!
//! Each line of [`steps`] is a room of its own; what is known of the request from its first moment travels as
//! [`Arrival`].

use std::{sync::Arc, time::Duration};

use arc_swap::Guard;
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

use super::{Gateway, compact, preload, refuse, route::Route, service::accepting};
use crate::{
    admit::{
        admit,
        body::{self, BodyLimits},
        coding,
        memory::Reserved,
        request_id::RequestId,
        session::{SessionId, X_OMNIROUTE_SESSION_ID},
    },
    dispatch::{Asked, Call, dispatch, outgoing::is_true, times::asked_time},
    resolve::resolve,
    respond::{
        self, Named, Reply,
        early::{self, SignOfLife},
        head::X_OMNIROUTE_PROGRESS,
        meter::Arrival,
        refusal::Refusal,
    },
    state::{
        self,
        idempotency::{self, Start},
        responses,
    },
};

/// Answers one request, however its body comes. `paid` is the memory that the body has already been given. `sign` is told when
/// the upstream is waited for.
pub(super) async fn serve<B>(
    gateway: Arc<Gateway>,
    route: Route,
    request: Request<B>,
    paid: Option<Reserved>,
    sign: Option<Arc<SignOfLife>>,
) -> Response<Reply>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let (head, mut body) = request.into_parts();
    let operation = route.operation;
    let request_id = RequestId::of(&head.headers);
    let arrival = Arrival {
        gateway: Arc::clone(&gateway),
        operation,
        request_id: request_id.clone(),
        started: Instant::now(),
        at: gateway.clock.now(),
        running: gateway.lifecycle.begin(),
        sign: sign.clone(),
        span: span(operation, &request_id, &head.headers),
    };
    let span = arrival.span.clone();
    match steps(arrival, &route, &head, &mut body, paid).await {
        Ok(response) => response,
        Err(refusal) => {
            span.record(genai::ERROR_TYPE, refusal.error.code);
            span.record(genai::HTTP_RESPONSE_STATUS_CODE, refusal.error.class.status());
            if refusal.connection.is_none() {
                gateway.metrics.operation(operation).refused(&refusal.error);
            }
            if sign.is_some_and(|sign| sign.has_begun()) {
                return early::refused(&refusal, &route.dialect, &request_id);
            }
            let is_waiting = head.headers.contains_key(header::EXPECT);
            refuse::refuse(&refusal, &route.dialect, &request_id, (!is_waiting).then_some(body))
        }
    }
}

async fn steps<B>(
    arrival: Arrival,
    route: &Route,
    head: &request::Parts,
    incoming: &mut B,
    paid: Option<Reserved>,
) -> Result<Response<Reply>, Box<Refusal>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let gateway = Arc::clone(&arrival.gateway);
    accepting(&gateway)?;
    let index = Guard::into_inner(gateway.snapshot.load());
    let caller = admit(&index, gateway.access, &head.headers, head.uri.query(), arrival.at)?;
    let settings = index.settings();
    let limits = BodyLimits {
        max_bytes: caller.max_body_bytes(settings.max_body_bytes),
        silence: gateway.limits.client_timeout,
    };
    let memory = gateway.memory.of(&caller);
    let mut body = body::read(incoming, paid, limits, &memory).await.map_err(GatewayError::from)?;
    if coding::is_packed(&head.headers) {
        body = Box::pin(coding::unpacked(&head.headers, body, limits.max_bytes, &memory)).await?;
    }
    let session = SessionId::of(&head.headers)?;
    let claimed = match idempotency::name(&gateway, &head.headers)? {
        Some(name) => match Box::pin(idempotency::begin(&gateway, name, head, &caller, settings, &body)).await? {
            Start::First(claimed) => Some(claimed),
            Start::Alone => None,
            Start::Again(response) => return Ok(response),
        },
        None => None,
    };
    let received = body;
    // Of what is sent on: read again only where that is something else than what came.
    let mut scan = scanned(&route.dialect, &received)?;
    let stored = match route.dialect {
        Dialect::Responses => {
            let begin = responses::begin(&gateway, &caller, settings, (&received, &scan), limits.max_bytes);
            // A large future that other dialects do not pay for.
            Some(Box::pin(begin).await?)
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
    let requested = route.model(named_model(&route.dialect, &scan)?, &index)?;
    let plan = resolve(&index, &caller, &requested)?;
    if arrival.operation == Operation::Chat
        && let Some(answer) = preload::answer(&route.dialect, &body, &requested, &arrival.request_id, arrival.at)
    {
        return Ok(answer);
    }
    let stream = wants_stream(route, &scan);
    let progress = stream && head.headers.get(X_OMNIROUTE_PROGRESS).is_some_and(is_true);
    let call = Call {
        caller: &caller,
        asked: Asked {
            operation: arrival.operation,
            dialect: &route.dialect,
            head,
            body,
            scan: &scan,
            stream,
            embed: route.embed.clone(),
            at: arrival.at,
            clock: &*gateway.clock,
            pepper: &settings.pepper,
            scope: state::scope(&caller),
            previous: stored.as_ref().and_then(|stored| stored.previous.as_deref()),
            is_kept: !route.compacts && stored.as_ref().is_some_and(|stored| stored.keeper.is_some()),
            compacted: whole.as_ref(),
        },
        session: session.as_ref(),
        max_attempts: settings.max_attempts,
        times: gateway.limits.times.overridden(&settings.timeouts),
        asked_time: asked_time(&head.headers)?,
        first_byte: match arrival.operation {
            Operation::Images => gateway.limits.image_first_byte,
            _ => Duration::ZERO,
        },
    };
    if let Some(sign) = arrival.sign.as_ref().filter(|_| stream) {
        sign.waits(&arrival.request_id);
    }
    let dispatched = dispatch(arrival, &plan, &call).await?;
    let previous = stored.as_ref().and_then(|stored| stored.previous.as_deref()).filter(|_| !route.compacts);
    let named = Named { requested: plan.requested(), model: plan.model(), previous };
    let is_summary = route.compacts && !dispatched.way.is_passed();
    let (mut response, pace) = respond::begin(dispatched, named).await;
    if is_summary {
        response = Box::pin(compact::told(response)).await?;
    }
    if let Some(session) = session {
        response.headers_mut().insert(X_OMNIROUTE_SESSION_ID, session.header());
    }
    if let Some(keeper) = stored.and_then(|stored| stored.keeper).filter(|_| !route.compacts) {
        response = keeper.watch(response);
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
