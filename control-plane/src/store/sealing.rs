//! Which columns are sealed, the check of the master keys at start, and their rotation.
//!
//! A value is sealed for its table, column and row. Rotation re-seals in batches, each its own short transaction; a
//! row that somebody edits meanwhile is left to that edit, which seals with the new key anyway.

use omniroute_core::sealed::{KeyRing, SealContext, SealError};
use sqlx::{AnyConnection, AssertSqlSafe};
use zeroize::Zeroizing;

use super::{Columns as _, Store, StoreError, fleet, number, sql};

/// Rows of one batch of a rotation.
const BATCH: i64 = 200;

const CANARY: &[u8] = b"omniroute";
const CANARY_CONTEXT: SealContext<'_> = SealContext { table: "master_key_check", column: "sealed", row: "1" };

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    pub values: u64,
    /// Values that no key of the ring opens, by place. They stay as they are.
    pub failed: Vec<String>,
}

/// Row of a config_log entry, as [`SealContext`] wants it.
pub(super) fn log_row(revision: u64, kind: &str, id: &str) -> String {
    format!("{revision}/{kind}/{id}")
}

pub(super) fn log_context<'a>(column: &'static str, row: &'a str) -> SealContext<'a> {
    SealContext { table: "config_log", column, row }
}

/// Opens a value, naming its place when that fails.
pub(crate) fn open(ring: &KeyRing, context: SealContext<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    ring.open(context, sealed).map_err(|source| StoreError::Sealed { place: describe(context), source })
}

pub(crate) fn seal(ring: &KeyRing, context: SealContext<'_>, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    ring.seal(context, plain).map_err(|source| StoreError::Sealed { place: describe(context), source })
}

fn describe(context: SealContext<'_>) -> String {
    format!("{}.{} ({})", context.table, context.column, context.row)
}

/// A sealed column of a table whose rows are found by `id`. Whoever has such a table says which they are.
#[derive(Clone, Copy, Debug)]
pub struct SealedColumn {
    pub table: &'static str,
    pub column: &'static str,
}

/// A sealed column of the configuration log.
struct LogColumn {
    column: &'static str,
    select: &'static str,
    update: &'static str,
}

const LOG_COLUMNS: [LogColumn; 2] = [
    LogColumn {
        column: "before",
        select: "SELECT revision, kind, id, before AS sealed FROM config_log \
                 WHERE before IS NOT NULL AND substr(before, 2, 4) <> $1 AND (revision, kind, id) > ($2, $3, $4) \
                 ORDER BY revision, kind, id LIMIT $5",
        update: "UPDATE config_log SET before = $1 WHERE revision = $2 AND kind = $3 AND id = $4 AND before = $5",
    },
    LogColumn {
        column: "after",
        select: "SELECT revision, kind, id, after AS sealed FROM config_log \
                 WHERE after IS NOT NULL AND substr(after, 2, 4) <> $1 AND (revision, kind, id) > ($2, $3, $4) \
                 ORDER BY revision, kind, id LIMIT $5",
        update: "UPDATE config_log SET after = $1 WHERE revision = $2 AND kind = $3 AND id = $4 AND after = $5",
    },
];

// === impl SealedColumn ===

impl SealedColumn {
    /// The value in the row of this id.
    pub(crate) fn of<'a>(&self, id: &'a str) -> SealContext<'a> {
        SealContext { table: self.table, column: self.column, row: id }
    }

    /// Rows above an id that another key than the first one has sealed.
    fn select(&self) -> String {
        let Self { table, column } = self;
        format!(
            "SELECT id, {column} AS sealed FROM {table} WHERE {column} IS NOT NULL AND substr({column}, 2, 4) <> $1 \
             AND id > $2 ORDER BY id LIMIT $3"
        )
    }

    fn update(&self) -> String {
        let Self { table, column } = self;
        format!("UPDATE {table} SET {column} = $1 WHERE id = $2 AND {column} = $3")
    }
}

// === impl Store ===

impl Store {
    /// Opens the stored canary, or stores one in a new database.
    pub(super) async fn check_master_key(&self) -> Result<(), StoreError> {
        let sealed = seal(self.ring(), CANARY_CONTEXT, CANARY)?;
        sql("INSERT INTO master_key_check (id, sealed) VALUES (1, $1) ON CONFLICT (id) DO NOTHING")
            .bind(sealed)
            .execute(self.writer())
            .await?;
        let row = sql("SELECT sealed FROM master_key_check WHERE id = 1").fetch_one(self.writer()).await?;
        let plain = self.ring().open(CANARY_CONTEXT, &row.blob("sealed")?).map_err(StoreError::MasterKey)?;
        if plain.as_slice() == CANARY { Ok(()) } else { Err(StoreError::MasterKey(SealError::Refused)) }
    }

