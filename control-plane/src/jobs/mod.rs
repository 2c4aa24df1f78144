//! Work that one replica does for all: forgetting what is old.
//!
//! Each [`Job`] has a lease, a schedule and a backoff of its own, so that one that fails or takes long holds up no other.
//! While the work is under way its lease is a short one that is renewed, so that a replica which is killed holds nobody up for
//! long. Once it is done the lease lasts until it is due again: every other replica finds the work of that period taken. A
//! replica that fails gives the lease back, so that another may do better, and tries again after a while,
//! each time a longer one. Every transaction of the work checks that the lease is still held
//! ([`crate::store::Lease::guard`]).

mod retention;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use omniroute_core::time::UnixMillis;
use omniroute_telemetry::names;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use self::retention::retention_jobs;
use crate::store::{Lease, Store, StoreError};

/// How often a replica looks whether a lease that another one has is free.
const POLL_EVERY: Duration = Duration::from_mins(1);

/// After the first failure in a row; it doubles, up to the job's period.
const FIRST_RETRY: Duration = Duration::from_mins(1);

/// How long a lease lasts while the work is under way…
const WORKING: Duration = Duration::from_mins(2);

/// …and how often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(30);

/// Something that is due every so often, on one replica.
#[derive(Clone)]
pub struct Job {
    name: &'static str,
    every: Duration,
    work: Arc<Work>,
}

type Work = dyn Fn(Lease) -> Pin<Box<dyn Future<Output = Result<u64, StoreError>> + Send>> + Send + Sync;

/// The work in the background.
pub struct Jobs {
    tasks: TaskTracker,
}

/// What became of a job that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Another replica has done it, or does.
    Elsewhere,
    Failed,
}

/// A job on this replica.
struct Worker {
    store: Store,
    job: Job,
    /// This replica, for this job.
    holder: String,
    held: Option<Lease>,
    failures_in_a_row: u32,
    renew_every: Duration,
}

// === impl Job ===

