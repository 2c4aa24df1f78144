//! Limits of an answer that hold though nobody asks its body for more.
//!
//! hyper asks a body for its next frame only when there is room for it. A client that does not read, or that grants an HTTP/2
//! stream no window, or a byte of it now and then, keeps its answer from ever being asked, and so from seeing that its
//! deadline has passed. So the body only tells how it gets on ([`Pulse`], written by [`Outgoing`]), and [`Supervised`] around
//! the connection or the stream looks at that by a timer of its own. Whoever it gives up is dropped: the upstream and the slot
//! are free at once, and the answer records why.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};

use crate::{
    lifecycle::Phase,
    reply::{CutShort, Reply, ReplyBody},
};

/// An answer that is asked ends itself at its deadline, and has this long to bring the word out.
const GRACE: Duration = Duration::from_secs(2);
/// So often within the time that a client may leave a frame where it is, somebody looks whether it does.
const LOOKS: u32 = 4;
/// What is cut has this long to tell its client so.
pub(super) const LAST_FRAMES: Duration = Duration::from_secs(1);

const IDLE: u8 = 0;
/// A request is being answered; the next step is ours or the upstream's.
const ASKED: u8 = 1;
/// The head or a frame has been handed out, and nobody asked for what is next since.
const GIVEN: u8 = 2;

/// How an answer gets on. One task writes and reads it, so no ordering is needed.
#[derive(Debug)]
pub(super) struct Pulse {
    /// What the numbers of milliseconds are counted from.
    base: Instant,
    state: AtomicU8,
    /// Frames that were handed out.
    frames: AtomicU64,
    /// Requests that came.
    requests: AtomicU64,
    /// In milliseconds; `u64::MAX` while there is none.
    deadline: AtomicU64,
    cut: AtomicBool,
}

/// An answer on its way out.
pub(super) struct Outgoing {
    reply: Reply,
    pulse: Arc<Pulse>,
    /// What has not begun may get another deadline, or its first.
    has_begun: bool,
    is_cut: bool,
}

pin_project! {
    /// A connection, or a stream of one, that ends when its answer is overdue. Then there is no output.
    pub(super) struct Supervised<F> {
        #[pin]
        inner: F,
        // Is set again only when it has rung, or is too late for a deadline.
        #[pin]
        alarm: Sleep,
        is_armed: bool,
        // Frames that had been handed out, and the client has had the next step since then at least.
        seen: Option<(u64, Instant)>,
        unread: Duration,
        pulse: Arc<Pulse>,
    }
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            base: Instant::now(),
            state: AtomicU8::new(IDLE),
            frames: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            deadline: AtomicU64::new(u64::MAX),
            cut: AtomicBool::new(false),
        })
    }

    /// No request is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Relaxed) == IDLE
    }

    /// Requests that have come so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What is being answered comes to its end as soon as it is asked.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// A request has come.
    pub(super) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.state.store(ASKED, Ordering::Relaxed);
    }

    /// Answers a request; `None` when it was cut before the answer began.
    pub(super) async fn answering<F: Future>(&self, answer: F) -> Option<F::Output> {
        self.asked();
        let mut answer = std::pin::pin!(answer);
        std::future::poll_fn(|cx| {
            if self.is_cut() {
                return Poll::Ready(None);
            }
            answer.as_mut().poll(cx).map(Some)
        })
        .await
    }

    fn deadline(&self) -> Option<Instant> {
        let millis = self.deadline.load(Ordering::Relaxed);
        (millis != u64::MAX).then(|| self.base + Duration::from_millis(millis))
    }

    fn set_deadline(&self, deadline: Option<Instant>) {
        let millis = deadline.map(|deadline| deadline.saturating_duration_since(self.base) + GRACE);
        let millis = millis.and_then(|time| u64::try_from(time.as_millis()).ok());
        self.deadline.store(millis.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

// === impl Outgoing ===

impl Outgoing {
    pub(super) fn new(reply: Reply, pulse: Arc<Pulse>) -> Self {
        pulse.set_deadline(reply.deadline());
        let has_begun = reply.has_begun();
        // The head is out. A client that grants no room has its body never asked, not even what it waits for.
        pulse.state.store(GIVEN, Ordering::Relaxed);
        Self { reply, pulse, has_begun, is_cut: false }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = self.get_mut();
        if this.pulse.is_cut() && !this.is_cut {
            this.is_cut = true;
            Pin::new(&mut this.reply).cut();
        }
        let polled = Pin::new(&mut this.reply).poll_frame(cx);
        if !this.has_begun {
            this.pulse.set_deadline(this.reply.deadline());
            this.has_begun = this.reply.has_begun();
        }
        let state = if let Poll::Ready(Some(Ok(_))) = &polled {
            this.pulse.frames.fetch_add(1, Ordering::Relaxed);
            GIVEN
        } else {
            ASKED
        };
        this.pulse.state.store(state, Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reply.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.pulse.set_deadline(None);
        self.pulse.state.store(IDLE, Ordering::Relaxed);
    }
}

// === impl Supervised ===

impl<F> Supervised<F> {
    /// `unread`: how long a client may leave a frame where it is.
    pub(super) fn new(inner: F, pulse: Arc<Pulse>, unread: Duration) -> Self {
        Self { inner, alarm: tokio::time::sleep(unread / LOOKS), is_armed: false, seen: None, unread, pulse }
    }

    pub(super) fn inner(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.project().inner
    }
}

impl<F: Future> Future for Supervised<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.inner.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if this.pulse.is_idle() {
            return Poll::Pending;
        }
        let deadline = this.pulse.deadline();
        if !*this.is_armed || deadline.is_some_and(|deadline| deadline < this.alarm.deadline()) {
            let look = if *this.is_armed { this.alarm.deadline() } else { Instant::now() + *this.unread / LOOKS };
            this.alarm.as_mut().reset(deadline.map_or(look, |deadline| deadline.min(look)));
            *this.is_armed = true;
        }
        while this.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let frames = this.pulse.frames.load(Ordering::Relaxed);
            let is_given = this.pulse.state.load(Ordering::Relaxed) == GIVEN;
            let seen = this.seen.filter(|(seen, _)| is_given && *seen == frames);
            let is_stuck = seen.is_some_and(|(_, since)| now >= since + *this.unread);
            if is_stuck || deadline.is_some_and(|deadline| now >= deadline) {
                tracing::debug!(is_stuck, "an answer is given up: its client does not take it");
                return Poll::Ready(None);
            }
            *this.seen = seen.or_else(|| is_given.then_some((frames, now)));
            let look = now + *this.unread / LOOKS;
            this.alarm.as_mut().reset(deadline.map_or(look, |deadline| deadline.min(look)));
        }
        Poll::Pending
    }
}

