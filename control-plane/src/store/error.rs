//! What can go wrong in the database, in the words that services and operators need.

use omniroute_core::sealed::SealError;

/// What Postgres says of a character that SQLite would take.
const NUL_IN_TEXT: &str = "22021";

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
        "a stored secret is sealed with master key {0}, which another control plane has and STORAGE_ENCRYPTION_KEY of this \
         one lacks; give all control planes the same keys"
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
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(said) if said.code().as_deref() == Some(NUL_IN_TEXT) => {
                Self::Invalid { field: "text", reason: "contains a NUL character".into() }
            }
            _ => Self::Database(error),
        }
    }
}
