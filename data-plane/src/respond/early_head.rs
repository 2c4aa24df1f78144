//! Signs of life for a client that waits long for a stream.
//!
//! A model may think for minutes before its first frame, and what lies between closes silent connections. Once waiting has
//! passed a bound, the client gets the head of the answer, and comments or pings from then on. Everything else goes on behind
//! it as before: other connections are tried, and what comes is passed. What the head would have said of the answer follows in
//! a comment. Only an error has no status any more; it comes as an event.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::{anthropic, openai, responses, translate::Dialect};
use tokio::time::{Instant, Sleep};

use super::{EVENT_STREAM, head};
use crate::{
    answer::filter::{COMMENT, PING},
    reply::{AnswerStats, CutShort, Reply, ReplyBody, refusal::Refusal},
    request::{RequestId, X_REQUEST_ID},
    translate::stream_error,
};

/// What the gateway's own headers begin with.
const OWN: &str = "x-omniroute-";

/// An answer in the making.
pub(crate) type PendingReply = Pin<Box<dyn Future<Output = Response<Reply>> + Send>>;

/// What a request and whoever waits for its answer tell each other.
#[derive(Debug, Default)]
pub(crate) struct WaitSignal {
    /// Set when nothing is missing but the upstream's first frame: whose it is, and when the answer has to be over.
    waiting: OnceLock<(RequestId, Instant)>,
    /// The client has its head.
    begun: AtomicBool,
}

/// An answer whose head is out, and nothing else.
struct EarlyHead {
    state: State,
    /// What is sent in the meantime.
    sign: Bytes,
    /// Zero: once is enough.
    every: Duration,
    timer: Pin<Box<Sleep>>,
    is_due: bool,
    dialect: Dialect,
    request_id: RequestId,
}

enum State {
    /// Until then at most.
    Waiting(PendingReply, Option<Instant>),
    Begun(Box<Reply>),
}

// === impl WaitSignal ===

impl WaitSignal {
    /// From now on the upstream is waited for. `deadline`: whichever upstream answers, it has no longer.
    pub(crate) fn waits(&self, request_id: &RequestId, deadline: Instant) {
        let _ = self.waiting.set((request_id.clone(), deadline));
    }

    /// Whether the client has seen a status already.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}

/// What a client of this dialect takes for a sign of life; `None` where it takes none.
pub(crate) const fn sign(dialect: &Dialect) -> Option<Bytes> {
    match dialect {
        Dialect::Chat | Dialect::Completions | Dialect::Responses => Some(COMMENT),
        Dialect::Messages => Some(PING),
        // A comment breaks Google's clients, and a blank line those of lines.
        Dialect::Gemini { .. } | Dialect::Ollama { .. } => None,
    }
}

/// The answer, or its head and signs of life from `after` on. `every`: the time between them.
pub(crate) async fn answer_or_sign(
    mut answering: PendingReply,
    waiting: Arc<WaitSignal>,
    (dialect, sign): (Dialect, Bytes),
    (after, every): (Duration, Duration),
) -> Response<Reply> {
    // Most answers never need it: they are there at once, or are no streams.
    let mut timer = std::pin::pin!(None);
    let answered = std::future::poll_fn(|cx| {
        if let Poll::Ready(response) = answering.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        if waiting.waiting.get().is_none() {
            // The client is still sending, or wants no stream.
            return Poll::Pending;
        }
        if timer.is_none() {
            timer.set(Some(tokio::time::sleep(after)));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    });
    if let Some(response) = answered.await {
        return response;
    }
    waiting.begun.store(true, Ordering::Relaxed);
    let (request_id, deadline) = match waiting.waiting.get() {
        Some((request_id, deadline)) => (request_id.clone(), Some(*deadline)),
        None => (RequestId::generate(), None),
    };
    let early = EarlyHead {
        state: State::Waiting(answering, deadline),
        sign,
        every,
        timer: Box::pin(tokio::time::sleep(every)),
        is_due: true,
        dialect,
        request_id: request_id.clone(),
    };
    streaming(Reply::streamed(early), &request_id)
}

/// The answer to a request that fails after its client has seen a status.
pub(crate) fn refused(refusal: &Refusal, dialect: &Dialect, request_id: &RequestId) -> Response<Reply> {
    refusal.log(request_id);
    streaming(Reply::whole(event(&refusal.error, dialect, request_id)), request_id)
}

fn streaming(reply: Reply, request_id: &RequestId) -> Response<Reply> {
    let mut response = Response::new(reply);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    headers.insert(X_REQUEST_ID, request_id.header());
    head::mark_stream(headers);
    response
}

/// What the head says in the gateway's own headers, as a comment: the head is out. Every reader of events passes over it.
fn late_headers(headers: &HeaderMap) -> Option<Bytes> {
    let mut comment = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with(OWN)) {
        for part in [b": ", name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
            comment.extend_from_slice(part);
        }
    }
    if comment.is_empty() {
        return None;
    }
    comment.push(b'\n');
    Some(comment.into())
}

fn event(error: &GatewayError, dialect: &Dialect, request_id: &RequestId) -> Vec<u8> {
    let error = stream_error(error, request_id.as_str());
    let mut out = Vec::with_capacity(256);
    match dialect {
        Dialect::Messages => anthropic::encode_stream_error(&error, &mut out),
        Dialect::Responses => responses::encode_stream_error(&responses::Begun::default(), &error, &mut out),
        _ => openai::encode_stream_error(&error, &mut out),
    }
    out
}

// === impl EarlyHead ===

impl EarlyHead {
    fn begun(&self) -> Option<&Reply> {
        match &self.state {
            State::Waiting(..) => None,
            State::Begun(reply) => Some(reply),
        }
    }
}

impl ReplyBody for EarlyHead {
    fn ended_well(&self) -> bool {
        self.begun().is_some_and(Reply::ended_well)
    }