impl Job {
    /// `name` is the lease's, and the metric's. `work` returns how much it did, for the log.
    pub fn new<F, R>(name: &'static str, every: Duration, work: F) -> Self
    where
        F: Fn(Lease) -> R + Send + Sync + 'static,
        R: Future<Output = Result<u64, StoreError>> + Send + 'static,
    {
        Self { name, every, work: Arc::new(move |lease| Box::pin(work(lease))) }
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Does the work now. For tests of whoever owns it.
    #[cfg(test)]
    pub(crate) async fn run(&self, lease: Lease) -> Result<u64, StoreError> {
        (self.work)(lease).await
    }
}

// === impl Jobs ===

impl Jobs {
    /// Starts the work; it stops at `shutdown`.
    pub fn start(store: &Store, jobs: Vec<Job>, shutdown: &CancellationToken) -> Self {
        let tasks = TaskTracker::new();
        for job in jobs {
            tasks.spawn(Worker::new(store.clone(), job).run(shutdown.clone()));
        }
        tasks.close();
        Self { tasks }
    }

    /// Waits until all has stopped, and the leases are free for others.
    pub async fn finished(self) {
        self.tasks.wait().await;
    }
}

// === impl Worker ===

impl Worker {
    fn new(store: Store, job: Job) -> Self {
        Self {
            store,
            job,
            holder: Uuid::new_v4().to_string(),
            held: None,
            failures_in_a_row: 0,
            renew_every: RENEW_EVERY,
        }
    }

    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let outcome = self.attempt().await;
            let wait = self.wait_after(outcome);
            if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                break;
            }
        }
        self.release().await;
    }

    /// Does the work, unless another replica has the lease.
    async fn attempt(&mut self) -> Outcome {
        let name = self.job.name;
        let began = self.store.clock().now();
        let lease = match self.store.leases().acquire(name, &self.holder, WORKING.min(self.job.every)).await {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                self.held = None;
                return Outcome::Elsewhere;
            }
            Err(error) => {
                tracing::debug!(%error, job = name, "the lease cannot be asked for");
                return Outcome::Failed;
            }
        };
        self.held = Some(lease.clone());
        let done = self.renewed_meanwhile((self.job.work)(lease)).await;
        let result = if done.is_ok() { "ok" } else { "failed" };
        metrics::counter!(names::JOB_RUNS, "job" => name, "result" => result).increment(1);
        match done {
            Ok(amount) => {
                tracing::info!(job = name, amount, "a job is done");
                self.hold_until(began.saturating_add(self.job.every)).await;
                Outcome::Done
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), job = name, "a job failed; it is tried again later");
                self.release().await;
                Outcome::Failed
            }
        }
    }

    /// Does the work, and renews the lease as long as that takes.
    async fn renewed_meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        let is_over = CancellationToken::new();
        let work = async {
            let done = work.await;
            is_over.cancel();
            done
        };
        let renewal = async {
            while is_over.run_until_cancelled(tokio::time::sleep(self.renew_every)).await.is_some() {
                self.hold_until(self.store.clock().now().saturating_add(WORKING)).await;
            }
        };
        tokio::join!(work, renewal).0
    }

    /// Has the lease last so long. Where that fails another replica takes over, which the work notices before it commits.
    async fn hold_until(&self, until: UnixMillis) {
        let (name, ttl) = (self.job.name, until.saturating_since(self.store.clock().now()));
        match self.store.leases().acquire(name, &self.holder, ttl).await {
            Ok(Some(_)) => {}
            Ok(None) => tracing::warn!(job = name, "another replica has taken the lease over"),
            Err(error) => tracing::debug!(%error, job = name, "the lease cannot be renewed"),
        }
    }

    fn wait_after(&mut self, outcome: Outcome) -> Duration {
        if outcome != Outcome::Failed {
            self.failures_in_a_row = 0;
        }
        match outcome {
            Outcome::Done => self.job.every,
            Outcome::Elsewhere => POLL_EVERY.min(self.job.every),
            Outcome::Failed => {
                let retry = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures_in_a_row));
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                retry.min(self.job.every)
            }
        }
    }

    async fn release(&mut self) {
        if let Some(lease) = self.held.take()
            && let Err(error) = self.store.leases().release(&lease).await
        {
            tracing::debug!(%error, job = self.job.name, "the lease runs out by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use omniroute_core::time::Clock as _;
    use tokio::sync::Notify;

    use super::*;
    use crate::store::{
        Columns as _, sql,
        testing::{NOON, on_both_engines},
    };

    const HOUR: Duration = Duration::from_hours(1);

    /// Until when a lease lasts.
    async fn expiry(store: &Store, name: &'static str) -> UnixMillis {
        let statement = sql("SELECT expires_at FROM leases WHERE name = $1").bind(name);
        let row = statement.fetch_one(store.reader()).await.expect("a lease");
        row.millis("expires_at").expect("a time")
    }

    /// A job that counts its runs, and fails while it is told to.
    fn counting(name: &'static str, fails: bool) -> (Job, Arc<AtomicU32>) {
        let runs = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&runs);
        let job = Job::new(name, HOUR, move |lease| {
            let run = u64::from(counter.fetch_add(1, Ordering::SeqCst));
            async move { if fails { Err(StoreError::LeaseLost(lease.name)) } else { Ok(run) } }
        });
        (job, runs)
    }

    on_both_engines! {
        async fn one_replica_does_the_work_of_a_period(database: &TestDatabase) {
            let (store, clock) = database.store_at_noon().await;
            let (job, runs) = counting("count", false);
            let (mut one, mut other) = (Worker::new(store.clone(), job.clone()), Worker::new(store, job));
            assert_eq!((one.attempt().await, other.attempt().await), (Outcome::Done, Outcome::Elsewhere));
            clock.advance(HOUR);
            assert_eq!((other.attempt().await, one.attempt().await), (Outcome::Done, Outcome::Elsewhere));
            assert_eq!(runs.load(Ordering::SeqCst), 2);
        }

        async fn a_replica_that_is_killed_holds_its_work_up_for_minutes(database: &TestDatabase) {
            let (store, clock) = database.store_at_noon().await;
            let began = Arc::new(Notify::new());
            let told = Arc::clone(&began);
            let stuck = Job::new("count", HOUR, move |_| {
                told.notify_one();
                std::future::pending()
            });
            let mut killed = Worker::new(store.clone(), stuck);
            tokio::select! {
                outcome = killed.attempt() => panic!("{outcome:?}"),
                () = began.notified() => {}
            }
            let mut other = Worker::new(store, counting("count", false).0);
            assert_eq!(other.attempt().await, Outcome::Elsewhere);
            clock.advance(WORKING);
            assert_eq!(other.attempt().await, Outcome::Done);
        }

        async fn work_that_takes_long_keeps_its_lease(database: &TestDatabase) {
            let (store, clock) = database.store_at_noon().await;
            let (began, enough) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (told, waited) = (Arc::clone(&began), Arc::clone(&enough));
            let long = Job::new("count", HOUR, move |_| {
                told.notify_one();
                let waited = Arc::clone(&waited);
                async move {
                    waited.notified().await;
                    Ok(1)
                }
            });
            let mut slow = Worker { renew_every: Duration::from_millis(1), ..Worker::new(store.clone(), long) };
            let mut other = Worker::new(store.clone(), counting("count", false).0);
            let watching = async {
                began.notified().await;
                for _ in 0..4 {
                    clock.advance(WORKING / 2);
                    let renewed = clock.now().saturating_add(WORKING);
                    let is_renewed = async {
                        while expiry(&store, "count").await < renewed {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::time::timeout(Duration::from_secs(20), is_renewed).await.expect("renewed");
                    assert_eq!(other.attempt().await, Outcome::Elsewhere);
                }
                enough.notify_one();
            };
            let (outcome, ()) = tokio::join!(slow.attempt(), watching);
            assert_eq!(outcome, Outcome::Done);
            // Until the end of the period, which began with the work.
            assert_eq!(expiry(&store, "count").await, NOON.saturating_add(HOUR));
        }

        async fn a_replica_that_fails_leaves_the_work_to_another(database: &TestDatabase) {
            let (store, _) = database.store_at_noon().await;
            let mut failing = Worker::new(store.clone(), counting("count", true).0);
            let mut sound = Worker::new(store, counting("count", false).0);
            assert_eq!((failing.attempt().await, sound.attempt().await), (Outcome::Failed, Outcome::Done));
        }

        async fn a_job_that_fails_holds_up_no_other_and_leases_are_given_back(database: &TestDatabase) {
            let (store, _) = database.store_at_noon().await;
            let ((bad, _), (good, runs)) = (counting("bad", true), counting("good", false));
            let shutdown = CancellationToken::new();
            let jobs = Jobs::start(&store, vec![bad, good], &shutdown);
            let done = async {
                while runs.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), done).await.expect("done");
            shutdown.cancel();
            jobs.finished().await;
            for name in ["bad", "good"] {
                assert!(store.leases().acquire(name, "somebody else", HOUR).await.expect("asked").is_some(), "{name}");
            }
        }
    }

    #[tokio::test]
    async fn failures_in_a_row_are_further_and_further_apart() {
        let database = crate::store::testing::TestDatabase::sqlite();
        let mut worker = Worker::new(database.store().await, counting("count", true).0);
        let waits: Vec<u64> = (0..8).map(|_| worker.wait_after(Outcome::Failed).as_secs() / 60).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(worker.wait_after(Outcome::Done), HOUR);
        assert_eq!(worker.wait_after(Outcome::Failed), FIRST_RETRY);
    }
}
