//! Revisions, the log, and what a write refuses.

use omniroute_core::{hash::Pepper, settings::Secret};
use serde_json::json;

use crate::{
    areas::{
        access::keys::{KeyDraft, KeyPatch, RotatedSecret, rows as keys, rows::Keys},
        providers::{
            connections::{ConnectionDraft, ConnectionPatch, rows as connections, rows::Connections},
            models::{ModelDraft, rows as models, rows::Models},
            nodes::{NodeDraft, NodePatch, rows as nodes, rows::Nodes},
        },
    },
    store::{
        Store, StoreError,
        records::Object,
        sql,
        testing::{TestDatabase, admin, on_both_engines},
    },
};

fn key(name: &str) -> KeyDraft {
    KeyDraft::new(name, &format!("sk-{name}-0123456789abcdef"), &Pepper::new("pepper"))
}

fn node(prefix: &str) -> NodeDraft {
    NodeDraft {
        id: None,
        kind: "openai-compatible".into(),
        name: "Mock".into(),
        prefix: prefix.into(),
        api_type: Some("chat".into()),
        base_url: "http://provider.test/v1".into(),
        chat_path: None,
        models_path: None,
    }
}

fn model(id: &str) -> ModelDraft {
    ModelDraft {
        model: id.into(),
        name: None,
        kind: "chat".into(),
        context_window: Some(128_000),
        max_output_tokens: None,
        source: "api".into(),
        created: 1_700_000_000,
        extras: Object::new(),
    }
}

async fn log(store: &Store) -> Vec<(u64, String, String)> {
    let rows = store.config_log().page(None, None, None, 1000).await.expect("the log");
    rows.into_iter().rev().map(|row| (row.revision, row.kind, row.op)).collect()
}

