//! From a plan to an answer: picks a connection, sends, judges the outcome, and falls back to the next.
//!
//! [`mod@pick`] chooses among the plan's connections, [`outgoing`], [`embeddings`] and [`request`] build what the upstream gets, [`mod@attempt`] sends it and
//! waits for the beginning of an answer, which [`opening`] judges, [`mod@media`] fetches what a target cannot, [`health`] decides how long a connection that failed is left alone,
//! [`slot`] keeps the limit on requests in flight, and [`patience`] how long the first byte is waited for. All of it ends with the first byte: once an answer has begun, there
//! is no other connection to fall back to.

mod attempt;
mod embeddings;
pub(crate) mod health;
mod media;
mod opening;
pub(crate) mod outgoing;
mod patience;
mod pick;
pub(crate) mod request;
pub(crate) mod slot;
pub(crate) mod times;

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use omniroute_core::error::GatewayError;
use omniroute_providers::{Failure, FailureClass};
use tokio::time::Instant;

pub(crate) use self::{attempt::failure_of, opening::Answer, outgoing::Asked, request::Segmented, times::Times};
use self::{
    attempt::{Failed, Trial, attempt},
    health::note,
    media::seated,
    outgoing::{Target, Way},
    patience::Patience,
    pick::{Order, PATIENCE, Pick, none_usable, pick},
    slot::Slot,
};
use crate::{
    admit::{Caller, session::SessionId},
    media::FetchedMedia,
    resolve::Plan,
    respond::{
        meter::{Arrival, Meter, Sent},
        refusal::Refusal,
    },
    server::Gateway,
    snapshot::ConnectionEntry,
};

/// Attempts at most, whatever the settings say.
const MAX_ATTEMPTS: u32 = 10;
/// A request that a provider has not begun with is sent anew this often: it costs nothing, and says nothing of the provider
/// but that it closes connections now and then.
const MAX_UNPROCESSED: u32 = 3;

/// What is to be sent.
pub(crate) struct Call<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) asked: Asked<'a>,
    /// What the request belongs to; it prefers the connection that the session went to before.
    pub(crate) session: Option<&'a SessionId>,
    pub(crate) max_attempts: u32,
    /// The fleet's limits over this process's.
    pub(crate) times: Times,
    /// What the client gives the request.
    pub(crate) asked_time: Option<Duration>,
    /// The first byte is waited for at least so long, whatever a connection says.
    pub(crate) first_byte: Duration,
}

/// An answer that has begun.
pub(crate) struct Dispatched {
    pub(crate) answer: Answer,
    pub(crate) meter: Box<Meter>,
    /// The limits of the connection that answers.
    pub(crate) times: Times,
    /// How the answer was read.
    pub(crate) way: Way,
}

