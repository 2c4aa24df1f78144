//! Shared state in Redis, for a fleet.
//!
//! Callers only touch this process: [`CooldownView`], [`Outbox`], [`Windows`]. One task, the [`Worker`], owns the
//! connections: it sends what is in the outbox, hears what others publish, reads everything anew every 5 s, and
//! pings, so that a Redis that is gone is known within half a second. `hit` is the one call that asks Redis while a
//! caller waits, and it waits at most [`CALL_CAP`].
//!
//! Times never cross as moments, only as "so long from now" and "so long ago": Redis counts by its own clock, each
//! process by its own, and they need not agree.

mod backoff;
mod commands;
mod outbox;
mod store;
mod worker;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Client, aio::MultiplexedConnection};
use async_trait::async_trait;
use omniroute_core::time::{Clock, UnixMillis};
use omniroute_telemetry::names;
use parking_lot::RwLock;
use tokio::{sync::Notify, task::AbortHandle, time::timeout};

use self::{commands::Commands, outbox::Outbox, store::RedisStore, worker::Worker};
use crate::{
    Backend, BackendStatus, Cooldown, Coordination, RateDecision, SharedStore, StoreLimits,
    cooldowns::{CooldownView, cooldown},
    windows::Windows,
};

/// How long a caller waits for Redis before this process answers alone.
const CALL_CAP: Duration = Duration::from_millis(100);

/// Keeps state in Redis, and a view of it here. Ends its task when it is dropped.
pub struct RedisCoordination {
    shared: Arc<Shared>,
    worker: AbortHandle,
}

/// The setting `redis_url` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("setting `redis_url`: expected redis://[user:password@]host[:port][/database] or rediss://… ({reason})")]
pub struct RedisUrlError {
    reason: String,
}

/// What callers and the worker share.
struct Shared {
    clock: Arc<dyn Clock>,
    commands: Commands,
    view: CooldownView,
    windows: Windows,
    outbox: Outbox,
    link: RwLock<Link>,
    /// A caller had trouble: look at Redis now.
    suspect: Notify,
}

/// The connection, and how it is.
struct Link {
    /// Set while Redis is in reach.
    connection: Option<MultiplexedConnection>,
    since: UnixMillis,
    instances: u32,
    last_error: Option<Arc<str>>,
}

/// Opens a client, which checks the URL and reaches for nothing.
pub(crate) fn open(redis_url: &str) -> Result<Client, RedisUrlError> {
    Client::open(redis_url).map_err(|error| RedisUrlError { reason: error.category().to_owned() })
}

// === impl RedisCoordination ===

impl RedisCoordination {
    /// Returns at once and reaches for Redis in the background. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn connect(redis_url: &str, clock: Arc<dyn Clock>) -> Result<Self, RedisUrlError> {
        let client = open(redis_url)?;
        let link = Link { connection: None, since: clock.now(), instances: 1, last_error: None };
        let shared = Arc::new(Shared {
            clock,
            commands: Commands::new(),
            view: CooldownView::new(),
            windows: Windows::new(),
            outbox: Outbox::new(),
            link: RwLock::new(link),
            suspect: Notify::new(),
        });
        metrics::gauge!(names::COORDINATION_CONNECTED).set(0.0);
        let worker = tokio::spawn(Worker::new(client, Arc::clone(&shared)).run()).abort_handle();
        Ok(Self { shared, worker })
    }

    async fn ask(&self, scope: &str, limit: u64, window: Duration) -> Option<RateDecision> {
        let mut connection = self.shared.link.read().connection.clone()?;
        let asked = self.shared.commands.hit(&mut connection, scope, limit, window);
        match timeout(CALL_CAP, asked).await {
            Ok(Ok(decision)) => Some(decision),
            Ok(Err(_)) | Err(_) => {
                self.shared.suspect.notify_one();
                None
            }
        }
    }
}

#[async_trait]
impl Coordination for RedisCoordination {
    fn cooling(&self, id: &str) -> Option<Cooldown> {
        self.shared.view.get(id, || self.shared.clock.now())
    }

    async fn cool(&self, id: &str, until: UnixMillis, reason: &str) {
        let now = self.shared.clock.now();
        if until <= now {
            return;
        }
        let (id, cooldown): (Arc<str>, _) = (id.into(), cooldown(until, reason));
        // In this order: a full read in between must find the change in one of the two.
        self.shared.outbox.cool(id.clone(), cooldown.clone());
        self.shared.view.cool(id, cooldown, now);
    }

    async fn warm(&self, id: &str) {
        self.shared.outbox.warm(id.into(), self.shared.clock.now());
        self.shared.view.warm(id);
    }

    fn cooldowns(&self) -> Vec<(Arc<str>, Cooldown)> {
        self.shared.view.all(self.shared.clock.now())
    }

    async fn hit(&self, scope: &str, limit: u64, window: Duration) -> RateDecision {
        let asked = self.ask(scope, limit, window).await;
        let now = self.shared.clock.now();
        let Some(decision) = asked else {
            metrics::counter!(names::COORDINATION_FALLBACKS).increment(1);
            // Each of the fleet keeps to its share; what is counted here is added in Redis later.
            let instances = u64::from(self.shared.link.read().instances.max(1));
            let share = if limit == 0 { 0 } else { (limit / instances).max(1) };
            return self.shared.windows.hit(scope, share, window, now, true);
        };
        if decision.allowed {
            self.shared.windows.note(scope, window, now);
        }
        decision
    }

    fn store(&self, limits: StoreLimits) -> Arc<dyn SharedStore> {
        RedisStore::open(limits, Arc::clone(&self.shared))
    }

    fn health(&self) -> BackendStatus {
        let link = self.shared.link.read();
        BackendStatus {
            backend: Backend::Redis,
            connected: link.connection.is_some(),
            since: link.since,
            instances: link.instances,
            pending: self.shared.outbox.len() + self.shared.windows.unsent_scopes(),
            last_error: link.last_error.clone(),
        }
    }
}

impl Drop for RedisCoordination {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

// === impl Shared ===

impl Shared {
    /// Redis is in reach and everything was read.
    fn connected(&self, connection: MultiplexedConnection) {
        let mut link = self.link.write();
        link.connection = Some(connection);
        link.since = self.clock.now();
        link.last_error = None;
        metrics::gauge!(names::COORDINATION_CONNECTED).set(1.0);
        tracing::info!(instances = link.instances, "shared state is in reach");
    }

    /// Redis is away. Logged once, however often it is tried again.
    fn lost(&self, error: &str, up_for: Option<Duration>) {
        let mut link = self.link.write();
        let first = link.last_error.is_none();
        link.last_error = Some(error.into());
        if link.connection.take().is_some() {
            link.since = self.clock.now();
            metrics::counter!(names::COORDINATION_LOST).increment(1);
        }
        drop(link);
        metrics::gauge!(names::COORDINATION_CONNECTED).set(0.0);
        if first || up_for.is_some() {
            let up_for_seconds = up_for.map(|up_for| up_for.as_secs_f64());
            tracing::warn!(error, up_for_seconds, "shared state is out of reach; this process goes on alone");
        }
    }

    fn saw_instances(&self, instances: u32) {
        self.link.write().instances = instances.max(1);
    }

    fn sweep(&self) {
        let now = self.clock.now();
        self.view.sweep(now);
        self.windows.sweep(now);
    }
}

/// Since `start`, for log lines.
fn since(start: Instant) -> Duration {
    Duration::from_millis(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}
