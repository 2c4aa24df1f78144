//! Many writers, several replicas, many proxies, many keys.

use std::time::{Duration, Instant};

use super::{Replica, SOON, create_keys, delete_key, proxy::TestProxy, rename_key};
use crate::{
    areas::access::keys::rows::Keys,
    store::{
        Engine, Store,
        testing::{execute, on_both_engines},
    },
};

/// Keys of the large test; the acceptance figure.
const MANY: u64 = 100_000;

const WRITERS: u64 = 6;
/// Of one writer: six creations, six renamings, three deletions.
const WRITES: u64 = 15;

async fn key_names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = Keys::of(store).list().await.expect("keys").into_iter().map(|key| key.name).collect();
    names.sort();
    names
}

async fn churn(store: Store, writer: u64) {
    let mut ids = Vec::new();
    for round in 0..6 {
        ids.extend(create_keys(&store, &[&format!("w{writer}-{round}"), &format!("w{writer}-{round}-b")]).await);
        rename_key(&store, &ids[round], &format!("w{writer}-{round}-renamed")).await;
        if round % 2 == 1 {
            delete_key(&store, &ids.remove(0)).await;
        }
    }
}

async fn seed_many_keys(store: &Store) {
    let revision = store.revision().await.expect("a revision");
    let rows = match store.engine() {
        Engine::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
             INSERT INTO api_keys SELECT 'key-' || i, 'key number ' || i, CAST(printf('%032d', i) AS BLOB), \
             'sk-b1490****1ab4', 'sk-b14908526', 1, 0, '[\"mock/*\"]', '[]', '[]', NULL, NULL, NULL, '{{}}', i, i, \
             {revision}, NULL, NULL FROM n"
        ),
        Engine::Postgres => format!(
            "INSERT INTO api_keys SELECT 'key-' || i, 'key number ' || i, \
             convert_to(lpad(i::text, 32, '0'), 'UTF8'), 'sk-b1490****1ab4', 'sk-b14908526', 1, 0, '[\"mock/*\"]', \
             '[]', '[]', NULL, NULL, NULL, '{{}}', i, i, {revision} FROM generate_series(1, {MANY}) AS n(i)"
        ),
    };
    assert_eq!(execute(store, &rows).await, MANY);
}

on_both_engines! {
    async fn deltas_miss_nothing_while_many_write(database: &TestDatabase) {
        let store = database.store().await;
        let other = database.store().await;
        let replica = Replica::start(&store).await;
        let end = store.revision().await.expect("a revision") + WRITERS * WRITES;
        let mut proxies = tokio::task::JoinSet::new();
        for number in 0..4 {
            let mut proxy = TestProxy::synced(&replica.url).await;
            proxies.spawn(async move {
                while proxy.revision < end {
                    let received = proxy.update().await;
                    // Some are slow: they get fewer, larger deltas.
                    tokio::time::sleep(Duration::from_millis(number * 15)).await;
                    proxy.ack(received.revision).await;
                }
                proxy.key_names()
            });
        }
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(churn(if writer % 2 == 0 { store.clone() } else { other.clone() }, writer));
        }
        writers.join_all().await;
        let expected = key_names(&store).await;
        assert_eq!(expected.len(), 6 * 9);
        let held = tokio::time::timeout(SOON, proxies.join_all()).await.expect("every proxy arrives");
        for names in held {
            assert_eq!(names, expected);
        }
        replica.stop().await;
    }

    async fn an_edit_through_another_replica_arrives_within_a_second_or_two(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a"]).await;
        let other = database.store().await;
        let replica = Replica::start(&store).await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        let revision = rename_key(&other, &ids[0], "a2").await;
        let started = Instant::now();
        proxy.take_until(revision).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        assert_eq!(proxy.key_names(), ["a2"]);
        replica.stop().await;
    }

    async fn a_proxy_that_knows_more_than_the_replica_it_turns_to_needs_no_full_snapshot(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a"]).await;
        let here = Replica::start(&store).await;
        let there = Replica::start(&database.store().await).await;
        let mut proxy = TestProxy::synced(&here.url).await;
        let revision = rename_key(&store, &ids[0], "a2").await;
        proxy.take_until(revision).await;
        let mut proxy = proxy.leave(&here).await.back(&there.url).await;
        let delta = proxy.take().await;
        assert_eq!((delta.full, delta.revision), (false, revision));
        here.stop().await;
        there.stop().await;
    }

    async fn one_edit_among_a_hundred_thousand_keys_is_one_resource(database: &TestDatabase) {
        let store = database.store().await;
        seed_many_keys(&store).await;
        let replica = Replica::start(&store).await;
        let started = Instant::now();
        let full = replica.publisher.update(None).await.expect("a snapshot");
        let built = started.elapsed();
        assert_eq!(full.count, MANY + 1);
        let started = Instant::now();
        let mut proxy = TestProxy::synced(&replica.url).await;
        let received = started.elapsed();
        assert_eq!(proxy.held.len() as u64, MANY + 1);
        // The acknowledgement of the snapshot comes first; from then on the clock counts.
        while replica.publisher.subscriptions()[0].acknowledged.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let started = Instant::now();
        let revision = rename_key(&store, "key-77777", "edited").await;
        let delta = proxy.take().await;
        let arrived = started.elapsed();
        assert_eq!((delta.full, delta.revision, delta.resources.len()), (false, revision, 1));
        assert_eq!(delta.resources[0].id, "key-77777");
        println!("full snapshot built in {built:?}, received in {received:?}; one edit arrived after {arrived:?}");
        assert!(arrived < Duration::from_millis(500), "{arrived:?}");
        replica.stop().await;
    }
}
