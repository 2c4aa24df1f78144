//! Limits of an answer that hold though nobody asks its body for more.
//!
//! hyper asks a body for its next frame only when there is room for it. A client that does not read, or that grants an HTTP/2
//! stream no window, or a byte of it now and then, keeps its answer from ever being asked, and so from seeing that its
//! deadline has passed. So the body only tells how it gets on ([`StreamActivity`], written by [`TrackedBody`]), and
//! [`WriteTimeout`] around the connection or the stream looks at that by a timer of its own. Whoever it gives up is dropped:
//! the upstream and the slot are free at once, and the answer records why.

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
const PREPARING: u8 = 1;
/// The head or a frame has been handed out, and nobody asked for what is next since.
const WAITING_FOR_CLIENT: u8 = 2;

/// How an answer gets on. One task writes and reads it, so no ordering is needed.
#[derive(Debug)]
pub(super) struct StreamActivity {
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
pub(super) struct TrackedBody {
    reply: Reply,
    activity: Arc<StreamActivity>,
    /// What has not begun may get another deadline, or its first.
    has_begun: bool,
    is_cut: bool,
}

pin_project! {
    /// A connection, or a stream of one, that ends when its answer is overdue. Then there is no output.
    pub(super) struct WriteTimeout<F> {
        #[pin]
        inner: F,
        // Is set again only when it has rung, or is too late for a deadline.
        #[pin]
        alarm: Sleep,
        is_armed: bool,
        // Frames that had been handed out, and the client has had the next step since then at least.
        seen: Option<(u64, Instant)>,
        unread: Duration,
        activity: Arc<StreamActivity>,
    }
}

// === impl StreamActivity ===

impl StreamActivity {
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
    pub(super) fn request_began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.state.store(PREPARING, Ordering::Relaxed);
    }

    /// Answers a request; `None` when it was cut before the answer began.
    pub(super) async fn answering<F: Future>(&self, answer: F) -> Option<F::Output> {
        self.request_began();
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

// === impl TrackedBody ===

impl TrackedBody {
    pub(super) fn new(reply: Reply, activity: Arc<StreamActivity>) -> Self {
        activity.set_deadline(reply.deadline());
        let has_begun = reply.has_begun();
        // The head is out. A client that grants no room has its body never asked, not even what it waits for.
        activity.state.store(WAITING_FOR_CLIENT, Ordering::Relaxed);
        Self { reply, activity, has_begun, is_cut: false }
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = self.get_mut();
        if this.activity.is_cut() && !this.is_cut {
            this.is_cut = true;
            Pin::new(&mut this.reply).cut();
        }
        let polled = Pin::new(&mut this.reply).poll_frame(cx);
        if !this.has_begun {
            this.activity.set_deadline(this.reply.deadline());
            this.has_begun = this.reply.has_begun();
        }
        let state = if let Poll::Ready(Some(Ok(_))) = &polled {
            this.activity.frames.fetch_add(1, Ordering::Relaxed);
            WAITING_FOR_CLIENT
        } else {
            PREPARING
        };
        this.activity.state.store(state, Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reply.size_hint()
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.activity.set_deadline(None);
        self.activity.state.store(IDLE, Ordering::Relaxed);
    }
}

// === impl WriteTimeout ===

impl<F> WriteTimeout<F> {
    /// `unread`: how long a client may leave a frame where it is.
    pub(super) fn new(inner: F, activity: Arc<StreamActivity>, unread: Duration) -> Self {
        Self { inner, alarm: tokio::time::sleep(unread / LOOKS), is_armed: false, seen: None, unread, activity }
    }

    pub(super) fn inner(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.project().inner
    }
}

impl<F: Future> Future for WriteTimeout<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.inner.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if this.activity.is_idle() {
            return Poll::Pending;
        }
        let deadline = this.activity.deadline();
        if !*this.is_armed || deadline.is_some_and(|deadline| deadline < this.alarm.deadline()) {
            let look = if *this.is_armed { this.alarm.deadline() } else { Instant::now() + *this.unread / LOOKS };
            this.alarm.as_mut().reset(deadline.map_or(look, |deadline| deadline.min(look)));
            *this.is_armed = true;
        }
        while this.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let frames = this.activity.frames.load(Ordering::Relaxed);
            let is_given = this.activity.state.load(Ordering::Relaxed) == WAITING_FOR_CLIENT;
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
pub(super) async fn with_write_timeout<F: Future>(
    inner: F,
    activity: Arc<StreamActivity>,
    unread: Duration,
    mut phase: watch::Receiver<Phase>,
) -> Option<F::Output> {
    let mut guarded = std::pin::pin!(WriteTimeout::new(inner, Arc::clone(&activity), unread));
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
        ended = guarded.as_mut() => return ended,
        () = cutting => activity.cut(),
    }
    last_frames(guarded).await
}

/// What was cut may say so.
pub(super) async fn last_frames<F: Future>(mut guarded: Pin<&mut WriteTimeout<F>>) -> Option<F::Output> {
    tokio::time::timeout(LAST_FRAMES, guarded.as_mut()).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const UNREAD: Duration = Duration::from_secs(120);

    /// An answer that is never asked for its next frame.
    async fn given_up_after(deadline: Option<Duration>) -> Duration {
        let (started, activity) = (Instant::now(), StreamActivity::new());
        activity.request_began();
        activity.set_deadline(deadline.map(|time| started + time));
        activity.state.store(WAITING_FOR_CLIENT, Ordering::Relaxed);
        assert_eq!(WriteTimeout::new(std::future::pending::<()>(), activity, UNREAD).await, None);
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
        let activity = StreamActivity::new();
        activity.request_began();
        activity.state.store(WAITING_FOR_CLIENT, Ordering::Relaxed);
        let taking = Arc::clone(&activity);
        let taken = async move {
            for _ in 0..10 {
                tokio::time::sleep(UNREAD - SECOND).await;
                taking.frames.fetch_add(1, Ordering::Relaxed);
            }
        };
        assert_eq!(WriteTimeout::new(taken, activity, UNREAD).await, Some(()));
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

        fn stats(&self) -> crate::reply::AnswerStats {
            crate::reply::AnswerStats::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_a_deadline_before_it_begins_and_its_own_from_then_on() {
        let (now, activity) = (Instant::now(), StreamActivity::new());
        let deadlines = [now + SECOND * 30, now + SECOND * 20];
        let early = Early { begun: false, deadlines };
        let mut body = TrackedBody::new(Reply::streamed(early), Arc::clone(&activity));
        assert_eq!(activity.deadline(), Some(deadlines[0] + GRACE));
        std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.expect("a frame").expect("whole");
        assert_eq!(activity.deadline(), Some(deadlines[1] + GRACE));
        drop(body);
        assert_eq!(activity.deadline(), None);
    }
}
