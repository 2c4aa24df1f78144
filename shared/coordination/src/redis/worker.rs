//! The one task that owns the connections to Redis.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{
    AsyncConnectionConfig, Client, RedisError, RedisResult, Value,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};
use futures_util::{StreamExt as _, future::try_join_all};
use omniroute_core::time::UnixMillis;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    Shared,
    backoff::Backoff,
    commands::{CHANNEL, Message, Published, Snapshot},
    outbox::Change,
    since,
};
use crate::{cooldowns::cooldown, windows::Unsent};

/// Time to connect, both connections together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Redis is pinged this often, and has so long to answer anything. Together they bound how long a dead Redis goes
/// unnoticed: under half a second.
const PING_INTERVAL: Duration = Duration::from_millis(200);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(250);

/// Everything is read anew this often, which heals messages that were lost.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// Calls that run at once when much is to be sent.
const SEND_CONCURRENCY: usize = 32;

pub(super) struct Worker {
    client: Client,
    shared: Arc<Shared>,
    backoff: Backoff,
    /// Epoch and version of the last full read.
    seen: Option<(String, u64)>,
    /// Versions of the changes that this process made since then. What is published about these ids and is not newer
    /// is our own voice, or was overruled by us.
    told: HashMap<Arc<str>, u64>,
    /// Number of the last batch of hits.
    batches: u64,
    /// A batch whose fate is unknown. It goes first, under its old number, so that it counts once.
    doubtful: Option<Batch>,
}

/// Hits on their way to Redis.
struct Batch {
    number: u64,
    taken_at: UnixMillis,
    hits: Vec<Unsent>,
}

struct Connections {
    calls: MultiplexedConnection,
    /// Pings the connection behind `messages`.
    sink: PubSubSink,
    messages: PubSubStream,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(client: Client, shared: Arc<Shared>) -> Self {
        Self { client, shared, backoff: Backoff::new(), seen: None, told: HashMap::new(), batches: 0, doubtful: None }
    }

