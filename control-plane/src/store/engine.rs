//! What differs between SQLite and Postgres: the URL, the pools, the pragmas, the migrations.

use std::{
    fs::{OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
    time::{Duration, Instant},
};

use omniroute_core::settings::Secret;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::{
    AnyConnection, AnyPool, Connection, Database, Executor, PgPool, any::AnyConnectOptions, pool::PoolOptions,
    postgres::PgConnectOptions,
};
use tokio::sync::Notify;

use super::StoreError;

/// How long a caller waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Of the connections to Postgres a fifth is the ledger's, and at most so many. The rest are for those who read, and for those
/// who write configuration: each of them needs one, since whoever is in a transaction reads in it too. Were they to ask the
/// pool for another, as many writers as there are connections would wait for one another.
const LEDGER_CONNECTIONS: u32 = 4;

/// A connection that was used a moment ago is not asked whether it is still there before it is used again: that would be a way
/// to the database and back for every statement. One that has broken meanwhile says so to whoever uses it.
const FRESH: Duration = Duration::from_secs(1);

/// What a path keeps unescaped in a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// One writer at a time, readers beside it; a writer of another process (the CLI) is waited for. Each commit is on the disk
/// when it returns: an event that was acknowledged is gone from the proxy's journal, and a key that was deleted must not
/// come back with the power.
const SQLITE_WRITER: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864;";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON; PRAGMA query_only = ON;";

/// A replica that dies or hangs inside a transaction must not keep the writers' lock.
const POSTGRES_SESSION: &str = "SET application_name = 'omniroute-control-plane'; \
     SET client_min_messages = 'warning'; \
     SET idle_in_transaction_session_timeout = '30s'; SET statement_timeout = '60s'; SET lock_timeout = '20s';";

/// That a table exists already is no news.
const POSTGRES_MIGRATION: &str = "SET client_min_messages = 'warning';";

/// The connection that looks whether the database can be written waits less than it is waited for.
const SQLITE_CHECK: &str = "PRAGMA busy_timeout = 1000; PRAGMA synchronous = NORMAL;";
const POSTGRES_CHECK: &str = "SET application_name = 'omniroute-control-plane-check'; SET lock_timeout = '1s';";

/// Which database this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

pub(super) struct Pools {
    pub(super) engine: Engine,
    pub(super) writer: AnyPool,
    pub(super) reader: AnyPool,
    /// On Postgres.
    pub(super) ledger: Option<PgPool>,
    pub(super) options: AnyConnectOptions,
}

/// What pools tell, and are told.
#[derive(Clone, Default)]
pub(super) struct PoolSignals {
    /// A connection came back in a state that nobody knows.
    pub(super) doubt: Arc<Notify>,
    pub(super) valid_since: ValidSince,
}

/// Since when connections are trusted: an older one is replaced before it is used again.
#[derive(Clone, Default)]
pub(super) struct ValidSince(Arc<Mutex<Option<Instant>>>);

/// Connects and migrates.
pub(super) async fn connect(url: &Secret, max_connections: u32, signals: &PoolSignals) -> Result<Pools, StoreError> {
    sqlx::any::install_default_drivers();
    let url = url.expose().trim();
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return postgres(url, max_connections.max(3), signals).await;
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Err(StoreError::Url("the scheme is another".into()));
    };
    sqlite(&sqlite_path(path)?, max_connections.max(2), signals).await
}

/// A connection beside the pools, to look whether the database can be written.
pub(super) async fn connect_one(options: &AnyConnectOptions, engine: Engine) -> Result<AnyConnection, StoreError> {
    let mut connection = AnyConnection::connect_with(options).await?;
    let session = match engine {
        Engine::Sqlite => SQLITE_CHECK,
        Engine::Postgres => POSTGRES_CHECK,
    };
    connection.execute(sqlx::raw_sql(session)).await?;
    Ok(connection)
}

async fn postgres(url: &str, max_connections: u32, signals: &PoolSignals) -> Result<Pools, StoreError> {
    let options = options(url)?;
    // A migration may take its time, and another replica waits for it: on a connection without timeouts.
    let mut migration = AnyConnection::connect_with(&options).await?;
    migration.execute(sqlx::raw_sql(POSTGRES_MIGRATION)).await?;
    let mut migrator = sqlx::migrate!("../migrations/postgres");
    migrator.set_ignore_missing(true).run(&mut migration).await?;
    migration.close().await?;
    let of_ledger = (max_connections / 5).clamp(1, LEDGER_CONNECTIONS);
    let ledger = PgConnectOptions::from_str(url).map_err(|_| unparsable())?;
    let ledger = pool(of_ledger, POSTGRES_SESSION, signals).min_connections(0).connect_lazy_with(ledger);
    let pool = pool(max_connections - of_ledger, POSTGRES_SESSION, signals).connect_with(options.clone()).await?;
    Ok(Pools { engine: Engine::Postgres, writer: pool.clone(), reader: pool, ledger: Some(ledger), options })
}

