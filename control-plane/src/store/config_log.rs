//! History of the configuration: deltas, audit, roll back.

use omniroute_core::time::UnixMillis;
use serde_json::Value;
use sqlx::any::AnyRow;

use super::{
    Columns as _, Lease, Store, StoreError, number,
    records::{Actor, ConfigLogRow},
    sealing, sql,
};

/// Revisions that one step of a compaction removes at most, so that no transaction gets long.
const COMPACTION_STEP: u64 = 5_000;

/// Reads and compacts the log.
pub struct ConfigLog<'a>(&'a Store);

// === impl Store ===

impl Store {
    pub fn config_log(&self) -> ConfigLog<'_> {
        ConfigLog(self)
    }
}

// === impl ConfigLog ===

impl ConfigLog<'_> {
    /// Entries, newest first, below `before_revision`, of one kind and one id when those are given.
    ///
    /// # Errors
    /// When the database fails or an entry does not open.
    pub async fn page(
        &self,
        before_revision: Option<u64>,
        kind: Option<&str>,
        id: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ConfigLogRow>, StoreError> {
        let rows = sql("SELECT revision, kind, id, op, actor, address, request_id, at, before, after FROM config_log \
             WHERE revision < $1 AND ($2 = '' OR kind = $2) AND ($3 = '' OR id = $3) \
             ORDER BY revision DESC, kind, id LIMIT $4")
        .bind(before_revision.map_or(i64::MAX, number))
        .bind(kind.unwrap_or_default().to_owned())
        .bind(id.unwrap_or_default().to_owned())
        .bind(i64::from(limit))
        .fetch_all(self.0.reader())
        .await?;
        rows.iter().map(|row| self.entry(row)).collect()
    }

    /// Forgets entries older than `cutoff`. Subscribers that are below what is left get a full snapshot. Returns the
    /// new floor.
    ///
    /// # Errors
    /// `LeaseLost`, or when the database fails.
    pub async fn compact(&self, cutoff: UnixMillis, lease: &Lease) -> Result<u64, StoreError> {
        loop {
            let mut tx = self.0.write_data().await?;
            lease.guard(&mut tx).await?;
            let row =
                sql("SELECT log_floor, (SELECT COALESCE(MAX(revision), 0) FROM config_log WHERE at < $1) AS old \
                 FROM config_revision WHERE id = 1");
            let row = row.bind(number(cutoff.0)).fetch_one(&mut *tx).await?;
            let (floor, old) = (row.u64("log_floor")?, row.u64("old")?);
            if old <= floor {
                return Ok(floor);
            }
            let step = old.min(floor.saturating_add(COMPACTION_STEP));
            sql("UPDATE config_revision SET log_floor = $1 WHERE id = 1").bind(number(step)).execute(&mut *tx).await?;
            sql("DELETE FROM config_log WHERE revision <= $1").bind(number(step)).execute(&mut *tx).await?;
            tx.commit().await?;
        }
    }

    fn entry(&self, row: &AnyRow) -> Result<ConfigLogRow, StoreError> {
        let (revision, kind, id) = (row.u64("revision")?, row.text("kind")?, row.text("id")?);
        let place = sealing::log_row(revision, &kind, &id);
        Ok(ConfigLogRow {
            op: row.text("op")?,
            actor: Actor {
                name: row.text("actor")?,
                address: row.opt_text("address")?,
                request_id: row.opt_text("request_id")?,
            },
            at: row.millis("at")?,
            before: self.state(row, "before", &place)?,
            after: self.state(row, "after", &place)?,
            revision,
            kind,
            id,
        })
    }

    fn state(&self, row: &AnyRow, column: &'static str, place: &str) -> Result<Option<Value>, StoreError> {
        let Some(sealed) = row.opt_blob(column)? else {
            return Ok(None);
        };
        let plain = sealing::open(self.0.ring(), sealing::log_context(column, place), &sealed)?;
        let state = serde_json::from_slice(&plain);
        state.map(Some).map_err(|_| StoreError::Corrupt(format!("config_log.{column} ({place})")))
    }
}
