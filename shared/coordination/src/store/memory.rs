//! Values in this process.
//!
//! A scope lives in one shard. What ends first goes first, be it that its time has come or that room is needed: within
//! a store values are kept equally long, so that is the oldest.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use omniroute_core::time::{Clock, UnixMillis};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Claim, Found, Key, SharedStore, StoreLimits, Waited};

const SHARDS: usize = 16;

/// What an entry takes beside its value, about.
const OVERHEAD: u64 = 256;

/// A claim of this process needs no renewal: whoever holds it settles it. It ends all the same, should that fail.
pub(crate) const LONGEST_CLAIM: Duration = Duration::from_secs(2 * 60 * 60);

/// The values of a store.
pub(crate) struct Memory {
    limits: StoreLimits,
    shards: [Mutex<Shard>; SHARDS],
    /// Of all entries.
    bytes: AtomicU64,
    /// Whose turn it is to make room.
    turn: AtomicUsize,
    sequence: AtomicU64,
    /// A claim has been settled, or something has been removed.
    changed: Notify,
}

/// When it ends, and in which order it came.
type Rank = (UnixMillis, u64);

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry>,
    order: BTreeSet<(Rank, Key)>,
    scopes: HashMap<[u8; 16], Scope>,
}

#[derive(Default)]
struct Scope {
    bytes: u64,
    order: BTreeSet<(Rank, Key)>,
}

struct Entry {
    value: Bytes,
    rank: Rank,
    /// Redis has not been told.
    unsent: bool,
}

// === impl Shard ===

impl Shard {
    /// Returns the bytes that it gives back.
    fn remove(&mut self, key: &Key) -> Option<u64> {
        let entry = self.entries.remove(key)?;
        let size = size(&entry.value);
        self.order.remove(&(entry.rank, *key));
        if let Some(scope) = self.scopes.get_mut(&key.scope) {
            scope.bytes -= size;
            scope.order.remove(&(entry.rank, *key));
            if scope.order.is_empty() {
                self.scopes.remove(&key.scope);
            }
        }
        Some(size)
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        let scope = self.scopes.entry(key.scope).or_default();
        scope.bytes += size(&entry.value);
        scope.order.insert((entry.rank, key));
        self.order.insert((entry.rank, key));
        self.entries.insert(key, entry);
    }

    fn current(&self, key: &Key, now: UnixMillis) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.rank.0 > now)
    }

    fn oldest(&self) -> Option<&(Rank, Key)> {
        self.order.first()
    }
}

