use std::time::Duration;

use http::Method;
use omniroute_proto::v1;
use serde_json::{Value, json};

use crate::{
    areas::providers::{connections::rows::Connections, models::rows::Models},
    store::Command,
    tests::{
        gateway::Gateway,
        provider::{KEY, Provider},
        resources::{connection, id_of, node},
    },
};

/// Waits for what goes on in the background.
async fn settle(gateway: &Gateway) {
    gateway.on.background.close();
    tokio::time::timeout(Duration::from_secs(10), gateway.on.background.wait()).await.expect("settled");
    gateway.on.background.reopen();
}

#[tokio::test]
async fn a_connection_can_be_added_changed_and_deleted_and_its_secret_never_comes_out() {
    let gateway = Gateway::new().await;
    let node = node(&gateway, "mock", "http://127.0.0.1:9/v1").await;
    let body = json!({
        "provider": node["id"], "name": "c1", "apiKey": "sk-vendor-secret-value", "maxConcurrent": 4,
        "providerSpecificData": {
            "region": "eu", "consoleApiKey": "console-secret-value",
            "customHeaders": { "X-Team": "header-secret-value" },
        },
        "timeouts": { "firstByteMs": 5000 },
    });
    let created = gateway.post("/api/providers", body).await;
    let connection = created.ok(201)["connection"].clone();
    let path = format!("/api/providers/{}", connection["id"].as_str().expect("an id"));
    assert_eq!((&connection["priority"], &connection["authType"]), (&json!(1), &json!("apikey")));
    assert_eq!((&connection["testStatus"], &connection["hasApiKey"]), (&json!("unknown"), &json!(true)));
    assert_eq!(connection["timeouts"], json!({ "connectMs": 0, "firstByteMs": 5000, "idleMs": 0, "totalMs": 0 }));
    let edited = gateway.patch(&path, json!({ "timeouts": { "idleMs": 9 } })).await.ok(200)["connection"].clone();
    assert_eq!(edited["timeouts"], json!({ "connectMs": 0, "firstByteMs": 5000, "idleMs": 9, "totalMs": 0 }));
    let specific = &connection["providerSpecificData"];
    assert_eq!((&specific["prefix"], &specific["nodeName"]), (&json!("mock"), &json!("Mock")));
    assert_eq!((&specific["region"], &specific["customHeaders"]["x-team"]), (&json!("eu"), &json!("****")));

    // A client sends back what it was shown, and one field more.
    let mut back = specific.clone();
    back["region"] = json!("us");
    let edit = json!({ "name": "renamed", "priority": "2", "maxConcurrent": null, "providerSpecificData": back });
    let changed = gateway.put(&path, edit).await;
    let shown = changed.ok(200)["connection"].clone();
    assert_eq!(
        (&shown["name"], &shown["priority"], &shown["maxConcurrent"]),
        (&json!("renamed"), &json!(2), &Value::Null)
    );
    let stored =
        Connections::of(&gateway.on.store).get(connection["id"].as_str().expect("an id")).await.expect("stored");
    assert_eq!(stored.headers["x-team"], "header-secret-value", "a mask that comes back changes nothing");
    assert_eq!(stored.provider_data["consoleApiKey"], "console-secret-value");
    assert_eq!(stored.provider_data["region"], "us");
    assert_eq!(stored.base_url, None, "the node's own URL overrides nothing");
    for key in ["prefix", "nodeName", "apiType"] {
        assert!(!stored.provider_data.contains_key(key), "{key} belongs to the node");
    }
    for answer in [created, changed, gateway.get(&path).await, gateway.get("/api/providers").await] {
        assert!(!answer.text.contains("secret-value"), "{}", answer.text);
    }
    gateway.patch(&path, json!({ "isActive": false })).await.ok(200);
    let list = gateway.get("/api/providers").await.ok(200);
    assert_eq!((&list["total"], &list["connections"][0]["isActive"]), (&json!(1), &json!(false)));

    assert_eq!(gateway.delete(&path).await.ok(200), json!({ "message": "Connection deleted successfully" }));
    for answer in
        [gateway.get(&path).await, gateway.delete(&path).await, gateway.put(&path, json!({ "name": "x" })).await]
    {
        assert_eq!(answer.code(404), "RESOURCE_001");
    }
}

