//! The memory that request bodies may take, all requests together.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits count in this unit.
const UNIT: u64 = 1024;
/// How long a request waits for others to give memory back.
const PATIENCE: Duration = Duration::from_secs(1);

/// A budget of bytes; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct BodyMemory {
    units: Arc<Semaphore>,
    total: u32,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Reserved(OwnedSemaphorePermit);

/// The budget is used up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

struct Held {
    bytes: Bytes,
    _share: Reserved,
}

// === impl BodyMemory ===

impl BodyMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = units(bytes).max(1);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Takes `bytes` out of the budget, waiting a little when others hold too much. A body larger than the whole
    /// budget takes all of it.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<Reserved, Exhausted> {
        let wanted = units(bytes).min(self.total);
        if let Ok(permit) = Arc::clone(&self.units).try_acquire_many_owned(wanted) {
            return Ok(Reserved(permit));
        }
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.units).acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(Reserved(permit)),
            Ok(Err(_)) | Err(_) => Err(Exhausted),
        }
    }

    /// Bytes that are held.
    pub(crate) fn held(&self) -> u64 {
        (self.total as usize).saturating_sub(self.units.available_permits()) as u64 * UNIT
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 4).min(u32::MAX >> 4)
}

// === impl Reserved ===

impl Reserved {
    /// Bytes that this share covers.
    pub(crate) fn covers(&self) -> u64 {
        self.0.num_permits() as u64 * UNIT
    }

    /// Gives back what it covers beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let spare = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(spare));
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// Ties the share to the bytes: it is given back when their last slice is dropped, wherever that is.
    pub(crate) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_share_comes_back_with_the_last_slice() {
        let memory = BodyMemory::new(10 * UNIT);
        let share = memory.reserve(3 * UNIT - 5).await.expect("reserved");
        assert_eq!(memory.held(), 3 * UNIT);
        let bytes = share.hold(Bytes::from_static(b"0123456789"));
        let slice = bytes.slice(2..4);
        drop(bytes);
        assert_eq!((memory.held(), &slice[..]), (3 * UNIT, &b"23"[..]));
        drop(slice);
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test]
    async fn what_a_share_does_not_need_is_given_back() {
        let memory = BodyMemory::new(10 * UNIT);
        let mut share = memory.reserve(8 * UNIT).await.expect("reserved");
        share.shrink_to(2 * UNIT + 1);
        assert_eq!((memory.held(), share.covers()), (3 * UNIT, 3 * UNIT));
        share.shrink_to(9 * UNIT);
        assert_eq!(memory.held(), 3 * UNIT, "it never grows");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_makes_wait_and_then_refuses() {
        let memory = BodyMemory::new(4 * UNIT);
        let all = memory.reserve(100 * UNIT).await.expect("a body larger than the budget takes all of it");
        assert_eq!(memory.reserve(1).await.err(), Some(Exhausted));
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.reserve(1).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(all);
        assert!(waiting.await.expect("no panic"));
    }
}
