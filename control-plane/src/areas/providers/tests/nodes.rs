use http::Method;
use serde_json::{Value, json};

use crate::{
    areas::providers::connections::rows::Connections,
    tests::{
        gateway::Gateway,
        provider::{KEY, Provider},
        resources::node,
    },
};

#[tokio::test]
async fn a_node_can_be_added_changed_and_deleted_with_all_that_hangs_on_it() {
    let gateway = Gateway::new().await;
    let added = node(&gateway, "mock", "http://127.0.0.1:9/v1/").await;
    let id = added["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("openai-compatible-chat-"), "{id}");
    assert_eq!(added["baseUrl"], "http://127.0.0.1:9/v1");
    let path = format!("/api/provider-nodes/{id}");
    assert_eq!(gateway.get(&path).await.ok(200)["node"], added);

    let connection = json!({ "provider": id, "name": "c", "apiKey": "sk-x" });
    let connection = gateway.post("/api/providers", connection).await.ok(201)["connection"].clone();
    let edit = json!({
        "prefix": "moved", "baseUrl": "http://127.0.0.1:10/v1", "chatPath": "/chat", "modelsPath": "", "apiKey": "sk-y",
    });
    let changed = gateway.put(&path, edit).await.ok(200)["node"].clone();
    assert_eq!((&changed["prefix"], &changed["chatPath"]), (&json!("moved"), &json!("/chat")));
    assert_eq!((&changed["name"], &changed["modelsPath"]), (&json!("Mock"), &Value::Null));
    let one = format!("/api/providers/{}", connection["id"].as_str().expect("an id"));
    let shown = gateway.get(&one).await.ok(200);
    assert_eq!(shown["connection"]["providerSpecificData"]["baseUrl"], "http://127.0.0.1:10/v1");
    gateway.patch(&path, json!({ "chatPath": null })).await.ok(200);
    assert_eq!(gateway.get(&path).await.ok(200)["node"]["chatPath"], Value::Null);

    assert_eq!(gateway.delete(&path).await.ok(200), json!({ "success": true }));
    for path in [path, one] {
        assert_eq!(gateway.get(&path).await.code(404), "RESOURCE_001");
    }
    assert_eq!(gateway.get("/api/provider-nodes").await.ok(200)["nodes"], json!([]));
}

#[tokio::test]
async fn a_node_that_moves_to_another_host_does_not_take_stored_secrets_along() {
    let gateway = Gateway::new().await;
    let made = node(&gateway, "mock", "http://127.0.0.1:9/v1").await;
    let path = format!("/api/provider-nodes/{}", made["id"].as_str().expect("an id"));
    let connect = async |body: Value| {
        let made = gateway.post("/api/providers", body).await.ok(201);
        made["connection"]["id"].as_str().expect("an id").to_owned()
    };
    let first = connect(json!({ "provider": made["id"], "name": "first", "apiKey": "sk-first" })).await;
    let own = json!({ "baseUrl": "http://127.0.0.1:7/v1" });
    connect(json!({ "provider": made["id"], "name": "own", "apiKey": "sk-own", "providerSpecificData": own })).await;
    let secret =
        async || Connections::of(&gateway.on.store).secret(&first).await.expect("a secret").expose().to_owned();

    // Another path at the same host is no other host.
    gateway.patch(&path, json!({ "baseUrl": "http://127.0.0.1:9/v2" })).await.ok(200);
    let refused = gateway.patch(&path, json!({ "baseUrl": "http://127.0.0.1:10/v1" })).await;
    assert_eq!(refused.fields(), ["baseUrl"]);
    assert!(refused.text.contains("`first`") && !refused.text.contains("`own`"), "{}", refused.text);
    assert_eq!(gateway.get(&path).await.ok(200)["node"]["baseUrl"], "http://127.0.0.1:9/v2");
    gateway.patch(&path, json!({ "baseUrl": "http://127.0.0.1:10/v1", "apiKey": "sk-new" })).await.ok(200);
    assert_eq!(secret().await, "sk-new");
    assert_eq!(gateway.patch(&path, json!({ "apiKey": "sk-other" })).await.fields(), ["apiKey"]);

    // Of several, each is told its own.
    let second = connect(json!({ "provider": made["id"], "name": "second", "apiKey": "sk-second" })).await;
    let moved = json!({ "baseUrl": "http://127.0.0.1:11/v1", "apiKey": "sk-all" });
    assert_eq!(gateway.patch(&path, moved.clone()).await.fields(), ["baseUrl"]);
    assert_eq!(secret().await, "sk-new");
    for id in [&first, &second] {
        let edit = json!({ "apiKey": "sk-there", "providerSpecificData": { "baseUrl": "http://127.0.0.1:11/v1" } });
        gateway.patch(&format!("/api/providers/{id}"), edit).await.ok(200);
    }
    gateway.patch(&path, json!({ "baseUrl": "http://127.0.0.1:11/v1" })).await.ok(200);
}

#[tokio::test]
async fn a_connection_that_is_made_while_its_node_is_deleted_does_not_outlive_it() {
    let gateway = Gateway::new().await;
    for round in 0..8 {
        let made = node(&gateway, &format!("mock{round}"), "http://127.0.0.1:9/v1").await;
        let path = format!("/api/provider-nodes/{}", made["id"].as_str().expect("an id"));
        let body = json!({ "provider": made["id"], "name": "c", "apiKey": "sk-x" });
        let adding = (0..4).map(|_| gateway.post("/api/providers", body.clone()));
        let (deleted, added) = futures_util::join!(gateway.delete(&path), futures_util::future::join_all(adding));
        deleted.ok(200);
        assert!(added.iter().all(|answer| matches!(answer.status.as_u16(), 201 | 404)), "{added:?}");
    }
    assert_eq!(gateway.get("/api/providers").await.ok(200)["total"], 0);
}

#[tokio::test]
async fn an_anthropic_node_has_one_api_and_a_default_url() {
    let gateway = Gateway::new().await;
    let body = json!({ "name": "A", "prefix": "a1", "type": "anthropic-compatible", "apiType": "chat" });
    let made = gateway.post("/api/provider-nodes", body).await.ok(201)["node"].clone();
    assert_eq!((&made["apiType"], &made["baseUrl"]), (&Value::Null, &json!("https://api.anthropic.com/v1")));
    let pasted = json!({ "name": "B", "prefix": "b1", "type": "anthropic-compatible", "baseUrl": "https://x.example/v1/messages" });
    let made = gateway.post("/api/provider-nodes", pasted).await.ok(201)["node"].clone();
    assert_eq!(made["baseUrl"], "https://x.example/v1");
}

#[tokio::test]
async fn mistakes_are_named() {
    let gateway = Gateway::new().await;
    node(&gateway, "taken", "http://127.0.0.1:9/v1").await;
    let good = json!({ "name": "n", "prefix": "p", "apiType": "chat", "baseUrl": "http://127.0.0.1:9/v1" });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    assert_eq!(gateway.post("/api/provider-nodes", json!({ "name": "x" })).await.fields(), ["prefix", "apiType"]);
    for (field, value) in [
        ("name", json!("")),
        ("prefix", json!("a/b")),
        ("prefix", json!("with space")),
        ("prefix", json!("openai")),
        ("prefix", json!("ds")),
        ("apiType", json!("soap")),
        ("type", json!("gemini-compatible")),
        ("baseUrl", json!("ftp://x")),
        ("baseUrl", json!("nonsense")),
        ("baseUrl", json!("http://user:password@x.example")),
        ("baseUrl", json!("http://169.254.169.254/v1")),
        ("baseUrl", json!("https://x.example/#frag")),
        ("chatPath", json!("no-slash")),
        ("chatPath", json!("//evil.example/")),
        ("modelsPath", json!("/models?x=1")),
    ] {
        let answer = gateway.post("/api/provider-nodes", with(field, value.clone())).await;
        assert_eq!(answer.fields(), [field], "{field} {value}");
    }
    let taken = gateway.post("/api/provider-nodes", with("prefix", json!("taken"))).await;
    assert_eq!(taken.code(409), "RESOURCE_002");
    assert_eq!(taken.json()["error"]["details"][0]["field"], "prefix");
    let other = gateway.post("/api/provider-nodes", good.clone()).await.ok(201);
    let path = format!("/api/provider-nodes/{}", other["node"]["id"].as_str().expect("an id"));
    assert_eq!(gateway.put(&path, json!({ "prefix": "taken" })).await.code(409), "RESOURCE_002");
    assert_eq!(gateway.put(&path, json!({ "prefix": "openai" })).await.fields(), ["prefix"]);
    assert_eq!(gateway.put(&path, json!({})).await.fields(), ["body"]);
    assert_eq!(gateway.put("/api/provider-nodes/none", json!({ "name": "x" })).await.code(404), "RESOURCE_001");
    assert_eq!(gateway.delete("/api/provider-nodes/none").await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn private_addresses_need_the_operator() {
    let gateway = Gateway::with(&[("ALLOW_PRIVATE_UPSTREAMS", "false")]).await;
    for url in ["http://127.0.0.1:9/v1", "http://localhost:11434/v1", "http://10.0.0.1/v1", "http://[::1]/v1"] {
        let body = json!({ "name": "n", "prefix": "p", "apiType": "chat", "baseUrl": url });
        assert_eq!(gateway.post("/api/provider-nodes", body).await.fields(), ["baseUrl"], "{url}");
        let body =
            json!({ "provider": "openai", "name": "c", "apiKey": "k", "providerSpecificData": { "baseUrl": url } });
        let answer = gateway.post("/api/providers", body).await;
        assert_eq!(answer.fields(), ["providerSpecificData.baseUrl"], "{url}");
        let body = json!({ "provider": "openai", "apiKey": "k", "baseUrl": url });
        assert_eq!(gateway.post("/api/providers/validate", body).await.fields(), ["baseUrl"], "{url}");
        let body = json!({ "baseUrl": url });
        assert_eq!(gateway.post("/api/provider-nodes/validate", body).await.fields(), ["baseUrl"], "{url}");
    }
}

#[tokio::test]
async fn an_endpoint_can_be_tried_before_it_becomes_a_node() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let path = "/api/provider-nodes/validate";
    let good = gateway.post(path, json!({ "baseUrl": provider.url(), "apiKey": KEY })).await.ok(200);
    assert_eq!(good, json!({ "valid": true, "error": null, "warning": null, "method": "models" }));
    let bad = gateway.post(path, json!({ "baseUrl": provider.url(), "apiKey": "sk-wrong-key-of-mine-0123" })).await;
    assert_eq!(bad.ok(200)["valid"], false);
    assert!(!bad.text.contains("sk-wrong-key-of-mine-0123"), "{}", bad.text);
    let html = json!({ "baseUrl": format!("http://{}/html", provider.address), "apiKey": KEY });
    assert_eq!(gateway.post(path, html).await.ok(200)["valid"], false);
    let other = json!({ "baseUrl": provider.url(), "type": "anthropic-compatible" });
    let other = gateway.post(path, other).await.ok(200);
    assert_eq!((&other["valid"], &other["method"]), (&json!(false), &json!("models")), "no key of Anthropic's kind");
    assert_eq!(gateway.post(path, json!({})).await.fields(), ["baseUrl"]);
    let method = gateway.call(Method::GET, path).send().await;
    assert_eq!(method.code(405), "RESOURCE_004");
}