    /// Seals everything with the first master key that is sealed with another one: `columns`, the configuration log, and
    /// what the store itself seals. Serving goes on meanwhile; what was done stays done when it is interrupted. Once it
    /// reports no failure, the old keys can leave the ring.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal(&self, columns: &[SealedColumn]) -> Result<Resealed, StoreError> {
        let mut done = Resealed::default();
        for column in columns {
            let mut after = Some(String::new());
            while let Some(cursor) = after.take() {
                after = self.reseal_column(column, cursor, &mut done).await?;
            }
        }
        for column in &LOG_COLUMNS {
            let mut after = Some((0, String::new(), String::new()));
            while let Some(cursor) = after.take() {
                after = self.reseal_log(column, cursor, &mut done).await?;
            }
        }
        self.reseal_fleet(&mut done).await?;
        self.reseal_canary(&mut done).await?;
        Ok(done)
    }

    /// Id of the key that seals.
    pub fn master_key_id(&self) -> String {
        self.ring().primary().to_string()
    }

    async fn reseal_column(
        &self,
        column: &SealedColumn,
        after: String,
        done: &mut Resealed,
    ) -> Result<Option<String>, StoreError> {
        let mut tx = self.write_data().await?;
        let statement = sqlx::query(AssertSqlSafe(column.select())).bind(self.primary_key_id()).bind(after).bind(BATCH);
        let rows = statement.fetch_all(&mut *tx).await?;
        let mut last = None;
        for row in rows {
            let (id, sealed) = (row.text("id")?, row.blob("sealed")?);
            if let Some(resealed) = self.reseal_value(column.of(&id), &sealed, done)? {
                let statement =
                    sqlx::query(AssertSqlSafe(column.update())).bind(resealed).bind(id.clone()).bind(sealed);
                done.values += statement.execute(&mut *tx).await?.rows_affected();
            }
            last = Some(id);
        }
        tx.commit().await?;
        Ok(last)
    }

    async fn reseal_log(
        &self,
        column: &LogColumn,
        after: (u64, String, String),
        done: &mut Resealed,
    ) -> Result<Option<(u64, String, String)>, StoreError> {
        let mut tx = self.write_data().await?;
        let rows = sql(column.select)
            .bind(self.primary_key_id())
            .bind(number(after.0))
            .bind(after.1)
            .bind(after.2)
            .bind(BATCH)
            .fetch_all(&mut *tx)
            .await?;
        let mut last = None;
        for row in rows {
            let (revision, kind, id) = (row.u64("revision")?, row.text("kind")?, row.text("id")?);
            let sealed = row.blob("sealed")?;
            let context = log_row(revision, &kind, &id);
            if let Some(resealed) = self.reseal_value(log_context(column.column, &context), &sealed, done)? {
                let statement = sql(column.update)
                    .bind(resealed)
                    .bind(number(revision))
                    .bind(kind.clone())
                    .bind(id.clone())
                    .bind(sealed);
                done.values += statement.execute(&mut *tx).await?.rows_affected();
            }
            last = Some((revision, kind, id));
        }
        tx.commit().await?;
        Ok(last)
    }

    async fn reseal_fleet(&self, done: &mut Resealed) -> Result<(), StoreError> {
        let mut tx = self.write_data().await?;
        let row = sql("SELECT fleet FROM settings WHERE id = 'settings'").fetch_optional(&mut *tx).await?;
        let sealed = row.map_or(Ok(None), |row| row.opt_blob("fleet"))?;
        if let Some(sealed) = sealed
            && KeyRing::key_id(&sealed).ok() != Some(self.ring().primary())
            && let Some(resealed) = self.reseal_value(fleet::CONTEXT, &sealed, done)?
        {
            let statement = sql("UPDATE settings SET fleet = $1 WHERE id = 'settings' AND fleet = $2");
            done.values += statement.bind(resealed).bind(sealed).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(())
    }

    async fn reseal_canary(&self, done: &mut Resealed) -> Result<(), StoreError> {
        let mut tx: sqlx::Transaction<'static, sqlx::Any> = self.write_data().await?;
        let connection: &mut AnyConnection = &mut tx;
        let row = sql("SELECT sealed FROM master_key_check WHERE id = 1").fetch_one(&mut *connection).await?;
        let sealed = row.blob("sealed")?;
        if KeyRing::key_id(&sealed).ok() != Some(self.ring().primary())
            && let Some(resealed) = self.reseal_value(CANARY_CONTEXT, &sealed, done)?
        {
            sql("UPDATE master_key_check SET sealed = $1 WHERE id = 1").bind(resealed).execute(connection).await?;
            done.values += 1;
        }
        tx.commit().await?;
        Ok(())
    }

    fn reseal_value(
        &self,
        context: SealContext<'_>,
        sealed: &[u8],
        done: &mut Resealed,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self.ring().open(context, sealed) {
            Ok(plain) => seal(self.ring(), context, &plain).map(Some),
            Err(_) => {
                done.failed.push(describe(context));
                Ok(None)
            }
        }
    }

    /// Bytes 2 to 5 of an envelope that the first key sealed.
    fn primary_key_id(&self) -> Vec<u8> {
        hex_bytes(&self.ring().primary().to_string())
    }
}

/// [`omniroute_core::sealed::KeyId`] shows itself in hex; the envelope holds the bytes.
fn hex_bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
