//! An upstream's answer on its way to the client, as a body that hyper polls.
//!
//! Frames go on as they came; the filter picks usage and finish reason out of them. The event is closed before the last
//! byte is let go: who has a whole answer finds it in the ledger. One timer serves the whole stream. It is armed when
//! the upstream is first waited for, and only when it fires does it look at what has happened since, so that a chunk
//! costs no timer work.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_providers::Failure;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use crate::{
    accounting::{End, RequestAccounting},
    answer::{AnswerFilter, failure_of},
    reply::{AnswerStats, CutShort, ReplyBody, terminator_timeout::TerminatorTimeout, turn::Turn},
    usage_journal::PendingWrite,
};

/// Once the terminator is through, the upstream has this long to end its body, so that its connection can be reused.
const LINGER: Duration = Duration::from_secs(2);

/// The limits of one answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayLimits {
    /// Longest silence of the upstream.
    pub(crate) idle: Duration,
    /// Silence after which the client of a stream gets a comment; zero means never.
    pub(crate) keepalive: Duration,
    /// When the whole request has to be over.
    pub(crate) deadline: Instant,
}

pin_project! {
    /// Forwards one answer.
    pub(crate) struct Relay<B> {
        #[pin]
        upstream: B,
        #[pin]
        timer: Sleep,
        filter: AnswerFilter,
        // What may go to the client before anything else is read, and how much of it has gone.
        ready: Vec<Bytes>,
        sent: usize,
        turn: Turn,
        accounting: Box<RequestAccounting>,
        times: RelayLimits,
        // When the whole request has to be over. The upstream may have less: its deadline is that of `times`.
        due: Instant,
        // Since when the upstream has been waited for, and when the client last got a comment. While a client does not
        // take what is there, nobody waits for the upstream.
        heard: Instant,
        waits: bool,
        commented: Instant,
        // How long a whole answer that goes on is waited for.
        terminator: TerminatorTimeout,
        // Bytes to come, where that is known.
        remaining: Option<u64>,
        over: bool,
        // Set when the answer cannot be finished.
        cut: Option<CutShort>,
        // The server had a turn to write what came before that.
        flushed: bool,
    }

    impl<B> PinnedDrop for Relay<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Only an answer that did not come to its end is still open here: the client went away, or it took so little
            // that the deadline was not seen in here.
            if this.accounting.is_open() {
                if Instant::now() >= this.times.deadline {
                    this.accounting.fail(&Ending::Deadline.error(), Ending::Deadline.failure(), this.filter.stats());
                } else if this.ready.is_empty() && this.filter.is_told_whole() {
                    // It left with all of the answer, before the upstream closed.
                    this.accounting.close(End::Whole, this.filter.stats());
                } else {
                    this.accounting.abandon(this.filter.stats());
                }
            }
        }
    }
}

/// How an upstream's answer came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Complete,
    /// The connection broke.
    Broken,
    Idle,
    Deadline,
    /// This proxy cuts what still runs.
    Drained,
}

// === impl Relay ===

impl<B> Relay<B>
where
    B: Body<Data = Bytes>,
{
    /// Goes on where `filter` is: it has been fed the first bytes, and `ready` is what came out of them.
    pub(crate) fn new(
        upstream: B,
        filter: AnswerFilter,
        ready: Vec<Bytes>,
        accounting: Box<RequestAccounting>,
        mut times: RelayLimits,
    ) -> Self {
        let (now, due) = (Instant::now(), times.deadline);
        if filter.is_done() {
            times.deadline = times.deadline.min(now + LINGER);
        }
        let mut relay = Self {
            timer: tokio::time::sleep_until(next_wake(&filter, &times, now, now)),
            terminator: TerminatorTimeout::default(),
            remaining: None,
            over: false,
            cut: None,
            flushed: false,
            sent: 0,
            turn: Turn::default(),
            heard: now,
            waits: false,
            commented: now,
            due,
            upstream,
            filter,
            ready,
            accounting,
            times,
        };
        let is_all = is_over(&relay.upstream) || relay.filter.is_all_there();
        if is_all {
            relay.over = true;
            relay.cut = settle(&mut relay.filter, &mut relay.accounting, &mut relay.ready, Ending::Complete);
        } else if relay.filter.is_done() {
            close_at_terminator(&relay.filter, &mut relay.accounting);
        }
        if !relay.filter.is_stream() {
            // Every byte goes on unchanged, so the client can be told the length that the upstream told.
            let rest = if is_all { Some(0) } else { relay.upstream.size_hint().exact() };
            relay.remaining = rest.map(|rest| rest + relay.ready.iter().map(|piece| piece.len() as u64).sum::<u64>());
        }
        relay
    }

    /// See [`RequestAccounting::take_deferred`].
    pub(crate) fn take_deferred(&mut self) -> Option<PendingWrite> {
        self.accounting.take_deferred()
    }
}

