//! How many requests a connection has in flight, and the limit on it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::Notify;

/// Told when a place at a limited connection becomes free. One for all: waiters look again.
#[derive(Clone, Debug, Default)]
pub(super) struct Released(Arc<Notify>);

/// A request's place at a connection, given back on drop.
#[derive(Debug)]
pub(crate) struct ConcurrencyPermit {
    in_flight: Arc<AtomicU32>,
    /// Set where there is a limit, so that somebody may be waiting.
    released: Option<Released>,
}

// === impl Released ===

impl Released {
    /// Resolves once a place has become free after this call.
    pub(super) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.notified()
    }
}

// === impl ConcurrencyPermit ===

impl ConcurrencyPermit {
    /// Takes a place; `None` when all `limit` are taken. 0 means no limit.
    pub(super) fn acquire(in_flight: &Arc<AtomicU32>, limit: u32, released: &Released) -> Option<Self> {
        if limit == 0 {
            in_flight.fetch_add(1, Ordering::Relaxed);
            return Some(Self { in_flight: Arc::clone(in_flight), released: None });
        }
        let one_more = |taken: u32| (taken < limit).then_some(taken + 1);
        in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self { in_flight: Arc::clone(in_flight), released: Some(released.clone()) })
    }
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(released) = &self.released {
            released.0.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_holds_and_a_place_given_back_wakes_whoever_waits() {
        let (in_flight, released) = (Arc::new(AtomicU32::new(0)), Released::default());
        let one = ConcurrencyPermit::acquire(&in_flight, 2, &released).expect("free");
        let _two = ConcurrencyPermit::acquire(&in_flight, 2, &released).expect("free");
        assert!(ConcurrencyPermit::acquire(&in_flight, 2, &released).is_none());
        let mut told = std::pin::pin!(released.notified());
        told.as_mut().enable();
        drop(one);
        told.await;
        assert!(ConcurrencyPermit::acquire(&in_flight, 2, &released).is_some());
    }

    #[test]
    fn without_a_limit_places_are_only_counted() {
        let (in_flight, released) = (Arc::new(AtomicU32::new(0)), Released::default());
        let permits: Vec<_> = (0..100).map(|_| ConcurrencyPermit::acquire(&in_flight, 0, &released)).collect();
        assert_eq!(in_flight.load(Ordering::Relaxed), 100);
        drop(permits);
        assert_eq!(in_flight.load(Ordering::Relaxed), 0);
    }
}
