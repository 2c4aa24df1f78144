//! Replicas that are not set up alike: what a revision stands for is the same on all of them, or they say nothing.

use std::{sync::Arc, time::Duration};

use omniroute_core::{settings::Secret, time::SystemClock};
use omniroute_proto::v1::{self, resource};
use tokio::time::timeout;
use tonic::Code;

use super::{
    QUICK, Replica, SOON, create_keys,
    proxy::{TestProxy, subscribe},
};
use crate::{
    areas::providers::connections::{ConnectionDraft, rows as connections},
    store::{
        Store,
        testing::{KEY, TestDatabase, admin, execute, on_both_engines},
    },
};

/// What the environment of a control plane says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Environment {
    keys: &'static str,
    pepper: &'static str,
    allow_private: bool,
}

const FIRST: Environment = Environment { keys: KEY, pepper: "pepper", allow_private: false };

async fn open(database: &TestDatabase, environment: Environment) -> Store {
    let Environment { keys, pepper, allow_private } = environment;
    database.open_with(keys, pepper, allow_private, Arc::new(SystemClock)).await.expect("a store")
}

/// A control plane of its own, as `run` starts and stops one.
struct Process {
    store: Store,
    replica: Replica,
}

impl Process {
    async fn start(database: &TestDatabase, environment: Environment) -> Self {
        let store = open(database, environment).await;
        let replica = Replica::start_with(&store, QUICK).await;
        Self { store, replica }
    }

    async fn stop(self) {
        self.replica.stop().await;
        self.store.close().await;
    }

    /// A proxy that has all that the database holds, from here.
    async fn synced(&self) -> TestProxy {
        let head = self.store.revision().await.expect("a revision");
        let mut proxy = TestProxy::synced(&self.replica.url).await;
        proxy.take_until(head).await;
        proxy
    }

    async fn restart(self, database: &TestDatabase, environment: Environment) -> Self {
        self.stop().await;
        Self::start(database, environment).await
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("did not happen: {what}"));
}

fn published(proxy: &TestProxy) -> (Vec<u8>, bool) {
    let settings = proxy.held.values().find_map(|resource| match &resource.body {
        Some(resource::Body::Settings(settings)) => {
            Some((settings.key_pepper.clone(), settings.allow_private_upstreams))
        }
        _ => None,
    });
    settings.expect("settings")
}

fn of(environment: Environment) -> (Vec<u8>, bool) {
    (environment.pepper.as_bytes().to_vec(), environment.allow_private)
}

fn connection<'a>(proxy: &'a TestProxy, name: &str) -> &'a v1::Connection {
    let found = proxy.held.values().find_map(|resource| match &resource.body {
        Some(resource::Body::Connection(connection)) if connection.name == name => Some(connection),
        _ => None,
    });
    found.expect("the connection")
}

async fn create_connection(store: &Store, name: &str) -> u64 {
    let mut write = store.write(&admin()).await.expect("a transaction");
    let draft = ConnectionDraft::new("openai", name, Secret::new(format!("sk-{name}")));
    connections::create(&mut write, draft).await.expect("a connection");
    write.commit().await.expect("committed")
}

