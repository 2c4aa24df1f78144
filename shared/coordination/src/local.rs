//! Shared state of a fleet of one: all in this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use omniroute_core::time::{Clock, UnixMillis};

use crate::{
    Backend, BackendStatus, Cooldown, Coordination, RateDecision, RedisUrlError, SharedStore, StoreLimits,
    cooldowns::{CooldownView, cooldown},
    store::LocalStore,
    windows::Windows,
};

/// What is over is forgotten this often, by whoever makes a change then.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps everything in this process.
pub struct LocalCoordination {
    clock: Arc<dyn Clock>,
    cooldowns: CooldownView,
    windows: Windows,
    started: UnixMillis,
    swept_at: AtomicU64,
    /// Set when Redis was wanted and cannot be had.
    without_redis: Option<Arc<str>>,
}

// === impl LocalCoordination ===

impl LocalCoordination {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self {
            clock,
            cooldowns: CooldownView::new(),
            windows: Windows::new(),
            started,
            swept_at: AtomicU64::new(started.0),
            without_redis: None,
        }
    }

    /// For a Redis whose address is unusable: works, and says in its health that it is not what was asked for.
    pub(crate) fn without_redis(clock: Arc<dyn Clock>, error: &RedisUrlError) -> Self {
        Self { without_redis: Some(error.to_string().into()), ..Self::new(clock) }
    }

    fn sweep_now_and_then(&self, now: UnixMillis) {
        let swept_at = self.swept_at.load(Ordering::Relaxed);
        if now.saturating_since(UnixMillis(swept_at)) < SWEEP_INTERVAL {
            return;
        }
        if self.swept_at.compare_exchange(swept_at, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.cooldowns.sweep(now);
            self.windows.sweep(now);
        }
    }
}

#[async_trait]
impl Coordination for LocalCoordination {
    fn cooling(&self, id: &str) -> Option<Cooldown> {
        self.cooldowns.get(id, || self.clock.now())
    }

    async fn cool(&self, id: &str, until: UnixMillis, reason: &str) {
        let now = self.clock.now();
        self.sweep_now_and_then(now);
        self.cooldowns.cool(id.into(), cooldown(until, reason), now);
    }

    async fn warm(&self, id: &str) {
        self.cooldowns.warm(id);
    }

    fn cooldowns(&self) -> Vec<(Arc<str>, Cooldown)> {
        self.cooldowns.all(self.clock.now())
    }

    async fn hit(&self, scope: &str, limit: u64, window: Duration) -> RateDecision {
        let now = self.clock.now();
        self.sweep_now_and_then(now);
        self.windows.hit(scope, limit, window, now, false)
    }

    fn store(&self, limits: StoreLimits) -> Arc<dyn SharedStore> {
        Arc::new(LocalStore::new(limits, Arc::clone(&self.clock)))
    }

    fn health(&self) -> BackendStatus {
        BackendStatus {
            backend: if self.without_redis.is_some() { Backend::Redis } else { Backend::Process },
            connected: self.without_redis.is_none(),
            since: self.started,
            instances: 1,
            pending: 0,
            last_error: self.without_redis.clone(),
        }
    }
}
