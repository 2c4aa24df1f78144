//! A plane is told to stop behind a balancer: it says that it is not ready, serves for as long as the balancer needs to turn
//! away, and ends by itself.

#![cfg(test)]

use omniroute_tests::harness::{Engine, PATIENCE, Setup, eventually};
use reqwest::Method;
use serde_json::json;

/// Longer than what is asked meanwhile takes, on a busy machine too.
const LAME_DUCK: &str = "15s";

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_leaves_is_not_ready_and_answers_until_it_ends() {
    let mut stack = Setup::on(Engine::Sqlite).control_plane("LAME_DUCK", LAME_DUCK).start().await;
    stack.control_plane.terminate();
    eventually("it is not ready", || async {
        stack.rest.call(Method::GET, "/readyz", None).await == (503, r#"{"status":"stopping"}"#.to_owned())
    })
    .await;
    // It still takes edits, and publishes them.
    let (_, key) = stack.new_key(&json!({ "name": "late" })).await;
    let late = stack.client.with_key(key);
    eventually("the proxy knows the key", || async { late.chat("mock/gpt-mock", "hi").await.status == 200 }).await;
    assert!(stack.control_plane.is_running());
    assert!(stack.control_plane.ended(PATIENCE).await.success());
    stack.client.chat("mock/gpt-mock", "without it").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_leaves_is_not_ready_and_serves_until_it_ends() {
    let mut stack = Setup::on(Engine::Sqlite).proxy("LAME_DUCK", LAME_DUCK).start().await;
    stack.proxies[0].process.terminate();
    eventually("it is not ready", || async { stack.proxies[0].readiness().await.0 == 503 }).await;
    stack.client.chat("mock/gpt-mock", "who has not turned away").await.ok();
    assert!(stack.proxies[0].process.is_running());
    assert!(stack.proxies[0].process.ended(PATIENCE).await.success());
    assert_eq!(stack.ledger.answered().await, stack.provider.total(), "all of it is in the ledger");
}
