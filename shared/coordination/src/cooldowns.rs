//! The local view of all cooldowns: what `cooling` reads.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use omniroute_core::time::UnixMillis;

use crate::{Cooldown, sharded::Sharded};

/// Cooldowns kept at most; beyond it the one that ends first makes room.
const MAX_COOLDOWNS: usize = 65_536;

/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 256;

/// All cooldowns that this process knows.
pub(crate) struct CooldownView {
    entries: Sharded<Arc<str>, Cooldown>,
    /// Entries in all shards, so that the usual case, none at all, costs one load.
    len: AtomicUsize,
}

// === impl CooldownView ===

impl CooldownView {
    pub(crate) fn new() -> Self {
        Self { entries: Sharded::with_capacity_limit(MAX_COOLDOWNS), len: AtomicUsize::new(0) }
    }

    pub(crate) fn get(&self, id: &str, now: impl FnOnce() -> UnixMillis) -> Option<Cooldown> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let shard = self.entries.shard(id).read();
        let cooldown = shard.get(id)?;
        (cooldown.until > now()).then(|| cooldown.clone())
    }

    pub(crate) fn all(&self, now: UnixMillis) -> Vec<(Arc<str>, Cooldown)> {
        let mut all = Vec::new();
        for shard in self.entries.shards() {
            let shard = shard.read();
            let current = shard.iter().filter(|(_, cooldown)| cooldown.until > now);
            all.extend(current.map(|(id, cooldown)| (id.clone(), cooldown.clone())));
        }
        all
    }

    /// Takes a cooldown, unless a longer one is in force.
    pub(crate) fn cool(&self, id: Arc<str>, cooldown: Cooldown, now: UnixMillis) {
        if cooldown.until <= now {
            return;
        }
        let mut shard = self.entries.shard(&id).write();
        if let Some(held) = shard.get_mut(&id) {
            if cooldown.until > held.until {
                *held = cooldown;
            }
            return;
        }
        if self.entries.is_full(&shard) {
            self.make_room(&mut shard, now);
        }
        shard.insert(id, cooldown);
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn warm(&self, id: &str) {
        let mut shard = self.entries.shard(id).write();
        if shard.remove(id).is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Makes the view equal to a full read of Redis, but for the ids in `unsent`: their last change happened here,
    /// and Redis cannot know it yet.
    pub(crate) fn replace(&self, read: Vec<(Arc<str>, Cooldown)>, unsent: &HashSet<Arc<str>>, now: UnixMillis) {
        let mut read: HashMap<Arc<str>, Cooldown> = read.into_iter().filter(|(id, _)| !unsent.contains(id)).collect();
        for shard in self.entries.shards() {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|id, held| {
                if unsent.contains(id) {
                    return held.until > now;
                }
                let Some(cooldown) = read.remove(id) else { return false };
                *held = cooldown;
                true
            });
            self.len.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
        for (id, cooldown) in read {
            self.cool(id, cooldown, now);
        }
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&self, now: UnixMillis) {
        for shard in self.entries.shards() {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|_, cooldown| cooldown.until > now);
            self.len.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    fn make_room(&self, shard: &mut HashMap<Arc<str>, Cooldown>, now: UnixMillis) {
        let before = shard.len();
        shard.retain(|_, cooldown| cooldown.until > now);
        if shard.len() == before {
            let first = shard.iter().min_by_key(|(_, cooldown)| cooldown.until).map(|(id, _)| id.clone());
            if let Some(id) = first {
                shard.remove(&id);
            }
        }
        self.len.fetch_sub(before - shard.len(), Ordering::Relaxed);
    }
}

/// A cooldown with a reason of bounded length.
pub(crate) fn cooldown(until: UnixMillis, reason: &str) -> Cooldown {
    let end = (0..=reason.len().min(MAX_REASON)).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
    Cooldown { until, reason: reason[..end].into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn entry(id: &str, until: u64) -> (Arc<str>, Cooldown) {
        (id.into(), cooldown(UnixMillis(until), "429"))
    }

    fn ids(view: &CooldownView) -> Vec<String> {
        let mut ids: Vec<_> = view.all(NOW).into_iter().map(|(id, _)| id.to_string()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn a_full_read_replaces_all_but_what_is_unsent() {
        let view = CooldownView::new();
        for id in ["gone", "shorter", "unsent"] {
            view.cool(id.into(), cooldown(UnixMillis(5_000), "x"), NOW);
        }
        let unsent = HashSet::from(["unsent".into(), "warmed here".into()]);
        let read = vec![entry("read", 4_000), entry("shorter", 4_000), entry("warmed here", 4_000)];
        view.replace(read, &unsent, NOW);
        assert_eq!(ids(&view), ["read", "shorter", "unsent"]);
        assert_eq!(view.get("shorter", || NOW).map(|c| c.until), Some(UnixMillis(4_000)));
        assert_eq!(view.len.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_full_view_drops_what_ends_first() {
        let view = CooldownView::new();
        for n in 0..MAX_COOLDOWNS as u64 * 2 {
            view.cool(n.to_string().into(), cooldown(UnixMillis(NOW.0 + 1 + n), "x"), NOW);
        }
        let left = view.all(NOW);
        assert!(left.len() <= MAX_COOLDOWNS, "{}", left.len());
        assert_eq!(left.len(), view.len.load(Ordering::Relaxed));
        let last = (MAX_COOLDOWNS * 2 - 1).to_string();
        assert!(view.get(&last, || NOW).is_some(), "the longest one stays");
        assert!(view.get("0", || NOW).is_none());
    }

    #[test]
    fn what_is_over_is_forgotten_and_no_longer_counted() {
        let view = CooldownView::new();
        view.cool("a".into(), cooldown(UnixMillis(2_000), "x"), NOW);
        assert!(view.get("a", || UnixMillis(2_000)).is_none());
        view.sweep(UnixMillis(2_000));
        assert_eq!(view.len.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "é".repeat(MAX_REASON);
        assert_eq!(cooldown(NOW, &reason).reason.len(), MAX_REASON);
        assert_eq!(cooldown(NOW, &format!("x{reason}")).reason.len(), MAX_REASON - 1);
    }
}
