//! Every test of the store, the publisher and the ledger runs on both engines: [`on_both_engines!`] makes two tests of
//! one body, on a fresh SQLite file and on a fresh Postgres database.

use std::sync::Arc;

use omniroute_core::{
    hash::Pepper,
    sealed::KeyRing,
    settings::Secret,
    time::{Clock, ManualClock, SystemClock, UnixMillis},
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{Store, StoreError, StoreOptions, records::Actor};

pub(crate) const KEY: &str = "test-master-key-0123456789";

/// 2027-01-15 08:00 UTC, a round hour.
pub(crate) const NOON: UnixMillis = UnixMillis(1_800_000_000_000);

/// A database of its own, gone when the test is over.
pub(crate) struct TestDatabase {
    url: String,
    postgres: Option<(String, String)>,
    _directory: Option<tempfile::TempDir>,
}

/// Makes `mod $name { sqlite; postgres }` out of one async body that takes a [`TestDatabase`].
macro_rules! on_both_engines {
    ($( $(#[$meta:meta])* async fn $name:ident($database:ident: &TestDatabase) $body:block )*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                async fn case($database: &$crate::store::testing::TestDatabase) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    let database = $crate::store::testing::TestDatabase::sqlite();
                    case(&database).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    let database = $crate::store::testing::TestDatabase::postgres().await;
                    case(&database).await;
                    database.drop_postgres().await;
                }
            }
        )*
    };
}
pub(crate) use on_both_engines;

// === impl TestDatabase ===

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}", directory.path().join("storage.sqlite").display());
        Self { url, postgres: None, _directory: Some(directory) }
    }

    pub(crate) async fn postgres() -> Self {
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            panic!("TEST_DATABASE_URL is not set: run `make test`, which starts a Postgres for the tests");
        };
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.expect("the Postgres of TEST_DATABASE_URL");
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a database");
        let mut url: url::Url = server.parse().expect("a URL");
        url.set_path(&name);
        Self { url: url.into(), postgres: Some((server, name)), _directory: None }
    }

    pub(crate) async fn store(&self) -> Store {
        self.open(KEY, Arc::new(SystemClock)).await.expect("a store")
    }

    /// A store whose time stands at [`NOON`] until it is moved.
    pub(crate) async fn store_at_noon(&self) -> (Store, ManualClock) {
        let clock = ManualClock::at(NOON);
        (self.open(KEY, Arc::new(clock.clone())).await.expect("a store"), clock)
    }

    pub(crate) async fn open(&self, keys: &str, clock: Arc<dyn Clock>) -> Result<Store, StoreError> {
        self.open_with(keys, "pepper", false, clock).await
    }

    pub(crate) async fn open_with(
        &self,
        keys: &str,
        pepper: &str,
        allow_private_upstreams: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Store, StoreError> {
        Store::open(StoreOptions {
            url: Secret::new(self.url.clone()),
            max_connections: 6,
            ring: KeyRing::new(keys.split(',')).expect("a ring"),
            pepper: Pepper::new(pepper),
            allow_private_upstreams,
            clock,
        })
        .await
    }

    /// On Postgres: the URL of the server, and the name of this database.
    pub(crate) fn server(&self) -> Option<(&str, &str)> {
        self.postgres.as_ref().map(|(server, name)| (server.as_str(), name.as_str()))
    }

    pub(crate) async fn drop_postgres(&self) {
        if let Some((server, name)) = &self.postgres {
            let mut admin = PgConnection::connect(server).await.expect("the server");
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            admin.execute(AssertSqlSafe(drop)).await.expect("dropped");
        }
    }
}

pub(crate) fn admin() -> Actor {
    Actor::new("admin")
}

/// Runs SQL past the repositories, to damage things.
pub(crate) async fn execute(store: &Store, statement: &str) -> u64 {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(store.writer()).await.expect("executed").rows_affected()
}
