//! Work that one replica does for all: forgetting what is old. A lease says which one; every transaction of the work
//! checks that the lease is still held (see [`crate::store::Leases`]).

use std::time::Duration;

use omniroute_core::{settings::ControlPlaneSettings, time::UnixMillis};
use omniroute_telemetry::names;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    ledger::Ledger,
    store::{Lease, Store, StoreError},
};

const LEASE: &str = "housekeeping";

/// The lease is asked for, or renewed, this often…
const RENEW: Duration = Duration::from_secs(20);

/// …and lasts this long, so that a replica that dies is replaced within a minute.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// How often the work is due.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// A proxy that was not heard of for this long is struck off the list.
const PROXY_DAYS: u32 = 30;

/// The work in the background.
pub struct Jobs {
    task: JoinHandle<()>,
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// The configuration log holds what came after this revision.
    pub log_floor: u64,
    /// Rows of the ledger (on Postgres: days) that went.
    pub usage: u64,
    pub sessions: u64,
    pub proxies: u64,
}

// === impl Jobs ===

impl Jobs {
    /// Starts the work; it stops at `shutdown`.
    pub fn start(settings: &ControlPlaneSettings, store: Store, ledger: Ledger, shutdown: CancellationToken) -> Self {
        Self { task: tokio::spawn(run(store, ledger, settings.config_log_days, shutdown)) }
    }

    /// Waits until it has stopped, and its lease is free for others.
    pub async fn finished(self) {
        if self.task.await.is_err() {
            tracing::error!("the background work ended badly");
        }
    }
}

/// Does the work whenever it is due and this replica holds the lease, until `shutdown`.
async fn run(store: Store, ledger: Ledger, config_log_days: u32, shutdown: CancellationToken) {
    let holder = Uuid::new_v4().to_string();
    let mut tick = interval(RENEW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Instant::now();
    let mut held = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        held = match store.leases().acquire(LEASE, &holder, LEASE_TTL).await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::debug!(%error, "the housekeeping lease cannot be asked for");
                None
            }
        };
        let Some(lease) = held.as_ref().filter(|_| Instant::now() >= due) else { continue };
        due = Instant::now() + EVERY;
        let done = tidy(&store, &ledger, config_log_days, lease).await;
        let result = if done.is_ok() { "ok" } else { "failed" };
        metrics::counter!(names::JOB_RUNS, "job" => LEASE, "result" => result).increment(1);
        match done {
            Ok(Tidied { log_floor, usage, sessions, proxies }) => {
                tracing::info!(log_floor, usage, sessions, proxies, "housekeeping is done")
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "housekeeping stopped; it is due in an hour again")
            }
        }
    }
    if let Some(lease) = held
        && let Err(error) = store.leases().release(&lease).await
    {
        tracing::debug!(%error, "the housekeeping lease runs out by itself");
    }
}

/// One round.
///
/// # Errors
/// `LeaseLost` when another replica has taken over, or when the database fails; what was done stays done.
pub async fn tidy(store: &Store, ledger: &Ledger, config_log_days: u32, lease: &Lease) -> Result<Tidied, StoreError> {
    ledger.prepare_days().await?;
    let log_floor = store.config_log().compact(days_ago(store, config_log_days), lease).await?;
    let usage = ledger.forget_old(lease).await?;
    let sessions = store.sessions().purge_expired().await?;
    store.keys().forget_use_of_deleted().await?;
    let proxies = store.proxies().purge(days_ago(store, PROXY_DAYS)).await?;
    Ok(Tidied { log_floor, usage, sessions, proxies })
}

fn days_ago(store: &Store, days: u32) -> UnixMillis {
    let span = u64::from(days.max(1)) * 24 * 60 * 60 * 1000;
    UnixMillis(store.clock().now().0.saturating_sub(span))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        records::{ConnectionDraft, SessionRecord},
        testing::{NOON, admin, on_both_engines},
    };

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    async fn connection(store: &Store, name: &str) -> u64 {
        let mut write = store.write(&admin()).await.expect("a transaction");
        let draft = ConnectionDraft::new("openai", name, omniroute_core::settings::Secret::default());
        write.create_connection(draft).await.expect("a connection");
        write.commit().await.expect("committed")
    }

    on_both_engines! {
        async fn a_round_forgets_what_is_old_and_keeps_the_rest(database: &TestDatabase) {
            let (store, clock) = database.store_at_noon().await;
            let ledger = Ledger::start(store.clone(), 30).await.expect("a ledger");
            let old = connection(&store, "old").await;
            let expires_at = NOON.saturating_add(DAY);
            let session = SessionRecord {
                id: "s".into(), subject: "admin".into(), epoch: 1, address: None, created_at: NOON, expires_at,
            };
            store.sessions().insert(&session).await.expect("a session");
            let status = omniroute_proto::v1::ProxyStatus { proxy_id: "p1".into(), ..Default::default() };
            store.proxies().upsert(&status).await.expect("a proxy");
            clock.advance(31 * DAY);
            let young = connection(&store, "young").await;
            let lease = store.leases().acquire(LEASE, "a", LEASE_TTL).await.expect("asked").expect("free");
            let tidied = tidy(&store, &ledger, 30, &lease).await.expect("tidied");
            assert_eq!(tidied, Tidied { log_floor: old, usage: tidied.usage, sessions: 1, proxies: 1 });
            let log = store.config_log().page(None, None, None, 10).await.expect("the log");
            assert_eq!(log.iter().map(|row| row.revision).collect::<Vec<_>>(), [young]);
            assert_eq!(store.connections().list().await.expect("connections").len(), 2);
        }

        async fn the_work_runs_at_the_start_and_gives_its_lease_back(database: &TestDatabase) {
            let (store, clock) = database.store_at_noon().await;
            let ledger = Ledger::start(store.clone(), 30).await.expect("a ledger");
            let revision = connection(&store, "old").await;
            clock.advance(31 * DAY);
            let shutdown = CancellationToken::new();
            let jobs = Jobs { task: tokio::spawn(run(store.clone(), ledger, 30, shutdown.clone())) };
            let done = async {
                while !store.config_log().page(None, None, None, 1).await.expect("the log").is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), done).await.expect("done");
            assert_eq!(store.revision().await.expect("a revision"), revision);
            shutdown.cancel();
            jobs.finished().await;
            let free = store.leases().acquire(LEASE, "somebody else", LEASE_TTL).await.expect("asked");
            assert!(free.is_some());
        }
    }
}
