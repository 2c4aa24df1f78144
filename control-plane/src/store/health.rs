//! What is known about the database at any moment, without asking it: probes and health answer from here at once.
//!
//! A look writes one row on a connection of its own, so that neither a busy pool nor a connection that the pool holds
//! since better days decides: a database that answers and stores nothing (a full disk, a standby, a read-only mount)
//! is no use to a control plane.

use std::time::Duration;

use omniroute_core::time::UnixMillis;
use sqlx::{AnyConnection, Connection as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Engine, Store, StoreError, engine, number, sql};

/// Between two looks while all is well…
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// …and while it is not.
const RECHECK_EVERY: Duration = Duration::from_secs(1);

/// Whatever happens, looks are at least so far apart: whoever asks for health asks for one.
const MIN_PAUSE: Duration = Duration::from_millis(250);

/// A database that takes longer for one row does not answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What the last look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseHealth {
    pub outage: Option<Outage>,
}

/// What is wrong with the database. The texts are for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It does not answer.
    Unreachable { why: String, since: UnixMillis },
    /// It answers and stores nothing.
    Unwritable { why: String, since: UnixMillis },
}

// === impl DatabaseHealth ===

impl DatabaseHealth {
    pub fn is_unreachable(&self) -> bool {
        matches!(self.outage, Some(Outage::Unreachable { .. }))
    }
}

// === impl Outage ===

impl Outage {
    /// A word for it, as health shows it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unhealthy",
            Self::Unwritable { .. } => "unwritable",
        }
    }

    pub const fn sentence(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "the database does not answer",
            Self::Unwritable { .. } => "the database cannot be written",
        }
    }

    pub fn why(&self) -> &str {
        match self {
            Self::Unreachable { why, .. } | Self::Unwritable { why, .. } => why,
        }
    }

    pub const fn since(&self) -> UnixMillis {
        match self {
            Self::Unreachable { since, .. } | Self::Unwritable { since, .. } => *since,
        }
    }

    fn of(error: &StoreError, since: UnixMillis) -> Self {
        let why = error.to_string();
        match error {
            StoreError::Unwritable(_) => Self::Unwritable { why, since },
            _ => Self::Unreachable { why, since },
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

// === impl Store ===

impl Store {
    /// What the last look at the database found; nothing wrong before the first.
    pub fn health(&self) -> DatabaseHealth {
        self.0.condition.borrow().clone()
    }

    /// Fails at once while the database is known to be away, instead of after the wait for a connection.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn expect_reachable(&self) -> Result<(), StoreError> {
        match &self.0.condition.borrow().outage {
            Some(Outage::Unreachable { why, .. }) => {
                Err(StoreError::Unavailable(sqlx::Error::Io(std::io::Error::other(why.clone()))))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the database is known to be away; a look begins at once.
    pub(crate) async fn unreachable(&self) {
        self.0.doubt.notify_one();
        let mut condition = self.0.condition.subscribe();
        if condition.wait_for(DatabaseHealth::is_unreachable).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Looks at the database now and then until `shutdown`, and at once when a connection came back broken.
    pub async fn watch(self, shutdown: CancellationToken) {
        let mut connection = None;
        loop {
            self.check(&mut connection).await;
            if shutdown.run_until_cancelled(tokio::time::sleep(MIN_PAUSE)).await.is_none() {
                break;
            }
            let pause = if self.0.condition.borrow().outage.is_some() { RECHECK_EVERY } else { CHECK_EVERY };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.0.doubt.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Some(connection) = connection {
            let _ = connection.close().await;
        }
    }

    /// One look. `held` is the connection of the last one, if it still serves.
    pub(crate) async fn check(&self, held: &mut Option<AnyConnection>) {
        let now = self.clock().now();
        let found = match timeout(CHECK_TIMEOUT, self.probe(held.take())).await {
            Ok(Ok(connection)) => {
                *held = connection;
                None
            }
            Ok(Err(error)) => Some(Outage::of(&error, now)),
            Err(_) => Some(Outage::Unreachable { why: format!("it took longer than {CHECK_TIMEOUT:?}"), since: now }),
        };
        let before = self.health().outage;
        if self.engine() == Engine::Postgres && (found.is_some() || before.is_some()) {
            // What was connected to a server that has become a standby, or was told to be read-only, stays so.
            self.0.valid_since.renew();
        }
        let found = match (before, found) {
            (None, None) => return,
            (Some(before), None) => {
                tracing::info!("the database can be used again: {} no longer", before.sentence());
                None
            }
            // The same trouble goes on: it keeps its beginning.
            (Some(before), Some(found)) if before.is_like(&found) => return,
            (_, Some(found)) => {
                tracing::error!(why = found.why(), "{}", found.sentence());
                Some(found)
            }
        };
        self.0.condition.send_replace(DatabaseHealth { outage: found });
    }

    /// Writes the row, on `held` or on a new connection, and gives that back for the next time.
    async fn probe(&self, held: Option<AnyConnection>) -> Result<Option<AnyConnection>, StoreError> {
        let mut connection = match held {
            Some(connection) => connection,
            None => engine::connect_one(&self.0.options, self.engine()).await?,
        };
        let statement = sql("UPDATE store_check SET at = $1 WHERE id = 1").bind(number(self.clock().now().0));
        match statement.execute(&mut connection).await.map_err(StoreError::from) {
            Ok(_) => Ok(Some(connection)),
            // Somebody else writes for longer than this one waits: it answers, and it stores.
            Err(StoreError::Busy(_)) => Ok(Some(connection)),
            Err(error) => Err(error),
        }
    }
}
