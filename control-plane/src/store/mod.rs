//! The database: SQLite on one machine, Postgres for a fleet, one SQL for both.
//!
//! Each area reads and writes its own tables, in its `rows.rs`; what several need is here: the configuration log, leases,
//! the settings document, the proxies and the control planes of the fleet. Configuration changes in one transaction:
//!
//! ```ignore
//! let mut write = store.write(&actor).await?;              // takes the next revision, and with it the writers' lock
//! let node = rows::create(&mut write, draft).await?;       // stamps the revision on the row, notes before and after
//! let revision = write.commit().await?;                    // appends to config_log, commits, wakes the publisher
//! ```
//!
//! Dropping a [`Write`] undoes it. [`Write::commit`] of a transaction that changed nothing uses no revision up. What is no
//! configuration (sessions, counters, deliveries, files) is written past it: see [`Store::write_data`].
//!
//! [`engine`] knows what differs between the engines, [`sealing`] what is sealed, [`health`] whether the database can
//! be used at all, [`row`] and [`limits`] are what every `rows.rs` is written with.

mod config_log;
mod egress_health;
pub(crate) mod engine;
mod error;
mod fleet;
mod health;
mod leases;
pub(crate) mod limits;
mod prices;
mod proxies;
pub mod records;
mod row;
pub(crate) mod sealing;
mod settings;
mod write;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use omniroute_core::{hash::Pepper, sealed::KeyRing, settings::Secret, time::Clock};
use sqlx::{Any, AnyPool, Database, PgPool, Postgres, Transaction, any::AnyConnectOptions};
use tokio::sync::{Notify, watch};

pub use self::{
    config_log::ConfigLog,
    egress_health::{EgressHealth, EgressOutcome, EgressSums},
    engine::Engine,
    error::StoreError,
    fleet::{ControlPlaneRow, ControlPlaneState},
    health::{DatabaseHealth, Outage},
    leases::{Lease, Leases},
    prices::Prices,
    proxies::{Command, Delivery, Proxies},
    sealing::{Resealed, SealedColumn},
    settings::Settings,
    write::{MERGE_ATTEMPTS, Write},
};
pub(crate) use self::{
    fleet::FleetValues,
    limits::clean,
    proxies::LOST_AFTER,
    row::{Columns, MAX_BATCH, batches, nameless_placeholders, number, placeholders},
    write::NOTIFY_CHANNEL,
};

pub(crate) type Query = sqlx::query::Query<'static, Any, sqlx::any::AnyArguments>;

/// A statement; `$1`, `$2`… are bound in order.
pub(crate) fn sql(statement: &'static str) -> Query {
    sqlx::query(statement)
}

/// What [`Store::open`] needs.
pub struct StoreOptions {
    /// `sqlite:<path>` or `postgres://…`.
    pub url: Secret,
    /// Connections at most (on SQLite: readers).
    pub max_connections: u32,
    pub ring: KeyRing,
    /// `API_KEY_SECRET`. Stored sealed; what is stored is in force.
    pub pepper: Pepper,
    /// As `pepper`.
    pub allow_private_upstreams: bool,
    pub clock: Arc<dyn Clock>,
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    engine: Engine,
    url: Secret,
    /// On SQLite a pool of one, for there is one writer; on Postgres the same pool as `reader`.
    writer: AnyPool,
    reader: AnyPool,
    /// On Postgres: connections on which the ledger writes, in the types of Postgres.
    ledger: Option<PgPool>,
    ring: KeyRing,
    fleet: fleet::Fleet,
    clock: Arc<dyn Clock>,
    /// Last revision that this process committed.
    committed: watch::Sender<u64>,
    /// To connect beside the pools.
    options: AnyConnectOptions,
    /// What the last look at the database found, and what asks for the next one.
    condition: watch::Sender<DatabaseHealth>,
    doubt: Arc<Notify>,
    valid_since: engine::ValidSince,
}

// === impl Store ===