impl<B> ReplyBody for Relay<B>
where
    B: Body<Data = Bytes> + Send,
{
    fn ended_well(&self) -> bool {
        self.over
            && self.cut.is_none()
            && (self.filter.is_done() || self.filter.has_finished())
            && !self.filter.saw_error()
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn cut(self: Pin<&mut Self>) {
        let this = self.project();
        if !std::mem::replace(this.over, true) {
            // The client of a stream is told so by the next frame.
            *this.cut = settle(this.filter, this.accounting, this.ready, Ending::Drained);
        }
    }

    fn stats(&self) -> AnswerStats {
        self.filter.stats()
    }
}

impl<B> Body for Relay<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let mut this = self.project();
        loop {
            std::task::ready!(this.accounting.poll_written(cx));
            std::task::ready!(this.turn.poll_pass(cx));
            if let Some(piece) = this.ready.get_mut(*this.sent).map(std::mem::take) {
                *this.sent += 1;
                if *this.sent == this.ready.len() {
                    this.ready.clear();
                    *this.sent = 0;
                }
                this.turn.took(piece.len());
                if let Some(remaining) = this.remaining {
                    *remaining = remaining.saturating_sub(piece.len() as u64);
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if *this.over {
                // The server writes nothing any more once a body has failed: what came before goes out first.
                if this.cut.is_some() && !std::mem::replace(this.flushed, true) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                return Poll::Ready(this.cut.take().map(Err));
            }
            let ending = match this.upstream.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    *this.waits = false;
                    // What gives nothing out costs its time too.
                    this.turn.took(piece.len());
                    this.filter.feed(piece, this.accounting.error_context(), this.ready);
                    if !is_over(&*this.upstream) {
                        if this.filter.is_done() && this.accounting.is_open() {
                            close_at_terminator(this.filter, this.accounting);
                            *this.heard = Instant::now();
                            this.times.deadline = this.times.deadline.min(*this.heard + LINGER);
                            this.timer.as_mut().reset(next_wake(this.filter, this.times, *this.heard, *this.commented));
                        }
                        continue;
                    }
                    Ending::Complete
                }
                Poll::Ready(Some(Err(_))) => Ending::Broken,
                Poll::Ready(None) => Ending::Complete,
                Poll::Pending => {
                    this.turn.waited();
                    if !std::mem::replace(this.waits, true) {
                        *this.heard = Instant::now();
                        this.accounting.goes_on(*this.heard, || this.filter.stats());
                        this.terminator.see(this.filter.finish_state(), *this.heard);
                    }
                    let limit = this.terminator.limit(this.times.idle);
                    if let Some(limit) = limit.filter(|limit| *limit < this.timer.deadline()) {
                        this.timer.as_mut().reset(limit);
                    }
                    std::task::ready!(this.timer.as_mut().poll(cx));
                    let now = Instant::now();
                    if now >= this.times.deadline {
                        Ending::Deadline
                    } else if now >= *this.heard + this.times.idle || limit.is_some_and(|limit| now >= limit) {
                        Ending::Idle
                    } else {
                        let silent_since = (*this.heard).max(*this.commented);
                        let is_due = !this.times.keepalive.is_zero() && now >= silent_since + this.times.keepalive;
                        if is_due && let Some(comment) = this.filter.keepalive() {
                            // In the middle of an event there is no place for a comment; its turn comes again.
                            *this.commented = now;
                            if this.filter.is_between_events() && !this.filter.is_done() {
                                this.ready.push(comment);
                            }
                        }
                        this.timer.as_mut().reset(next_wake(this.filter, this.times, *this.heard, *this.commented));
                        continue;
                    }
                }
            };
            *this.over = true;
            *this.cut = settle(this.filter, this.accounting, this.ready, ending);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.ready.is_empty() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Whether nothing follows. Of a declared length, all may have come though the upstream has not said yet that it is at its
/// end; a client that was told the length leaves then.
fn is_over(upstream: &impl Body) -> bool {
    upstream.is_end_stream() || upstream.size_hint().exact() == Some(0)
}

/// The next moment at which there may be something to do.
fn next_wake(filter: &AnswerFilter, times: &RelayLimits, heard: Instant, commented: Instant) -> Instant {
    let limit = times.deadline.min(heard + times.idle);
    if filter.is_stream() && !times.keepalive.is_zero() {
        return limit.min(heard.max(commented) + times.keepalive);
    }
    limit
}

/// The terminator of a stream is about to go out, and the client may leave as soon as it has it.
fn close_at_terminator(filter: &AnswerFilter, accounting: &mut RequestAccounting) {
    if filter.saw_error() {
        let failure = filter.upstream_error().map(|error| failure_of(error, &HeaderMap::new()));
        accounting.fail(&told_by_upstream(failure.as_ref()), failure, filter.stats());
    } else {
        accounting.close(End::Whole, filter.stats());
    }
}

/// Closes the event and queues what the client still gets. `Some`: the answer has to be cut.
fn settle(
    filter: &mut AnswerFilter,
    accounting: &mut RequestAccounting,
    ready: &mut Vec<Bytes>,
    ending: Ending,
) -> Option<CutShort> {
    let mut rest = Vec::new();
    // Whatever becomes of the connection, an answer that is whole ends well; and so does one of fewer choices than were asked
    // for, once nothing more comes of it.
    let is_whole = filter.finish_state().is_some() || (ending == Ending::Idle && filter.is_complete());
    if ending == Ending::Complete {
        filter.flush(accounting.error_context(), &mut rest);
    } else if is_whole {
        filter.leave(accounting.error_context(), &mut rest);
    }
    let told = filter.saw_error();
    let has_ended = (ending == Ending::Complete || is_whole) && (filter.has_finished() || told);
    // After the terminator nothing that happens is the client's concern.
    if filter.is_done() || has_ended {
        let needs_blank = rest.last().is_some_and(|piece| !piece.ends_with(b"\n\n"));
        ready.append(&mut rest);
        if !filter.is_done() && !told {
            filter.add_terminator(needs_blank, ready);
        }
        close_at_terminator(filter, accounting);
        return None;
    }
    let error = ending.error();
    match ending {
        Ending::Drained => accounting.abandon(filter.stats()),
        _ => accounting.fail(&error, ending.failure(), filter.stats()),
    }
    if !filter.is_stream() {
        return Some(CutShort("the answer broke off"));
    }
    if !told {
        filter.fail(&error, accounting.request_id().as_str(), ready);
    }
    None
}

fn told_by_upstream(failure: Option<&Failure>) -> GatewayError {
    let code = failure.map_or("upstream_error", Failure::code);
    GatewayError::new(ErrorClass::Upstream, code, "the provider sent an error in the middle of its answer")
}

// === impl Ending ===

impl Ending {
    /// What it says of the connection.
    fn failure(self) -> Option<Failure> {
        match self {
            Self::Complete | Self::Broken | Self::Idle => Some(Failure::malformed_answer("the answer broke off")),
            // Long answers are no fault, and our end is none of theirs.
            Self::Deadline | Self::Drained => None,
        }
    }

    fn error(self) -> GatewayError {
        match self {
            Self::Complete | Self::Broken => GatewayError::new(
                ErrorClass::Upstream,
                "upstream_broken",
                "the provider's answer broke off before its end",
            ),
            Self::Idle => GatewayError::new(
                ErrorClass::UpstreamTimeout,
                "upstream_idle_timeout",
                "the provider went silent in the middle of its answer",
            ),
            Self::Deadline => GatewayError::new(
                ErrorClass::UpstreamTimeout,
                "request_deadline",
                "the request took longer than this gateway allows",
            ),
            Self::Drained => GatewayError::new(
                ErrorClass::Overloaded,
                End::Drained.code(),
                "this proxy is stopping and cannot finish the answer",
            )
            .with_hint("send the request again: another proxy will answer"),
        }
    }
}

#[cfg(test)]
mod tests;
