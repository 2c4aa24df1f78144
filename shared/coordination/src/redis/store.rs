//! A store that the fleet shares.
//!
//! Whatever is kept stands in this process too: there it is found while Redis is away, and where Redis has not been told
//! of it yet. A claim in Redis ends [`LEASE`] after its owner has died; until then one task renews it.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use ::redis::{RedisResult, Script, aio::MultiplexedConnection};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use omniroute_telemetry::names;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::{CALL_CAP, Shared, commands::millis};
use crate::store::{Claim, Found, Key, Memory, SharedStore, StoreLimits, Waited};

/// How long a claim outlives its owner.
const LEASE: Duration = Duration::from_secs(6);
/// Claims are renewed, and what Redis has not been told is sent, this often.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);
/// Values that one round of upkeep sends at most.
const SENT_AT_ONCE: usize = 64;
/// Claims that one round renews at once.
const RENEWED_AT_ONCE: usize = 256;

/// Who waits for another proxy looks after these pauses, each longer than the one before.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Values of one kind, in Redis and here.
pub(super) struct RedisStore {
    shared: Arc<Shared>,
    memory: Memory,
    scripts: Scripts,
    /// Claims of this process that Redis knows, by their marks.
    claims: Mutex<HashMap<Key, Bytes>>,
}

struct Scripts {
    keep: Script,
    drop: Script,
    claim: Script,
    settle: Script,
    renew: Script,
}

// === impl RedisStore ===

impl RedisStore {
    /// Must be called within a tokio runtime.
    pub(super) fn open(limits: StoreLimits, shared: Arc<Shared>) -> Arc<Self> {
        let store = Arc::new(Self {
            shared,
            memory: Memory::new(limits),
            scripts: Scripts {
                keep: Script::new(include_str!("scripts/keep.lua")),
                drop: Script::new(include_str!("scripts/drop.lua")),
                claim: Script::new(include_str!("scripts/claim.lua")),
                settle: Script::new(include_str!("scripts/settle.lua")),
                renew: Script::new(include_str!("scripts/renew.lua")),
            },
            claims: Mutex::default(),
        });
        tokio::spawn(upkeep(Arc::downgrade(&store)));
        store
    }

    fn name(&self, key: &Key) -> String {
        key.in_redis(self.memory.limits().name)
    }

    fn connection(&self) -> Option<MultiplexedConnection> {
        self.shared.link.read().connection.clone()
    }

