//! What a client gets.
//!
//! [`begin`] turns an upstream's answer into the client's: its head through the allow-list of [`head`], its body as a
//! [`relay`] that a [`lane`] follows and whose cost a [`meter`] records. A [`refusal`] is an error in OpenAI's shape.
//! [`Reply`] is the body of all of them.

mod events;
pub(crate) mod head;
pub(crate) mod lane;
pub(crate) mod meter;
mod named;
mod progress;
pub(crate) mod refusal;
mod relay;
mod reply;
mod scanner;

use http::{HeaderValue, Response, header};
use omniroute_wire::ir::Format;

pub use self::reply::{CutShort, Reply};
use self::{
    head::{X_OMNIROUTE_MODEL, X_OMNIROUTE_PROGRESS, X_OMNIROUTE_PROVIDER},
    relay::{Relay, RelayTimes},
};
use crate::{
    admit::request_id::X_REQUEST_ID,
    dispatch::{Dispatched, outgoing::Way},
};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Starts to pass an answer on. The client named the model `requested`, the upstream knows it as `model`. `progress`: a client of an event stream wants to be told how far it is.
pub(crate) async fn begin(dispatched: Dispatched, requested: &str, model: &str, progress: bool) -> Response<Reply> {
    let Dispatched { mut answer, mut meter, times, way } = dispatched;
    if way.passes(Format::Anthropic) && answer.lane.is_stream() {
        named::rename(&mut answer.ready, requested);
    }
    let mut headers = head::pass(answer.head.headers);
    match &way {
        Way::Pass { .. } => {}
        Way::Translate(translation) => head::translate(&mut headers, translation),
        Way::Embed(embedding) => head::rewrite(&mut headers, "application/json", embedding.dropped()),
    }
    headers.insert(X_REQUEST_ID, meter.request_id().header());
    headers.insert(X_OMNIROUTE_PROVIDER, meter.provider().header());
    if let Ok(model) = HeaderValue::from_str(model) {
        headers.insert(X_OMNIROUTE_MODEL, model);
    }
    if answer.lane.is_stream() {
        headers.entry(header::CONTENT_TYPE).or_insert(EVENT_STREAM);
        head::mark_stream(&mut headers);
        meter.mark_stream();
    } else {
        headers.entry(header::CONTENT_TYPE).or_insert(JSON);
    }
    let progress = progress && answer.lane.is_stream() && way.is_event_stream();
    if progress {
        headers.insert(X_OMNIROUTE_PROGRESS, HeaderValue::from_static("enabled"));
    }
    let started = meter.started();
    let times =
        RelayTimes { idle: times.idle, keepalive: meter.gateway().limits.keepalive, deadline: started + times.total };
    // An answer that is there already is closed before its first byte goes out, so its record can be written in company.
    meter.hold();
    let alone = meter.is_alone();
    let mut relay = Relay::new(answer.body, answer.lane, answer.ready, meter, times);
    let unwritten = relay.release();
    let reply = match progress {
        true => Reply::with_progress(relay, started, way.is_chat()),
        false => Reply::relay(relay),
    };
    let mut response = Response::new(reply);
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = headers;
    if let Some(unwritten) = unwritten {
        unwritten.written(alone).await;
    }
    response
}
