//! What every request used and cost, recorded exactly once.
//!
//! A proxy's batch arrives at [`service`] and waits in a queue ([`ingest`]). What waits goes into one transaction: each event
//! is checked ([`validate`]) and priced ([`pricing`]), and stored ([`transaction`]) with the hourly sums ([`rollup`]) of just
//! those whose id is new; then each batch is acknowledged. The same batch twice counts once. [`history`] and [`request_log`]
//! answer what REST asks.

mod batch;
mod builtin_prices;
mod history;
mod ingest;
mod jobs;
mod partitions;
mod pricing;
mod reprice;
mod request_log;
mod rollup;
mod service;
mod transaction;
mod validate;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use omniroute_core::time::{Clock, UnixMillis};
use parking_lot::RwLock;
use tokio::sync::mpsc;

pub(crate) use self::service::UsageService;
pub use self::{
    history::{AccountSums, ConnectionTotals, History, KeySums, MinuteSums, ModelSums, Sums},
    ingest::Ingested,
    reprice::Repriced,
    request_log::{EventCursor, EventFilter, EventPage, UsageRow},
};
use self::{ingest::Waiting, partitions::Partitions, pricing::PriceTable};
use crate::store::{
    Lease, Store, StoreError,
    records::{Actor, PriceRow},
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// The ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    store: Store,
    retention: Duration,
    prices: RwLock<Arc<PriceTable>>,
    partitions: Partitions,
    queue: mpsc::Sender<Waiting>,
}

// === impl Ledger ===

impl Ledger {
    /// Opens the ledger: brings the built-in prices up to date and makes the partitions of the coming days.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(store: Store, retention_days: u32) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(ingest::QUEUE);
        let ledger = Self(Arc::new(Inner {
            partitions: Partitions::default(),
            retention: Duration::from_millis(u64::from(retention_days.max(1)) * DAY_MS),
            prices: RwLock::default(),
            queue,
            store,
        }));
        ledger.prepare_days().await?;
        ledger.seed_prices(builtin_prices::edition(), builtin_prices::version(), builtin_prices::prices()).await?;
        let at_once = ledger.0.store.ledger_transactions();
        tokio::spawn(ingest::run(Arc::downgrade(&ledger.0), waiting, at_once));
        Ok(ledger)
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.0.store.clock()
    }

    /// Puts a price book into the database when its version is not the one that is there, and no newer edition is: in an
    /// upgrade programs of two versions start in any order.
    async fn seed_prices(
        &self,
        edition: u64,
        version: &str,
        book: impl IntoIterator<Item = PriceRow>,
    ) -> Result<(), StoreError> {
        if self.0.store.prices().book().await?.is_some_and(|book| !book.gives_way_to(edition, version)) {
            return Ok(());
        }
        let mut write = self.0.store.write(&Actor::system("prices")).await?;
        if let Some(changed) = write.seed_prices(edition, version, book.into_iter().collect()).await? {
            tracing::info!(edition, version, changed, "the built-in prices are up to date");
        }
        write.commit().await?;
        Ok(())
    }

    /// Forgets events older than the retention. Sums stay. Returns how many rows (on Postgres: days) went.
    ///
    /// # Errors
    /// `LeaseLost`, or when the database fails.
    pub async fn forget_old(&self, lease: &Lease) -> Result<u64, StoreError> {
        partitions::forget(&self.0.store, self.oldest_day(), lease).await
    }

    /// Makes the partitions of today and the coming days. Nothing to do on SQLite.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare_days(&self) -> Result<(), StoreError> {
        let today = day_of(self.clock().now());
        let days = (today - 1..=today + partitions::DAYS_AHEAD).collect::<Vec<_>>();
        self.0.partitions.ensure(&self.0.store, &days).await
    }

    /// The first day whose events are kept.
    fn oldest_day(&self) -> i64 {
        let retention = u64::try_from(self.0.retention.as_millis()).unwrap_or(u64::MAX);
        day_of(UnixMillis(self.clock().now().0.saturating_sub(retention)))
    }

    /// The prices as they are in the database now.
    async fn prices(&self) -> Result<Arc<PriceTable>, StoreError> {
        let revision = self.0.store.prices().revision().await?;
        let held = self.0.prices.read().clone();
        if held.revision() == revision {
            return Ok(held);
        }
        let fresh = Arc::new(PriceTable::new(self.0.store.prices().list().await?));
        *self.0.prices.write() = fresh.clone();
        Ok(fresh)
    }
}

/// Days since 1970-01-01 UTC.
fn day_of(at: UnixMillis) -> i64 {
    i64::try_from(at.0 / DAY_MS).unwrap_or(i64::MAX)
}

/// Start of the hour.
fn hour_of(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 - at.0 % HOUR_MS)
}