fn size(value: &Bytes) -> u64 {
    value.len() as u64 + OVERHEAD
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            shards: std::array::from_fn(|_| Mutex::default()),
            bytes: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    pub(crate) const fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    pub(crate) fn get(&self, key: &Key, now: UnixMillis) -> Option<Bytes> {
        self.shard(key).lock().current(key, now).map(|entry| entry.value.clone())
    }

    /// What Redis has not been told.
    pub(crate) fn get_unsent(&self, key: &Key, now: UnixMillis) -> Option<Bytes> {
        let shard = self.shard(key).lock();
        shard.current(key, now).filter(|entry| entry.unsent).map(|entry| entry.value.clone())
    }

    /// Says whether it is kept.
    pub(crate) fn put(&self, key: Key, value: Bytes, until: UnixMillis, now: UnixMillis, unsent: bool) -> bool {
        if value.len() > self.limits.value_bytes
            || size(&value) > self.limits.scope_bytes.min(self.limits.process_bytes)
        {
            return false;
        }
        let mut shard = self.shard(&key).lock();
        self.insert(&mut shard, key, value, until, now, unsent);
        drop(shard);
        self.make_room(now);
        true
    }

    fn insert(&self, shard: &mut Shard, key: Key, value: Bytes, until: UnixMillis, now: UnixMillis, unsent: bool) {
        self.remove_from(shard, &key);
        let rank = (until, self.sequence.fetch_add(1, Ordering::Relaxed));
        self.bytes.fetch_add(size(&value), Ordering::Relaxed);
        shard.insert(key, Entry { value, rank, unsent });
        while let Some((_, over)) = shard.oldest().copied().filter(|((end, _), _)| *end <= now) {
            self.remove_from(shard, &over);
        }
        while let Some((_, oldest)) = shard.scopes.get(&key.scope).and_then(|scope| self.too_much(scope)) {
            self.remove_from(shard, &oldest);
        }
    }

    /// What has to go first, where a scope has more than it may.
    fn too_much(&self, scope: &Scope) -> Option<(Rank, Key)> {
        let fits = scope.bytes <= self.limits.scope_bytes && scope.order.len() <= self.limits.scope_entries;
        if fits { None } else { scope.order.first().copied() }
    }

    /// Takes the oldest of each shard in turn until all of it fits.
    fn make_room(&self, now: UnixMillis) {
        while self.bytes.load(Ordering::Relaxed) > self.limits.process_bytes {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let mut shard = self.shards[turn].lock();
            while let Some((_, over)) = shard.oldest().copied().filter(|((end, _), _)| *end <= now) {
                self.remove_from(&mut shard, &over);
            }
            if let Some((_, oldest)) = shard.oldest().copied() {
                self.remove_from(&mut shard, &oldest);
            }
        }
    }

    pub(crate) fn remove(&self, key: &Key) -> bool {
        let removed = self.remove_from(&mut self.shard(key).lock(), key);
        self.changed.notify_waiters();
        removed
    }

    fn remove_from(&self, shard: &mut Shard, key: &Key) -> bool {
        let removed = shard.remove(key);
        self.bytes.fetch_sub(removed.unwrap_or_default(), Ordering::Relaxed);
        removed.is_some()
    }

    pub(crate) fn claim(&self, key: &Key, mark: &Bytes, now: UnixMillis) -> Claim {
        let mut shard = self.shard(key).lock();
        if let Some(held) = shard.current(key, now) {
            return Claim::Held(held.value.clone());
        }
        self.insert(&mut shard, *key, mark.clone(), now.saturating_add(LONGEST_CLAIM), now, false);
        drop(shard);
        self.make_room(now);
        Claim::Mine
    }

    /// Only replaces the claim itself, or nothing.
    pub(crate) fn settle(&self, key: &Key, mark: &Bytes, value: Option<Bytes>, until: UnixMillis, now: UnixMillis) {
        let mut shard = self.shard(key).lock();
        if shard.current(key, now).is_some_and(|held| held.value != *mark) {
            return;
        }
        match value.filter(|value| value.len() <= self.limits.value_bytes) {
            Some(value) => self.insert(&mut shard, *key, value, until, now, false),
            None => drop(self.remove_from(&mut shard, key)),
        }
        drop(shard);
        self.make_room(now);
        self.changed.notify_waiters();
    }

    /// Redis has been told of this value.
    pub(crate) fn sent(&self, key: &Key, value: &Bytes) {
        if let Some(entry) = self.shard(key).lock().entries.get_mut(key)
            && entry.value == *value
        {
            entry.unsent = false;
        }
    }

    /// Some of what Redis has not been told, with how long each is still to be kept.
    pub(crate) fn unsent(&self, at_most: usize, now: UnixMillis) -> Vec<(Key, Bytes, Duration)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let unsent = shard.entries.iter().filter(|(_, entry)| entry.unsent && entry.rank.0 > now);
            all.extend(
                unsent
                    .take(at_most - all.len())
                    .map(|(key, entry)| (*key, entry.value.clone(), entry.rank.0.saturating_since(now))),
            );
        }
        all
    }

    /// Waits until something else than `seen` stands there.
    pub(crate) async fn wait(&self, key: &Key, seen: &Bytes, until: Instant, clock: &dyn Clock) -> Waited {
        loop {
            // Listens before it looks, so that nothing happens unnoticed in between.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.get(key, clock.now()) {
                Some(value) if value != *seen => return Waited::Value(value),
                Some(_) => {}
                None => return Waited::Gone,
            }
            if timeout_at(until, changed).await.is_err() {
                return Waited::Late;
            }
        }
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        &self.shards[usize::from(key.scope[0]) % SHARDS]
    }
}