#[tokio::test]
async fn a_base_url_moves_any_provider_and_can_be_taken_back() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let body = json!({ "provider": "openai", "name": "moved", "apiKey": KEY,
        "providerSpecificData": { "baseUrl": format!("{}/", provider.url()) } });
    let id = id_of(&gateway.post("/api/providers", body).await);
    let path = format!("/api/providers/{id}");
    assert_eq!(gateway.get(&path).await.ok(200)["connection"]["providerSpecificData"]["baseUrl"], provider.url());
    assert_eq!(gateway.post(&format!("{path}/test"), json!({})).await.ok(200)["valid"], true);
    let back = json!({ "providerSpecificData": { "baseUrl": null }, "apiKey": KEY });
    gateway.put(&path, back).await.ok(200);
    let specific = gateway.get(&path).await.ok(200)["connection"]["providerSpecificData"].clone();
    assert_eq!(specific, json!({}));
}

#[tokio::test]
async fn a_stored_secret_is_never_sent_to_another_host() {
    let gateway = Gateway::new().await;
    let (right, other) = (Provider::start().await, Provider::start().await);
    let made = node(&gateway, "mock", &right.url()).await;
    let headers = json!({ "customHeaders": { "x-token": "stored-header-value" } });
    let body = json!({ "provider": made["id"], "name": "c", "apiKey": KEY, "providerSpecificData": headers });
    let path = format!("/api/providers/{}", id_of(&gateway.post("/api/providers", body).await));
    settle(&gateway).await;
    let edit = |specific: Value, key: Option<&str>| {
        let mut body = json!({ "providerSpecificData": specific });
        if let Some(key) = key {
            body["apiKey"] = json!(key);
        }
        gateway.patch(&path, body)
    };
    let moved = json!({ "baseUrl": other.url() });
    assert_eq!(edit(moved.clone(), None).await.fields(), ["apiKey"]);
    assert_eq!(edit(moved.clone(), Some("")).await.fields(), ["apiKey"], "empty keeps the stored one");
    let header = ["providerSpecificData.customHeaders.x-token"];
    assert_eq!(edit(moved, Some("sk-new")).await.fields(), header);
    let masked = json!({ "baseUrl": other.url(), "customHeaders": { "X-Token": "****" } });
    assert_eq!(edit(masked, Some("sk-new")).await.fields(), header);
    gateway.post(&format!("{path}/test"), json!({})).await.ok(200);
    assert_eq!(other.asked(), 0);

    let anew = json!({ "baseUrl": other.url(), "customHeaders": { "x-token": "for the other" } });
    edit(anew, Some(KEY)).await.ok(200);
    settle(&gateway).await;
    assert!(other.asked() > 0);
    // Back to the node's own host is a move as well.
    assert_eq!(edit(json!({ "baseUrl": null, "customHeaders": null }), None).await.fields(), ["apiKey"]);
    edit(json!({ "baseUrl": null, "customHeaders": null }), Some(KEY)).await.ok(200);
    // Misspelt, it would have stayed where it was.
    assert_eq!(edit(json!({ "baseURL": other.url() }), None).await.fields(), ["providerSpecificData.baseURL"]);
}