on_both_engines! {
    async fn a_setting_that_is_rolled_out_comes_into_force_once_and_for_all(database: &TestDatabase) {
        let mut one = Process::start(database, FIRST).await;
        let mut two = Process::start(database, FIRST).await;
        create_keys(&one.store, &["a"]).await;
        let mut now = FIRST;
        let salted = Environment { pepper: "salt", ..FIRST };
        let steps = [
            // Each setting, in either order.
            (salted, true),
            (Environment { pepper: "pepper", ..salted }, false),
            (Environment { allow_private: true, ..FIRST }, true),
            (FIRST, false),
            (Environment { allow_private: true, ..salted }, true),
        ];
        for (next, one_first) in steps {
            let (first, second) = if one_first { (one, two) } else { (two, one) };
            let mut proxy = second.synced().await;
            // Half-way: both publish what was in force, and one says that it is set up otherwise.
            let first = first.restart(database, next).await;
            assert!(!first.store.differing_settings().is_empty());
            let at_first = first.synced().await;
            assert_eq!((published(&at_first), published(&proxy)), (of(now), of(now)), "half-way to {next:?}");
            assert_eq!(at_first.digests, proxy.digests);
            // An edit through either does not mix them up.
            let revision = {
                let mut write = first.store.write(&admin()).await.expect("a transaction");
                let edit = [("requestRetry".to_owned(), (first.store.revision().await.expect("a revision")).into())];
                write.merge_settings(edit.into_iter().collect(), None).await.expect("merged");
                write.commit().await.expect("committed")
            };
            proxy.take_until(revision).await;
            assert_eq!(published(&proxy), of(now), "the one that still has the old environment");
            drop((proxy, at_first));

            let second = second.restart(database, next).await;
            until("in force here", || first.store.differing_settings().is_empty()).await;
            assert!(second.store.differing_settings().is_empty());
            let at_first = first.synced().await;
            let at_second = second.synced().await;
            assert_eq!((published(&at_first), published(&at_second)), (of(next), of(next)), "after {next:?}");
            assert_eq!((at_first.revision, &at_first.digests), (at_second.revision, &at_second.digests));
            now = next;
            (one, two) = if one_first { (first, second) } else { (second, first) };
        }
        one.stop().await;
        two.stop().await;
    }

    async fn a_replica_that_lacks_a_master_key_says_nothing_until_its_ring_is_whole(database: &TestDatabase) {
        const WHOLE: &str = "another-master-key-987654321,test-master-key-0123456789";
        let lacking = Process::start(database, FIRST).await;
        create_connection(&lacking.store, "old").await;
        let mut proxy = lacking.synced().await;
        // The other one seals with a key that this one has never heard of.
        let whole = Process::start(database, Environment { keys: WHOLE, ..FIRST }).await;
        let revision = create_connection(&whole.store, "new").await;
        let ended = loop {
            match proxy.next().await {
                Ok(Some(_)) => assert!(proxy.revision < revision, "nothing of that revision comes from here"),
                Ok(None) => panic!("it ends with a reason"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::Unavailable);
        assert!(ended.message().contains("STORAGE_ENCRYPTION_KEY"), "{}", ended.message());
        assert!(lacking.store.missing_key().is_some());
        let mut refused = TestProxy::connect(&lacking.replica.url, subscribe(0, Vec::new())).await;
        assert_eq!(refused.next().await.expect_err("refused").code(), Code::Unavailable);

        let mut proxy = whole.synced().await;
        let sent = connection(&proxy, "new");
        assert_eq!((sent.secret.as_str(), sent.is_active), ("sk-new", true));
        until("it is shown", || whole.store.missing_key().is_none()).await;

        let mended = lacking.restart(database, Environment { keys: WHOLE, ..FIRST }).await;
        assert_eq!(mended.store.missing_key(), None);
        let away = proxy.leave(&whole.replica).await;
        proxy = away.back(&mended.replica.url).await;
        assert!(!proxy.take().await.full, "both mean the same by the revision");
        mended.stop().await;
        whole.stop().await;
    }

    async fn what_nobody_can_open_goes_out_inactive_and_comes_back_with_its_key(database: &TestDatabase) {
        const WHOLE: &str = "another-master-key-987654321,test-master-key-0123456789";
        const NEW_LAST: &str = "test-master-key-0123456789,another-master-key-987654321";
        let old = Process::start(database, FIRST).await;
        old.stop().await;
        let whole = Process::start(database, Environment { keys: WHOLE, ..FIRST }).await;
        create_connection(&whole.store, "new").await;
        whole.stop().await;
        // The operator has put the old ring back. The one that could do better may come back, for a day.
        let alone = Process::start(database, FIRST).await;
        until("it says what it lacks", || alone.store.missing_key().is_some()).await;
        execute(&alone.store, "UPDATE control_planes SET last_seen_at = 0").await;
        until("nobody could do better", || alone.store.missing_key().is_none()).await;
        let proxy = alone.synced().await;
        assert!(!connection(&proxy, "new").is_active);
        let away = proxy.leave(&alone.replica).await;
        let revision = away.revision;
        let mended = alone.restart(database, Environment { keys: NEW_LAST, ..FIRST }).await;
        let mut proxy = away.back(&mended.replica.url).await;
        let received = proxy.take().await;
        assert_eq!((received.full, received.revision), (true, revision), "other contents under the same revision");
        let sent = connection(&proxy, "new");
        assert_eq!((sent.secret.as_str(), sent.is_active), ("sk-new", true));
        mended.stop().await;
    }

    async fn a_database_restored_to_the_same_revision_replaces_what_a_proxy_holds(database: &TestDatabase) {
        let process = Process::start(database, FIRST).await;
        let ids = create_keys(&process.store, &["a"]).await;
        let away = process.synced().await.leave(&process.replica).await;
        process.stop().await;
        // A backup is put back and edited until it happens to stand at the same number.
        let restored = open(database, FIRST).await;
        execute(&restored, &format!("UPDATE api_keys SET name = 'b' WHERE id = '{}'", ids[0])).await;
        restored.close().await;
        let process = Process::start(database, FIRST).await;
        let revision = away.revision;
        let mut proxy = away.back(&process.replica.url).await;
        let received = proxy.take().await;
        assert_eq!((received.full, received.revision, proxy.key_names()), (true, revision, vec!["b".to_owned()]));
        process.stop().await;
    }
}
