//! A database that cannot be written, or goes away: what fails, and that nothing goes on failing afterwards.

use std::time::Duration;

use omniroute_core::settings::Secret;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{
    areas::{
        access::{
            keys::{KeyDraft, rows as keys},
            login::Admin,
        },
        providers::connections::{ConnectionDraft, rows as connections, rows::Connections},
    },
    ledger::Ledger,
    store::{
        Outage, Store, StoreError,
        testing::{TestDatabase, admin, execute},
    },
};

/// Larger than the free pages of a small database.
const LARGE: usize = 60 * 1024;

async fn make_key(store: &Store, name: &str) -> Result<u64, StoreError> {
    let mut write = store.write(&admin()).await?;
    keys::create(&mut write, KeyDraft::new(name, &format!("sk-{name}-0123456789abcdef"), &store.pepper())).await?;
    write.commit().await
}

async fn make_large_connection(store: &Store) -> Result<u64, StoreError> {
    let mut write = store.write(&admin()).await?;
    connections::create(&mut write, ConnectionDraft::new("openai", "large", Secret::new("x".repeat(LARGE)))).await?;
    write.commit().await
}

/// As many events as do not fit in what is left.
fn events(store: &Store, count: u32) -> Vec<omniroute_proto::v1::UsageEvent> {
    let at = store.clock().now();
    let event = |number: u32| omniroute_proto::v1::UsageEvent {
        id: omniroute_core::id::EventId::generate().as_bytes().to_vec().into(),
        at_ms: at.0,
        request_id: format!("request-{number}-{}", "x".repeat(200)),
        provider: "openai".into(),
        model: "gpt".into(),
        operation: "chat".into(),
        outcome: omniroute_proto::v1::Outcome::Ok.into(),
        ..Default::default()
    };
    (0..count).map(event).collect()
}

/// The database may not grow on the connection that writes now, as on a disk without room.
async fn fill(store: &Store) {
    execute(store, "PRAGMA max_page_count = 1").await;
}

async fn everything_can_be_written(store: &Store, ledger: &Ledger, name: &str) {
    make_key(store, name).await.expect("configuration");
    ledger.ingest("p1", events(store, 3)).await.expect("usage");
    store.leases().acquire("work", "me", Duration::from_secs(60)).await.expect("a lease").expect("free");
    Admin::of(store).create_if_absent("$argon2id$").await.expect("a password");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_what_does_not_fit_and_nothing_that_comes_after() {
    let database = TestDatabase::sqlite();
    let store = database.store().await;
    let ledger = Ledger::start(store.clone(), 30).await.expect("a ledger");
    fill(&store).await;
    let refused = make_large_connection(&store).await.expect_err("it does not fit");
    assert_eq!(refused.code(), "database_unwritable", "{refused}");
    everything_can_be_written(&store, &ledger, "after-configuration").await;

    fill(&store).await;
    let refused = ledger.ingest("p1", events(&store, 3000)).await.expect_err("it does not fit");
    assert_eq!(refused.code(), "database_unwritable", "{refused}");
    everything_can_be_written(&store, &ledger, "after-usage").await;
    assert!(Connections::of(&store).list().await.expect("connections").is_empty(), "no half of it is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_transaction_ended_behind_its_back_is_not_used_again() {
    let database = TestDatabase::sqlite();
    let store = database.store().await;
    // As SQLite does it when a write fails: the rollback that follows is refused.
    let mut transaction = store.write_data().await.expect("a transaction");
    transaction.execute("ROLLBACK").await.expect("rolled back");
    drop(transaction);
    make_key(&store, "after").await.expect("another connection");
    let mut reading = store.read().await.expect("a transaction");
    reading.execute("ROLLBACK").await.expect("rolled back");
    drop(reading);
    for _ in 0..10 {
        drop(store.read().await.expect("another connection"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_turns_read_only_is_seen_and_connections_from_that_time_are_replaced() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let mut held = None;
    store.check(&mut held).await;
    assert_eq!(store.health().outage, None);

    let (server, name) = database.server().expect("a server");
    let mut server = PgConnection::connect(server).await.expect("the server");
    let mut order = async |statement: String| {
        server.execute(AssertSqlSafe(statement)).await.expect("done");
    };
    let end_all = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    order(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    order(end_all).await;
    // The first look may still meet the connection that was ended.
    store.check(&mut held).await;
    store.check(&mut held).await;
    assert!(matches!(store.health().outage, Some(Outage::Unwritable { .. })), "{:?}", store.health());
    let refused = make_key(&store, "refused").await.expect_err("it is read-only");
    assert_eq!(refused.code(), "database_unwritable", "{refused}");
    assert!(store.revision().await.is_ok(), "reading goes on");

    order(format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    store.check(&mut held).await;
    assert_eq!(store.health().outage, None);
    for number in 0..10 {
        make_key(&store, &format!("after-{number}")).await.expect("no connection is read-only any more");
    }
    drop(held);
    database.drop_postgres().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_nobody_in_is_known_to_be_away_until_it_does() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let mut held = None;
    store.check(&mut held).await;
    let (server, name) = database.server().expect("a server");
    let mut server = PgConnection::connect(server).await.expect("the server");
    let mut order = async |statement: String| {
        server.execute(AssertSqlSafe(statement)).await.expect("done");
    };
    order(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    order(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    store.check(&mut held).await;
    assert!(store.health().is_unreachable(), "{:?}", store.health());
    assert_eq!(store.expect_reachable().expect_err("away").code(), "database_unavailable");
    tokio::time::timeout(Duration::from_secs(30), store.unreachable())
        .await
        .expect("whoever waits for it hears at once");
    let since = store.health().outage.expect("trouble").since();
    store.check(&mut held).await;
    assert_eq!(store.health().outage.expect("trouble").since(), since, "it keeps its beginning");

    order(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    store.check(&mut held).await;
    assert_eq!(store.health().outage, None);
    make_key(&store, "after").await.expect("it is back");
    drop(held);
    database.drop_postgres().await;
}