impl Store {
    /// Connects, migrates, and checks that the master keys open what is stored.
    ///
    /// # Errors
    /// With a sentence for the operator: no connection, failed migration, wrong master key.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let signals = engine::PoolSignals::default();
        let pools = engine::connect(&options.url, options.max_connections, &signals).await?;
        let store = Self(Arc::new(Inner {
            engine: pools.engine,
            url: options.url,
            writer: pools.writer,
            reader: pools.reader,
            ledger: pools.ledger,
            ring: options.ring,
            fleet: fleet::Fleet::new(options.pepper, options.allow_private_upstreams, options.clock.now()),
            clock: options.clock,
            committed: watch::Sender::new(0),
            options: pools.options,
            condition: watch::Sender::default(),
            doubt: signals.doubt,
            valid_since: signals.valid_since,
        }));
        store.check_master_key().await?;
        store.join_fleet().await?;
        Ok(store)
    }

    pub fn engine(&self) -> Engine {
        self.0.engine
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Revision of the last committed change.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        sql("SELECT n FROM config_revision").fetch_one(self.reader()).await?.u64("n")
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.revision().await.map(drop)
    }

    /// Closes every connection; on SQLite this also folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.leave_fleet().await;
        let closed = Outage::Unreachable { why: "it was closed".into(), since: self.clock().now() };
        self.0.condition.send_replace(DatabaseHealth { outage: Some(closed) });
        self.0.writer.close().await;
        self.0.reader.close().await;
        if let Some(ledger) = &self.0.ledger {
            ledger.close().await;
        }
    }

    /// Changes whenever this process commits a revision.
    pub(crate) fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.subscribe()
    }

    pub(crate) fn url(&self) -> &Secret {
        &self.0.url
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        &self.0.ring
    }

    fn fleet(&self) -> &fleet::Fleet {
        &self.0.fleet
    }

    pub(crate) fn reader(&self) -> &AnyPool {
        &self.0.reader
    }

    pub(crate) fn writer(&self) -> &AnyPool {
        &self.0.writer
    }

    /// A transaction for reading in which every statement sees the same state.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let pool = self.0.reader.clone();
        match self.0.engine {
            Engine::Sqlite => begun(async move { pool.begin().await }).await,
            Engine::Postgres => {
                begun(async move { pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await }).await
            }
        }
    }

    /// A transaction for writing what is no configuration: counters, deliveries, files, sessions, usage. It takes no
    /// revision, appends nothing to the configuration log, and on Postgres waits for nobody who changes configuration:
    /// what happens often, or takes long, must never hold up [`Store::write`], nor be held up by it. Proxies do not hear
    /// of what it changes. On SQLite there is one writer at a time whatever is written, so keep it short.
    pub(crate) async fn write_data(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let pool = self.0.writer.clone();
        match self.0.engine {
            // Taking the lock at once avoids the upgrade of a read lock, which can fail half-way.
            Engine::Sqlite => begun(async move { pool.begin_with("BEGIN IMMEDIATE").await }).await,
            Engine::Postgres => begun(async move { pool.begin().await }).await,
        }
    }

    /// Transactions that the ledger may have at the same time.
    pub(crate) fn ledger_transactions(&self) -> u32 {
        self.0.ledger.as_ref().map_or(1, |pool| pool.options().get_max_connections())
    }

    /// A transaction in the types of Postgres, for what is written in bulk. `None` on SQLite.
    pub(crate) async fn write_data_postgres(&self) -> Result<Option<Transaction<'static, Postgres>>, StoreError> {
        let Some(pool) = self.0.ledger.clone() else { return Ok(None) };
        begun(async move { pool.begin().await }).await.map(Some)
    }
}

/// Lets a transaction begin in a task of its own, which goes on when the caller is cancelled: a client that hangs up
/// between `BEGIN` and its answer would leave an open transaction on a connection that goes back to the pool, because
/// the driver counts a transaction, and so rolls it back, only once it has the answer. The transaction that the task
/// then holds is dropped whole, which rolls it back.
async fn begun<DB: Database>(
    begin: impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send + 'static,
) -> Result<Transaction<'static, DB>, StoreError> {
    match tokio::spawn(begin).await {
        Ok(transaction) => Ok(transaction?),
        Err(error) => Err(StoreError::Database(sqlx::Error::Io(std::io::Error::other(error)))),
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("engine", &self.0.engine).finish_non_exhaustive()
    }
}
