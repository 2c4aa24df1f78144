//! From a plan to an answer: tries one target after another until one begins to answer.
//!
//! [`plan`] says in which order targets are tried, and why; [`acquire`] takes a place at the next one that can be used. An
//! [`attempt`] is one target and one connection: it sends what [`upstream_payload`] (or [`embeddings`]) made of the client's
//! request and [`upstream_request`] put a head on, for as long as [`first_byte_timeout`] lets it, and
//! [`response_validation`] judges what comes. The [`outcome`] of one that failed says what becomes of the connection, and what
//! is tried next. [`mod@media`] fetches what a target cannot. All of it ends with the first byte: once an answer has begun,
//! there is no other target to fall back to.

mod acquire;
mod attempt;
mod embeddings;
mod first_byte_timeout;
mod media;
mod outcome;
mod plan;
mod response_validation;
mod upstream_payload;
mod upstream_request;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use omniroute_core::{error::GatewayError, time::Clock};
use omniroute_credentials::Keeper;
use omniroute_providers::Token;
use tokio::time::Instant;

pub(crate) use self::upstream_payload::{ClientRequest, Translator};
use self::{
    acquire::{Acquired, Acquisition},
    attempt::{Attempt, Requests},
    first_byte_timeout::FirstByteTimeout,
    outcome::{FailedAttempt, Retries, SameTarget, refused},
    plan::Targets,
    upstream_payload::UpstreamPayload,
    upstream_request::Proof,
};
use crate::{
    answer::{Dispatched, TranslationMode},
    health::Health,
    media::FetchedMedia,
    meter::{Meter, Recording, Sent},
    reply::refusal::Refusal,
    request::{Arrival, Caller, Plan, Segmented, SessionId, Target, TimeLimits},
    upstream_client::UpstreamClient,
};

/// Sends requests to upstreams.
pub(crate) struct Dispatcher {
    client: UpstreamClient<Segmented>,
    keeper: Keeper,
    translator: Translator,
    health: Arc<Health>,
    recording: Arc<Recording>,
    clock: Arc<dyn Clock>,
}

/// What is to be sent.
pub(crate) struct Call<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) request: ClientRequest<'a>,
    /// What the request belongs to; it prefers the connection that the session went to before.
    pub(crate) session: Option<&'a SessionId>,
    pub(crate) max_attempts: u32,
    /// The fleet's limits over this process's.
    pub(crate) times: TimeLimits,
    /// What the client gives the request.
    pub(crate) requested_timeout: Option<Duration>,
    /// The first byte is waited for at least so long, whatever a connection says.
    pub(crate) first_byte: Duration,
}

// === impl Call ===

impl Call<'_> {
    /// The limits at a target, but for the client's own.
    fn own_times(&self, target: &Target<'_>) -> TimeLimits {
        self.times.overridden(target.entry.upstream.timeouts()).with_first_byte(self.first_byte)
    }

    fn times(&self, target: &Target<'_>) -> TimeLimits {
        self.own_times(target).within(self.requested_timeout)
    }
}

// === impl Dispatcher ===

impl Dispatcher {
    pub(crate) fn new(
        client: UpstreamClient<Segmented>,
        keeper: Keeper,
        translator: Translator,
        health: Arc<Health>,
        recording: Arc<Recording>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { client, keeper, translator, health, recording, clock }
    }

