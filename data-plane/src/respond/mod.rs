//! What a client gets.
//!
//! [`begin`] turns an upstream's answer into the client's: its head through the allow-list of [`head`], its body as a
//! [`relay`] that a [`lane`] follows and whose cost a [`meter`] records. A [`refusal`] is an error in OpenAI's shape.
//! [`Reply`] is the body of all of them.

pub(crate) mod early;
mod events;
pub(crate) mod head;
pub(crate) mod lane;
pub(crate) mod meter;
mod named;
pub(crate) mod parting;
mod previous;
mod progress;
mod redact;
pub(crate) mod refusal;
mod relay;
mod reply;
mod scanner;
pub(crate) mod substance;

use http::{HeaderValue, Response, header};
use omniroute_wire::ir::Format;

pub(crate) use self::progress::Pace;
pub use self::reply::{CutShort, Reply};
use self::{
    head::{X_OMNIROUTE_MODEL, X_OMNIROUTE_PROVIDER},
    relay::{Relay, RelayTimes},
};
use crate::{
    admit::request_id::X_REQUEST_ID,
    dispatch::{Dispatched, outgoing::Way},
};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How the client speaks of what the answer is about.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    /// The model, as the client and as the upstream call it.
    pub(crate) requested: &'a str,
    pub(crate) model: &'a str,
    /// The stored answer that the request went on from. The upstream was sent the conversation instead.
    pub(crate) previous: Option<&'a str>,
}

/// Starts to pass an answer on. Also tells how events of progress go with it, where it can have some.
pub(crate) async fn begin(dispatched: Dispatched, named: Named<'_>) -> (Response<Reply>, Option<Pace>) {
    let Dispatched { mut answer, mut meter, times, way } = dispatched;
    if way.passes(Format::Anthropic) && answer.lane.is_stream() {
        named::rename(&mut answer.ready, named.requested);
    }
    let mut headers = head::pass(answer.head.headers);
    match &way {
        Way::Pass { .. } => {}
        Way::Translate(translation) => head::translate(&mut headers, translation),
        Way::Embed(embedding) => head::rewrite(&mut headers, "application/json", embedding.dropped()),
    }
    headers.insert(X_REQUEST_ID, meter.request_id().header());
    headers.insert(X_OMNIROUTE_PROVIDER, meter.entry().shown.clone());
    if let Ok(model) = HeaderValue::from_str(named.model) {
        headers.insert(X_OMNIROUTE_MODEL, model);
    }
    if answer.lane.is_stream() {
        headers.entry(header::CONTENT_TYPE).or_insert(EVENT_STREAM);
        head::mark_stream(&mut headers);
        meter.mark_stream();
    } else {
        headers.entry(header::CONTENT_TYPE).or_insert(JSON);
    }
    let started = meter.started();
    let has_events = answer.lane.is_stream() && way.takes_events();
    let pace = has_events.then(|| Pace { started, is_chat: way.is_chat() });
    // A model that thinks may be silent as long as it would have been waited for.
    let idle = if answer.is_quiet { times.idle.max(times.thinking) } else { times.idle };
    let times = RelayTimes { idle, keepalive: meter.gateway().limits.keepalive, deadline: started + times.total };
    // An answer that is there already is closed before its first byte goes out, so its record can be written in company.
    meter.hold();
    let alone = meter.is_alone();
    let mut relay = Relay::new(answer.body, answer.lane, answer.ready, meter, times);
    let unwritten = relay.release();
    let reply = match named.previous.filter(|_| way.passes(Format::OpenAiResponses)) {
        Some(previous) => Reply::going_on_from(relay, previous),
        None => Reply::relay(relay),
    };
    let mut response = Response::new(reply);
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = headers;
    if let Some(unwritten) = unwritten {
        unwritten.written(alone).await;
    }
    (response, pace)
}
