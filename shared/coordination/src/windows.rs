//! Sliding windows: how often something happened lately.
//!
//! A window is counted in sixteen slots of equal width and one more that is running out. All seventeen count in full,
//! so no window of the given length ever holds more than the limit; the price is that a hit is forgotten up to one
//! slot late. Memory per scope is constant, whatever the limit. `redis/scripts/hit.lua` counts in the same way.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use omniroute_core::time::UnixMillis;

use crate::{RateDecision, sharded::Sharded};

/// Slots in a window.
pub(crate) const SLOTS: u64 = 16;

/// Scopes counted at most; beyond it idle ones make room, then the one that was hit longest ago.
const MAX_SCOPES: usize = 65_536;

/// Counters of every scope.
pub(crate) struct Windows(Sharded<Box<str>, SlidingWindow>);

/// Counter of one scope.
#[derive(Debug)]
struct SlidingWindow {
    /// Width of a slot in milliseconds.
    width: u64,
    /// Oldest first.
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// Time divided by the width.
    index: u64,
    count: u64,
    /// Part of `count` that Redis has not been told.
    unsent: u64,
}

/// Hits of one scope that Redis has not been told, with how long ago each group happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsent {
    pub(crate) scope: Box<str>,
    pub(crate) width: u64,
    pub(crate) groups: Vec<(Duration, u64)>,
}

/// Width of the slots of a window, in milliseconds.
pub(crate) fn slot_width(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap_or(u64::MAX / (SLOTS + 2)).div_ceil(SLOTS).max(1)
}

// === impl Windows ===

impl Windows {
    pub(crate) fn new() -> Self {
        Self(Sharded::with_capacity_limit(MAX_SCOPES))
    }

    /// Counts a hit if the limit allows it; `shared` says that Redis is still to be told of it.
    pub(crate) fn hit(&self, scope: &str, limit: u64, window: Duration, now: UnixMillis, shared: bool) -> RateDecision {
        self.with(scope, slot_width(window), now, |counter| {
            let decision = counter.decision(limit, now);
            if decision.allowed {
                counter.add(now, u64::from(shared));
            }
            decision
        })
    }

    /// Notes a hit that Redis has counted already.
    pub(crate) fn note(&self, scope: &str, window: Duration, now: UnixMillis) {
        self.with(scope, slot_width(window), now, |counter| counter.add(now, 0));
    }

    /// Takes what Redis is still to be told.
    pub(crate) fn take_unsent(&self, now: UnixMillis) -> Vec<Unsent> {
        let mut all = Vec::new();
        for shard in self.0.shards() {
            for (scope, counter) in shard.write().iter_mut() {
                let width = counter.width;
                let groups: Vec<_> = counter
                    .slots
                    .iter_mut()
                    .filter(|slot| slot.unsent > 0)
                    .map(|slot| {
                        let end = UnixMillis(slot.index.saturating_add(1).saturating_mul(width));
                        (now.saturating_since(end), std::mem::take(&mut slot.unsent))
                    })
                    .collect();
                if !groups.is_empty() {
                    all.push(Unsent { scope: scope.clone(), width, groups });
                }
            }
        }
        all
    }

    /// Redis lost its data: it is still to be told of everything.
    pub(crate) fn forget_sent(&self) {
        for shard in self.0.shards() {
            shard.write().values_mut().flat_map(|counter| &mut counter.slots).for_each(|slot| slot.unsent = slot.count);
        }
    }

    /// Scopes with hits that Redis is still to be told of.
    pub(crate) fn unsent_scopes(&self) -> usize {
        let unsent = |counter: &SlidingWindow| counter.slots.iter().any(|slot| slot.unsent > 0);
        self.0.shards().iter().map(|shard| shard.read().values().filter(|counter| unsent(counter)).count()).sum()
    }

    /// Forgets scopes without a hit in their window.
    pub(crate) fn sweep(&self, now: UnixMillis) {
        for shard in self.0.shards() {
            shard.write().retain(|_, counter| !counter.is_idle(now));
        }
    }

    fn with<T>(&self, scope: &str, width: u64, now: UnixMillis, act: impl FnOnce(&mut SlidingWindow) -> T) -> T {
        let mut shard = self.0.shard(scope).write();
        if !shard.contains_key(scope) && self.0.is_full(&shard) {
            make_room(&mut shard, now);
        }
        if let Some(counter) = shard.get_mut(scope) {
            // Another window length is another question: counting starts anew.
            if counter.width != width {
                *counter = SlidingWindow::new(width);
            }
            return act(counter);
        }
        act(shard.entry(scope.into()).or_insert_with(|| SlidingWindow::new(width)))
    }
}

