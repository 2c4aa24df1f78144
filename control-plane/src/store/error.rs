//! What can go wrong in the database, in the words that services and operators need.

use omniroute_core::sealed::SealError;
use sqlx::{error::DatabaseError, sqlite::SqliteError};

/// An error of the store. [`StoreError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{kind} {id} does not exist")]
    NotFound { kind: &'static str, id: String },
    #[error("the {what} is already taken")]
    Conflict { what: &'static str },
    #[error("{kind} {id} was changed in the meantime; read it again")]
    Stale { kind: &'static str, id: String },
    #[error("{field}: {reason}")]
    Invalid { field: &'static str, reason: String },
    #[error("the lease {0} is no longer held")]
    LeaseLost(String),
    /// Said at start, before anything is served.
    #[error(
        "STORAGE_ENCRYPTION_KEY does not open this database: {0}. Start with the key that it was made with (further \
         keys may follow after a comma); without it the stored provider secrets are lost"
    )]
    MasterKey(SealError),
    #[error("a sealed value of {place} does not open: {source}")]
    Sealed { place: String, source: SealError },
    #[error(
        "a stored secret is sealed with master key {0}, which another control plane has, or had within a day, and \
         STORAGE_ENCRYPTION_KEY of this one lacks; give all control planes the same keys"
    )]
    RingIncomplete(String),
    #[error("a stored value is damaged: {0}")]
    Corrupt(String),
    #[error("DATABASE_URL must be sqlite://<path> or postgres://…: {0}")]
    Url(String),
    #[error("the database file cannot be made: {0}")]
    File(#[from] std::io::Error),
    #[error("the database does not answer: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// It answers, and stores nothing.
    #[error("the database cannot be written: {0}")]
    Unwritable(#[source] sqlx::Error),
    /// Others held the lock for too long; nothing has changed.
    #[error("the database is busy: {0}")]
    Busy(#[source] sqlx::Error),
    #[error("the database refused: {0}")]
    Database(#[source] sqlx::Error),
    #[error("the migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

// === impl StoreError ===

impl StoreError {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::Stale { .. } => "stale",
            Self::Invalid { .. } => "invalid",
            Self::LeaseLost(_) => "lease_lost",
            Self::MasterKey(_) => "master_key",
            Self::Sealed { .. } => "sealed",
            Self::RingIncomplete(_) => "ring_incomplete",
            Self::Corrupt(_) => "corrupt",
            Self::Url(_) => "database_url",
            Self::File(_) => "database_file",
            Self::Unavailable(_) => "database_unavailable",
            Self::Unwritable(_) => "database_unwritable",
            Self::Busy(_) => "database_busy",
            Self::Database(_) => "database",
            Self::Migration(_) => "migration",
        }
    }

    pub(crate) fn not_found(kind: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { kind, id: id.into() }
    }

    /// Names the unique value when `error` says that one is taken: `names` are (part of the constraint's name or of
    /// SQLite's message, what to call it).
    pub(crate) fn of_insert(error: sqlx::Error, names: &[(&str, &'static str)]) -> Self {
        let taken = error.as_database_error().filter(|error| error.is_unique_violation()).map(|error| {
            let said = error.constraint().unwrap_or_else(|| error.message());
            names.iter().find(|(part, _)| said.contains(part)).map_or("id", |(_, what)| what)
        });
        taken.map_or_else(|| Self::from(error), |what| Self::Conflict { what })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            // Of a connection that is no longer what it was thought to be.
            | sqlx::Error::BeginFailed
            | sqlx::Error::InvalidSavePointStatement => Self::Unavailable(error),
            sqlx::Error::Database(said) => match Refusal::of(said.as_ref()) {
                Refusal::Away => Self::Unavailable(error),
                Refusal::Unwritable => Self::Unwritable(error),
                Refusal::Busy => Self::Busy(error),
                Refusal::NulInText => Self::Invalid { field: "text", reason: "contains a NUL character".into() },
                Refusal::Other => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

/// What a database's refusal means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The server goes away, comes up, or takes nobody in.
    Away,
    /// The disk is full or fails, or this is a copy that is read only.
    Unwritable,
    /// Somebody else has the lock.
    Busy,
    NulInText,
    Other,
}

// === impl Refusal ===

impl Refusal {
    fn of(said: &dyn DatabaseError) -> Self {
        let Some(code) = said.code() else { return Self::Other };
        if said.try_downcast_ref::<SqliteError>().is_some() {
            return code.parse().map_or(Self::Other, Self::of_sqlite);
        }
        Self::of_postgres(&code)
    }

    /// The lowest byte of an extended result code is the result code. <https://www.sqlite.org/rescode.html>
    const fn of_sqlite(code: i32) -> Self {
        match code & 0xff {
            // BUSY, LOCKED
            5 | 6 => Self::Busy,
            // READONLY, IOERR, FULL, CANTOPEN
            8 | 10 | 13 | 14 => Self::Unwritable,
            _ => Self::Other,
        }
    }

    /// By SQLSTATE. <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn of_postgres(code: &str) -> Self {
        match code {
            "22021" => Self::NulInText,
            // read_only_sql_transaction, insufficient_resources, disk_full, io_error
            "25006" | "53000" | "53100" | "58030" => Self::Unwritable,
            // too_many_connections; admin_shutdown, crash_shutdown, cannot_connect_now
            "53300" | "57P01" | "57P02" | "57P03" => Self::Away,
            // lock_not_available, deadlock_detected, serialization_failure
            "55P03" | "40P01" | "40001" => Self::Busy,
            // connection exceptions
            _ if code.starts_with("08") => Self::Away,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_mean_the_same_on_both_engines() {
        assert_eq!(Refusal::of_sqlite(13), Refusal::Unwritable, "the disk is full");
        assert_eq!(Refusal::of_sqlite(10 | (3 << 8)), Refusal::Unwritable, "a write failed");
        assert_eq!(Refusal::of_sqlite(8 | (1 << 8)), Refusal::Unwritable, "read only");
        assert_eq!(Refusal::of_sqlite(5 | (2 << 8)), Refusal::Busy);
        assert_eq!(Refusal::of_sqlite(19 | (8 << 8)), Refusal::Other, "a constraint");
        assert_eq!(Refusal::of_postgres("53100"), Refusal::Unwritable, "the disk is full");
        assert_eq!(Refusal::of_postgres("25006"), Refusal::Unwritable, "read only");
        assert_eq!(Refusal::of_postgres("57P03"), Refusal::Away, "it comes up");
        assert_eq!(Refusal::of_postgres("08006"), Refusal::Away);
        assert_eq!(Refusal::of_postgres("55P03"), Refusal::Busy);
        assert_eq!(Refusal::of_postgres("23505"), Refusal::Other, "a constraint");
    }
}
