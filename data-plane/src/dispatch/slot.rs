//! How many requests a connection has in flight, and the limit on it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::Notify;

/// Told when a place at a limited connection becomes free. One for all: waiters look again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freed(Arc<Notify>);

/// A place at a connection, given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    in_flight: Arc<AtomicU32>,
    /// Set where there is a limit, so that somebody may be waiting.
    freed: Option<Freed>,
}

// === impl Freed ===

impl Freed {
    /// Resolves once a place has become free after this call.
    pub(crate) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.notified()
    }
}

// === impl Slot ===

impl Slot {
    /// Takes a place; `None` when all `limit` are taken. 0 means no limit.
    pub(crate) fn take(in_flight: &Arc<AtomicU32>, limit: u32, freed: &Freed) -> Option<Self> {
        if limit == 0 {
            in_flight.fetch_add(1, Ordering::Relaxed);
            return Some(Self { in_flight: Arc::clone(in_flight), freed: None });
        }
        let one_more = |taken: u32| (taken < limit).then_some(taken + 1);
        in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self { in_flight: Arc::clone(in_flight), freed: Some(freed.clone()) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(freed) = &self.freed {
            freed.0.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_holds_and_a_place_given_back_wakes_whoever_waits() {
        let (in_flight, freed) = (Arc::new(AtomicU32::new(0)), Freed::default());
        let one = Slot::take(&in_flight, 2, &freed).expect("free");
        let _two = Slot::take(&in_flight, 2, &freed).expect("free");
        assert!(Slot::take(&in_flight, 2, &freed).is_none());
        let mut told = std::pin::pin!(freed.notified());
        told.as_mut().enable();
        drop(one);
        told.await;
        assert!(Slot::take(&in_flight, 2, &freed).is_some());
    }

    #[test]
    fn without_a_limit_places_are_only_counted() {
        let (in_flight, freed) = (Arc::new(AtomicU32::new(0)), Freed::default());
        let slots: Vec<_> = (0..100).map(|_| Slot::take(&in_flight, 0, &freed)).collect();
        assert_eq!(in_flight.load(Ordering::Relaxed), 100);
        drop(slots);
        assert_eq!(in_flight.load(Ordering::Relaxed), 0);
    }
}
