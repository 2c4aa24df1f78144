//! Updates are built once and shared.

use std::sync::Arc;

use super::{Publisher, create_keys, rename_key};
use crate::{run::KINDS, store::testing::on_both_engines};
use tokio_util::sync::CancellationToken;

on_both_engines! {
    async fn subscribers_at_the_same_revision_share_one_delta(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a"]).await;
        let shutdown = CancellationToken::new();
        let publisher = Publisher::start(store.clone(), KINDS, shutdown.clone()).await.expect("a publisher");
        let from = publisher.revision();
        rename_key(&store, &ids[0], "a2").await;
        publisher.refresh().await.expect("refreshed");
        let update = || publisher.update(Some(from));
        let all = tokio::join!(update(), update(), update());
        let (one, two, three) = (all.0.expect("built"), all.1.expect("built"), all.2.expect("built"));
        assert!(Arc::ptr_eq(&one, &two) && Arc::ptr_eq(&two, &three));
        assert_eq!((one.from, one.to, one.count), (Some(from), from + 1, 1));
        shutdown.cancel();
    }

    async fn a_recent_full_snapshot_serves_again_although_the_head_moved(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a"]).await;
        let shutdown = CancellationToken::new();
        let publisher = Publisher::start(store.clone(), KINDS, shutdown.clone()).await.expect("a publisher");
        let first = publisher.update(None).await.expect("built");
        rename_key(&store, &ids[0], "a2").await;
        publisher.refresh().await.expect("refreshed");
        let second = publisher.update(None).await.expect("shared");
        assert!(Arc::ptr_eq(&first, &second), "the delta to the head follows it");
        shutdown.cancel();
    }

    async fn a_delta_from_nowhere_is_a_full_snapshot(database: &TestDatabase) {
        let store = database.store().await;
        create_keys(&store, &["a"]).await;
        let shutdown = CancellationToken::new();
        let publisher = Publisher::start(store.clone(), KINDS, shutdown.clone()).await.expect("a publisher");
        let update = publisher.update(Some(publisher.revision() + 5)).await.expect("built");
        assert!(update.is_full());
        shutdown.cancel();
    }
}
