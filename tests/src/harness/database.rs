//! The database of a control plane under test.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// Which database a stack runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    /// A fresh database on the server of `TEST_DATABASE_URL`.
    Postgres,
}

/// A Postgres database of its own. The whole server is thrown away after the tests, and it with that.
#[derive(Debug)]
pub(super) struct PostgresDatabase {
    server: String,
    name: String,
}

// === impl PostgresDatabase ===

impl PostgresDatabase {
    pub(super) async fn create() -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("TEST_DATABASE_URL is not set: run `make test`, which starts a Postgres for the tests");
        let name = format!("stack_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.expect("the server of TEST_DATABASE_URL");
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a new database");
        Self { server, name }
    }

    pub(super) fn url(&self) -> String {
        let mut url: url::Url = self.server.parse().expect("a URL");
        url.set_path(&self.name);
        url.into()
    }
}