#[tokio::test]
async fn lists_come_in_pages_and_say_how_many_there_are() {
    let gateway = Gateway::new().await;
    for priority in [3, 1, 2] {
        let body = json!({ "provider": "openai", "name": format!("c{priority}"), "apiKey": "k", "priority": priority,
            "providerSpecificData": { "baseUrl": "http://127.0.0.1:9/v1" } });
        gateway.post("/api/providers", body).await.ok(201);
    }
    connection(&gateway, "http://127.0.0.1:9/v1").await;
    let page = gateway.get("/api/providers?provider=openai&limit=2&offset=1").await.ok(200);
    let names: Vec<_> = page["connections"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!((json!(names), &page["total"]), (json!(["c2", "c3"]), &json!(3)));
    let all = gateway.get("/api/providers").await.ok(200);
    assert_eq!((all["connections"].as_array().map(Vec::len), &all["total"]), (Some(4), &json!(4)));
    assert_eq!(gateway.get("/api/providers?offset=9").await.ok(200)["connections"], json!([]));
    assert_eq!(gateway.get("/api/providers?providers=openai").await.fields(), ["providers"]);
}

#[tokio::test]
async fn models_of_connections_that_answer_at_once_are_all_kept() {
    let gateway = Gateway::new().await;
    let node = node(&gateway, "mock", "http://127.0.0.1:9/v1").await;
    let provider = node["id"].as_str().expect("an id");
    let mut records = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let body = json!({ "provider": provider, "name": name, "apiKey": KEY });
        let id = id_of(&gateway.post("/api/providers", body).await);
        records.push(Connections::of(&gateway.on.store).get(&id).await.expect("stored"));
    }
    settle(&gateway).await;
    let actor = crate::store::records::Actor::system("test");
    for round in 0..5 {
        let listed = records.iter().map(|record| {
            let model = omniroute_providers::OfferedModel {
                id: format!("model-{round}-of-{}", record.name),
                kind: "chat".into(),
                context_window: None,
                max_output_tokens: None,
                created: None,
                owned_by: None,
            };
            let (providers, actor) = (&gateway.areas.providers, &actor);
            async move { providers.keep_models(actor, record, &[model]).await }
        });
        for kept in futures_util::future::join_all(listed).await {
            kept.expect("kept");
        }
        let models = Models::of(&gateway.on.store).of_provider(provider).await.expect("models");
        let of_round = models.iter().filter(|model| model.model.starts_with(&format!("model-{round}-"))).count();
        assert_eq!(of_round, 4, "{models:?}");
    }
    // What a provider lists for a connection that is gone by then is nobody's.
    let last = records.pop().expect("a connection");
    gateway.delete(&format!("/api/providers/{}", last.id)).await.ok(200);
    let late = omniroute_providers::OfferedModel {
        id: "late".into(),
        kind: "chat".into(),
        context_window: None,
        max_output_tokens: None,
        created: None,
        owned_by: None,
    };
    gateway.areas.providers.keep_models(&actor, &last, &[late]).await.expect("nothing to keep");
    let models = Models::of(&gateway.on.store).of_provider(provider).await.expect("models");
    assert!(models.iter().all(|model| model.model != "late"));
}

#[tokio::test]
async fn a_new_connection_has_its_models_asked_for_in_the_background() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let id = connection(&gateway, &provider.url()).await;
    settle(&gateway).await;
    let record = Connections::of(&gateway.on.store).get(&id).await.expect("stored");
    let models = Models::of(&gateway.on.store).of_provider(record.provider.as_str()).await.expect("models");
    let known: Vec<_> = models.iter().map(|model| (model.model.as_str(), model.kind.as_str())).collect();
    assert_eq!(known, [("gpt-4o-mini", "chat"), ("text-embedding-3-small", "embedding")]);
    // Asking again changes nothing, so proxies hear of nothing.
    let revision = gateway.on.store.revision().await.expect("a revision");
    let listed = gateway.get(&format!("/api/providers/{id}/models")).await.ok(200);
    assert_eq!((&listed["source"], listed["models"].as_array().map(Vec::len)), (&json!("api"), Some(2)));
    assert_eq!(gateway.on.store.revision().await.expect("a revision"), revision);
    // The last connection takes what was found with it.
    gateway.delete(&format!("/api/providers/{id}")).await.ok(200);
    assert!(Models::of(&gateway.on.store).list().await.expect("models").is_empty());
}

#[tokio::test]
async fn a_connection_with_a_new_secret_gets_a_new_chance() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let node = node(&gateway, "mock", &provider.url()).await;
    let body = json!({ "provider": node["id"], "name": "c", "apiKey": "sk-wrong-0123456789abcdef" });
    let id = id_of(&gateway.post("/api/providers", body).await);
    settle(&gateway).await;
    assert!(Models::of(&gateway.on.store).list().await.expect("models").is_empty());
    let later = gateway.clock_now().saturating_add(Duration::from_secs(600));
    gateway.on.coordination.cool(&id, later, "credential_refused").await;
    gateway.put(&format!("/api/providers/{id}"), json!({ "apiKey": KEY })).await.ok(200);
    settle(&gateway).await;
    assert_eq!(Models::of(&gateway.on.store).list().await.expect("models").len(), 2);
    assert_eq!(gateway.on.coordination.cooling(&id), None);
}