    /// Connects, serves, and begins again when the connection is lost, until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let mut up_since = None;
            let Err(error) = self.session(&mut up_since).await;
            self.shared.lost(&describe(&error), up_since.map(since));
            self.shared.sweep();
            tokio::time::sleep(self.backoff.next()).await;
        }
    }

    /// One connection, from its first byte to its loss.
    async fn session(&mut self, up_since: &mut Option<Instant>) -> RedisResult<std::convert::Infallible> {
        let mut connections = self.connect().await?;
        // Subscribed first, so that no change falls between the read and the first message.
        self.reconcile(&mut connections.calls).await?;
        *up_since = Some(Instant::now());
        self.backoff.reset();
        self.shared.connected(connections.calls.clone());
        self.serve(connections).await
    }

    async fn connect(&self) -> RedisResult<Connections> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connect = async {
            let calls = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let (mut sink, messages) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(CHANNEL).await?;
            Ok(Connections { calls, sink, messages })
        };
        timeout(CONNECT_TIMEOUT, connect).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn serve(&mut self, mut connections: Connections) -> RedisResult<std::convert::Infallible> {
        let mut ping = interval(PING_INTERVAL);
        let mut read = interval(READ_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        read.set_missed_tick_behavior(MissedTickBehavior::Delay);
        read.reset();
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                message = connections.messages.next() => match message {
                    Some(message) => self.hear(message.get_payload_bytes()),
                    None => return Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))),
                },
                () = shared.outbox.filled() => drop(self.send_changes(&connections.calls).await?),
                _ = read.tick() => self.reconcile(&mut connections.calls).await?,
                _ = ping.tick() => connections.ping().await?,
                () = shared.suspect.notified() => connections.ping().await?,
            }
        }
    }

    /// Applies a change that someone published, perhaps this process.
    fn hear(&self, payload: &[u8]) {
        let Some(message) = std::str::from_utf8(payload).ok().and_then(Message::parse) else { return };
        // Older than the last full read: what came of it was in there.
        let seen = self.seen.as_ref().map_or(0, |(_, version)| *version);
        let told = self.told.get(message.id).copied().unwrap_or(0);
        if message.version <= seen.max(told) {
            return;
        }
        match message.change {
            Published::Cool { left, reason } => {
                let now = self.shared.clock.now();
                self.shared.view.cool(message.id.into(), cooldown(now.saturating_add(left), reason), now);
            }
            // What waits in the outbox happened later.
            Published::Warm if self.shared.outbox.contains(message.id) => {}
            Published::Warm => self.shared.view.warm(message.id),
        }
    }

    /// Tells Redis what it missed, then takes over what it knows.
    async fn reconcile(&mut self, calls: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut snapshot = self.shared.commands.read(calls).await?;
        if self.is_older(&snapshot) {
            tracing::warn!("Redis lost data; this process tells it what it knows");
            for (id, cooldown) in self.shared.view.all(self.shared.clock.now()) {
                self.shared.outbox.cool(id, cooldown);
            }
            self.shared.windows.forget_sent();
            self.doubtful = None;
        }
        let changed = self.send_changes(calls).await?;
        let counted = self.send_hits(calls).await?;
        if changed || counted {
            snapshot = self.shared.commands.read(calls).await?;
        }
        self.take_over(snapshot);
        Ok(())
    }

    /// Whether Redis knows less than it did: its data were lost, or come from an older copy.
    fn is_older(&self, snapshot: &Snapshot) -> bool {
        self.seen.as_ref().is_some_and(|(epoch, version)| *epoch != snapshot.epoch || *version > snapshot.version)
    }

    fn take_over(&mut self, snapshot: Snapshot) {
        let now = self.shared.clock.now();
        let read = snapshot
            .cooldowns
            .into_iter()
            .map(|(id, left, reason)| (id, cooldown(now.saturating_add(left), &reason)))
            .collect();
        self.shared.view.replace(read, &self.shared.outbox.ids(), now);
        self.shared.windows.sweep(now);
        self.shared.saw_instances(snapshot.members);
        self.seen = Some((snapshot.epoch, snapshot.version));
        self.told.clear();
    }

    /// Empties the outbox; says whether there was anything in it. All of it can be sent twice without harm, so all of
    /// it goes back when something fails.
    async fn send_changes(&mut self, calls: &MultiplexedConnection) -> RedisResult<bool> {
        let changes = self.shared.outbox.take();
        let now = self.shared.clock.now();
        for group in changes.chunks(SEND_CONCURRENCY) {
            let sends: Vec<_> =
                group.iter().map(|(id, change)| self.send_change(calls.clone(), id, change, now)).collect();
            match try_join_all(sends).await {
                Ok(versions) => {
                    let ids = group.iter().map(|(id, _)| id.clone());
                    self.told.extend(ids.zip(versions).filter(|(_, version)| *version > 0));
                }
                Err(error) => {
                    self.shared.outbox.put_back(changes);
                    return Err(error);
                }
            }
        }
        Ok(!changes.is_empty())
    }

    /// Returns the version of the change, 0 when it made no difference in Redis.
    async fn send_change(
        &self,
        mut calls: MultiplexedConnection,
        id: &str,
        change: &Change,
        now: UnixMillis,
    ) -> RedisResult<u64> {
        let commands = &self.shared.commands;
        let warmed = match change.warmed_at {
            Some(at) => commands.warm(&mut calls, id, now.saturating_since(at)).await?,
            None => 0,
        };
        let cooled = match &change.cooled {
            Some(cooldown) if cooldown.until > now => {
                commands.cool(&mut calls, id, cooldown.until.saturating_since(now), &cooldown.reason).await?
            }
            _ => 0,
        };
        Ok(warmed.max(cooled))
    }

    /// Adds the hits that were counted here alone; says whether there were any.
    async fn send_hits(&mut self, calls: &MultiplexedConnection) -> RedisResult<bool> {
        let doubtful = self.doubtful.take();
        let any = doubtful.is_some();
        if let Some(batch) = doubtful {
            self.send_batch(calls, batch).await?;
        }
        let now = self.shared.clock.now();
        let hits = self.shared.windows.take_unsent(now);
        if hits.is_empty() {
            return Ok(any);
        }
        self.batches += 1;
        self.send_batch(calls, Batch { number: self.batches, taken_at: now, hits }).await?;
        Ok(true)
    }

    async fn send_batch(&mut self, calls: &MultiplexedConnection, batch: Batch) -> RedisResult<()> {
        let waited = self.shared.clock.now().saturating_since(batch.taken_at);
        for group in batch.hits.chunks(SEND_CONCURRENCY) {
            let sends: Vec<_> =
                group.iter().map(|hits| self.shared.commands.add(calls.clone(), hits, waited, batch.number)).collect();
            if let Err(error) = try_join_all(sends).await {
                self.doubtful = Some(batch);
                return Err(error);
            }
        }
        Ok(())
    }
}

// === impl Connections ===

impl Connections {
    /// Asks both connections for a sign of life.
    async fn ping(&mut self) -> RedisResult<()> {
        let ping = ::redis::cmd("PING");
        let both = async {
            let (calls, messages) = tokio::join!(ping.query_async::<Value>(&mut self.calls), self.sink.ping::<Value>());
            calls.and(messages).map(drop)
        };
        timeout(RESPONSE_TIMEOUT, both).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn timed_out() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

/// Without what could name the address or the account.
fn describe(error: &RedisError) -> String {
    let what = if error.is_timeout() { "timed out" } else { error.category() };
    match error.code() {
        Some(code) => format!("{what} ({code})"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_redis_is_known_within_half_a_second() {
        assert!(PING_INTERVAL + RESPONSE_TIMEOUT < Duration::from_millis(500));
    }
}
