//! What a subscriber gets, and when.

use std::time::Duration;

use omniroute_core::{money::TokenPrice, settings::Secret, time::UnixMillis};
use omniroute_proto::v1::{self, config_response::Body, resource};
use omniroute_providers::models::{Class, Price};
use serde_json::json;
use tonic::Code;

use super::{
    QUICK, Replica, create_keys, delete_key, key,
    proxy::{TestProxy, subscribe},
    rename_key,
};
use crate::{
    areas::{
        access::keys::rows as keys,
        providers::{
            connections::{ConnectionDraft, rows as connections},
            models::{ModelDraft, aliases, rows as models},
            nodes::{NodeDraft, rows as nodes},
        },
    },
    store::{
        records::{Object, PriceRow},
        testing::{admin, execute, on_both_engines},
    },
};

fn price(model: &str, input: i64) -> PriceRow {
    PriceRow {
        provider: "openai".into(),
        model: model.into(),
        valid_from: UnixMillis(0),
        valid_until: None,
        price: Price { rates: [(Class::Input, TokenPrice(input))].into_iter().collect(), variants: Vec::new() },
        source: String::new(),
        revision: 0,
    }
}

on_both_engines! {
    async fn a_new_proxy_gets_everything_and_then_only_what_changes(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a", "b"]).await;
        let replica = Replica::start(&store).await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        assert_eq!(proxy.key_names(), ["a", "b"]);

        let revision = rename_key(&store, &ids[0], "renamed").await;
        let delta = proxy.take().await;
        assert_eq!((delta.full, delta.revision, delta.resources.len()), (false, revision, 1));
        assert_eq!(proxy.key_names(), ["b", "renamed"]);

        delete_key(&store, &ids[1]).await;
        let delta = proxy.take().await;
        assert_eq!((delta.resources.len(), delta.resources[0].deleted), (1, true));
        assert_eq!(proxy.key_names(), ["renamed"]);
        replica.stop().await;
    }

    async fn every_kind_arrives_as_rest_wrote_it(database: &TestDatabase) {
        let store = database.open_with(crate::store::testing::KEY, "pepper", true,
            std::sync::Arc::new(omniroute_core::time::SystemClock)).await.expect("a store");
        let mut write = store.write(&admin()).await.expect("a transaction");
        let node = NodeDraft {
            id: None,
            kind: "openai-compatible".into(),
            name: "Mock".into(),
            prefix: "mock".into(),
            api_type: Some("chat".into()),
            base_url: "http://127.0.0.1:9/v1".into(),
            chat_path: Some("/x".into()),
            models_path: None,
        };
        let node = nodes::create(&mut write, node).await.expect("a node");
        let mut connection = ConnectionDraft::new(node.id.clone(), "main", Secret::new("sk-vendor"));
        connection.headers.insert("x-team".into(), "blue".into());
        connection.timeouts.total_ms = 90_000;
        connection.max_concurrent = Some(3);
        connection.provider_data.insert("apiType".into(), json!("responses"));
        connections::create(&mut write, connection).await.expect("a connection");
        let model = ModelDraft {
            model: "org/gpt".into(), name: None, kind: "chat".into(), context_window: Some(8), max_output_tokens: None,
            source: "api".into(), created: 1_700_000_000, extras: Object::new(),
        };
        models::put(&mut write, node.id.as_str(), model).await.expect("a model");
        models::set_hidden(&mut write, node.id.as_str(), Vec::new(), true).await.expect("nothing to hide");
        aliases::put(&mut write, "fast", "mock/org/gpt").await.expect("an alias");
        write.put_price(price("org/gpt", 1)).await.expect("a price");
        keys::create(&mut write, key("k")).await.expect("a key");
        let settings = json!({"maxBodySizeMb": 50, "requestRetry": 5, "timeouts": {"idleMs": 7}});
        write.merge_settings(settings.as_object().cloned().expect("an object"), None).await.expect("merged");
        write.commit().await.expect("committed");
        let replica = Replica::start(&store).await;
        let proxy = TestProxy::synced(&replica.url).await;
        let bodies: Vec<_> = proxy.held.values().filter_map(|resource| resource.body.clone()).collect();
        assert_eq!(bodies.len(), 7);
        for body in bodies {
            match body {
                resource::Body::ApiKey(key) => {
                    let plain = "sk-k-0123456789abcdef";
                    assert_eq!(key.key_hash, store.pepper().hash(plain).as_bytes(), "the proxy can find it");
                    assert!(key.is_active && key.allowed_models.is_empty());
                }
                resource::Body::ProviderNode(sent) => {
                    assert_eq!((sent.prefix.as_str(), sent.r#type.as_str()), ("mock", "openai-compatible"));
                    assert_eq!((sent.api_type.as_str(), sent.chat_path.as_str()), ("chat", "/x"));
                }
                resource::Body::Connection(sent) => {
                    assert_eq!((sent.secret.as_str(), sent.provider.as_str()), ("sk-vendor", node.id.as_str()));
                    assert_eq!((sent.headers["x-team"].as_str(), sent.max_concurrent), ("blue", 3));
                    assert_eq!(sent.timeouts.expect("timeouts").total_ms, 90_000);
                    assert_eq!(sent.api_type, "responses");
                }
                resource::Body::Model(sent) => {
                    assert_eq!((sent.model.as_str(), sent.context_window, sent.hidden), ("org/gpt", 8, false));
                }
                resource::Body::ModelAlias(sent) => assert_eq!(sent.model, "mock/org/gpt"),
                resource::Body::Price(sent) => {
                    assert_eq!((sent.provider.as_str(), sent.model.as_str()), ("openai", "org/gpt"));
                }
                resource::Body::Settings(sent) => {
                    assert_eq!(sent.key_pepper, b"pepper");
                    assert_eq!((sent.max_body_bytes, sent.max_attempts), (50 << 20, 6));
                    assert!(sent.allow_private_upstreams);
                    assert_eq!(sent.timeouts.expect("timeouts").idle_ms, 7);
                }
            }
        }
        replica.stop().await;
    }

    async fn a_price_that_is_replaced_and_one_that_ends_reach_the_proxy(database: &TestDatabase) {
        let store = database.store().await;
        let replica = Replica::start(&store).await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        write.put_price(price("one", 1)).await.expect("a price");
        write.put_price(price("other", 1)).await.expect("a price");
        write.commit().await.expect("committed");
        assert_eq!(proxy.take().await.resources.len(), 2);
        let mut write = store.write(&admin()).await.expect("a transaction");
        write.put_price(price("one", 2)).await.expect("another price");
        write.delete_price("openai", "other").await.expect("ended");
        write.commit().await.expect("committed");
        let delta = proxy.take().await;
        assert_eq!(delta.resources.iter().filter(|resource| resource.deleted).count(), 1);
        let names: Vec<&str> = proxy.held.keys().filter(|(kind, _)| kind == "price").map(|(_, id)| id.as_str()).collect();
        assert_eq!(names, ["openai/one"]);
        let gone = proxy.leave(&replica).await;
        let again = gone.back(&replica.url).await.take().await;
        assert_eq!((again.full, again.resources.len()), (false, 0), "both hold the same");
        replica.stop().await;
    }

    async fn a_proxy_that_is_up_to_date_is_told_so(database: &TestDatabase) {
        let store = database.store().await;
        create_keys(&store, &["a"]).await;
        let replica = Replica::start(&store).await;
        let gone = TestProxy::synced(&replica.url).await.leave(&replica).await;
        let revision = gone.revision;
        let mut proxy = gone.back(&replica.url).await;
        let delta = proxy.take().await;
        assert_eq!((delta.full, delta.revision, delta.resources.len()), (false, revision, 0));
        replica.stop().await;
    }

    async fn a_proxy_that_holds_something_else_at_the_head_gets_everything(database: &TestDatabase) {
        let store = database.store().await;
        create_keys(&store, &["a"]).await;
        let replica = Replica::start(&store).await;
        let mut gone = TestProxy::synced(&replica.url).await.leave(&replica).await;
        gone.digests.add(omniroute_proto::Kind::ApiKey, "phantom", 1, 1);
        let mut proxy = gone.back(&replica.url).await;
        assert!(proxy.take().await.full);
        assert_eq!(proxy.key_names(), ["a"]);
        replica.stop().await;
    }

    async fn edits_wait_for_the_answer_and_come_as_one(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a", "b", "c"]).await;
        let replica = Replica::start(&store).await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        rename_key(&store, &ids[0], "a1").await;
        let unanswered = proxy.update().await;
        rename_key(&store, &ids[0], "a2").await;
        rename_key(&store, &ids[0], "a3").await;
        delete_key(&store, &ids[1]).await;
        create_keys(&store, &["d"]).await;
        proxy.quiet(Duration::from_millis(1500)).await;
        proxy.ack(unanswered.revision).await;
        let delta = proxy.take().await;
        assert_eq!(delta.resources.len(), 3, "the latest of a, the end of b, and d: {:?}", delta.resources);
        assert_eq!(proxy.key_names(), ["a3", "c", "d"]);
        replica.stop().await;
    }

    async fn a_resource_that_came_and_went_meanwhile_is_a_deletion(database: &TestDatabase) {
        let store = database.store().await;
        let replica = Replica::start(&store).await;
        let gone = TestProxy::synced(&replica.url).await.leave(&replica).await;
        let ids = create_keys(&store, &["fleeting"]).await;
        let revision = delete_key(&store, &ids[0]).await;
        while replica.publisher.revision() < revision {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut proxy = gone.back(&replica.url).await;
        let delta = proxy.take().await;
        assert!(delta.resources.iter().all(|resource| resource.deleted));
        assert_eq!(proxy.key_names(), Vec::<String>::new());
        replica.stop().await;
    }

    async fn a_proxy_that_does_not_answer_is_let_go(database: &TestDatabase) {
        let store = database.store().await;
        let replica = Replica::start_with(&store, QUICK).await;
        let mut proxy = TestProxy::connect(&replica.url, subscribe(0, Vec::new())).await;
        proxy.update().await;
        let error = loop {
            match proxy.next().await {
                Ok(Some(Body::Heartbeat(_))) => {}
                Ok(other) => panic!("expected an error: {other:?}"),
                Err(status) => break status,
            }
        };
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!(replica.publisher.subscriptions(), []);
        replica.stop().await;
    }

    async fn heartbeats_tell_the_head_and_its_digests(database: &TestDatabase) {
        let store = database.store().await;
        create_keys(&store, &["a", "b"]).await;
        let replica = Replica::start_with(&store, QUICK).await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        let Some(Body::Heartbeat(heartbeat)) = proxy.next().await.expect("no error") else {
            panic!("expected a heartbeat")
        };
        assert_eq!(heartbeat.revision, proxy.revision);
        assert!(proxy.digests.matches(&heartbeat.digests));
        assert!(heartbeat.server_time_ms > 1_700_000_000_000);
        replica.stop().await;
    }

    async fn a_rejected_resource_is_shown_until_a_version_of_it_is_taken(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a", "b"]).await;
        let replica = Replica::start(&store).await;
        let mut proxy = TestProxy::connect(&replica.url, subscribe(0, Vec::new())).await;
        let revision = proxy.update().await.revision;
        proxy.nack(revision, "api_key", &ids[0], "bad scope").await;
        // Other resources go on meanwhile, and the rejection stays.
        rename_key(&store, &ids[1], "b2").await;
        let revision = proxy.take().await.revision;
        let shown = || replica.publisher.subscriptions().remove(0);
        while shown().acknowledged != Some(revision) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(shown().rejections.len(), 1);
        assert_eq!(shown().rejections[0].reason, "bad scope");
        let stored = store.proxies().rejections("p1").await.expect("stored");
        assert_eq!(stored, shown().rejections, "every replica can show it");

        let revision = rename_key(&store, &ids[0], "a2").await;
        proxy.take_until(revision).await;
        while shown().acknowledged != Some(revision) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(shown().rejections, []);
        assert_eq!(store.proxies().rejections("p1").await.expect("stored"), []);
        replica.stop().await;
    }

    async fn what_breaks_the_protocol_ends_the_stream(database: &TestDatabase) {
        let store = database.store().await;
        let replica = Replica::start(&store).await;
        let too_new = v1::Subscribe { protocol: omniroute_proto::PROTOCOL_MINOR + 2, ..subscribe(0, Vec::new()) };
        let mut proxy = TestProxy::connect(&replica.url, too_new).await;
        assert_eq!(proxy.next().await.expect_err("refused").code(), Code::FailedPrecondition);
        let nameless = v1::Subscribe { proxy_id: String::new(), ..subscribe(0, Vec::new()) };
        let mut proxy = TestProxy::connect(&replica.url, nameless).await;
        assert_eq!(proxy.next().await.expect_err("refused").code(), Code::InvalidArgument);
        let mut proxy = TestProxy::synced(&replica.url).await;
        proxy.ack(proxy.revision + 1).await;
        assert_eq!(proxy.next().await.expect_err("refused").code(), Code::InvalidArgument);
        replica.stop().await;
    }

    async fn a_proxy_older_than_the_log_gets_everything(database: &TestDatabase) {
        let store = database.store().await;
        let ids = create_keys(&store, &["a", "b"]).await;
        let replica = Replica::start(&store).await;
        let gone = TestProxy::synced(&replica.url).await.leave(&replica).await;
        delete_key(&store, &ids[0]).await;
        let lease = store.leases().acquire("retention", "t", Duration::from_secs(60)).await.expect("asked");
        let now = store.clock().now().saturating_add(Duration::from_secs(1));
        let floor = store.config_log().compact(now, &lease.expect("free")).await.expect("compacted");
        assert!(floor > gone.revision);
        let mut proxy = gone.back(&replica.url).await;
        assert!(proxy.take().await.full);
        assert_eq!(proxy.key_names(), ["b"]);
        let revision = rename_key(&store, &ids[1], "b2").await;
        let delta = proxy.take().await;
        assert_eq!((delta.full, delta.revision), (false, revision), "from here on deltas do again");
        replica.stop().await;
    }

    async fn a_restored_database_is_noticed(database: &TestDatabase) {
        let store = database.store().await;
        create_keys(&store, &["kept"]).await;
        let replica = Replica::start(&store).await;
        create_keys(&store, &["lost"]).await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        assert_eq!(proxy.key_names(), ["kept", "lost"]);
        let revision = proxy.revision;
        // As if a backup of before the last edit had been played in.
        execute(&store, &format!("DELETE FROM api_keys WHERE revision = {revision}")).await;
        execute(&store, &format!("DELETE FROM config_log WHERE revision = {revision}")).await;
        execute(&store, &format!("UPDATE config_revision SET n = {}", revision - 1)).await;
        let again = proxy.take().await;
        assert_eq!((again.full, again.revision), (true, revision - 1));
        assert_eq!(proxy.key_names(), ["kept"]);
        replica.stop().await;
    }

    async fn rows_changed_past_the_log_are_healed_by_a_full_snapshot(database: &TestDatabase) {
        let store = database.store().await;
        create_keys(&store, &["a", "b"]).await;
        let replica = Replica::start_with(&store, QUICK).await;
        execute(&store, "DELETE FROM api_keys WHERE name = 'a'").await;
        let mut proxy = TestProxy::synced(&replica.url).await;
        assert_eq!(proxy.key_names(), ["b"]);
        let Some(Body::Heartbeat(heartbeat)) = proxy.next().await.expect("no error") else {
            panic!("expected a heartbeat")
        };
        assert!(proxy.digests.matches(&heartbeat.digests), "the digests follow the rows again");
        replica.stop().await;
    }

    async fn a_damaged_connection_goes_out_inactive_and_the_rest_as_it_is(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        for name in ["good", "damaged"] {
            let draft = ConnectionDraft::new("openai", name, Secret::new(format!("sk-{name}")));
            connections::create(&mut write, draft).await.expect("a connection");
        }
        write.commit().await.expect("committed");
        execute(&store, "UPDATE connections SET secret = \
             (SELECT secret FROM connections WHERE name = 'good') WHERE name = 'damaged'").await;
        let replica = Replica::start(&store).await;
        let proxy = TestProxy::synced(&replica.url).await;
        let mut sent: Vec<(String, bool, String)> = proxy
            .held
            .values()
            .filter_map(|resource| match resource.body.clone() {
                Some(resource::Body::Connection(sent)) => Some((sent.name, sent.is_active, sent.secret)),
                _ => None,
            })
            .collect();
        sent.sort();
        assert_eq!(sent, [
            ("damaged".to_owned(), false, String::new()),
            ("good".to_owned(), true, "sk-good".to_owned()),
        ]);
        replica.stop().await;
    }
}
