use serde_json::{Value, json};

use super::{PROXIES, assign, nowhere, proxy, text};
use crate::tests::{
    gateway::Gateway,
    resources::{connection, node},
};

const SETTINGS: &str = "/api/settings/proxy";

#[tokio::test]
async fn a_level_is_set_shown_and_cleared() {
    let gateway = Gateway::new().await;
    let none = json!({ "global": null, "providers": {}, "combos": {}, "keys": {} });
    assert_eq!(gateway.get(SETTINGS).await.ok(200), none);
    let id = connection(&gateway, "http://127.0.0.1:9/v1").await;
    let global = json!({ "level": "global", "proxy": { "type": "http", "host": "proxy.example.com" } });
    let set = gateway.put(SETTINGS, global).await.ok(200);
    let shown = json!({ "type": "http", "host": "proxy.example.com", "port": 8080, "username": "", "password": "" });
    assert_eq!(set["global"], shown);
    let socks = json!({
        "level": "provider", "id": "openai",
        "proxy": { "type": "socks5", "host": "socks.example.com", "username": "planted", "password": "planted" },
    });
    let set = gateway.put(SETTINGS, socks).await;
    assert_eq!((&set.ok(200)["providers"]["openai"]["port"], &set.json()["global"]), (&json!(1080), &shown));
    assert_eq!(set.json()["providers"]["openai"]["password"], "***");
    let key = json!({ "level": "key", "id": id, "proxy": { "host": "key-proxy.com", "port": 3128 } });
    assert_eq!(gateway.put(SETTINGS, key).await.ok(200)["keys"][&id]["host"], "key-proxy.com");

    let level = gateway.get(&format!("{SETTINGS}?level=provider&id=openai")).await;
    assert_eq!((&level.ok(200)["level"], &level.json()["id"]), (&json!("provider"), &json!("openai")));
    assert_eq!(level.json()["proxy"]["type"], "socks5");
    assert_eq!(gateway.get(&format!("{SETTINGS}?level=global")).await.ok(200)["id"], Value::Null);
    assert_eq!(gateway.get(&format!("{SETTINGS}?level=provider&id=groq")).await.ok(200)["proxy"], Value::Null);
    let resolved = gateway.get(&format!("{SETTINGS}?resolve={id}")).await.ok(200);
    assert_eq!((&resolved["level"], &resolved["proxy"]["host"]), (&json!("account"), &json!("key-proxy.com")));
    assert!(![set.text, level.text].concat().contains("planted"));

    // It is changed in place, and goes with its level.
    let total = async || gateway.get(PROXIES).await.ok(200)["page"]["total"].clone();
    assert_eq!(total().await, 3);
    let moved = json!({ "level": "global", "proxy": { "type": "https", "host": "other.example.com" } });
    assert_eq!(gateway.put(SETTINGS, moved).await.ok(200)["global"]["port"], 443);
    assert_eq!(total().await, 3);
    let left = gateway.delete(&format!("{SETTINGS}?level=provider&id=openai")).await.ok(200);
    assert_eq!((&left["providers"], total().await), (&json!({}), json!(2)));
    gateway.put(SETTINGS, json!({ "level": "key", "id": id, "proxy": null })).await.ok(200);
    gateway.put(SETTINGS, json!({ "global": null })).await.ok(200);
    assert_eq!((gateway.get(SETTINGS).await.ok(200), total().await), (none, json!(0)));
}

#[tokio::test]
async fn several_levels_are_set_at_once_or_none() {
    let gateway = Gateway::new().await;
    node(&gateway, "mock", "http://127.0.0.1:9/v1").await;
    let host = |host: &str| json!({ "host": host, "port": 1 });
    let body = json!({ "global": host("a.example"), "providers": { "openai": host("b.example"), "nobody": host("c.example") } });
    assert_eq!(gateway.put(SETTINGS, body).await.fields(), ["scopeId"]);
    assert_eq!(gateway.get(SETTINGS).await.ok(200)["global"], Value::Null);
    let body =
        json!({ "global": host("a.example"), "providers": { "openai": host("b.example"), "mock": host("c.example") } });
    let set = gateway.put(SETTINGS, body).await.ok(200);
    assert_eq!(
        (&set["global"]["host"], set["providers"].as_object().map(serde_json::Map::len)),
        (&json!("a.example"), Some(2))
    );
    let cleared = gateway.put(SETTINGS, json!({ "providers": { "mock": null, "gone": null } })).await.ok(200);
    assert_eq!(cleared["providers"].as_object().map(serde_json::Map::len), Some(1));
}

#[tokio::test]
async fn a_proxy_of_the_list_stays_when_a_level_lets_it_go() {
    let gateway = Gateway::new().await;
    let id = proxy(&gateway, "http", nowhere(), None).await;
    assign(&gateway, &id, "global", "").await;
    assert_eq!(gateway.get(SETTINGS).await.ok(200)["global"]["port"], nowhere().port());
    // Another one takes its place; it is not changed.
    let set = gateway.put(SETTINGS, json!({ "proxy": { "host": "own.example" } })).await.ok(200);
    assert_eq!(set["global"]["host"], "own.example");
    gateway.delete(&format!("{SETTINGS}?level=global")).await.ok(200);
    let listed = gateway.get(PROXIES).await.ok(200);
    assert_eq!((&listed["page"]["total"], text(&listed["items"][0]["id"])), (&json!(1), id));
}

#[tokio::test]
async fn mistakes_are_named() {
    let gateway = Gateway::new().await;
    for (body, field) in [
        (json!({}), "body"),
        (json!({ "level": "global" }), "proxy"),
        (json!({ "level": "provider", "proxy": null }), "id"),
        (json!({ "level": "planet", "proxy": null }), "level"),
        (json!({ "global": { "port": 1 } }), "global.host"),
        (json!({ "global": { "host": "a", "type": "socks4" } }), "global.type"),
        (json!({ "global": { "host": "a", "pasword": "x" } }), "global.pasword"),
        (json!({ "providers": { "openai": { "host": "a", "port": 0 } } }), "providers.openai.port"),
        (json!({ "providers": { "openai": 5 } }), "providers.openai"),
        (json!({ "keys": { "none": { "host": "a" } } }), "scopeId"),
        (json!({ "gobal": null }), "gobal"),
    ] {
        assert_eq!(gateway.put(SETTINGS, body.clone()).await.fields(), [field], "{body}");
    }
    assert_eq!(gateway.get(&format!("{SETTINGS}?level=key")).await.fields(), ["id"]);
    assert_eq!(gateway.delete(SETTINGS).await.fields(), ["level"]);
    assert_eq!(gateway.get(&format!("{SETTINGS}?resolve=none")).await.code(404), "RESOURCE_001");
}
