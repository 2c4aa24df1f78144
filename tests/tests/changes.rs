//! What an operator changes is in force on every proxy, without a restart.

#![cfg(test)]

use std::time::{Duration, SystemTime};

use http::Method;
use omniroute_tests::{
    harness::{Engine, Setup, Stack, eventually},
    mock_provider::MockProvider,
};
use serde_json::json;

async fn fleet() -> Stack {
    Setup::on(Engine::Postgres).shared_redis().proxies(2).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_works_everywhere_and_a_deleted_one_nowhere() {
    let stack = fleet().await;
    let (id, key) = stack.new_key(&json!({ "name": "second" })).await;
    for client in stack.clients() {
        let client = client.with_key(&key);
        eventually("the new key is known", || async { client.chat("mock/gpt-mock", "hi").await.status == 200 }).await;
    }
    stack.rest.delete(&format!("/api/keys/{id}")).await;
    for client in stack.clients() {
        let client = client.with_key(&key);
        eventually("the deleted key is refused", || async {
            client.chat("mock/gpt-mock", "hi").await.error_code() == "invalid_api_key"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_may_do_changes_while_proxies_run() {
    let stack = fleet().await;
    let path = format!("/api/keys/{}", stack.key_id);
    stack.rest.patch(&path, &json!({ "allowedModels": ["mock/gpt-mock-mini"] })).await;
    for client in stack.clients() {
        eventually("the model is refused", || async { client.chat("mock/gpt-mock", "hi").await.status == 403 }).await;
        client.chat("mock/gpt-mock-mini", "hi").await.ok();
        let models = client.get("/v1/models").await.ok().json();
        assert_eq!(models["data"].as_array().map(Vec::len), Some(1), "{models}");
    }
    stack.rest.patch(&path, &json!({ "allowedModels": [], "isActive": false })).await;
    for client in stack.clients() {
        eventually("the key is switched off", || async { client.chat("mock/gpt-mock", "hi").await.status == 401 })
            .await;
    }
    // Only a time that is to come is taken.
    let soon = humantime::format_rfc3339_millis(SystemTime::now() + Duration::from_secs(4)).to_string();
    stack.rest.patch(&path, &json!({ "isActive": true, "expiresAt": soon })).await;
    for client in stack.clients() {
        eventually("the key has expired", || async {
            client.chat("mock/gpt-mock", "hi").await.error_code() == "key_expired"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_moves_and_is_switched_off_while_proxies_run() {
    let stack = fleet().await;
    let other = MockProvider::start().await.expect("another provider");
    other.accept_key(stack.provider.key());
    let path = format!("/api/providers/{}", stack.connection_id);
    let specific = json!({ "baseUrl": other.base_url() });
    let edit = json!({ "providerSpecificData": specific, "apiKey": stack.provider.key() });
    stack.rest.put(&path, &edit).await;
    for (number, client) in stack.clients().iter().enumerate() {
        let text = format!("to the other {number}");
        eventually("requests go to the other provider", || async {
            client.chat("mock/gpt-mock", &text).await.ok();
            other.seen_text(&text).is_some()
        })
        .await;
    }
    stack.rest.put(&path, &json!({ "isActive": false })).await;
    for client in stack.clients() {
        eventually("the connection is gone", || async { client.chat("mock/gpt-mock", "hi").await.status != 200 }).await;
    }
    let (status, _) = stack.rest.call(Method::DELETE, &path, None).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_is_in_force_while_proxies_run() {
    let stack = fleet().await;
    stack.rest.patch("/api/settings", &json!({ "maxBodySizeMb": 1 })).await;
    let long = "x".repeat(1_200_000);
    for client in stack.clients() {
        eventually("the limit on bodies holds", || async {
            client.chat("mock/gpt-mock", &long).await.error_code() == "body_too_large"
        })
        .await;
    }
}