async fn sqlite(path: &Path, readers: u32, signals: &PoolSignals) -> Result<Pools, StoreError> {
    create_private(path)?;
    let text = path.to_str().ok_or_else(|| StoreError::Url("the path is not UTF-8".into()))?;
    let options = options(&format!("sqlite://{}", utf8_percent_encode(text, PATH)))?;
    // The writer stays: closing the last connection would fold the write-ahead log back each time.
    let writer = pool(1, SQLITE_WRITER, signals).max_lifetime(None).idle_timeout(None);
    let writer = writer.connect_with(options.clone()).await?;
    // An older program next to a newer schema is the rolling upgrade; see migrations/README.md.
    let mut migrator = sqlx::migrate!("../migrations/sqlite");
    migrator.set_ignore_missing(true).run(&writer).await?;
    let reader = pool(readers, SQLITE_READER, signals).connect_with(options.clone()).await?;
    Ok(Pools { engine: Engine::Sqlite, writer, reader, ledger: None, options })
}

fn options(url: &str) -> Result<AnyConnectOptions, StoreError> {
    AnyConnectOptions::from_str(url).map_err(|_| unparsable())
}

/// The driver's own error may quote the URL, which may hold a password.
fn unparsable() -> StoreError {
    StoreError::Url("it cannot be parsed".into())
}

fn pool<DB: Database>(max_connections: u32, session: &'static str, signals: &PoolSignals) -> PoolOptions<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let PoolSignals { doubt, valid_since } = signals.clone();
    PoolOptions::<DB>::new()
        .max_connections(max_connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection: &mut DB::Connection, _| {
            Box::pin(async move { connection.execute(sqlx::raw_sql(session)).await.map(drop) })
        })
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut DB::Connection, held| {
            let is_trusted = valid_since.covers(held.age);
            let is_stale = is_stale(held.idle_for);
            Box::pin(async move { Ok(is_trusted && (!is_stale || connection.ping().await.is_ok())) })
        })
        .after_release(move |connection: &mut DB::Connection, _| {
            let doubt = Arc::clone(&doubt);
            Box::pin(async move {
                let is_settled = is_settled(connection).await;
                if !matches!(is_settled, Ok(true)) {
                    doubt.notify_one();
                }
                is_settled
            })
        })
}

/// Whether a connection has to be asked before it is used.
fn is_stale(idle_for: Duration) -> bool {
    idle_for >= FRESH
}

/// Whether a connection that comes back is outside of any transaction. SQLite ends a transaction by itself when the
/// disk is full or fails; the rollback that follows is then refused, and the driver counts the transaction for ever:
/// every later one on that connection would fail. Whatever the cause, such a connection is thrown away.
async fn is_settled(connection: &mut impl Connection) -> Result<bool, sqlx::Error> {
    // Comes behind the rollback that a dropped transaction has queued.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

// === impl ValidSince ===

impl ValidSince {
    /// From now on only connections count that are made from now on.
    pub(super) fn renew(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    fn covers(&self, age: Duration) -> bool {
        self.0.lock().is_none_or(|since| age < since.elapsed())
    }
}

/// The path of `sqlite:<path>`, `sqlite://<path>`; parameters are ours to choose.
fn sqlite_path(rest: &str) -> Result<PathBuf, StoreError> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    let path = percent_decode_str(path).decode_utf8().map_err(|_| StoreError::Url("the path is not UTF-8".into()))?;
    if path.is_empty() || path == ":memory:" {
        return Err(StoreError::Url("SQLite needs a file".into()));
    }
    Ok(std::path::absolute(&*path)?)
}

/// Makes the file before SQLite does, so that nobody else can ever read it; SQLite gives its journals the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_sqlite_url_names_the_file() {
        for url in ["/data/a b.sqlite", "///data/a%20b.sqlite", "//%2Fdata/a b.sqlite?mode=rwc"] {
            assert_eq!(sqlite_path(url).expect("a path"), Path::new("/data/a b.sqlite"), "{url}");
        }
        assert!(sqlite_path(":memory:").is_err());
        assert!(sqlite_path("//").is_err());
    }

    #[test]
    fn only_a_connection_that_has_been_idle_is_asked_whether_it_is_there() {
        assert!(!is_stale(Duration::ZERO) && !is_stale(Duration::from_millis(999)));
        assert!(is_stale(FRESH));
        // The driver would ask each time besides.
        assert!(!pool::<sqlx::Postgres>(2, POSTGRES_SESSION, &PoolSignals::default()).get_test_before_acquire());
    }

    #[tokio::test]
    async fn what_sqlite_has_committed_is_on_the_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("storage.sqlite").display());
        let pools = connect(&Secret::new(url), 2, &PoolSignals::default()).await.expect("open");
        let level: (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(&pools.writer).await.expect("a level");
        assert_eq!(level.0, 2, "FULL");
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_used_is_refused_without_quoting_its_password() {
        for url in ["mysql://u:pa55@h/d", "postgres://u:pa55@[bad/d"] {
            let error =
                connect(&Secret::new(url), 2, &PoolSignals::default()).await.err().expect("refused").to_string();
            assert!(!error.contains("pa55"), "{error}");
        }
    }
}
