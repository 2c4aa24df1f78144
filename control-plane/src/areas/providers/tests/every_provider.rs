//! Every provider of the catalog: added, tested, shown.

use omniroute_providers::{Catalog, Provider};
use serde_json::json;

use super::vendors::{Vendor, connect};
use crate::tests::gateway::Gateway;

const KEY: &str = "a-key-0123456789";

/// All but the clouds that are asked with accounts and tokens.
fn ordinary() -> impl Iterator<Item = &'static Provider> {
    const CLOUDS: [&str; 6] = ["azure-openai", "azure-foundry", "vertex", "watsonx", "databricks", "cloudflare"];
    Catalog::builtin().providers().iter().filter(|provider| !CLOUDS.contains(&provider.format))
}

#[tokio::test]
async fn each_can_be_added_and_tested() {
    // Lists models in every shape at once, and takes whatever it is asked.
    let vendor = Vendor::start(|_| {
        Some(json!({ "data": [{ "id": "m-1" }], "models": [{ "name": "m-1" }], "modelSummaries": [{ "modelId": "m-1" }] }))
    })
    .await;
    let gateway = Gateway::new().await;
    for provider in ordinary() {
        let id = provider.id;
        let body = json!({ "provider": id, "name": id, "apiKey": KEY,
            "providerSpecificData": { "baseUrl": vendor.url(&format!("/{id}")) } });
        let connection = connect(&gateway, body).await;
        vendor.forget();
        let tested = gateway.post(&format!("/api/providers/{connection}/test"), json!({})).await.ok(200);
        if provider.check.is_some() || provider.lists_models {
            assert_eq!(tested["valid"], true, "{id}: {tested}");
        }
        if tested["valid"] == true {
            let asked = vendor.last();
            assert!(asked.path.starts_with(&format!("/{id}")), "{id}: {}", asked.path);
            let holds_key = |value: &&http::HeaderValue| value.to_str().is_ok_and(|value| value.contains(KEY));
            assert_eq!(asked.headers.values().filter(holds_key).count(), 1, "{id}");
            assert!(!asked.path.contains(KEY), "{id}");
            let has_question = match provider.check {
                Some(check) => check.body.is_some(),
                // A model is asked, where one is known.
                None => !provider.lists_models,
            };
            assert_eq!(asked.method == http::Method::POST, has_question, "{id}: {} {}", asked.method, asked.path);
        } else {
            assert!(vendor.paths().is_empty(), "{id}: {:?}", vendor.paths());
            let error = tested["error"].as_str().expect("a sentence");
            let is_advice =
                error.contains("name a model to test with") || error.contains("the first request will tell");
            assert!(is_advice, "{id}: {error}");
        }
        let shown = gateway.get(&format!("/api/providers/{connection}")).await.ok(200).to_string();
        assert!(!shown.contains(KEY), "{id}: {shown}");
    }
}

#[tokio::test]
async fn a_host_per_customer_has_to_be_named() {
    let gateway = Gateway::new().await;
    for provider in ordinary().filter(|provider| provider.own_host) {
        let body = json!({ "provider": provider.id, "name": "c", "apiKey": KEY });
        let refused = gateway.post("/api/providers", body).await;
        assert_eq!(refused.fields(), ["providerSpecificData.baseUrl"], "{}", provider.id);
    }
}

#[tokio::test]
async fn a_key_that_is_wrong_and_a_page_instead_of_an_api_are_told_apart() {
    let vendor = Vendor::start_with(|asked| match asked.path.as_str() {
        path if path.starts_with("/wrong") => (401, r#"{"detail":"Invalid token"}"#.to_owned()),
        path if path.starts_with("/page") => (200, "<!doctype html><title>Welcome</title>".to_owned()),
        _ => (404, r#"{"message":"nothing here"}"#.to_owned()),
    })
    .await;
    let gateway = Gateway::new().await;
    for (provider, path, kind, words) in [
        ("deepgram", "/wrong", "upstream_auth_error", "the credential was refused"),
        ("groq", "/wrong/v1", "upstream_auth_error", "the credential was refused"),
        ("deepgram", "/page", "upstream_error", "a web page is there, not an API"),
        ("groq", "/page", "upstream_error", "try http://"),
        ("together", "/page/v1", "upstream_error", "a web page is there, not an API: check the base URL"),
        ("requesty", "/nothing", "unsupported", "most have a version: try http://"),
        ("siliconflow-cn", "/nothing/v1", "unsupported", "check it, or name a model to test with"),
    ] {
        let body = json!({ "provider": provider, "name": provider, "apiKey": KEY,
            "providerSpecificData": { "baseUrl": vendor.url(path) } });
        let connection = connect(&gateway, body).await;
        let tested = gateway.post(&format!("/api/providers/{connection}/test"), json!({})).await.ok(200);
        assert_eq!(tested["diagnosis"]["type"], kind, "{provider}: {tested}");
        assert!(tested["error"].as_str().is_some_and(|error| error.contains(words)), "{provider}: {tested}");
    }
}
