//! Keys name connections: what becomes of that when those are deleted.

use serde_json::{Value, json};

use crate::{
    areas::{
        access::keys::{KeyDraft, forget_connections, rows as keys, rows::Keys},
        providers::connections::{ConnectionDraft, rows as connections},
    },
    store::testing::{admin, on_both_engines},
    tests::{gateway::Gateway, resources::connection},
};

async fn allowed(gateway: &Gateway, key: &Value) -> Value {
    let path = format!("/api/keys/{}", key["id"].as_str().expect("an id"));
    gateway.get(&path).await.ok(200)["allowedConnections"].clone()
}

#[tokio::test]
async fn a_deleted_connection_leaves_the_lists_of_keys_but_never_an_empty_one() {
    let gateway = Gateway::new().await;
    let one = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let two = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let make =
        async |ids: Value| gateway.post("/api/keys", json!({ "name": "k", "allowedConnections": ids })).await.ok(201);
    let (both, only, any) = (make(json!([one, two])).await, make(json!([one])).await, make(json!([])).await);
    gateway.delete(&format!("/api/providers/{one}")).await.ok(200);
    assert_eq!(allowed(&gateway, &both).await, json!([two]));
    assert_eq!(allowed(&gateway, &only).await, json!([one]), "an empty list would let it use every connection");
    assert_eq!(allowed(&gateway, &any).await, json!([]));
}

#[tokio::test]
async fn a_node_takes_its_connections_out_of_the_lists_too() {
    let gateway = Gateway::new().await;
    let one = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let two = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let body = json!({ "name": "k", "allowedConnections": [one, two] });
    let key = gateway.post("/api/keys", body).await.ok(201);
    let shown = gateway.get(&format!("/api/providers/{one}")).await.ok(200);
    let node = shown["connection"]["provider"].as_str().expect("a node").to_owned();
    gateway.delete(&format!("/api/provider-nodes/{node}")).await.ok(200);
    assert_eq!(allowed(&gateway, &key).await, json!([two]));
}

on_both_engines! {
    async fn the_lists_change_in_the_transaction_that_deletes(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let mut ids = Vec::new();
        for name in ["one", "two"] {
            let draft = ConnectionDraft::new("openai", name, omniroute_core::settings::Secret::default());
            ids.push(connections::create(&mut write, draft).await.expect("a connection").id.to_string());
        }
        let mut draft = KeyDraft::new("k", "sk-k-0123456789abcdef", &store.pepper());
        draft.allowed_connections.clone_from(&ids);
        let key = keys::create(&mut write, draft).await.expect("a key");
        write.commit().await.expect("committed");

        let delete = async || {
            let mut write = store.write(&admin()).await.expect("a transaction");
            connections::delete(&mut write, &ids[0]).await.expect("deleted");
            forget_connections(&mut write, &ids[..1]).await.expect("forgotten");
            write
        };
        let held = async || Keys::of(&store).get(key.id.as_str()).await.expect("the key");
        drop(delete().await);
        assert_eq!(held().await.allowed_connections, ids, "undone with the deletion");
        let revision = delete().await.commit().await.expect("committed");
        assert_eq!((held().await.allowed_connections, held().await.revision), (ids[1..].to_vec(), revision));
    }
}
