//! The memory that request bodies may take, all requests together, and those of one API key.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::Caller;

/// Permits count in this unit.
const UNIT: u64 = 1024;
/// How long a request waits for others to give memory back.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// One API key may have this part of it, so that it cannot keep out all others.
const SHARE_OF_KEY: u32 = 2;

/// A budget of bytes; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct BodyMemory {
    units: Arc<Semaphore>,
    total: u32,
    /// The part of the caller for whom it is reserved.
    of_key: Option<Arc<Semaphore>>,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    units: OwnedSemaphorePermit,
    /// Out of the part of a key.
    of_key: Option<OwnedSemaphorePermit>,
    /// As the key was before it was edited.
    of_edited: Vec<OwnedSemaphorePermit>,
}

/// The budget is used up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

struct PaidBytes {
    bytes: Bytes,
    _share: Reservation,
}

// === impl BodyMemory ===

impl BodyMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = units(bytes).max(1);
        Self { units: Arc::new(Semaphore::new(total as usize)), total, of_key: None }
    }

    /// The same budget, of which this caller may have a part.
    pub(crate) fn of(&self, caller: &Caller) -> Self {
        let of_key = match caller {
            Caller::Key(key) => {
                let room = key.body_room.get_or_init(|| Arc::new(Semaphore::new(self.share() as usize)));
                Some(Arc::clone(room))
            }
            Caller::Local => None,
        };
        Self { units: Arc::clone(&self.units), total: self.total, of_key }
    }

    fn share(&self) -> u32 {
        (self.total / SHARE_OF_KEY).max(1)
    }

    /// Takes `bytes` out of the budget, waiting a little when others hold too much. A body larger than the whole
    /// budget takes all of it.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<Reservation, Exhausted> {
        let wanted = units(bytes).min(self.total);
        let give_up = Instant::now() + LONGEST_WAIT;
        let of_key = match &self.of_key {
            Some(room) => Some(take(room, wanted.min(self.share()), give_up).await?),
            None => None,
        };
        Ok(Reservation { units: take(&self.units, wanted, give_up).await?, of_key, of_edited: Vec::new() })
    }

    /// Bytes that are held.
    pub(crate) fn held(&self) -> u64 {
        (self.total as usize).saturating_sub(self.units.available_permits()) as u64 * UNIT
    }
}

async fn take(units: &Arc<Semaphore>, wanted: u32, give_up: Instant) -> Result<OwnedSemaphorePermit, Exhausted> {
    if let Ok(permit) = Arc::clone(units).try_acquire_many_owned(wanted) {
        return Ok(permit);
    }
    match tokio::time::timeout_at(give_up, Arc::clone(units).acquire_many_owned(wanted)).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Exhausted),
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 4).min(u32::MAX >> 4)
}

// === impl Reservation ===

impl Reservation {
    /// Bytes that this share covers.
    pub(crate) fn covers(&self) -> u64 {
        self.units.num_permits() as u64 * UNIT
    }

    /// Gives back what it covers beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let needed = units(bytes) as usize;
        for permit in std::iter::once(&mut self.units).chain(&mut self.of_key).chain(&mut self.of_edited) {
            drop(permit.split(permit.num_permits().saturating_sub(needed)));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.units.merge(other.units);
        for more in other.of_key.into_iter().chain(other.of_edited) {
            match &mut self.of_key {
                Some(held) if Arc::ptr_eq(held.semaphore(), more.semaphore()) => held.merge(more),
                Some(_) => self.of_edited.push(more),
                None => self.of_key = Some(more),
            }
        }
    }

    /// Ties the share to the bytes: it is given back when their last slice is dropped, wherever that is.
    pub(crate) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(PaidBytes { bytes, _share: self })
    }
}

impl AsRef<[u8]> for PaidBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::{
        server::testing::{KEY, snapshot_with},
        snapshot::ApiKey,
    };

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

    fn caller(key: &Arc<ApiKey>) -> Caller {
        Caller::Key(Arc::clone(key))
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_cannot_keep_out_the_others() {
        let snapshot = snapshot_with(|resources| resources.key("k2", "sk-other", |_| {}));
        let pepper = &snapshot.settings().pepper;
        let key = |secret: &str| Arc::clone(snapshot.key(&pepper.hash(secret)).expect("a key"));
        let (greedy, other) = (key(KEY), key("sk-other"));
        let memory = BodyMemory::new(8 * UNIT);
        let mut held = vec![memory.of(&caller(&greedy)).reserve(2 * UNIT).await.expect("reserved")];
        held.push(memory.of(&caller(&greedy)).reserve(2 * UNIT).await.expect("half of it"));
        assert_eq!(memory.of(&caller(&greedy)).reserve(1).await.err(), Some(Exhausted));
        let of_other = memory.of(&caller(&other)).reserve(4 * UNIT).await.expect("the other half");
        drop(of_other);
        // An edited key begins anew; what the old one held is merged with what the new one takes, and given back to both.
        let mut edited = (*greedy).clone();
        edited.body_room = OnceLock::new();
        let mut share = held.remove(0);
        share.merge(memory.of(&caller(&Arc::new(edited))).reserve(4 * UNIT).await.expect("reserved"));
        assert_eq!(share.covers(), 6 * UNIT);
        drop((share, held));
        assert_eq!(memory.held(), 0);
        memory.of(&caller(&greedy)).reserve(4 * UNIT).await.expect("all of its part");
    }
}
