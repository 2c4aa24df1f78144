//! State that proxies share: who cools down, how often something happened, and values that one keeps for the others.
//!
//! [`Coordination`] is the trait that both planes use. [`LocalCoordination`] keeps everything in this process, right
//! for a single proxy; [`RedisCoordination`] shares it with the fleet. [`connect`] picks one.
//!
//! A change passes through like this: `cool` writes the local [`view`](cooldowns), and, with Redis, leaves the change
//! in a bounded outbox that one background task sends at once. Redis publishes it; every other instance hears it and
//! writes its own view. `cooling` only ever reads the view of its own process, so it costs a request no I/O. Redis
//! away costs callers nothing: reads go on from the view, counters are kept here, and what was missed is sent when
//! Redis is back.

mod cooldowns;
mod local;
mod redis;
mod sharded;
mod store;
mod windows;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use omniroute_core::time::{SystemClock, UnixMillis};

pub use self::{
    local::LocalCoordination,
    redis::{RedisCoordination, RedisUrlError},
    store::{Claim, Found, Key, SharedStore, StoreLimits, Waited},
};

/// Something that is left alone until a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// By this process's own clock.
    pub until: UnixMillis,
    /// Why, for people: `429`, `connect`…
    pub reason: Arc<str>,
}

/// The answer to "may this happen once more".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateDecision {
    /// Refused hits do not count against the limit.
    pub allowed: bool,
    /// How many more would be allowed right now.
    pub remaining: u64,
    /// When refused: how long until one is allowed again.
    pub retry_after: Option<Duration>,
}

/// Where shared state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In this process only.
    Process,
    /// In Redis, for the fleet.
    Redis,
}

/// How the shared state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    pub backend: Backend,
    /// `false` while Redis is away and this process goes on alone.
    pub connected: bool,
    /// When `connected` last changed.
    pub since: UnixMillis,
    /// Instances that share this state, this one included, when it was last seen.
    pub instances: u32,
    /// Changes that Redis has not been told yet.
    pub pending: usize,
    /// Why Redis is away. Never holds its address or password.
    pub last_error: Option<Arc<str>>,
}

/// State that all proxies agree on. No call fails, and none waits for a Redis that is away.
#[async_trait]
pub trait Coordination: Send + Sync + 'static {
    /// The cooldown that `id` is under. A local read: no I/O, no wait.
    fn cooling(&self, id: &str) -> Option<Cooldown>;

    /// Lets `id` cool down until `until` (by this process's clock). In force here when this returns, and on the
    /// others shortly after. A longer cooldown is never cut short by a shorter one.
    async fn cool(&self, id: &str, until: UnixMillis, reason: &str);

    /// Ends the cooldown of `id`, if there is one.
    async fn warm(&self, id: &str);

    /// Everything that cools down now.
    fn cooldowns(&self) -> Vec<(Arc<str>, Cooldown)>;

    /// Counts one hit on `scope`, unless it would be more than `limit` within the last `window`.
    ///
    /// The limit holds in every window of that length; a hit is forgotten at most a sixteenth of the window late.
    async fn hit(&self, scope: &str, limit: u64, window: Duration) -> RateDecision;

    /// A store for values of one kind. Open it once and keep it: another one of the same name shares with it only what
    /// is in Redis. Must be called within a tokio runtime.
    fn store(&self, limits: StoreLimits) -> Arc<dyn SharedStore>;

    fn health(&self) -> BackendStatus;
}

/// Shared state as the setting `redis_url` says: in Redis, or in this process where it is empty.
///
/// Returns at once; Redis is reached for in the background, and until it is there this process goes on alone. A URL
/// that cannot be used is logged and reported by [`Coordination::health`]; check it with [`check_redis_url`] to refuse
/// it at start. Must be called within a tokio runtime.
pub async fn connect(redis_url: &str) -> Arc<dyn Coordination> {
    let clock = Arc::new(SystemClock);
    if redis_url.is_empty() {
        return Arc::new(LocalCoordination::new(clock));
    }
    match RedisCoordination::connect(redis_url, clock.clone()) {
        Ok(redis) => Arc::new(redis),
        Err(error) => {
            tracing::error!(%error, "shared state stays in this process");
            Arc::new(LocalCoordination::without_redis(clock, &error))
        }
    }
}

/// Whether `redis_url` can be used at all; whether Redis answers there is another matter.
///
/// # Errors
/// Says what is wrong, without repeating the URL.
pub fn check_redis_url(redis_url: &str) -> Result<(), RedisUrlError> {
    redis::open(redis_url).map(drop)
}

#[cfg(test)]
mod tests;