#[tokio::test]
async fn models_fall_back_to_what_is_known() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let id = connection(&gateway, &provider.url()).await;
    settle(&gateway).await;
    let path = format!("/api/providers/{id}");
    gateway.put(&path, json!({ "apiKey": "sk-another-key-0123456789" })).await.ok(200);
    settle(&gateway).await;
    let listed = gateway.get(&format!("{path}/models")).await;
    assert_eq!(listed.ok(200)["source"], "stored");
    assert!(listed.json()["warning"].is_string());
    assert!(!listed.text.contains("sk-another-key-0123456789"), "{}", listed.text);

    let body = json!({ "provider": "openai", "name": "c", "apiKey": "k",
        "providerSpecificData": { "baseUrl": "http://127.0.0.1:9/v1" } });
    let catalog = id_of(&gateway.post("/api/providers", body).await);
    let listed = gateway.get(&format!("/api/providers/{catalog}/models")).await.ok(200);
    assert_eq!(listed["source"], "catalog");

    let nowhere = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let listed = gateway.get(&format!("/api/providers/{nowhere}/models")).await;
    assert_eq!(listed.code(502), "PROVIDER_001");
    assert_eq!(gateway.get("/api/providers/none/models").await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn tests_of_connections_say_what_is_wrong_and_are_remembered() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let at = |path: &str| format!("http://{}{path}", provider.address);
    for (url, key, kind) in [
        (provider.url(), KEY, "ok"),
        (provider.url(), "sk-not-the-right-one-0123", "upstream_auth_error"),
        (at("/html"), KEY, "upstream_error"),
        (at("/moved"), KEY, "upstream_error"),
        (at("/broken"), KEY, "upstream_unavailable"),
        (at("/nothing"), KEY, "unsupported"),
        ("http://127.0.0.1:9/v1".to_owned(), KEY, "network_error"),
        ("http://no-such-host.invalid/v1".to_owned(), KEY, "network_error"),
    ] {
        let id = connection(&gateway, &url).await;
        let path = format!("/api/providers/{id}");
        gateway.put(&path, json!({ "apiKey": key })).await.ok(200);
        let tested = gateway.post(&format!("{path}/test"), json!({})).await;
        let body = tested.ok(200);
        assert_eq!(body["diagnosis"]["type"], kind, "{url}: {body}");
        assert_eq!(body["valid"], kind == "ok", "{url}: {body}");
        assert!(!tested.text.contains(key) && !tested.text.contains(KEY), "{url}: {body}");
        let shown = gateway.get(&path).await.ok(200)["connection"].clone();
        assert_eq!(shown["testStatus"], if kind == "ok" { "active" } else { "error" });
        assert_eq!(shown["lastTested"], body["testedAt"]);
    }
    // Without a list of models, a named model is asked instead.
    let id = connection(&gateway, &at("/chat-only")).await;
    let body = json!({ "validationModelId": "gpt-4o-mini" });
    let tested = gateway.post(&format!("/api/providers/{id}/test"), body).await.ok(200);
    assert_eq!((&tested["valid"], &tested["statusCode"]), (&json!(true), &json!(200)));
    let without_body = gateway.call(Method::POST, &format!("/api/providers/{id}/test")).send().await;
    without_body.ok(200);
    let wrong = gateway.post(&format!("/api/providers/{id}/test"), json!({ "validationModelId": 5 })).await;
    assert_eq!(wrong.fields(), ["validationModelId"]);
    assert_eq!(gateway.post("/api/providers/none/test", json!({})).await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn an_edit_can_end_a_cooldown_and_not_begin_one() {
    let gateway = Gateway::new().await;
    let id = connection(&gateway, "http://127.0.0.1:9/v1").await;
    settle(&gateway).await;
    let path = format!("/api/providers/{id}");
    let later = gateway.clock_now().saturating_add(Duration::from_secs(600));
    gateway.on.coordination.cool(&id, later, "429").await;
    let begin = json!({ "rateLimitedUntil": "2030-01-01T00:00:00Z" });
    assert_eq!(gateway.put(&path, begin).await.fields(), ["rateLimitedUntil"]);
    assert!(gateway.on.coordination.cooling(&id).is_some());
    gateway.put(&path, json!({ "rateLimitedUntil": null })).await.ok(200);
    assert_eq!(gateway.on.coordination.cooling(&id), None);
}

#[tokio::test]
async fn a_connection_that_works_again_leaves_its_cooldown() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let id = connection(&gateway, &provider.url()).await;
    let later = gateway.clock_now().saturating_add(Duration::from_secs(600));
    gateway.on.coordination.cool(&id, later, "429").await;
    gateway.post(&format!("/api/providers/{id}/test"), json!({})).await.ok(200);
    assert_eq!(gateway.on.coordination.cooling(&id), None);
}

#[tokio::test]
async fn proxies_are_told_that_a_connection_works_again() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let id = connection(&gateway, &provider.url()).await;
    let store = &gateway.on.store;
    let status = v1::ProxyStatus { proxy_id: "p1".into(), ..Default::default() };
    store.proxies().upsert(&status).await.expect("stored");
    gateway.post(&format!("/api/providers/{id}/test"), json!({})).await.ok(200);
    let orders = store.proxies().take_commands("p1").await.expect("read");
    assert_eq!(
        orders,
        [Command::ResetCooldown { connection: id.clone() }],
        "left for the replica that p1 is attached to"
    );
    let gone = connection(&gateway, "http://127.0.0.1:9/v1").await;
    gateway.post(&format!("/api/providers/{gone}/test"), json!({})).await.ok(200);
    assert_eq!(store.proxies().take_commands("p1").await.expect("read"), [], "it does not work");
}