/// Brings the beginning of an answer from one of the plan's connections.
///
/// # Errors
/// With what the client is told when none of them gives one. Dropping the future cancels the upstream request and
/// records that the client left.
pub(crate) async fn dispatch(arrival: Arrival, plan: &Plan, call: &Call<'_>) -> Result<Dispatched, Box<Refusal>> {
    let gateway = Arc::clone(&arrival.gateway);
    let asked = &call.asked;
    let order = Order::of(plan, call.session);
    let (mut index, mut entry, mut slot) = match pick(&order, &[], &*gateway.coordination, &gateway.freed) {
        Pick::Chosen(index, entry, slot) => (index, entry, slot),
        // Rare, and a large future: kept out of this one.
        _ => Box::pin(wait_for_one(&gateway, &order, &[])).await?,
    };
    let mut fetched = FetchedMedia::new();
    if asked.may_need_media(&entry.upstream, plan.model()) {
        let seat = seated(&gateway, asked, plan.model(), &order, &[], (index, entry, slot), &mut fetched);
        (index, entry, slot) = Box::pin(seat).await?;
    }
    let own_times = |entry: &ConnectionEntry| call.times.overridden(entry.upstream.timeouts()).patient(call.first_byte);
    let times_of = |entry: &ConnectionEntry| own_times(entry).asked(call.asked_time);
    let mut patience = Patience::new(arrival.started, &times_of(entry), plan.model(), &asked.body);
    // A request that cannot be written for its upstream fails here, before anything is spent.
    let mut outgoing = asked.outgoing(&gateway, target(entry, plan, &fetched)).await?;
    let sent = Sent {
        path: asked.head.uri.path(),
        dialect: asked.dialect,
        stream: asked.stream,
        body: &asked.body,
        asked_in: asked.format_name_at(&entry.upstream, plan.model()),
    };
    let (mut meter, unwritten) = Meter::open(arrival, plan, call.caller, entry, slot, sent);
    if let Some(unwritten) = unwritten {
        unwritten.written(meter.is_alone()).await;
    }
    let mut budget = call.max_attempts.clamp(1, MAX_ATTEMPTS);
    let mut tried = Vec::new();
    let mut repeated = false;
    let mut unprocessed = 0;
    let mut unsigned = false;
    loop {
        let times = times_of(entry);
        let requests = request::build(&entry.upstream, asked, &outgoing, plan.model()).and_then(|first| {
            Ok((Box::new(first), request::build_more(&entry.upstream, asked, &outgoing, plan.model())?))
        });
        let requests = match requests {
            Ok(requests) => requests,
            Err(error) => return Err(refused(&mut meter, error)),
        };
        meter.attempt();
        let trial = Trial {
            meter: &meter,
            asked,
            plan,
            way: &outgoing.way,
            times: &times,
            begun: Instant::now(),
            heard: AtomicBool::new(false),
        };
        let failed = match attempt(&trial, requests, &mut patience).await {
            Ok(mut answer) => {
                meter.answered(answer.head.status.as_u16(), trial.begun.elapsed());
                let way = answer.reshaped.take().map_or(outgoing.way, Way::Translate);
                return Ok(Dispatched { answer, meter, times, way });
            }
            Err(failed) => failed,
        };
        let Failed { failure, broke, is_unprocessed } = failed;
        // The client's time may be over before the provider's: that says nothing of the provider.
        let is_late = failure.class == FailureClass::FirstByteTimeout;
        let is_ours = is_late && !patience.is_over(&own_times(entry));
        if is_unprocessed && unprocessed < MAX_UNPROCESSED && patience.is_left() {
            unprocessed += 1;
            continue;
        }
        if !is_ours {
            meter.provider().failed(failure.class);
        }
        if broke && !repeated && patience.is_left() {
            // Most likely a connection that had been idle too long: the same target gets a second chance.
            repeated = true;
            continue;
        }
        let is_of_thoughts = failure.names_signature() || failure.misses_thought();
        if is_of_thoughts && !std::mem::replace(&mut unsigned, true) && patience.is_left() {
            // A large future that hardly any request needs.
            let again = asked.unsigned(&gateway, target(entry, plan, &fetched), &outgoing.way, &failure);
            let again = Box::pin(again);
            if let Some(again) = again.await {
                outgoing = again;
                continue;
            }
        }
        if asked.compacted.is_some() && matches!(failure.status, Some(404 | 405 | 501)) {
            // A host of Responses that compacts nothing: the same target is asked for a summary.
            let summary = Box::pin(asked.summarized(&gateway, target(entry, plan, &fetched), &outgoing.way));
            if let Some(summary) = summary.await {
                outgoing = summary;
                continue;
            }
        }
        if !is_ours {
            note(&gateway, entry, &failure).await;
        }
        budget -= 1;
        tried.push(index);
        let next = if failure.retryable() && budget > 0 && patience.is_left() {
            pick(&order, &tried, &*gateway.coordination, &gateway.freed)
        } else {
            Pick::Exhausted
        };
        let Pick::Chosen(mut next_index, mut next_entry, mut slot) = next else {
            return Err(give_up(&mut meter, &failure, &outgoing.way));
        };
        if asked.may_need_media(&next_entry.upstream, plan.model()) {
            meter.leave();
            let seat = (next_index, next_entry, slot);
            let seat = seated(&gateway, asked, plan.model(), &order, &tried, seat, &mut fetched);
            match Box::pin(seat).await {
                Ok(seat) => (next_index, next_entry, slot) = seat,
                Err(error) => return Err(refused(&mut meter, error)),
            }
        }
        tracing::debug!(
            request_id = %meter.request_id(),
            connection = entry.id.as_str(),
            code = failure.code(),
            "falling back"
        );
        let format_at = |entry: &ConnectionEntry| asked.format_at(&entry.upstream, plan.model());
        let same =
            entry.upstream.provider() == next_entry.upstream.provider() && format_at(entry) == format_at(next_entry);
        (index, entry) = (next_index, next_entry);
        meter.turn_to(entry, slot, asked.format_name_at(&entry.upstream, plan.model()));
        if !same {
            outgoing = match asked.outgoing(&gateway, target(entry, plan, &fetched)).await {
                Ok(outgoing) => outgoing,
                Err(error) => return Err(refused(&mut meter, error)),
            };
        }
    }
}

fn target<'a>(entry: &'a ConnectionEntry, plan: &'a Plan, fetched: &'a FetchedMedia) -> Target<'a> {
    Target { upstream: &entry.upstream, model: plan.model(), requested: plan.requested(), fetched }
}

fn refused(meter: &mut Meter, error: GatewayError) -> Box<Refusal> {
    meter.refuse(&error);
    Box::new(Refusal { error, connection: Some(meter.entry().id.clone()) })
}

fn give_up(meter: &mut Meter, failure: &Failure, way: &Way) -> Box<Refusal> {
    let entry = Arc::clone(meter.entry());
    let mut error = failure.to_gateway_error(entry.upstream.hidden());
    if failure.class == FailureClass::Client && !matches!(way, Way::Pass { .. }) {
        // A path into a body that the client did not write.
        error.param = None;
    }
    meter.refuse(&error);
    Box::new(Refusal { error, connection: Some(entry.id.clone()) })
}

/// Waits, though not for long, until one of the connections that were not tried can be used.
async fn wait_for_one<'p>(
    gateway: &Gateway,
    order: &Order<'p>,
    tried: &[usize],
) -> Result<(usize, &'p Arc<ConnectionEntry>, Slot), GatewayError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        // Listens before it looks, so that no place can become free unnoticed in between.
        let mut freed = pin!(gateway.freed.notified());
        freed.as_mut().enable();
        let found = pick(order, tried, &*gateway.coordination, &gateway.freed);
        let now = gateway.clock.now();
        let in_time = match &found {
            Pick::Chosen(..) => true,
            Pick::Cooling { until, .. } => {
                let wake = Instant::now() + until.saturating_since(now);
                let in_time = wake <= give_up;
                if in_time {
                    tokio::time::sleep_until(wake).await;
                }
                in_time
            }
            Pick::Busy => tokio::time::timeout_at(give_up, freed).await.is_ok(),
            Pick::Exhausted => false,
        };
        if !in_time {
            return Err(none_usable(&found, now));
        }
        if let Pick::Chosen(index, entry, slot) = found {
            return Ok((index, entry, slot));
        }
    }
}
