//! How long a client's HTTP/1 connection may be silent: long between two requests, short once a request has begun.
//!
//! hyper has one timer for both: it starts when a connection becomes idle and ends with the whole head of the next
//! request. Load balancers keep idle connections for a minute and more, and must not find them closed; a client that
//! sends half a head must not hold a connection that long. So the stream counts what it reads ([`Counted`]), and the
//! timer that hyper waits for ([`HeadTimer`]) becomes short when that count moves. hyper makes a new timer for every
//! request; all those of a connection share one alarm of the runtime, which is set again only when it has rung.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use omniroute_ingress::{Hooked, Prefixed, ReadHook};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

/// How long an idle connection stays open; longer than load balancers keep theirs.
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// A client's stream that counts the bytes it reads.
pub(super) type Counted = Hooked<Prefixed<TcpStream>, ReadCounter>;

/// Counts what is read.
pub(super) struct ReadCounter(Arc<Line>);

/// Makes timers for the head of a request.
#[derive(Clone)]
pub(super) struct HeadTimer {
    line: Arc<Line>,
    head: Duration,
}

/// What stream and timers of one connection share.
struct Line {
    /// Bytes read so far. One task reads the stream and polls the timers, so no ordering is needed.
    read: AtomicU64,
    alarm: Mutex<Pin<Box<tokio::time::Sleep>>>,
}

/// Ends at hyper's deadline, or `head` after the first byte that came since it was made.
struct HeadSleep {
    timer: HeadTimer,
    deadline: tokio::time::Instant,
    read_before: u64,
    has_begun: bool,
}

/// The stream and its timer, which gives a client `head` for the head of each request.
pub(super) fn watch(stream: Prefixed<TcpStream>, head: Duration) -> (Counted, HeadTimer) {
    let line = Arc::new(Line::new());
    (Counted::with(ReadCounter(Arc::clone(&line)), stream), HeadTimer { line, head })
}

// === impl Line ===

impl Line {
    fn new() -> Self {
        Self { read: AtomicU64::new(0), alarm: Mutex::new(Box::pin(tokio::time::sleep(IDLE))) }
    }
}

// === impl ReadCounter ===

impl ReadHook for ReadCounter {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(stream).poll_read(cx, buffer);
        self.0.read.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

// === impl HeadTimer ===

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep {
            timer: self.clone(),
            deadline: deadline.into(),
            read_before: self.line.read.load(Ordering::Relaxed),
            has_begun: false,
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

// === impl HeadSleep ===

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let HeadTimer { line, head } = &this.timer;
        if !this.has_begun && line.read.load(Ordering::Relaxed) != this.read_before {
            this.has_begun = true;
            this.deadline = tokio::time::Instant::now() + *head;
        }
        let mut alarm = line.alarm.lock();
        if alarm.deadline() > this.deadline {
            alarm.as_mut().reset(this.deadline);
        }
        // It may ring for an earlier request of the connection.
        while alarm.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= this.deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(this.deadline);
        }
        Poll::Pending
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(5);

    async fn seconds_until_it_ends(begins_after: Option<u64>) -> u64 {
        let timer = HeadTimer { line: Arc::new(Line::new()), head: HEAD };
        let started = tokio::time::Instant::now();
        let mut sleep = timer.sleep(IDLE);
        if let Some(seconds) = begins_after {
            let begins = tokio::time::sleep(Duration::from_secs(seconds));
            tokio::select! {
                () = sleep.as_mut() => panic!("too early"),
                () = begins => {}
            }
            timer.line.read.fetch_add(1, Ordering::Relaxed);
        }
        sleep.await;
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_has_its_own_time_though_they_share_an_alarm() {
        let timer = HeadTimer { line: Arc::new(Line::new()), head: HEAD };
        for _ in 0..5 {
            let mut sleep = timer.sleep(IDLE);
            let request = tokio::time::sleep(Duration::from_secs(60));
            tokio::select! {
                () = sleep.as_mut() => panic!("too early"),
                () = request => {}
            }
        }
        let started = tokio::time::Instant::now();
        timer.sleep(IDLE).await;
        assert_eq!(started.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_has_long_and_a_head_that_has_begun_has_not() {
        assert_eq!(seconds_until_it_ends(None).await, 90);
        assert_eq!(seconds_until_it_ends(Some(0)).await, 5);
        assert_eq!(seconds_until_it_ends(Some(60)).await, 65);
        assert_eq!(seconds_until_it_ends(Some(89)).await, 94, "a head may begin late");
    }
}