#[tokio::test]
async fn a_cooldown_that_a_proxy_reports_is_shown() {
    let gateway = Gateway::new().await;
    let id = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let until = gateway.clock_now().saturating_add(Duration::from_secs(60));
    let cooling = v1::CoolingConnection { connection_id: id.clone(), until_ms: until.0, reason: "429".into() };
    let status = v1::ProxyStatus { proxy_id: "p1".into(), cooling: vec![cooling], ..Default::default() };
    gateway.on.store.proxies().upsert(&status).await.expect("stored");
    let shown = gateway.get(&format!("/api/providers/{id}")).await.ok(200);
    assert_eq!(shown["connection"]["cooldown"], json!({ "until": until.to_rfc3339(), "reason": "429" }));
    gateway.clock.advance(Duration::from_secs(61));
    let shown = gateway.get("/api/providers").await.ok(200);
    assert!(shown["connections"][0].get("cooldown").is_none());
}

#[tokio::test]
async fn credentials_can_be_tried_before_they_are_stored() {
    let gateway = Gateway::new().await;
    let provider = Provider::start().await;
    let path = "/api/providers/validate";
    let body = |key: &str| json!({ "provider": "openai", "apiKey": key, "baseUrl": provider.url() });
    assert_eq!(gateway.post(path, body(KEY)).await.ok(200)["valid"], true);
    let bad = gateway.post(path, body("sk-wrong-0123456789abcdef")).await;
    assert_eq!(bad.ok(200)["valid"], false);
    assert!(!bad.text.contains("sk-wrong-0123456789abcdef"), "{}", bad.text);
    let node = node(&gateway, "mock", &provider.url()).await;
    let at_node = json!({ "provider": node["id"], "apiKey": KEY, "validationModelId": "gpt-4o-mini" });
    let at_node = gateway.post(path, at_node).await.ok(200);
    assert_eq!(at_node, json!({ "valid": true, "error": null, "warning": null, "method": "chat" }));
    assert_eq!(gateway.post(path, json!({ "apiKey": "k" })).await.fields(), ["provider"]);
    assert_eq!(gateway.post(path, json!({ "provider": "nope", "apiKey": "k" })).await.fields(), ["provider"]);
    let gone = gateway.post(path, json!({ "provider": "openai-compatible-chat-x", "apiKey": "k" })).await;
    assert_eq!(gone.code(404), "RESOURCE_001");
    assert!(provider.asked() >= 3);
}