/// A store of a fleet of one.
pub(crate) struct LocalStore {
    memory: Memory,
    clock: Arc<dyn Clock>,
}

// === impl LocalStore ===

impl LocalStore {
    pub(crate) fn new(limits: StoreLimits, clock: Arc<dyn Clock>) -> Self {
        Self { memory: Memory::new(limits), clock }
    }
}

#[async_trait]
impl SharedStore for LocalStore {
    async fn load(&self, key: &Key) -> Found {
        self.memory.get(key, self.clock.now()).map_or(Found::Nothing, Found::Value)
    }

    async fn keep(&self, key: &Key, value: Bytes, ttl: Duration) -> bool {
        let now = self.clock.now();
        self.memory.put(*key, value, now.saturating_add(ttl), now, false)
    }

    async fn remove(&self, key: &Key) -> bool {
        self.memory.remove(key)
    }

    async fn claim(&self, key: &Key, mark: &Bytes) -> Claim {
        self.memory.claim(key, mark, self.clock.now())
    }

    async fn settle(&self, key: &Key, mark: &Bytes, value: Option<Bytes>, ttl: Duration) {
        let now = self.clock.now();
        self.memory.settle(key, mark, value, now.saturating_add(ttl), now);
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn wait(&self, key: &Key, seen: &Bytes, patience: Duration) -> Waited {
        self.memory.wait(key, seen, Instant::now() + patience, &*self.clock).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn memory(scope_bytes: u64, scope_entries: usize, process_bytes: u64) -> Memory {
        Memory::new(StoreLimits { name: "t", value_bytes: 1_000, scope_bytes, scope_entries, process_bytes })
    }

    fn put(memory: &Memory, scope: &str, name: &str, len: usize) -> bool {
        let key = Key::new(scope, &[name.as_bytes()]);
        memory.put(key, vec![1; len].into(), NOW.saturating_add(Duration::from_secs(60)), NOW, false)
    }

    fn has(memory: &Memory, scope: &str, name: &str) -> bool {
        memory.get(&Key::new(scope, &[name.as_bytes()]), NOW).is_some()
    }

    #[test]
    fn a_scope_that_is_full_forgets_its_own_oldest() {
        let memory = memory(10_000, 3, 100_000);
        assert!(put(&memory, "other", "x", 10));
        for name in ["a", "b", "c", "d"] {
            assert!(put(&memory, "one", name, 10));
        }
        assert!(!has(&memory, "one", "a") && has(&memory, "one", "b") && has(&memory, "other", "x"));

        let memory = self::memory(1_000, 100, 100_000);
        for name in ["a", "b", "c"] {
            assert!(put(&memory, "one", name, 200));
        }
        assert!(!has(&memory, "one", "a") && has(&memory, "one", "c"), "three times 456 bytes do not fit");
    }

    #[test]
    fn all_scopes_together_stay_within_the_process() {
        let memory = memory(100_000, 100, 50_000);
        for n in 0..500 {
            assert!(put(&memory, &format!("scope {}", n % 40), &n.to_string(), 700));
        }
        assert!(memory.bytes.load(Ordering::Relaxed) <= 50_000);
        let counted: u64 =
            memory.shards.iter().map(|shard| shard.lock().scopes.values().map(|s| s.bytes).sum::<u64>()).sum();
        assert_eq!(counted, memory.bytes.load(Ordering::Relaxed));
        assert!(has(&memory, "scope 19", "499"));
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_what_is_over_makes_room() {
        let memory = memory(2_000, 100, 100_000);
        assert!(!put(&memory, "one", "large", 1_001));
        assert!(put(&memory, "one", "a", 900));
        let later = NOW.saturating_add(Duration::from_secs(61));
        assert_eq!(memory.get(&Key::new("one", &[b"a"]), later), None);
        let key = Key::new("one", &[b"b"]);
        assert!(memory.put(key, Bytes::from_static(b"b"), later.saturating_add(Duration::from_secs(1)), later, false));
        assert_eq!(memory.bytes.load(Ordering::Relaxed), 1 + OVERHEAD);
    }
}