on_both_engines! {
    async fn concurrent_writers_commit_in_the_order_of_their_revisions(database: &TestDatabase) {
        let store = database.store().await;
        let other = database.store().await;
        let start = store.revision().await.expect("a revision");
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let store = if writer % 2 == 0 { store.clone() } else { other.clone() };
            writers.spawn(async move {
                let mut committed = Vec::new();
                for number in 0..5 {
                    let mut write = store.write(&admin()).await.expect("a transaction");
                    keys::create(&mut write, key(&format!("writer-{writer}-{number}"))).await.expect("a key");
                    // Whatever is visible before this commit has a smaller revision.
                    let visible = store.revision().await.expect("a revision");
                    assert!(visible < write.revision(), "{visible} was visible before {} committed", write.revision());
                    committed.push(write.commit().await.expect("committed"));
                }
                committed
            });
        }
        let mut revisions = writers.join_all().await.concat();
        revisions.sort_unstable();
        assert_eq!(revisions, (start + 1..=start + 40).collect::<Vec<_>>(), "distinct, without a gap");
        assert_eq!(store.revision().await.expect("a revision"), start + 40);
        assert_eq!(Keys::of(&store).page(100, 0).await.expect("keys").1, 40);
    }

    async fn a_dropped_write_leaves_nothing_behind(database: &TestDatabase) {
        let store = database.store().await;
        let before = store.revision().await.expect("a revision");
        let mut write = store.write(&admin()).await.expect("a transaction");
        keys::create(&mut write, key("gone")).await.expect("a key");
        drop(write);
        assert_eq!(store.revision().await.expect("a revision"), before);
        assert!(Keys::of(&store).list().await.expect("keys").is_empty());
        let mut write = store.write(&admin()).await.expect("the lock is free again");
        keys::create(&mut write, key("kept")).await.expect("a key");
        assert_eq!(write.commit().await.expect("committed"), before + 1);
    }

    async fn a_write_that_changes_nothing_uses_no_revision_up(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let created = keys::create(&mut write, key("same")).await.expect("a key");
        let revision = write.commit().await.expect("committed");
        let mut write = store.write(&admin()).await.expect("a transaction");
        let patch = KeyPatch { name: Some("same".into()), is_active: Some(true), ..KeyPatch::default() };
        keys::update(&mut write, created.id.as_str(), patch).await.expect("updated");
        assert_eq!(write.commit().await.expect("committed"), revision);
        assert_eq!(store.revision().await.expect("a revision"), revision);
    }

    async fn one_log_entry_per_resource_and_write(database: &TestDatabase) {
        let store = database.store().await;
        let base = log(&store).await.len();
        let mut write = store.write(&admin()).await.expect("a transaction");
        let made = keys::create(&mut write, key("made")).await.expect("a key");
        keys::update(&mut write, made.id.as_str(), KeyPatch { no_log: Some(true), ..KeyPatch::default() }).await.expect("ok");
        let fleeting = keys::create(&mut write, key("fleeting")).await.expect("a key");
        keys::delete(&mut write, fleeting.id.as_str()).await.expect("deleted");
        let revision = write.commit().await.expect("committed");
        assert_eq!(log(&store).await[base..], [(revision, "api_key".to_owned(), "create".to_owned())]);
        let mut write = store.write(&admin()).await.expect("a transaction");
        keys::update(&mut write, made.id.as_str(), KeyPatch { no_log: Some(false), ..KeyPatch::default() }).await.expect("ok");
        keys::delete(&mut write, made.id.as_str()).await.expect("deleted");
        write.commit().await.expect("committed");
        let entry = store.config_log().page(None, Some("api_key"), Some(made.id.as_str()), 1).await.expect("log");
        assert_eq!(entry[0].op, "delete");
        assert_eq!(entry[0].before.as_ref().expect("before")["noLog"], json!(true), "the state before the write");
        assert_eq!(entry[0].after, None);
        assert_eq!(entry[0].actor, admin());
    }

    async fn taken_and_missing_things_have_their_own_errors(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        nodes::create(&mut write, node("mock")).await.expect("a node");
        keys::create(&mut write, key("one")).await.expect("a key");
        write.commit().await.expect("committed");

        let mut write = store.write(&admin()).await.expect("a transaction");
        let error = nodes::create(&mut write, node("mock")).await.expect_err("the prefix is taken");
        assert!(matches!(error, StoreError::Conflict { what: "prefix" }), "{error:?}");
        drop(write);
        let mut write = store.write(&admin()).await.expect("a transaction");
        let error = keys::create(&mut write, key("one")).await.expect_err("the key exists");
        assert!(matches!(error, StoreError::Conflict { what: "key" }), "{error:?}");
        drop(write);
        let mut write = store.write(&admin()).await.expect("a transaction");
        let error = keys::delete(&mut write, "nobody").await.expect_err("no such key");
        assert_eq!(error.code(), "not_found");
        let error = nodes::update(&mut write, "nobody", NodePatch::default()).await.expect_err("no such node");
        assert_eq!(error.code(), "not_found");
        let nameless = ConnectionDraft::new("openai", " ", Secret::new("sk"));
        assert_eq!(connections::create(&mut write, nameless).await.expect_err("no name").code(), "invalid");
        let nul = ConnectionDraft::new("openai", "a\0b", Secret::new("sk"));
        assert_eq!(connections::create(&mut write, nul).await.expect_err("NUL").code(), "invalid");
        drop(write);
        assert_eq!(Connections::of(&store).get("nobody").await.expect_err("no such").code(), "not_found");
        let odd = Keys::of(&store).get("a\0b").await.expect_err("no such key").code();
        assert!(odd == "not_found" || odd == "invalid", "{odd}: no failure of the database");
        assert_eq!(Connections::of(&store).secret("nobody").await.expect_err("no such").code(), "not_found");
    }

    async fn an_edit_of_what_somebody_else_changed_is_refused(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let seen = nodes::create(&mut write, node("mock")).await.expect("a node");
        write.commit().await.expect("committed");
        let rename = |name: &str| NodePatch {
            expected_revision: Some(seen.revision),
            name: Some(name.to_owned()),
            ..NodePatch::default()
        };
        let mut write = store.write(&admin()).await.expect("a transaction");
        nodes::update(&mut write, seen.id.as_str(), rename("first")).await.expect("nobody was faster");
        write.commit().await.expect("committed");
        let mut write = store.write(&admin()).await.expect("a transaction");
        let error = nodes::update(&mut write, seen.id.as_str(), rename("second")).await.expect_err("somebody was");
        assert_eq!(error.code(), "stale");
        drop(write);
        assert_eq!(Nodes::of(&store).get(seen.id.as_str()).await.expect("the node").name, "first");
    }

    async fn a_connection_keeps_every_field(database: &TestDatabase) {
        let store = database.store().await;
        let mut draft = ConnectionDraft::new("openai", "main", Secret::new("sk-vendor"));
        draft.base_url = Some("https://proxy.example/v1".into());
        draft.headers.insert("x-team".into(), "blue".into());
        draft.provider_data.insert("prefix".into(), json!("mock"));
        draft.extras.insert("email".into(), json!("a@example.org"));
        draft.timeouts.idle_ms = 30_000;
        draft.max_concurrent = Some(4);
        let mut write = store.write(&admin()).await.expect("a transaction");
        let created = connections::create(&mut write, draft).await.expect("a connection");
        let second = connections::create(&mut write, ConnectionDraft::new("openai", "spare", Secret::default())).await;
        assert_eq!(second.expect("a connection").priority, 2, "after the one that is there");
        write.commit().await.expect("committed");
        let read = Connections::of(&store).get(created.id.as_str()).await.expect("the connection");
        assert_eq!(read, created);
        assert_eq!(Connections::of(&store).secret(created.id.as_str()).await.expect("the secret").expose(), "sk-vendor");

        let mut write = store.write(&admin()).await.expect("a transaction");
        let patch = ConnectionPatch {
            name: Some("renamed".into()),
            base_url: Some(None),
            max_concurrent: Some(None),
            ..ConnectionPatch::default()
        };
        let patched = connections::update(&mut write, created.id.as_str(), patch).await.expect("updated");
        write.commit().await.expect("committed");
        assert_eq!((patched.name.as_str(), patched.base_url, patched.max_concurrent), ("renamed", None, None));
        assert_eq!(patched.headers, created.headers, "what the patch does not name stays");
        assert_eq!(Connections::of(&store).secret(created.id.as_str()).await.expect("the secret").expose(), "sk-vendor");

        let mut write = store.write(&admin()).await.expect("a transaction");
        let patch = ConnectionPatch { secret: Some(Secret::default()), ..ConnectionPatch::default() };
        assert!(!connections::update(&mut write, created.id.as_str(), patch).await.expect("updated").has_secret);
        write.commit().await.expect("committed");
        assert!(!Connections::of(&store).secret(created.id.as_str()).await.expect("no secret").is_set());
    }

    async fn a_key_keeps_every_field_and_never_itself(database: &TestDatabase) {
        let store = database.store().await;
        let plain = "sk-b149085260680511-0712c5-a1af5982";
        let mut draft = KeyDraft::new("team-a", plain, &store.pepper());
        draft.allowed_models = vec!["mock/*".into()];
        draft.scopes = vec!["manage".into()];
        draft.max_body_bytes = Some(64 << 20);
        draft.extras.insert("ipAllowlist".into(), json!(["10.0.0.0/8"]));
        let mut write = store.write(&admin()).await.expect("a transaction");
        let created = keys::create(&mut write, draft).await.expect("a key");
        write.commit().await.expect("committed");
        assert_eq!((created.masked.as_str(), created.prefix.as_str()), ("sk-b1490****5982", "sk-b14908526"));
        let found = Keys::of(&store).by_hash(&store.pepper().hash(plain)).await.expect("a look-up");
        assert_eq!(found, Some(created.clone()));
        assert_eq!(Keys::of(&store).by_hash(&store.pepper().hash("sk-other")).await.expect("a look-up"), None);

        let anew = "sk-b149085260680511-b6377c-d0fd2fec";
        let mut write = store.write(&admin()).await.expect("a transaction");
        let patch = KeyPatch { secret: Some(RotatedSecret::new(anew, &store.pepper())), ..KeyPatch::default() };
        keys::update(&mut write, created.id.as_str(), patch).await.expect("made anew");
        write.commit().await.expect("committed");
        assert_eq!(Keys::of(&store).by_hash(&store.pepper().hash(plain)).await.expect("a look-up"), None);
        let found = Keys::of(&store).by_hash(&store.pepper().hash(anew)).await.expect("a look-up").expect("the key");
        assert_eq!((&found.id, found.masked.as_str()), (&created.id, "sk-b1490****2fec"));

        let mut write = store.write(&admin()).await.expect("a transaction");
        let patch = KeyPatch { revoked_at: Some(Some(store.clock().now())), ..KeyPatch::default() };
        keys::update(&mut write, created.id.as_str(), patch).await.expect("revoked");
        write.commit().await.expect("committed");
        let read = Keys::of(&store).get(created.id.as_str()).await.expect("the key");
        assert!(read.revoked_at.is_some());
        assert_eq!(read.hash, found.hash);
    }

    async fn deleting_a_node_takes_its_connections_and_models_with_it(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let gone = nodes::create(&mut write, node("gone")).await.expect("a node");
        let stays = nodes::create(&mut write, node("stays")).await.expect("a node");
        for provider in [&gone.id, &stays.id] {
            let draft = ConnectionDraft::new(provider.clone(), "main", Secret::new("sk"));
            connections::create(&mut write, draft).await.expect("a connection");
            models::put(&mut write, provider.as_str(), model("org/gpt")).await.expect("a model");
        }
        write.commit().await.expect("committed");
        let base = log(&store).await.len();
        let mut write = store.write(&admin()).await.expect("a transaction");
        nodes::delete(&mut write, gone.id.as_str()).await.expect("deleted");
        write.commit().await.expect("committed");
        assert_eq!(log(&store).await.len() - base, 3, "each of them has its entry, so that proxies hear of it");
        assert_eq!(Nodes::of(&store).list().await.expect("nodes"), std::slice::from_ref(&stays));
        assert_eq!(Connections::of(&store).list().await.expect("connections").len(), 1);
        assert_eq!(Models::of(&store).of_provider(stays.id.as_str()).await.expect("models").len(), 1);
        assert_eq!(Nodes::of(&store).by_prefix("gone").await.expect("a look-up"), None);
    }

    async fn asking_a_provider_again_touches_only_the_models_that_changed(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let custom = ModelDraft { source: "custom".into(), name: Some("Mine".into()), ..model("mine") };
        models::put(&mut write, "openai", custom).await.expect("a model");
        let found = vec![model("gpt-1"), model("gpt-2"), model("mine")];
        assert_eq!(models::replace(&mut write, "openai", "api", found.clone()).await.expect("replaced"), 2);
        let first = write.commit().await.expect("committed");

        let mut write = store.write(&admin()).await.expect("a transaction");
        assert_eq!(models::replace(&mut write, "openai", "api", found).await.expect("replaced"), 0);
        assert_eq!(write.commit().await.expect("committed"), first, "the same list is no change");

        let mut write = store.write(&admin()).await.expect("a transaction");
        let longer = ModelDraft { context_window: Some(200_000), ..model("gpt-2") };
        assert_eq!(models::replace(&mut write, "openai", "api", vec![longer]).await.expect("replaced"), 2);
        let second = write.commit().await.expect("committed");
        let models = Models::of(&store).list().await.expect("models");
        let seen: Vec<_> = models.iter().map(|model| (model.model.as_str(), model.revision)).collect();
        assert_eq!(seen, [("gpt-2", second), ("mine", first)]);
        assert_eq!(models[1].source, "custom", "what the operator added stays");
    }

    async fn settings_merge_and_a_null_removes(database: &TestDatabase) {
        let store = database.store().await;
        let patch = json!({"requestRetry": 5, "note": "x"}).as_object().cloned().expect("an object");
        let mut write = store.write(&admin()).await.expect("a transaction");
        write.merge_settings(patch, None).await.expect("merged");
        write.commit().await.expect("committed");
        let patch = json!({"note": null, "maxBodySizeMb": 50}).as_object().cloned().expect("an object");
        let mut write = store.write(&admin()).await.expect("a transaction");
        let merged = write.merge_settings(patch, None).await.expect("merged");
        write.commit().await.expect("committed");
        assert_eq!(serde_json::Value::Object(merged.document.clone()), json!({"requestRetry": 5, "maxBodySizeMb": 50}));
        assert_eq!(store.settings().get().await.expect("settings"), merged);
        let mut write = store.write(&admin()).await.expect("a transaction");
        let error = write.replace_settings(Object::new(), Some(merged.revision - 1)).await.expect_err("stale");
        assert_eq!(error.code(), "stale");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_what_is_no_configuration_does_not_wait_for_who_writes_configuration() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let mut configuration = store.write(&admin()).await.expect("a transaction");
    keys::create(&mut configuration, key("held")).await.expect("a key");
    let mut data = store.write_data().await.expect("another transaction beside it");
    let statement = sql("INSERT INTO leases (name, holder, expires_at, fence) VALUES ('data', 'test', 0, 1)");
    statement.execute(&mut *data).await.expect("written without a wait for the lock");
    data.commit().await.expect("committed");
    let before = store.revision().await.expect("a revision");
    let revision = configuration.commit().await.expect("committed");
    assert_eq!(revision, before + 1, "data takes no revision");
    database.drop_postgres().await;
}