#[tokio::test]
async fn mistakes_are_named() {
    let gateway = Gateway::new().await;
    let good = json!({ "provider": "openai", "name": "c", "apiKey": "sk-good-0123456789" });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    assert_eq!(gateway.post("/api/providers", json!({ "provider": "nope" })).await.fields(), ["name"]);
    for (body, field) in [
        (json!({}), "provider"),
        (with("provider", json!("nope")), "provider"),
        (with("name", json!("")), "name"),
        (with("apiKey", json!("")), "apiKey"),
        (with("apiKey", json!("sk-go****6789")), "apiKey"),
        (with("apiKey", json!("line\nbreak")), "apiKey"),
        (with("apiKey", json!("x".repeat(60_001))), "apiKey"),
        (with("priority", json!(0)), "priority"),
        (with("priority", json!("first")), "priority"),
        (with("maxConcurrent", json!(-1)), "maxConcurrent"),
        (with("isActive", json!("yes")), "isActive"),
        (with("providerSpecificData", json!("x")), "providerSpecificData"),
        (with("providerSpecificData", json!({ "baseUrl": 5 })), "providerSpecificData.baseUrl"),
        (with("providerSpecificData", json!({ "baseUrl": "nonsense" })), "providerSpecificData.baseUrl"),
        (with("providerSpecificData", json!({ "customHeaders": [] })), "providerSpecificData.customHeaders"),
        (
            with("providerSpecificData", json!({ "customHeaders": { "x y": "v" } })),
            "providerSpecificData.customHeaders.x y",
        ),
        (
            with("providerSpecificData", json!({ "customHeaders": { "host": "v" } })),
            "providerSpecificData.customHeaders",
        ),
        (with("timeouts", json!({ "connectMs": "soon" })), "timeouts.connectMs"),
    ] {
        let answer = gateway.post("/api/providers", body.clone()).await;
        let fields = answer.fields();
        assert_eq!(fields.first().map(String::as_str), Some(field), "{body}");
    }
    let gone = gateway.post("/api/providers", with("provider", json!("openai-compatible-chat-none"))).await;
    assert_eq!(gone.code(404), "RESOURCE_001");
    assert_eq!(gateway.get("/api/providers").await.ok(200)["total"], 0, "nothing was stored on the way");

    let made = gateway.post("/api/providers", good.clone()).await.ok(201)["connection"].clone();
    let path = format!("/api/providers/{}", made["id"].as_str().expect("an id"));
    assert_eq!(gateway.put(&path, json!({})).await.fields(), ["body"]);
    assert_eq!(gateway.put(&path, json!({ "lastError": "x" })).await.fields(), ["body"]);
    let overrides = gateway.put(&path, json!({ "rateLimitOverrides": { "rpm": 5 } })).await.ok(200);
    assert_eq!(overrides["notEnforced"], json!(["rateLimitOverrides"]));
    assert_eq!(overrides["connection"]["rateLimitOverrides"], json!({ "rpm": 5 }));
    for query in ["limit=0", "offset=x"] {
        let field = query.split('=').next().expect("a name");
        assert_eq!(gateway.get(&format!("/api/providers?{query}")).await.fields(), [field]);
    }
}

#[tokio::test]
async fn a_provider_that_nobody_knows_is_answered_with_the_one_that_was_meant() {
    let gateway = Gateway::new().await;
    let said = async |provider: &str| {
        let answer = gateway.post("/api/providers", json!({ "provider": provider, "name": "c", "apiKey": "k" })).await;
        assert_eq!(answer.fields(), ["provider"]);
        answer.json()["error"]["details"][0]["message"].as_str().expect("a text").to_owned()
    };
    for (written, meant) in [("opnai", "openai"), ("OpenAI", "openai"), ("googel", "google"), ("deep-seek", "deepseek")]
    {
        let said = said(written).await;
        assert!(said.ends_with(&format!("did you mean `{meant}`?")), "{written}: {said}");
    }
    // A list of hundreds of ids would help nobody.
    let listed = said("zzz").await;
    let count = omniroute_providers::Catalog::builtin().providers().len();
    assert!(listed.ends_with(&format!("docs/providers.md lists the {count} of the catalog")), "{listed}");
}

#[tokio::test]
async fn lists_can_be_narrowed_by_provider_also_by_its_alias() {
    let gateway = Gateway::new().await;
    for provider in ["openai", "deepseek", "deepseek"] {
        let body = json!({ "provider": provider, "name": "c", "apiKey": "k",
            "providerSpecificData": { "baseUrl": "http://127.0.0.1:9" } });
        gateway.post("/api/providers", body).await.ok(201);
    }
    assert_eq!(gateway.get("/api/providers?provider=ds").await.ok(200)["total"], 2);
    let page = gateway.get("/api/providers?limit=1&offset=2").await.ok(200);
    assert_eq!((&page["total"], page["connections"].as_array().map(Vec::len)), (&json!(3), Some(1)));
    let by_alias = json!({ "provider": "ds", "name": "c", "apiKey": "k" });
    let made = gateway.post("/api/providers", by_alias).await.ok(201);
    assert_eq!((&made["connection"]["provider"], &made["connection"]["priority"]), (&json!("deepseek"), &json!(3)));
}
