//! A map in shards, so that callers seldom meet at one lock.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use parking_lot::RwLock;

const SHARDS: usize = 16;

/// Maps text to `V`. Bounded: a full shard makes room with the rule that its owner gives.
pub(crate) struct Sharded<K, V> {
    shards: [RwLock<HashMap<K, V>>; SHARDS],
    hasher: RandomState,
    per_shard: usize,
}

// === impl Sharded ===

impl<K, V> Sharded<K, V> {
    /// Holds about `capacity` entries at most.
    pub(crate) fn with_capacity_limit(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::new(HashMap::new())),
            hasher: RandomState::new(),
            per_shard: capacity.div_ceil(SHARDS).max(1),
        }
    }

    /// The shard of `key`.
    pub(crate) fn shard(&self, key: &str) -> &RwLock<HashMap<K, V>> {
        let hash = self.hasher.hash_one(key);
        // The upper bits choose the shard; the maps inside hash anew.
        &self.shards[(hash >> 60) as usize % SHARDS]
    }

    pub(crate) fn shards(&self) -> &[RwLock<HashMap<K, V>>] {
        &self.shards
    }

    /// Whether a shard has to make room before it takes one more.
    pub(crate) fn is_full(&self, shard: &HashMap<K, V>) -> bool {
        shard.len() >= self.per_shard
    }
}
