//! Days of the ledger. On Postgres each is a partition: made ahead and on demand, and dropped whole when it is old. On
//! SQLite there is one plain table, and old rows are deleted in steps.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use sqlx::AssertSqlSafe;

use crate::store::{Columns as _, Engine, Lease, Store, StoreError, sql};

/// Partitions are made this many days ahead.
pub(super) const DAYS_AHEAD: i64 = 7;

/// Rows that one step of SQLite's deletion removes.
const STEP: i64 = 5_000;

/// Lets one replica at a time make partitions. Any fixed number that nothing else locks would do.
const ADVISORY_LOCK: i64 = 0x6f6d_6e69_0001;

/// The days that are known to have a partition.
#[derive(Default)]
pub(super) struct Partitions(Mutex<BTreeSet<i64>>);

// === impl Partitions ===

impl Partitions {
    /// Makes the partitions of `days` that are missing.
    pub(super) async fn ensure(&self, store: &Store, days: &[i64]) -> Result<(), StoreError> {
        if store.engine() == Engine::Sqlite {
            return Ok(());
        }
        let missing: Vec<i64> = {
            let known = self.0.lock();
            days.iter().copied().filter(|day| !known.contains(day)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = store.write_data().await?;
        sql("SELECT pg_advisory_xact_lock($1)").bind(ADVISORY_LOCK).execute(&mut *tx).await?;
        for day in &missing {
            let statement = format!(
                "CREATE TABLE IF NOT EXISTS usage_events_{day} PARTITION OF usage_events \
                 FOR VALUES FROM ({day}) TO ({})",
                day + 1
            );
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.0.lock().extend(missing);
        Ok(())
    }

    /// After a failure: perhaps a partition is gone that was known.
    pub(super) fn forget_known(&self) {
        self.0.lock().clear();
    }
}

/// Removes the days before `oldest`.
pub(super) async fn forget(store: &Store, oldest: i64, lease: &Lease) -> Result<u64, StoreError> {
    match store.engine() {
        Engine::Postgres => drop_partitions(store, oldest, lease).await,
        Engine::Sqlite => delete_rows(store, oldest, lease).await,
    }
}

async fn drop_partitions(store: &Store, oldest: i64, lease: &Lease) -> Result<u64, StoreError> {
    let rows = sql("SELECT CAST(child.relname AS TEXT) AS name FROM pg_inherits \
         JOIN pg_class child ON child.oid = pg_inherits.inhrelid \
         WHERE pg_inherits.inhparent = to_regclass('usage_events')")
    .fetch_all(store.reader())
    .await?;
    let mut dropped = 0;
    for row in rows {
        let name = row.text("name")?;
        let day = name.strip_prefix("usage_events_").and_then(|day| day.parse::<i64>().ok());
        if day.is_none_or(|day| day >= oldest) {
            continue;
        }
        let mut tx = store.write_data().await?;
        lease.guard(&mut tx).await?;
        sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}"))).execute(&mut *tx).await?;
        tx.commit().await?;
        dropped += 1;
    }
    Ok(dropped)
}

async fn delete_rows(store: &Store, oldest: i64, lease: &Lease) -> Result<u64, StoreError> {
    let mut deleted = 0;
    loop {
        let mut tx = store.write_data().await?;
        lease.guard(&mut tx).await?;
        let done = sql("DELETE FROM usage_events WHERE (day, id) IN \
             (SELECT day, id FROM usage_events WHERE day < $1 ORDER BY day, id LIMIT $2)")
        .bind(oldest)
        .bind(STEP)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        deleted += done.rows_affected();
        if done.rows_affected() < STEP.unsigned_abs() {
            return Ok(deleted);
        }
    }
}
