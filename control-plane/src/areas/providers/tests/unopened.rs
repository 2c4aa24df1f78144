//! Connections of which something stored does not open, as after a restored database or a lost master key.

use serde_json::{Value, json};

use crate::{
    areas::providers::connections::rows::Connections,
    store::{Columns as _, sql, testing::execute},
    tests::{
        gateway::Gateway,
        resources::{id_of, node},
    },
};

/// Two connections, and the path of the second, of which this column holds what was sealed for the first.
async fn damaged(gateway: &Gateway, provider: &Value, column: &str) -> (String, String) {
    let mut ids = Vec::new();
    for name in ["one", "two"] {
        let body = json!({ "provider": provider, "name": name, "apiKey": format!("sk-{name}"),
            "providerSpecificData": { "region": "eu", "customHeaders": { "x-team": name } } });
        ids.push(id_of(&gateway.post("/api/providers", body).await));
    }
    let [one, two] = [&ids[0], &ids[1]];
    let moved = format!(
        "UPDATE connections SET {column} = (SELECT {column} FROM connections WHERE id = '{one}') WHERE id = '{two}'"
    );
    assert_eq!(execute(&gateway.on.store, &moved).await, 1);
    (two.clone(), format!("/api/providers/{two}"))
}

/// As it is stored, sealed.
async fn sealed_headers(gateway: &Gateway, id: &str) -> Option<Vec<u8>> {
    let statement = sql("SELECT headers FROM connections WHERE id = $1").bind(id.to_owned());
    let row = statement.fetch_one(gateway.on.store.reader()).await.expect("a row");
    row.opt_blob("headers").expect("a value")
}

#[tokio::test]
async fn headers_that_do_not_open_stay_until_they_are_entered_anew() {
    const HEADERS: &str = "providerSpecificData.customHeaders";
    let gateway = Gateway::new().await;
    let node = node(&gateway, "mock", "http://127.0.0.1:9/v1").await;
    let (id, path) = damaged(&gateway, &node["id"], "headers").await;
    let before = sealed_headers(&gateway, &id).await;
    let shown = gateway.get(&path).await.ok(200)["connection"].clone();
    assert_eq!((&shown["unreadable"], &shown["unreadableFields"]), (&json!(true), &json!([HEADERS])));

    // Neither another field nor the secret has anything to do with them.
    let mut back = shown["providerSpecificData"].clone();
    back["region"] = json!("us");
    for edit in [json!({ "providerSpecificData": back }), json!({ "apiKey": "sk-new" }), json!({ "priority": 7 })] {
        let edited = gateway.patch(&path, edit.clone()).await.ok(200)["connection"].clone();
        assert_eq!(edited["unreadableFields"], json!([HEADERS]), "{edit}");
        assert_eq!(sealed_headers(&gateway, &id).await, before, "{edit}");
    }
    let stored = Connections::of(&gateway.on.store).get(&id).await.expect("stored");
    assert_eq!(stored.provider_data["region"], "us");
    let tested = gateway.post(&format!("{path}/test"), json!({})).await.ok(200);
    assert_eq!(tested["valid"], false);
    assert!(tested["error"].as_str().expect("a reason").contains(HEADERS), "{tested}");

    // What is not known cannot be sent back, nor sent to another host.
    let edit = |specific: Value| json!({ "apiKey": "sk-new", "providerSpecificData": specific });
    let masked = edit(json!({ "customHeaders": { "x-team": "****" } }));
    assert_eq!(gateway.patch(&path, masked).await.fields(), [format!("{HEADERS}.x-team")]);
    let moved = edit(json!({ "baseUrl": "http://127.0.0.1:10/v1" }));
    assert_eq!(gateway.patch(&path, moved).await.fields(), [HEADERS]);

    let anew = edit(json!({ "customHeaders": { "x-team": "entered anew" } }));
    let revived = gateway.patch(&path, anew).await.ok(200)["connection"].clone();
    assert_eq!((revived.get("unreadable"), revived.get("unreadableFields")), (None, None));
    let stored = Connections::of(&gateway.on.store).get(&id).await.expect("stored");
    assert_eq!((stored.headers["x-team"].as_str(), stored.priority), ("entered anew", 7));
}

#[tokio::test]
async fn a_secret_that_does_not_open_does_not_stop_an_edit_of_something_else() {
    let gateway = Gateway::new().await;
    let (id, path) = damaged(&gateway, &json!("openai"), "secret").await;
    let edited = gateway.patch(&path, json!({ "priority": 7 })).await.ok(200)["connection"].clone();
    assert_eq!((&edited["priority"], &edited["unreadableFields"]), (&json!(7), &json!(["apiKey"])));
    gateway.patch(&path, json!({ "isActive": false })).await.ok(200);
    let revived = gateway.patch(&path, json!({ "apiKey": "sk-entered-anew" })).await.ok(200)["connection"].clone();
    assert_eq!(revived.get("unreadable"), None);
    let secret = Connections::of(&gateway.on.store).secret(&id).await.expect("it opens");
    assert_eq!(secret.expose(), "sk-entered-anew");
}

#[tokio::test]
async fn a_masked_header_without_a_stored_value_is_no_value() {
    let gateway = Gateway::new().await;
    let headers = json!({ "customHeaders": { "x-team": "****" } });
    let body = json!({ "provider": "openai", "name": "c", "apiKey": "k", "providerSpecificData": headers });
    let refused = gateway.post("/api/providers", body).await;
    assert_eq!(refused.fields(), ["providerSpecificData.customHeaders.x-team"]);
}
