//! What is gone is named as it was sent.

use omniroute_core::settings::Secret;
use omniroute_proto::Kind;

use super::{Replica, create_keys, proxy::TestProxy};
use crate::{
    areas::{
        access::keys::rows as keys,
        providers::{
            connections::{ConnectionDraft, rows as connections},
            models::{ModelDraft, rows as models},
            nodes::{NodeDraft, rows as nodes},
        },
    },
    store::{
        Store,
        records::Object,
        testing::{admin, on_both_engines},
    },
};

/// One resource of each of [`KINDS`].
struct Made {
    node: String,
    connection: String,
    key: String,
}

const MODEL: &str = "org/gpt";
const KINDS: [Kind; 4] = [Kind::ApiKey, Kind::Connection, Kind::Model, Kind::ProviderNode];

async fn make(store: &Store) -> Made {
    let key = create_keys(store, &["k"]).await.remove(0);
    let mut write = store.write(&admin()).await.expect("a transaction");
    let node = NodeDraft {
        id: None,
        kind: "openai-compatible".into(),
        name: "Mock".into(),
        prefix: "mock".into(),
        api_type: Some("chat".into()),
        base_url: "http://127.0.0.1:9/v1".into(),
        chat_path: None,
        models_path: None,
    };
    let node = nodes::create(&mut write, node).await.expect("a node").id.to_string();
    let connection = ConnectionDraft::new(node.as_str(), "main", Secret::new("sk-vendor"));
    let connection = connections::create(&mut write, connection).await.expect("a connection").id.to_string();
    let model = ModelDraft {
        model: MODEL.into(),
        name: None,
        kind: "chat".into(),
        context_window: None,
        max_output_tokens: None,
        source: "api".into(),
        created: 0,
        extras: Object::new(),
    };
    models::put(&mut write, &node, model).await.expect("a model");
    write.commit().await.expect("committed");
    Made { node, connection, key }
}

async fn take_away(store: &Store, kind: Kind, made: &Made) -> u64 {
    let mut write = store.write(&admin()).await.expect("a transaction");
    match kind {
        Kind::ApiKey => keys::delete(&mut write, &made.key).await,
        Kind::Connection => connections::delete(&mut write, &made.connection).await,
        Kind::Model => models::delete(&mut write, &made.node, MODEL).await,
        Kind::ProviderNode => nodes::delete(&mut write, &made.node).await,
        other => panic!("{other:?} is not made here"),
    }
    .expect("deleted");
    write.commit().await.expect("committed")
}

on_both_engines! {
    async fn a_deletion_of_each_kind_takes_away_what_was_sent_under_its_id(database: &TestDatabase) {
        let store = database.open_with(crate::store::testing::KEY, "pepper", true,
            std::sync::Arc::new(omniroute_core::time::SystemClock)).await.expect("a store");
        let made = make(&store).await;
        let replica = Replica::start(&store).await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        for kind in KINDS {
            let before: Vec<_> = proxy.held.keys().filter(|(held, _)| held == kind.as_str()).cloned().collect();
            assert_eq!(before.len(), 1, "{kind:?}");
            let revision = take_away(&store, kind, &made).await;
            let delta = proxy.take().await;
            assert_eq!((delta.full, delta.revision, delta.resources.len()), (false, revision, 1), "{kind:?}");
            let gone = &delta.resources[0];
            assert!(gone.deleted, "{kind:?}");
            assert_eq!(vec![(gone.kind.clone(), gone.id.clone())], before);
        }
        let left: Vec<&str> = proxy.held.keys().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(left, [Kind::Settings.as_str()]);
        replica.stop().await;
    }
}