/// Runs what answers one request until its end, until it is overdue, or until it is cut and has told so. `None`: it did not
/// come to an end.
pub(super) async fn supervise<F: Future>(
    inner: F,
    pulse: Arc<Pulse>,
    unread: Duration,
    mut phase: watch::Receiver<Phase>,
) -> Option<F::Output> {
    let mut supervised = std::pin::pin!(Supervised::new(inner, Arc::clone(&pulse), unread));
    // Who comes after the cut (a health check) is answered like any other.
    let came_late = phase.borrow_and_update().cuts();
    let cutting = async {
        if came_late {
            drop(phase.wait_for(|phase| !phase.cuts()).await);
        }
        drop(phase.wait_for(|phase| phase.cuts()).await);
    };
    tokio::select! {
        // No dice: the timer is for those that do not end.
        biased;
        ended = supervised.as_mut() => return ended,
        () = cutting => pulse.cut(),
    }
    last_frames(supervised).await
}

/// What was cut may say so.
pub(super) async fn last_frames<F: Future>(mut supervised: Pin<&mut Supervised<F>>) -> Option<F::Output> {
    tokio::time::timeout(LAST_FRAMES, supervised.as_mut()).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const UNREAD: Duration = Duration::from_secs(120);

    /// An answer that is never asked for its next frame.
    async fn given_up_after(deadline: Option<Duration>) -> Duration {
        let (started, pulse) = (Instant::now(), Pulse::new());
        pulse.asked();
        pulse.set_deadline(deadline.map(|time| started + time));
        pulse.state.store(GIVEN, Ordering::Relaxed);
        assert_eq!(Supervised::new(std::future::pending::<()>(), pulse, UNREAD).await, None);
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_has_the_limit_and_a_look_more_and_no_longer_than_the_answer() {
        let without = given_up_after(None).await;
        assert!(without >= UNREAD && without <= UNREAD + UNREAD / LOOKS + SECOND, "{without:?}");
        let within = given_up_after(Some(SECOND * 10)).await;
        assert!(within >= SECOND * 10 && within <= SECOND * 10 + GRACE + SECOND, "{within:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_frame_now_and_then_is_not_stuck() {
        let pulse = Pulse::new();
        pulse.asked();
        pulse.state.store(GIVEN, Ordering::Relaxed);
        let taking = Arc::clone(&pulse);
        let taken = async move {
            for _ in 0..10 {
                tokio::time::sleep(UNREAD - SECOND).await;
                taking.frames.fetch_add(1, Ordering::Relaxed);
            }
        };
        assert_eq!(Supervised::new(taken, pulse, UNREAD).await, Some(()));
    }

    /// As an answer whose head is out before it is known who gives it.
    struct Early {
        begun: bool,
        deadlines: [Instant; 2],
    }

    impl Body for Early {
        type Data = Bytes;
        type Error = CutShort;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
            self.get_mut().begun = true;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    impl ReplyBody for Early {
        fn ended_well(&self) -> bool {
            false
        }

        fn deadline(&self) -> Option<Instant> {
            Some(self.deadlines[usize::from(self.begun)])
        }

        fn has_begun(&self) -> bool {
            self.begun
        }

        fn cut(self: Pin<&mut Self>) {}

        fn tally(&self) -> crate::reply::Tally {
            crate::reply::Tally::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_a_deadline_before_it_begins_and_its_own_from_then_on() {
        let (now, pulse) = (Instant::now(), Pulse::new());
        let deadlines = [now + SECOND * 30, now + SECOND * 20];
        let early = Early { begun: false, deadlines };
        let mut outgoing = Outgoing::new(Reply::streamed(early), Arc::clone(&pulse));
        assert_eq!(pulse.deadline(), Some(deadlines[0] + GRACE));
        std::future::poll_fn(|cx| Pin::new(&mut outgoing).poll_frame(cx)).await.expect("a frame").expect("whole");
        assert_eq!(pulse.deadline(), Some(deadlines[1] + GRACE));
        drop(outgoing);
        assert_eq!(pulse.deadline(), None);
    }
}
