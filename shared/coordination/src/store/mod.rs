//! Values that proxies keep for each other, for a while and within bounds: answers to go on from, signatures, answers
//! to requests that may come twice.
//!
//! A [`SharedStore`] is one kind of value with limits of its own. Every value belongs to a scope (an API key), which can fill
//! its own share and no other's. What is kept is the caller's business: a store sees bytes, and under which name they
//! stand only as a hash. Values are kept in [`Memory`]; with Redis they are kept there too, and asked for there first,
//! so that what one proxy removed is gone everywhere. Redis away means that this process goes on with what it has.

mod key;
mod memory;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::key::Key;
pub(crate) use self::memory::{LocalStore, Memory};

/// The bounds of a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Names the store among those of the fleet: the same kind of value everywhere.
    pub name: &'static str,
    /// Larger values are not kept.
    pub value_bytes: usize,
    /// Of one scope; beyond it the scope's oldest values make room.
    pub scope_bytes: u64,
    pub scope_entries: usize,
    /// Of this process, all scopes together; beyond it the oldest values make room.
    pub process_bytes: u64,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Value(Bytes),
    Nothing,
    /// Redis is away, and here is nothing: another proxy may have kept it.
    Unknown,
}

/// The answer to who does something that must be done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller does it, and then calls [`SharedStore::settle`], whatever comes of it.
    Mine,
    /// Another one does it, whose mark this is, or has done it, and this is the value.
    Held(Bytes),
}

/// What came of waiting for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// There is another value now.
    Value(Bytes),
    /// There is none any more: the name can be claimed.
    Gone,
    /// Nothing changed in time.
    Late,
}

/// Values of one kind. No call fails, and none waits for a Redis that is away.
///
/// A name is either kept and loaded, or claimed and settled: the two do not mix.
#[async_trait]
pub trait SharedStore: Send + Sync + 'static {
    async fn load(&self, key: &Key) -> Found;

    /// Keeps a value for `ttl`, unless it is too large; says whether it does.
    async fn keep(&self, key: &Key, value: Bytes, ttl: Duration) -> bool;

    /// Says whether there was something.
    async fn remove(&self, key: &Key) -> bool;

    /// Puts `mark` where there is nothing. It stands until it is settled, or its owner has died. Every mark is unlike
    /// any other.
    async fn claim(&self, key: &Key, mark: &Bytes) -> Claim;

    /// Replaces the mark of a claim with its value, or with nothing.
    async fn settle(&self, key: &Key, mark: &Bytes, value: Option<Bytes>, ttl: Duration);

    /// Whether values leave this process, so that they have to be sealed.
    fn is_shared(&self) -> bool;

    /// Waits until what stands under the name is no longer `seen`.
    async fn wait(&self, key: &Key, seen: &Bytes, patience: Duration) -> Waited;
}