    /// A client that takes nothing keeps this from being polled, and so from coming to what answers.
    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(_, deadline) => *deadline,
            State::Begun(reply) => reply.deadline(),
        }
    }

    fn has_begun(&self) -> bool {
        self.begun().is_some_and(Reply::has_begun)
    }

    fn cut(mut self: Pin<&mut Self>) {
        match &mut self.state {
            State::Begun(reply) => Pin::new(&mut **reply).cut(),
            State::Waiting(..) => {
                let error = GatewayError::new(
                    ErrorClass::Overloaded,
                    "drain_deadline",
                    "this proxy is stopping, and the answer did not begin in time",
                );
                let told = event(&error, &self.dialect, &self.request_id);
                // Dropping what answers cancels the upstream.
                self.state = State::Begun(Box::new(Reply::whole(told)));
            }
        }
    }

    fn stats(&self) -> AnswerStats {
        self.begun().map(Reply::stats).unwrap_or_default()
    }
}

impl Body for EarlyHead {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        loop {
            let answering = match &mut this.state {
                State::Begun(reply) => return Pin::new(&mut **reply).poll_frame(cx),
                State::Waiting(answering, _) => answering,
            };
            if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                let (head, reply) = response.into_parts();
                this.state = State::Begun(Box::new(reply));
                match late_headers(&head.headers) {
                    Some(comment) => return Poll::Ready(Some(Ok(Frame::data(comment)))),
                    None => continue,
                }
            }
            if !std::mem::take(&mut this.is_due) {
                if this.every.is_zero() {
                    return Poll::Pending;
                }
                ready!(this.timer.as_mut().poll(cx));
                this.timer.as_mut().reset(Instant::now() + this.every);
            }
            return Poll::Ready(Some(Ok(Frame::data(this.sign.clone()))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun().is_some_and(Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_behind_an_early_head_has_the_requests_own_deadline() {
        let (signal, deadline) = (Arc::<WaitSignal>::default(), Instant::now() + SECOND * 30);
        signal.waits(&RequestId::generate(), deadline);
        let answering: PendingReply = Box::pin(std::future::pending());
        let response = answer_or_sign(answering, signal, (Dialect::Chat, COMMENT), (SECOND, SECOND)).await;
        let reply = response.into_body();
        assert_eq!((reply.deadline(), reply.has_begun()), (Some(deadline), false));
    }
}