    /// What Redis answers, if it does in time.
    async fn ask<T>(&self, call: impl Future<Output = RedisResult<T>>) -> Option<T> {
        match timeout(CALL_CAP, call).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(store = self.memory.limits().name, error = error.category(), "shared value");
                self.away()
            }
            Err(_) => self.away(),
        }
    }

    fn away<T>(&self) -> Option<T> {
        metrics::counter!(names::COORDINATION_FALLBACKS).increment(1);
        self.shared.suspect.notify_one();
        None
    }

    async fn get(&self, key: &Key) -> Option<Option<Bytes>> {
        let mut connection = self.connection()?;
        let mut get = ::redis::cmd("GET");
        get.arg(self.name(key));
        let found: Option<Vec<u8>> = self.ask(get.query_async(&mut connection)).await?;
        Some(found.map(Bytes::from))
    }

    async fn send(&self, key: &Key, value: &Bytes, ttl: Duration) -> bool {
        let Some(mut connection) = self.connection() else { return false };
        let limits = self.memory.limits();
        let scope = key.scope_in_redis(limits.name);
        let mut call = self.scripts.keep.key(self.name(key));
        call.key(format!("{scope}index")).key(format!("{scope}sizes"));
        call.arg(&value[..]).arg(key.name_in_redis()).arg(millis(ttl).max(1));
        call.arg(limits.scope_entries).arg(limits.scope_bytes).arg(&scope);
        let sent = self.ask(call.invoke_async::<u64>(&mut connection)).await.is_some();
        if sent {
            self.memory.sent(key, value);
        }
        sent
    }

    /// What Redis holds under the name of a claim; `None` in it: the claim is ours.
    async fn claim_in_redis(&self, key: &Key, mark: &Bytes) -> Option<Option<Bytes>> {
        let mut connection = self.connection()?;
        let mut call = self.scripts.claim.key(self.name(key));
        call.arg(&mark[..]).arg(millis(LEASE));
        let held: Option<Vec<u8>> = self.ask(call.invoke_async(&mut connection)).await?;
        Some(held.map(Bytes::from))
    }

    /// Says whether Redis knew of it.
    fn forget_claim(&self, key: &Key, mark: &Bytes) -> bool {
        let mut claims = self.claims.lock();
        claims.get(key).is_some_and(|own| own == mark) && claims.remove(key).is_some()
    }

    async fn renew(&self) {
        let claims: Vec<_> = self.claims.lock().iter().map(|(key, mark)| (*key, mark.clone())).collect();
        for group in claims.chunks(RENEWED_AT_ONCE) {
            let Some(connection) = self.connection() else { return };
            let renewals = group.iter().map(|(key, mark)| {
                let mut connection = connection.clone();
                async move {
                    let mut call = self.scripts.renew.key(self.name(key));
                    call.arg(&mark[..]).arg(millis(LEASE));
                    // One that fails is tried again with the next round.
                    self.ask(call.invoke_async::<u64>(&mut connection)).await;
                }
            });
            join_all(renewals).await;
        }
    }

    async fn send_unsent(&self) {
        if self.connection().is_none() {
            return;
        }
        for (key, value, ttl) in self.memory.unsent(SENT_AT_ONCE, self.shared.clock.now()) {
            if !self.send(&key, &value, ttl).await {
                return;
            }
        }
    }

    /// Looks at Redis again and again.
    async fn poll(&self, key: &Key, seen: &Bytes, until: Instant) -> Waited {
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.get(key).await {
                Some(Some(value)) if value == *seen => {}
                Some(Some(value)) => return Waited::Value(value),
                // Redis away: nobody can be waited for.
                Some(None) | None => return Waited::Gone,
            }
            let next = Instant::now() + pause;
            if next >= until {
                return Waited::Late;
            }
            sleep_until(next).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[async_trait]
impl SharedStore for RedisStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn load(&self, key: &Key) -> Found {
        let now = self.shared.clock.now();
        match self.get(key).await {
            Some(Some(value)) => Found::Value(value),
            Some(None) => match self.memory.get_unsent(key, now) {
                // Kept while Redis was away, so nobody can have removed it elsewhere.
                Some(value) => Found::Value(value),
                None => {
                    self.memory.remove(key);
                    Found::Nothing
                }
            },
            None => self.memory.get(key, now).map_or(Found::Unknown, Found::Value),
        }
    }

    async fn keep(&self, key: &Key, value: Bytes, ttl: Duration) -> bool {
        let now = self.shared.clock.now();
        if !self.memory.put(*key, value.clone(), now.saturating_add(ttl), now, true) {
            return false;
        }
        // Where this fails, upkeep does it later.
        self.send(key, &value, ttl).await;
        true
    }

    async fn remove(&self, key: &Key) -> bool {
        let here = self.memory.remove(key);
        let Some(mut connection) = self.connection() else { return here };
        let scope = key.scope_in_redis(self.memory.limits().name);
        let mut call = self.scripts.drop.key(self.name(key));
        call.key(format!("{scope}index")).key(format!("{scope}sizes")).arg(key.name_in_redis());
        let there = self.ask(call.invoke_async::<u64>(&mut connection)).await;
        here || there.is_some_and(|removed| removed > 0)
    }

    async fn claim(&self, key: &Key, mark: &Bytes) -> Claim {
        let now = self.shared.clock.now();
        if let Claim::Held(value) = self.memory.claim(key, mark, now) {
            return Claim::Held(value);
        }
        match self.claim_in_redis(key, mark).await {
            Some(Some(held)) => {
                self.memory.settle(key, mark, None, now, now);
                Claim::Held(held)
            }
            Some(None) => {
                self.claims.lock().insert(*key, mark.clone());
                Claim::Mine
            }
            None => Claim::Mine,
        }
    }

    async fn settle(&self, key: &Key, mark: &Bytes, value: Option<Bytes>, ttl: Duration) {
        let now = self.shared.clock.now();
        let value = value.filter(|value| value.len() <= self.memory.limits().value_bytes);
        self.memory.settle(key, mark, value.clone(), now.saturating_add(ttl), now);
        let known = self.forget_claim(key, mark);
        // Where Redis did not know of the claim, another proxy may have made its own meanwhile.
        if !known && value.is_none() {
            return;
        }
        let Some(mut connection) = self.connection() else { return };
        let mut call = self.scripts.settle.key(self.name(key));
        call.arg(&mark[..]).arg(millis(ttl).max(1));
        if let Some(value) = &value {
            call.arg(&value[..]);
        }
        // Where this fails, the claim ends by itself.
        self.ask(call.invoke_async::<u64>(&mut connection)).await;
    }

    async fn wait(&self, key: &Key, seen: &Bytes, patience: Duration) -> Waited {
        let until = Instant::now() + patience;
        let clock = &*self.shared.clock;
        if self.memory.get(key, clock.now()).is_some() {
            return self.memory.wait(key, seen, until, clock).await;
        }
        self.poll(key, seen, until).await
    }
}

/// Keeps claims alive and brings Redis up to date, as long as there is somebody who uses the store.
async fn upkeep(store: Weak<RedisStore>) {
    let mut rounds = interval(UPKEEP_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(store) = store.upgrade() else { return };
        store.renew().await;
        store.send_unsent().await;
    }
}