    /// Brings the beginning of an answer from one of the plan's targets.
    ///
    /// # Errors
    /// With what the client is told when none of them gives one. Dropping the future cancels the upstream request and
    /// records that the client left.
    pub(crate) async fn dispatch(
        &self,
        arrival: Arrival,
        plan: &Plan,
        call: &Call<'_>,
    ) -> Result<Dispatched, Box<Refusal>> {
        let request = &call.request;
        let targets = Targets::of(plan, call.session);
        let mut acquired = match self.try_acquire(&targets, &[]) {
            Acquisition::Acquired(acquired) => acquired,
            // Rare, and a large future: kept out of this one.
            _ => Box::pin(self.acquire(&targets, &[])).await?,
        };
        let mut fetched = FetchedMedia::new();
        if request.may_need_media(&acquired.target) {
            acquired = Box::pin(self.fetch_media(request, &targets, &[], acquired, &mut fetched)).await?;
        }
        let Acquired { mut index, mut target, permit } = acquired;
        let mut timeout = FirstByteTimeout::new(arrival.started, &call.times(&target), target.model, &request.body);
        // A request that cannot be written for its upstream fails here, before anything is spent.
        let mut payload = request.payload(&self.translator, target, &fetched).await?;
        let sent = Sent {
            caller: call.caller,
            path: request.head.uri.path(),
            dialect: request.dialect,
            stream: request.stream,
            body: &request.body,
            asked_in: request.format_name_at(&target.entry.upstream, target.model),
        };
        let (mut meter, unwritten) = Meter::open(&self.recording, arrival, sent, &target, permit);
        if let Some(unwritten) = unwritten {
            unwritten.written(meter.is_alone()).await;
        }
        let mut retries = Retries::new(call.max_attempts);
        let mut tried = Vec::new();
        let mut has_new_token = false;
        loop {
            let times = call.times(&target);
            let token = match target.entry.upstream.grant() {
                // A large future that few connections need.
                Some(grant) => Box::pin(self.keeper.token(grant)).await.map(Some),
                None => Ok(None),
            };
            let requests = match &token {
                Ok(token) => match self.requests(request, &target, &payload, token.as_ref()) {
                    Ok(requests) => Ok(requests),
                    Err(error) => return Err(refused(&mut meter, error)),
                },
                Err(error) => Err(FailedAttempt::without_token(error)),
            };
            meter.attempt();
            let begun = Instant::now();
            let attempt = Attempt {
                client: &self.client,
                meter: &meter,
                request,
                target,
                mode: &payload.mode,
                times: &times,
                begun,
                heard: AtomicBool::new(false),
            };
            let attempted = match requests {
                Ok(requests) => attempt.run(requests, &mut timeout).await,
                Err(failed) => Err(failed),
            };
            let failed = match attempted {
                Ok(mut answer) => {
                    meter.answered(answer.head.status.as_u16(), begun.elapsed());
                    let mode = answer.reshaped.take().map_or(payload.mode, TranslationMode::Translate);
                    return Ok(Dispatched { answer, meter, times, mode });
                }
                Err(failed) => failed,
            };
            if !has_new_token
                && let (Some(grant), Ok(Some(token))) = (target.entry.upstream.grant(), &token)
                && failed.refuses(token)
                && self.keeper.refused(grant, token)
            {
                // It was revoked before its end: once more, with another.
                has_new_token = true;
                continue;
            }
            // The client's time may be over before the provider's: that says nothing of the provider.
            let is_ours = failed.is_late() && !timeout.is_over(&call.own_times(&target));
            let again = retries.same_target(&failed, timeout.is_left());
            if !is_ours && again != Some(SameTarget::Resend) {
                meter.provider().failed(failed.failure.class);
            }
            if again.is_some() {
                continue;
            }
            // Large futures that hardly any request needs.
            if retries.without_signatures(&failed, timeout.is_left()) {
                let unsigned = request.unsigned(&self.translator, target, &fetched, &payload.mode, &failed.failure);
                if let Some(unsigned) = Box::pin(unsigned).await {
                    payload = unsigned;
                    continue;
                }
            }
            if request.compacted.is_some() && failed.has_no_call() {
                // A host of Responses that compacts nothing: the same target is asked for a summary.
                let summary = request.summarized(&self.translator, target, &fetched, &payload.mode);
                if let Some(summary) = Box::pin(summary).await {
                    payload = summary;
                    continue;
                }
            }
            if !is_ours {
                failed.note(&self.health, &target).await;
            }
            tried.push(index);
            let next = if retries.fall_back(&failed, timeout.is_left()) {
                self.try_acquire(&targets, &tried)
            } else {
                Acquisition::Exhausted
            };
            let Acquisition::Acquired(mut next) = next else {
                return Err(failed.give_up(&mut meter, &payload.mode));
            };
            if request.may_need_media(&next.target) {
                meter.leave();
                next = match Box::pin(self.fetch_media(request, &targets, &tried, next, &mut fetched)).await {
                    Ok(next) => next,
                    Err(error) => return Err(refused(&mut meter, error)),
                };
            }
            tracing::debug!(
                request_id = %meter.request_id(),
                connection = target.entry.id.as_str(),
                code = failed.failure.code(),
                next = next.target.entry.id.as_str(),
                because = next.target.reason.as_str(),
                "falling back"
            );
            let is_written = request.is_written_alike(&target, &next.target);
            (index, target) = (next.index, next.target);
            let asked_in = request.format_name_at(&target.entry.upstream, target.model);
            meter.switch_to(target.entry, next.permit, asked_in);
            if !is_written {
                payload = match request.payload(&self.translator, target, &fetched).await {
                    Ok(payload) => payload,
                    Err(error) => return Err(refused(&mut meter, error)),
                };
            }
        }
    }

    fn requests(
        &self,
        request: &ClientRequest<'_>,
        target: &Target<'_>,
        payload: &UpstreamPayload,
        token: Option<&Token>,
    ) -> Result<Requests, GatewayError> {
        let upstream = &target.entry.upstream;
        let proof = Proof { token, clock: &*self.clock };
        let first = upstream_request::build(upstream, request, payload, target.model, proof)?;
        let more = upstream_request::build_more(upstream, request, payload, target.model, proof)?;
        Ok((Box::new(first), more))
    }
}
