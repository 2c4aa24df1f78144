//! Whether this proxy takes new work, and how much of it is in flight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// How often whoever waits for the last request looks for itself.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Serving,
    /// Serves on, but says that it is not ready: load balancers turn away before anything is refused. The process ends then.
    Lameduck,
    /// Finishes what runs, refuses new work. A command can undo it.
    Draining,
    /// As `Draining`, and its deadline has passed: what still runs is cut.
    DrainExpired,
    /// As `Draining`, and the process ends when nothing runs any more.
    ShuttingDown,
    /// As `ShuttingDown`, and its deadline has passed: what still runs is cut.
    ShutdownExpired,
}

/// Shared by everything that serves; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    running: watch::Sender<()>,
    requests: AtomicU64,
    streams: AtomicU64,
    total: AtomicU64,
    connections: AtomicU64,
}

/// One client connection that is open.
#[derive(Debug)]
pub struct OpenConnection(Lifecycle);

/// One request between its first byte in and its last byte out.
#[derive(Debug)]
pub struct InFlightRequest {
    lifecycle: Lifecycle,
    is_stream: bool,
}

// === impl Phase ===

impl Phase {
    /// Whether new work is taken.
    pub const fn takes_work(self) -> bool {
        matches!(self, Self::Serving | Self::Lameduck)
    }

    /// Whether what still runs is cut.
    pub const fn cuts(self) -> bool {
        matches!(self, Self::DrainExpired | Self::ShutdownExpired)
    }
}

// === impl Lifecycle ===

impl Lifecycle {
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            phase: watch::Sender::new(Phase::Serving),
            running: watch::Sender::new(()),
            requests: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            total: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        }))
    }

    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Tells each change of phase.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// Refuses new work from now on.
    pub fn drain(&self) {
        self.0.phase.send_if_modified(|phase| *phase == Phase::Serving && set(phase, Phase::Draining));
    }

    /// Takes new work again, unless the process is stopping.
    pub fn resume(&self) {
        let drains = |phase: &Phase| matches!(phase, Phase::Draining | Phase::DrainExpired);
        self.0.phase.send_if_modified(|phase| drains(phase) && set(phase, Phase::Serving));
    }

    /// The deadline of the drain has passed: what still runs is told so and ended.
    pub fn expire_drain(&self) {
        self.0.phase.send_if_modified(|phase| *phase == Phase::Draining && set(phase, Phase::DrainExpired));
    }

    /// Serves on, for those who have not yet heard that the process ends; there is no way back.
    pub fn enter_lameduck(&self) {
        self.0.phase.send_if_modified(|phase| *phase == Phase::Serving && set(phase, Phase::Lameduck));
    }

    /// Refuses new work; there is no way back.
    pub fn shut_down(&self) {
        let stops = |phase: &Phase| !matches!(phase, Phase::ShuttingDown | Phase::ShutdownExpired);
        self.0.phase.send_if_modified(|phase| stops(phase) && set(phase, Phase::ShuttingDown));
    }

    /// As [`Self::expire_drain`], of a process that ends.
    pub fn expire_shutdown(&self) {
        self.0.phase.send_if_modified(|phase| *phase == Phase::ShuttingDown && set(phase, Phase::ShutdownExpired));
    }

    /// Counts a request until the guard is dropped.
    pub fn begin(&self) -> InFlightRequest {
        self.0.total.fetch_add(1, Ordering::Relaxed);
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        InFlightRequest { lifecycle: self.clone(), is_stream: false }
    }

    /// Counts a client connection until the guard is dropped.
    pub fn connected(&self) -> OpenConnection {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }

    /// Client connections that are open.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Relaxed)
    }

    pub fn requests_in_flight(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    pub fn streams_in_flight(&self) -> u64 {
        self.0.streams.load(Ordering::Relaxed)
    }

    pub fn requests_total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Waits until nothing runs any more; `false` when `limit` came first.
    pub async fn idle(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut finished = self.0.running.subscribe();
        while self.requests_in_flight() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            // Looks for itself now and then: the last request may end just before this began to listen.
            let _ = tokio::time::timeout_at(deadline.min(Instant::now() + LOOK_EVERY), finished.changed()).await;
        }
        true
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

fn set(phase: &mut Phase, to: Phase) -> bool {
    *phase = to;
    true
}

// === impl OpenConnection ===

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl InFlightRequest ===

impl InFlightRequest {
    /// From now on it also counts as a stream.
    pub fn mark_stream(&mut self) {
        if !self.is_stream {
            self.is_stream = true;
            self.lifecycle.0.streams.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let shared = &self.lifecycle.0;
        if self.is_stream {
            shared.streams.fetch_sub(1, Ordering::Relaxed);
        }
        // The last one wakes whoever waits for the end; nobody does while the proxy serves.
        if shared.requests.fetch_sub(1, Ordering::AcqRel) == 1 && shared.running.receiver_count() > 0 {
            shared.running.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_undo_a_drain_but_not_a_stop() {
        let lifecycle = Lifecycle::new();
        lifecycle.drain();
        assert_eq!(lifecycle.phase(), Phase::Draining);
        lifecycle.resume();
        assert_eq!(lifecycle.phase(), Phase::Serving);
        lifecycle.expire_drain();
        assert_eq!(lifecycle.phase(), Phase::Serving, "nothing drains that could be cut");
        lifecycle.drain();
        lifecycle.expire_drain();
        assert_eq!(lifecycle.phase(), Phase::DrainExpired);
        lifecycle.resume();
        assert_eq!(lifecycle.phase(), Phase::Serving);
        lifecycle.shut_down();
        lifecycle.resume();
        lifecycle.drain();
        lifecycle.enter_lameduck();
        assert_eq!(lifecycle.phase(), Phase::ShuttingDown);
        lifecycle.expire_shutdown();
        lifecycle.shut_down();
        lifecycle.resume();
        assert_eq!(lifecycle.phase(), Phase::ShutdownExpired);
    }

    #[test]
    fn a_process_that_leaves_takes_work_until_it_stops() {
        let lifecycle = Lifecycle::new();
        lifecycle.enter_lameduck();
        lifecycle.drain();
        lifecycle.resume();
        assert!(lifecycle.phase() == Phase::Lameduck && lifecycle.phase().takes_work(), "no command turns it back");
        lifecycle.shut_down();
        assert!(!lifecycle.phase().takes_work() && !lifecycle.phase().cuts());
        lifecycle.expire_shutdown();
        assert!(lifecycle.phase().cuts());
    }

    #[test]
    fn requests_and_streams_are_counted_while_they_run() {
        let lifecycle = Lifecycle::new();
        let mut one = lifecycle.begin();
        let two = lifecycle.begin();
        one.mark_stream();
        one.mark_stream();
        assert_eq!((lifecycle.requests_in_flight(), lifecycle.streams_in_flight()), (2, 1));
        drop((one, two));
        assert_eq!((lifecycle.requests_in_flight(), lifecycle.streams_in_flight()), (0, 0));
        assert_eq!(lifecycle.requests_total(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_idle_ends_with_the_last_request_or_at_the_limit() {
        let lifecycle = Lifecycle::new();
        let running = lifecycle.begin();
        assert!(!lifecycle.idle(Duration::from_secs(1)).await);
        let waiting = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.idle(Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        drop(running);
        assert!(waiting.await.expect("no panic"));
    }
}
