//! Calls of this process through real proxies.

use std::{collections::HashMap, net::SocketAddr};

use axum::{Json, Router, routing::get};
use omniroute_egress::testing::{Speaks, TestProxy, TestProxyOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{PROXIES, assign, proxy, text};
use crate::tests::{
    gateway::Gateway,
    provider::{KEY, Provider},
    resources::node,
};

const CREDENTIALS: (&str, &str) = ("user", "planted-password");
const TEST: &str = "/api/settings/proxy/test";

async fn server(speaks: Speaks, provider: SocketAddr) -> TestProxy {
    let names = HashMap::from([("provider.test".to_owned(), provider)]);
    TestProxy::start(TestProxyOptions { speaks, credentials: Some(CREDENTIALS), names }).await.expect("a proxy")
}

#[tokio::test]
async fn connections_are_tested_and_models_listed_through_the_proxy() {
    let provider = Provider::start().await;
    for (kind, speaks) in [("http", Speaks::Connect), ("socks5", Speaks::Socks5)] {
        let gateway = Gateway::new().await;
        let server = server(speaks, provider.address).await;
        let node = node(&gateway, "mock", "http://provider.test/v1").await;
        let id = proxy(&gateway, kind, server.address, Some(CREDENTIALS)).await;
        assign(&gateway, &id, "provider", "mock").await;
        let body = json!({ "provider": node["id"], "name": "c1", "apiKey": KEY });
        let connection = text(&gateway.post("/api/providers", body).await.ok(201)["connection"]["id"]);
        // Its models are asked for in the background.
        gateway.on.background.close();
        gateway.on.background.wait().await;
        gateway.on.background.reopen();
        let tested = gateway.post(&format!("/api/providers/{connection}/test"), json!({})).await.ok(200);
        assert_eq!((&tested["valid"], &tested["error"]), (&json!(true), &Value::Null), "{kind}");
        let listed = gateway.get(&format!("/api/providers/{connection}/models")).await.ok(200);
        assert_eq!(listed["models"].as_array().map(Vec::len), Some(2), "{kind}");
        assert!(server.targets().iter().all(|target| target == "provider.test:80"), "{:?}", server.targets());

        let health = gateway.get(&format!("{PROXIES}/health")).await.ok(200);
        let one = &health["items"][0];
        assert!(one["connectionTests"].as_u64() >= Some(2), "{health}");
        assert_eq!((&one["connectionTestSuccess"], &one["successRate"]), (&one["connectionTests"], &json!(100.0)));

        // The wrong password: whose fault it is shows.
        gateway.patch(PROXIES, json!({ "id": id, "password": "planted-wrong" })).await.ok(200);
        let tested = gateway.post(&format!("/api/providers/{connection}/test"), json!({})).await;
        assert_eq!(
            (&tested.ok(200)["valid"], &tested.json()["diagnosis"]["code"]),
            (&json!(false), &json!("proxy_auth"))
        );
        assert!(text(&tested.json()["error"]).contains("outbound proxy refuses"), "{}", tested.text);
        assert!(!tested.text.contains("planted"));

        // Nothing goes out without it.
        let asked = provider.asked();
        gateway.patch(PROXIES, json!({ "id": id, "status": "inactive" })).await.ok(200);
        let tested = gateway.post(&format!("/api/providers/{connection}/test"), json!({})).await.ok(200);
        assert_eq!((&tested["valid"], &tested["diagnosis"]["code"]), (&json!(false), &json!("proxy_unusable")));
        assert_eq!(provider.asked(), asked);
    }
}

/// Tells from where it is called, as the public service does.
async fn teller() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new()
        .route("/", get(|| async { Json(json!({ "ip": "203.0.113.7" })) }))
        .route("/page", get(|| async { "<html>internal page</html>" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn a_proxy_can_be_tried_before_it_is_stored_and_after() {
    let gateway = Gateway::new().await;
    let teller = teller().await;
    let target = format!("http://{teller}/");
    let server = server(Speaks::Connect, teller).await;
    let candidate = json!({
        "type": "http", "host": "127.0.0.1", "port": server.address.port(), "username": CREDENTIALS.0, "password": CREDENTIALS.1,
    });
    let tried = gateway.post(TEST, json!({ "proxy": candidate, "targetUrl": target })).await;
    assert_eq!((&tried.ok(200)["success"], &tried.json()["publicIp"]), (&json!(true), &json!("203.0.113.7")));
    assert_eq!(tried.json()["proxyUrl"], format!("http://{}", server.address));
    assert!(
        tried.json()["latencyMs"].is_u64() && tried.json().get("error").is_none() && !tried.text.contains("planted")
    );
    let page = gateway.post(TEST, json!({ "proxy": candidate, "targetUrl": format!("{target}page") })).await;
    assert_eq!((&page.ok(200)["publicIp"], page.text.contains("internal")), (&Value::Null, false));

    let id = proxy(&gateway, "http", server.address, Some(CREDENTIALS)).await;
    let tried = gateway.post(TEST, json!({ "proxyId": id, "targetUrl": target })).await.ok(200);
    assert_eq!(tried["success"], true);
    let masked = json!({ "type": "http", "host": "127.0.0.1", "port": server.address.port(), "username": "***", "password": "***" });
    let tried = gateway.post(TEST, json!({ "proxyId": id, "proxy": masked, "targetUrl": target })).await.ok(200);
    assert_eq!(tried["success"], true);
    let health = gateway.get(&format!("{PROXIES}/health?hours=1")).await.ok(200);
    assert_eq!((&health["items"][0]["connectionTests"], &health["windowHours"]), (&json!(2), &json!(1)));

    // What is stored for one place is not sent to another.
    let trap = TestProxy::start(TestProxyOptions { credentials: Some(CREDENTIALS), ..TestProxyOptions::default() });
    let trap = trap.await.expect("a proxy");
    let elsewhere = json!({ "host": "127.0.0.1", "port": trap.address.port(), "username": "***", "password": "***" });
    let tried = gateway.post(TEST, json!({ "proxyId": id, "proxy": elsewhere, "targetUrl": target })).await.ok(200);
    assert_eq!((&tried["success"], &tried["code"], trap.refused()), (&json!(false), &json!("proxy_auth"), 1));

    for (body, field) in [
        (json!({ "targetUrl": target }), "proxy"),
        (json!({ "proxy": { "host": "127.0.0.1" } }), "proxy.port"),
        (json!({ "proxy": { "port": 1 } }), "proxy.host"),
        (json!({ "proxy": { "host": "169.254.169.254", "port": 80 } }), "proxy.host"),
        (json!({ "proxy": candidate, "targetUrl": "http://169.254.169.254/" }), "targetUrl"),
        (json!({ "proxy": candidate, "targetUrl": "ftp://x" }), "targetUrl"),
    ] {
        assert_eq!(gateway.post(TEST, body.clone()).await.fields(), [field], "{body}");
    }
    assert_eq!(gateway.post(TEST, json!({ "proxyId": "none" })).await.code(404), "RESOURCE_001");
}