fn make_room(shard: &mut HashMap<Box<str>, SlidingWindow>, now: UnixMillis) {
    let before = shard.len();
    shard.retain(|_, counter| !counter.is_idle(now));
    if shard.len() == before {
        let last_hit = |counter: &SlidingWindow| counter.slots.back().map_or(0, |slot| slot.index * counter.width);
        let oldest = shard.iter().min_by_key(|(_, counter)| last_hit(counter)).map(|(scope, _)| scope.clone());
        if let Some(scope) = oldest {
            shard.remove(&scope);
        }
    }
}

// === impl SlidingWindow ===

impl SlidingWindow {
    fn new(width: u64) -> Self {
        Self { width, slots: VecDeque::new() }
    }

    fn add(&mut self, now: UnixMillis, unsent: u64) {
        let index = now.0 / self.width;
        match self.slots.back_mut() {
            // A clock that went back counts in the newest slot: later forgotten, never sooner.
            Some(slot) if slot.index >= index => {
                slot.count += 1;
                slot.unsent += unsent;
            }
            _ => self.slots.push_back(Slot { index, count: 1, unsent }),
        }
    }

    fn decision(&mut self, limit: u64, now: UnixMillis) -> RateDecision {
        self.forget(now);
        let used: u64 = self.slots.iter().map(|slot| slot.count).sum();
        if used < limit {
            return RateDecision { allowed: true, remaining: limit - used - 1, retry_after: None };
        }
        // Slots run out oldest first, until one more fits.
        let mut left = used;
        let mut free_at = now.0.saturating_add(self.width * SLOTS);
        for slot in &self.slots {
            left -= slot.count;
            if left < limit {
                free_at = (slot.index + SLOTS + 1).saturating_mul(self.width);
                break;
            }
        }
        let wait = Duration::from_millis(free_at.saturating_sub(now.0).max(1));
        RateDecision { allowed: false, remaining: 0, retry_after: Some(wait) }
    }

    /// Drops the slots whose last instant is a whole window ago.
    fn forget(&mut self, now: UnixMillis) {
        let current = now.0 / self.width;
        while self.slots.front().is_some_and(|slot| slot.index + SLOTS < current) {
            self.slots.pop_front();
        }
    }

    fn is_idle(&self, now: UnixMillis) -> bool {
        self.slots.back().is_none_or(|slot| slot.index + SLOTS < now.0 / self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(1_600);

    fn hit(windows: &Windows, at: u64) -> RateDecision {
        windows.hit("s", 3, WINDOW, UnixMillis(at), true)
    }

    #[test]
    fn no_window_ever_holds_more_than_the_limit() {
        let windows = Windows::new();
        let mut allowed = Vec::new();
        for at in (0..20_000).step_by(7) {
            if hit(&windows, at).allowed {
                allowed.push(at);
            }
        }
        for (first, fourth) in allowed.iter().zip(&allowed[3..]) {
            assert!(fourth - first >= 1_600, "four hits within a window: {first} to {fourth}");
            assert!(fourth - first <= 1_600 + 100 + 7, "a hit was remembered for too long: {first} to {fourth}");
        }
    }

    #[test]
    fn a_refusal_says_when_and_then_it_is_so() {
        let windows = Windows::new();
        assert_eq!(hit(&windows, 50).remaining, 2);
        assert_eq!(hit(&windows, 60).remaining, 1);
        assert_eq!(hit(&windows, 950).remaining, 0);
        let refused = hit(&windows, 1_000);
        assert!(!refused.allowed);
        let wait = refused.retry_after.expect("a time").as_millis() as u64;
        assert!(!hit(&windows, 1_000 + wait - 1).allowed);
        assert!(hit(&windows, 1_000 + wait).allowed);
    }

    #[test]
    fn a_limit_of_nothing_allows_nothing() {
        let decision = Windows::new().hit("s", 0, WINDOW, UnixMillis(5), true);
        assert_eq!((decision.allowed, decision.retry_after), (false, Some(WINDOW)));
    }

    #[test]
    fn what_redis_was_not_told_is_taken_once_with_its_age() {
        let windows = Windows::new();
        hit(&windows, 10);
        hit(&windows, 20);
        windows.note("s", WINDOW, UnixMillis(250));
        hit(&windows, 320);
        windows.note("told", WINDOW, UnixMillis(320));
        let unsent = windows.take_unsent(UnixMillis(1_000));
        let groups = vec![(Duration::from_millis(900), 2)];
        assert_eq!(unsent, [Unsent { scope: "s".into(), width: 100, groups }], "the fourth was refused");
        assert!(windows.take_unsent(UnixMillis(1_000)).is_empty());
    }

    #[test]
    fn idle_scopes_make_room() {
        let windows = Windows::new();
        for n in 0..MAX_SCOPES * 2 {
            windows.hit(&n.to_string(), 1, WINDOW, UnixMillis(1_000 + n as u64), false);
        }
        let held: usize = windows.0.shards().iter().map(|shard| shard.read().len()).sum();
        assert!(held <= MAX_SCOPES, "{held}");
        windows.sweep(UnixMillis(10_000_000));
        assert!(windows.0.shards().iter().all(|shard| shard.read().is_empty()));
    }
}
