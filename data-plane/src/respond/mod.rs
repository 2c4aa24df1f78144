//! An upstream's answer becomes the client's.
//!
//! [`Responder::begin`] lets its head through the allow-list of [`head`] and makes its body a [`relay`], whose cost a [`RequestAccounting`](crate::accounting::RequestAccounting) records.
//! What else is done to it on its way stands around that: a client's name for the model ([`model_name`]), the answer that it goes on
//! from ([`previous_response`]), events of [`progress`]. A client that waits too long gets an [`early_head`].

pub(crate) mod early_head;
mod head;
mod model_name;
mod previous_response;
mod progress;
mod relay;

use std::time::Duration;

use http::{HeaderValue, Response, header};
use omniroute_wire::ir::Format;

pub(crate) use self::progress::Pace;
use self::{
    previous_response::WithPreviousResponse,
    relay::{Relay, RelayLimits},
};
use crate::{
    answer::{CommittedAnswer, TranslationMode},
    reply::{
        Reply,
        headers::{X_OMNIROUTE_MODEL, X_OMNIROUTE_PROVIDER},
    },
    request::X_REQUEST_ID,
};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Passes answers on.
pub(crate) struct Responder {
    /// Silence after which the client of a stream gets a comment; zero means never.
    keepalive: Duration,
}

/// How the client speaks of what the answer is about.
#[derive(Clone, Copy)]
pub(crate) struct ModelNames<'a> {
    /// The model, as the client and as the upstream call it.
    pub(crate) requested: &'a str,
    pub(crate) model: &'a str,
    /// The stored answer that the request went on from. The upstream was sent the conversation instead.
    pub(crate) previous: Option<&'a str>,
}

// === impl Responder ===

impl Responder {
    /// `keepalive`: silence after which the client of a stream gets a comment; zero means never.
    pub(crate) fn new(keepalive: Duration) -> Self {
        Self { keepalive }
    }

    /// Starts to pass an answer on. Also tells how events of progress go with it, where it can have some.
    pub(crate) async fn begin(
        &self,
        committed: CommittedAnswer,
        named: ModelNames<'_>,
    ) -> (Response<Reply>, Option<Pace>) {
        let CommittedAnswer { mut answer, mut accounting, times, mode } = committed;
        if mode.passes(Format::Anthropic) && answer.filter.is_stream() {
            model_name::rename(&mut answer.ready, named.requested);
        }
        let mut headers = head::pass(answer.head.headers);
        match &mode {
            TranslationMode::Passthrough { .. } => {}
            TranslationMode::Translate(translation) => head::translate(&mut headers, translation),
            TranslationMode::Embeddings(embedding) => {
                head::rewrite(&mut headers, "application/json", embedding.dropped.as_deref())
            }
        }
        headers.insert(X_REQUEST_ID, accounting.request_id().header());
        headers.insert(X_OMNIROUTE_PROVIDER, accounting.entry().shown.clone());
        if let Ok(model) = HeaderValue::from_str(named.model) {
            headers.insert(X_OMNIROUTE_MODEL, model);
        }
        if answer.filter.is_stream() {
            headers.entry(header::CONTENT_TYPE).or_insert(EVENT_STREAM);
            head::mark_stream(&mut headers);
            accounting.mark_stream();
        } else {
            headers.entry(header::CONTENT_TYPE).or_insert(JSON);
        }
        let started = accounting.started();
        let has_events = answer.filter.is_stream() && mode.takes_events();
        let pace = has_events.then(|| Pace { started, is_chat: mode.is_chat() });
        // A model that thinks may be silent as long as it would have been waited for.
        let idle = if answer.is_quiet { times.idle.max(times.thinking) } else { times.idle };
        let times = RelayLimits { idle, keepalive: self.keepalive, deadline: started + times.total };
        // An answer that is there already is closed before its first byte goes out, so its record can be written in company.
        accounting.defer();
        let alone = accounting.is_alone();
        let mut relay = Relay::new(answer.body, answer.filter, answer.ready, accounting, times);
        let pending_write = relay.take_deferred();
        let reply = match named.previous.filter(|_| mode.passes(Format::OpenAiResponses)) {
            Some(previous) => Reply::streamed(WithPreviousResponse::new(Box::pin(relay), previous)),
            None => Reply::streamed(relay),
        };
        let mut response = Response::new(reply);
        *response.status_mut() = answer.head.status;
        *response.headers_mut() = headers;
        if let Some(pending_write) = pending_write {
            pending_write.written(alone).await;
        }
        (response, pace)
    }
}
