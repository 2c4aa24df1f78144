use omniroute_core::settings::Secret;
use serde_json::{Value, json};

use super::{ASSIGNMENTS, PROXIES, assign, draft, nowhere, proxy, text};
use crate::{
    areas::egress::{
        ProxyPatch,
        rows::{self, Proxies, SEALED},
    },
    run::SEALED as ALL_SEALED,
    store::testing::{KEY, admin, execute, on_both_engines},
    tests::{
        gateway::Gateway,
        resources::{connection, node},
    },
};

const NEW_KEY: &str = "another-master-key-987654321";

#[tokio::test]
async fn a_proxy_can_be_added_changed_and_deleted_and_its_credentials_never_come_out() {
    let gateway = Gateway::new().await;
    let body = json!({
        "name": " US Proxy ", "type": "HTTP", "host": "proxy.example.com", "port": "8080", "username": "planted-user",
        "password": "planted-password", "region": "US", "notes": null,
    });
    let created = gateway.post(PROXIES, body).await;
    let shown = created.ok(201);
    let id = text(&shown["id"]);
    assert_eq!((&shown["name"], &shown["type"], &shown["port"]), (&json!("US Proxy"), &json!("http"), &json!(8080)));
    assert_eq!((&shown["username"], &shown["password"]), (&json!("***"), &json!("***")));
    assert_eq!(
        (&shown["status"], &shown["source"], &shown["family"]),
        (&json!("active"), &json!("manual"), &json!("auto"))
    );
    assert_eq!((&shown["region"], &shown["notes"]), (&json!("US"), &Value::Null));
    assert!(shown["createdAt"].is_string() && shown["updatedAt"].is_string() && shown.get("assignment").is_none());

    // A client sends back what it was shown, with one field changed.
    let mut back = shown.clone();
    back["name"] = json!("renamed");
    let changed = gateway.patch(PROXIES, back).await;
    assert_eq!(changed.ok(200)["name"], "renamed");
    let credentials = Proxies::of(&gateway.on.store).credentials(&id).await.expect("opened");
    assert_eq!((credentials.username.expose(), credentials.password.expose()), ("planted-user", "planted-password"));

    let listed = gateway.get(&format!("{PROXIES}?limit=1&offset=0")).await;
    assert_eq!(listed.ok(200)["page"], json!({ "limit": 1, "offset": 0, "total": 1 }));
    assert_eq!(listed.json()["items"][0]["id"], id.as_str());
    let one = gateway.get(&format!("{PROXIES}?id={id}")).await;
    assert_eq!(one.ok(200)["name"], "renamed");
    for answer in [&created, &changed, &listed, &one] {
        assert!(!answer.text.contains("planted"), "{}", answer.text);
    }

    let cleared = gateway.patch(PROXIES, json!({ "id": id, "username": "", "password": null })).await.ok(200);
    assert_eq!((&cleared["username"], &cleared["password"]), (&json!(""), &json!("")));
    assert_eq!(gateway.delete(&format!("{PROXIES}?id={id}")).await.ok(200), json!({ "success": true }));
    assert_eq!(gateway.get(&format!("{PROXIES}?id={id}")).await.code(404), "RESOURCE_001");
    assert_eq!(gateway.delete(&format!("{PROXIES}?id={id}")).await.code(404), "RESOURCE_001");
    assert_eq!(gateway.patch(PROXIES, json!({ "id": id, "name": "x" })).await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn stored_credentials_are_not_sent_to_another_place() {
    let gateway = Gateway::new().await;
    let id = proxy(&gateway, "http", nowhere(), Some(("user", "secret"))).await;
    for change in [json!({ "host": "elsewhere.example" }), json!({ "port": 10 }), json!({ "type": "socks5" })] {
        let mut body = change.clone();
        body["id"] = json!(id);
        assert_eq!(gateway.patch(PROXIES, body.clone()).await.fields(), ["host"], "{change}");
        body["username"] = json!("user");
        assert_eq!(gateway.patch(PROXIES, body.clone()).await.fields(), ["host"], "{change}: half of them");
    }
    let moved = json!({ "id": id, "host": "elsewhere.example", "username": "user", "password": "another" });
    assert_eq!(gateway.patch(PROXIES, moved).await.ok(200)["host"], "elsewhere.example");
    let bare = json!({ "id": id, "host": "third.example", "username": "", "password": "" });
    assert_eq!(gateway.patch(PROXIES, bare).await.ok(200)["password"], "");
    assert_eq!(gateway.patch(PROXIES, json!({ "id": id, "port": 11 })).await.ok(200)["port"], 11, "nothing to lose");
}

#[tokio::test]
async fn mistakes_are_named() {
    let gateway = Gateway::with(&[("ALLOW_PRIVATE_UPSTREAMS", "false")]).await;
    let good = json!({ "name": "p", "type": "http", "host": "proxy.example", "port": 8080 });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, field) in [
        (with("name", json!("")), "name"),
        (with("type", json!("vercel")), "type"),
        (with("type", json!("socks4")), "type"),
        (with("host", json!("a b")), "host"),
        (with("host", json!("http://proxy.example")), "host"),
        (with("host", json!("169.254.169.254")), "host"),
        (with("host", json!("10.0.0.1")), "host"),
        (with("port", json!(0)), "port"),
        (with("port", json!(65_536)), "port"),
        (with("username", json!("a:b")), "username"),
        (with("status", json!("asleep")), "status"),
        (with("family", json!("ipv5")), "family"),
        (with("source", json!("elsewhere")), "source"),
        (with("regoin", json!("US")), "regoin"),
        (with("assignment", json!({ "scope": "planet" })), "assignment.scope"),
        (with("assignment", json!({ "scope": "provider" })), "assignment.scopeId"),
        (with("assignment", json!({ "scope": "provider", "scopeId": "nobody" })), "scopeId"),
    ] {
        assert_eq!(gateway.post(PROXIES, body.clone()).await.fields(), [field], "{body}");
    }
    assert_eq!(gateway.get(PROXIES).await.ok(200)["page"]["total"], 0, "nothing is half done");
    for (query, field) in
        [("limit=0", "limit"), ("limit=201", "limit"), ("where_used=1", "id"), ("where_used=yes&id=x", "where_used")]
    {
        assert_eq!(gateway.get(&format!("{PROXIES}?{query}")).await.fields(), [field], "{query}");
    }
    assert_eq!(gateway.delete(PROXIES).await.fields(), ["id"]);
    for (body, field) in [
        (json!({ "scopeId": "openai", "proxyId": "p" }), "scope"),
        (json!({ "scope": "provider", "proxyId": "p" }), "scopeId"),
        (json!({ "scope": "combo", "scopeId": "c", "proxyId": null }), "scopeId"),
        (json!({ "scope": "provider", "scopeId": "openai", "proxy_id": "p" }), "proxy_id"),
    ] {
        assert_eq!(gateway.put(ASSIGNMENTS, body.clone()).await.fields(), [field], "{body}");
    }
    let unknown = json!({ "scope": "global", "proxyId": "none" });
    assert_eq!(gateway.put(ASSIGNMENTS, unknown).await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn the_nearest_assignment_is_the_one_that_resolves() {
    let gateway = Gateway::new().await;
    let id = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let resolve = async || gateway.get(&format!("{ASSIGNMENTS}?resolve_connection_id={id}")).await.ok(200);
    let direct = resolve().await;
    assert_eq!(
        (&direct["proxy"], &direct["level"], &direct["levelId"]),
        (&Value::Null, &json!("direct"), &Value::Null)
    );

    let mut ids = Vec::new();
    for kind in ["http", "https", "socks5"] {
        ids.push(proxy(&gateway, kind, nowhere(), Some(("planted", "planted"))).await);
    }
    let provider = text(&gateway.get(&format!("/api/providers/{id}")).await.ok(200)["connection"]["provider"]);
    assign(&gateway, &ids[0], "global", "").await;
    assert_eq!((&resolve().await["level"], &resolve().await["proxy"]["type"]), (&json!("global"), &json!("http")));
    // A node may be named by its prefix.
    let assigned = assign(&gateway, &ids[1], "provider", "mock0").await;
    assert_eq!((&assigned["scopeId"], &assigned["proxyId"]), (&json!(provider), &json!(ids[1])));
    assert_eq!((&resolve().await["level"], &resolve().await["proxy"]["type"]), (&json!("provider"), &json!("https")));
    let assigned = assign(&gateway, &ids[2], "key", &id).await;
    assert_eq!((&assigned["scope"], &assigned["scopeId"]), (&json!("account"), &json!(id)));
    let nearest = resolve().await;
    assert_eq!(
        (&nearest["level"], &nearest["levelId"], &nearest["usable"]),
        (&json!("account"), &json!(id), &json!(true))
    );
    assert_eq!((&nearest["proxy"]["username"], nearest.to_string().contains("planted")), (&json!("***"), false));

    // What cannot be used is not passed over.
    gateway.patch(PROXIES, json!({ "id": ids[2], "status": "inactive" })).await.ok(200);
    let blocked = resolve().await;
    assert_eq!((&blocked["level"], &blocked["usable"]), (&json!("account"), &json!(false)));
    assert!(text(&blocked["problem"]).contains("inactive"), "{blocked}");

    let used = gateway.get(&format!("{PROXIES}?id={}&where_used=1", ids[1])).await.ok(200);
    assert_eq!((&used["count"], &used["assignments"][0]["scopeId"]), (&json!(1), &json!(provider)));
    assert_eq!(gateway.get(&format!("{PROXIES}?id=none&where_used=1")).await.code(404), "RESOURCE_001");
    for (query, total) in [
        ("", 3),
        ("?scope=provider", 1),
        ("?scope=key", 1),
        (&format!("?proxy_id={}", ids[0]), 1),
        (&format!("?scope_id={id}"), 1),
        ("?scope=provider&scope_id=other", 0),
    ] {
        let listed = gateway.get(&format!("{ASSIGNMENTS}{query}")).await.ok(200);
        assert_eq!(
            (&listed["page"]["total"], listed["items"].as_array().map(Vec::len)),
            (&json!(total), Some(total)),
            "{query}"
        );
    }
    let gone = gateway.put(ASSIGNMENTS, json!({ "scope": "account", "scopeId": id, "proxyId": null })).await.ok(200);
    assert_eq!(gone, json!({ "success": true, "assignment": null }));
    assert_eq!(resolve().await["level"], "provider");
    assert_eq!(gateway.get(&format!("{ASSIGNMENTS}?resolve_connection_id=none")).await.code(404), "RESOURCE_001");
}

#[tokio::test]
async fn a_proxy_in_use_goes_by_force_only() {
    let gateway = Gateway::new().await;
    let body = json!({
        "name": "p", "host": "proxy.example", "port": 3128, "assignment": { "scope": "provider", "scopeId": "openai" },
    });
    let created = gateway.post(PROXIES, body).await.ok(201);
    let id = text(&created["id"]);
    assert_eq!(
        (&created["assignment"]["scope"], &created["assignment"]["scopeId"]),
        (&json!("provider"), &json!("openai"))
    );
    let change = json!({ "id": id, "assignment": { "scope": "global" } });
    assert_eq!(gateway.patch(PROXIES, change).await.ok(200)["assignment"]["scopeId"], Value::Null);
    let refused = gateway.delete(&format!("{PROXIES}?id={id}")).await;
    assert_eq!(refused.code(409), "RESOURCE_002");
    assert!(refused.text.contains("2 assignments") && refused.text.contains("force=1"), "{}", refused.text);
    gateway.delete(&format!("{PROXIES}?id={id}&force=1")).await.ok(200);
    assert_eq!(gateway.get(ASSIGNMENTS).await.ok(200)["page"]["total"], 0);
}

#[tokio::test]
async fn several_are_assigned_at_once_and_those_that_there_are_not_are_told() {
    let gateway = Gateway::new().await;
    let path = format!("{PROXIES}/bulk-assign");
    let id = proxy(&gateway, "http", nowhere(), None).await;
    let body = json!({ "scope": "provider", "scopeIds": ["openai", "nobody", "openai", "anthropic"], "proxyId": id });
    let done = gateway.put(&path, body).await.ok(200);
    assert_eq!(
        (&done["success"], &done["scope"], &done["requested"], &done["updated"]),
        (&json!(true), &json!("provider"), &json!(3), &json!(2))
    );
    assert_eq!((&done["failed"][0]["scopeId"], done["failed"].as_array().map(Vec::len)), (&json!("nobody"), Some(1)));
    let missing = json!({ "scope": "provider", "scopeIds": ["openai"], "proxyId": "none" });
    let done = gateway.put(&path, missing).await.ok(200);
    assert_eq!((&done["updated"], &done["failed"][0]["reason"]), (&json!(0), &json!("Proxy not found")));
    // The original's guide has it as POST.
    let done = gateway.post(&path, json!({ "scope": "global", "proxyId": id })).await.ok(200);
    assert_eq!((&done["updated"], &done["requested"]), (&json!(1), &json!(1)));
    assert_eq!(gateway.get(ASSIGNMENTS).await.ok(200)["page"]["total"], 3);
    let clear = json!({ "scope": "provider", "scopeIds": ["openai", "anthropic"], "proxyId": null });
    assert_eq!(gateway.put(&path, clear).await.ok(200)["updated"], 2);
    assert_eq!(gateway.get(ASSIGNMENTS).await.ok(200)["page"]["total"], 1);
    assert_eq!(gateway.put(&path, json!({ "scope": "account", "scopeIds": [] })).await.fields(), ["scopeIds"]);
}

#[tokio::test]
async fn assignments_go_with_what_they_are_for() {
    let gateway = Gateway::new().await;
    let node = node(&gateway, "mock", "http://127.0.0.1:9/v1").await;
    let body = json!({ "provider": node["id"], "name": "c1", "apiKey": "sk" });
    let made = gateway.post("/api/providers", body.clone()).await.ok(201);
    let other = gateway.post("/api/providers", body).await.ok(201);
    let id = proxy(&gateway, "http", nowhere(), None).await;
    for connection in [&made, &other] {
        assign(&gateway, &id, "account", &text(&connection["connection"]["id"])).await;
    }
    assign(&gateway, &id, "provider", "mock").await;
    gateway.delete(&format!("/api/providers/{}", text(&made["connection"]["id"]))).await.ok(200);
    assert_eq!(gateway.get(ASSIGNMENTS).await.ok(200)["page"]["total"], 2);
    gateway.delete(&format!("/api/provider-nodes/{}", text(&node["id"]))).await.ok(200);
    assert_eq!(gateway.get(ASSIGNMENTS).await.ok(200)["page"]["total"], 0);
    gateway.delete(&format!("{PROXIES}?id={id}")).await.ok(200);
}

on_both_engines! {
    async fn credentials_lie_sealed_and_follow_the_master_key(database: &TestDatabase) {
        let store = database.store().await;
        let mut write = store.write(&admin()).await.expect("a transaction");
        let id = rows::create(&mut write, draft("p")).await.expect("made").id;
        write.commit().await.expect("committed");
        let plain = "SELECT COUNT(*) FROM outbound_proxies WHERE username IS NULL OR password IS NULL";
        assert_eq!(execute(&store, &format!("UPDATE outbound_proxies SET notes = ({plain})")).await, 1);
        store.close().await;

        let ring = format!("{NEW_KEY},{KEY}");
        let both = database.open(&ring, std::sync::Arc::new(omniroute_core::time::SystemClock)).await.expect("a store");
        assert!(ALL_SEALED.concat().iter().any(|column| column.table == SEALED[0].table), "rotations know them");
        let done = both.reseal(&SEALED).await.expect("resealed");
        assert!(done.values >= 2 && done.failed.is_empty(), "{done:?}");
        both.close().await;
        let new = database.open(NEW_KEY, std::sync::Arc::new(omniroute_core::time::SystemClock)).await.expect("a store");
        let credentials = Proxies::of(&new).credentials(&id).await.expect("opened");
        assert_eq!((credentials.username.expose(), credentials.password.expose()), ("user", "secret"));
        // Damaged, it stays as it is while other fields change, and can be entered anew.
        execute(&new, "UPDATE outbound_proxies SET password = username").await;
        assert!(Proxies::of(&new).credentials(&id).await.is_err());
        let mut write = new.write(&admin()).await.expect("a transaction");
        let patch = ProxyPatch { name: Some("renamed".into()), ..ProxyPatch::default() };
        assert!(rows::update(&mut write, &id, patch).await.expect("changed").has_password);
        let patch = ProxyPatch { password: Some(Secret::new("anew")), ..ProxyPatch::default() };
        rows::update(&mut write, &id, patch).await.expect("changed");
        write.commit().await.expect("committed");
        let credentials = Proxies::of(&new).credentials(&id).await.expect("opened");
        assert_eq!((credentials.username.expose(), credentials.password.expose()), ("user", "anew"));
    }
}
