//! Providers are called through the outbound proxy that is assigned, on every proxy of the fleet, and not without it.

#![cfg(test)]

use omniroute_egress::testing::{TestProxy, TestProxyOptions};
use omniroute_tests::harness::{Engine, Setup, eventually};
use serde_json::json;

const PROXIES: &str = "/api/v1/management/proxies";

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_assigned_proxy_and_not_at_all_when_it_cannot_be_used() {
    let stack = Setup::on(Engine::Postgres).proxies(2).start().await;
    let options = TestProxyOptions { credentials: Some(("user", "planted-password")), ..TestProxyOptions::default() };
    let outbound = TestProxy::start(options).await.expect("an outbound proxy");
    let made = json!({
        "name": "out", "type": "http", "host": "127.0.0.1", "port": outbound.address.port(), "username": "user",
        "password": "planted-password", "assignment": { "scope": "account", "scopeId": stack.connection_id },
    });
    let made = stack.rest.post(PROXIES, &made).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    for client in stack.clients() {
        let before = outbound.targets().len();
        eventually("requests go through the outbound proxy", || async {
            client.chat("mock/gpt-mock", "hi").await.ok();
            outbound.targets().len() > before
        })
        .await;
    }
    let test = stack.rest.post(&format!("/api/providers/{}/test", stack.connection_id), &json!({})).await;
    assert_eq!(test["valid"], true, "{test}");
    eventually("both proxies have said what went through it", || async {
        let health = stack.rest.get(&format!("{PROXIES}/health?hours=1")).await;
        let one = &health["items"][0];
        one["successCount"].as_u64() >= Some(3) && one["avgLatencyMs"].is_u64() && one["errorCount"] == 0
    })
    .await;

    stack.rest.patch(PROXIES, &json!({ "id": id, "status": "inactive" })).await;
    for client in stack.clients() {
        eventually("nothing goes out", || async { client.chat("mock/gpt-mock", "hi").await.status != 200 }).await;
    }
    let asked = stack.provider.journal().count();
    for client in stack.clients() {
        assert_ne!(client.chat("mock/gpt-mock", "hi").await.status, 200);
    }
    assert_eq!(stack.provider.journal().count(), asked, "neither through it nor without it");

    let through = outbound.targets().len();
    stack.rest.delete(&format!("{PROXIES}?id={id}&force=1")).await;
    for client in stack.clients() {
        eventually("requests go directly", || async { client.chat("mock/gpt-mock", "hi").await.status == 200 }).await;
    }
    assert_eq!(outbound.targets().len(), through);
}
