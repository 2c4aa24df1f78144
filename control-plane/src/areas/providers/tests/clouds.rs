//! Connections to clouds: what they need is told, what they have is exchanged, and nothing of it leaks.

use http::Method;
use serde_json::{Value, json};

use super::vendors::{Vendor, connect};
use crate::tests::gateway::Gateway;

const ACCOUNT_KEY: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/credentials/testdata/account.pem"));

fn account(vendor: &Vendor) -> String {
    json!({ "type": "service_account", "project_id": "project-1", "private_key_id": "k", "private_key": ACCOUNT_KEY,
        "client_email": "models@project-1.iam.gserviceaccount.com", "token_uri": vendor.url("/token") })
    .to_string()
}

/// Issues tokens, lists models as each cloud does, and answers who has a token.
async fn cloud() -> Vendor {
    Vendor::start(|asked| {
        let path = asked.path.as_str();
        if path.contains("token") {
            return Some(json!({ "access_token": "minted", "expires_in": 3600 }));
        }
        let sent = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
        if sent("authorization") != Some("Bearer minted") && sent("api-key") != Some("azure-key-0123456789") {
            return None;
        }
        Some(match path {
            "/v1beta1/publishers/google/models?pageSize=100" => {
                json!({ "publisherModels": [{ "name": "publishers/google/models/gemini-2.5-pro" }] })
            }
            "/openai/v1/models" | "/openai/models?api-version=2024-10-21" => json!({ "data": [{ "id": "gpt-4o" }] }),
            "/api/2.0/serving-endpoints" => json!({ "endpoints": [{ "name": "dbrx", "task": "llm/v1/chat" }] }),
            path if path.starts_with("/ml/v1/foundation_model_specs?") => {
                json!({ "resources": [{ "model_id": "ibm/granite" }] })
            }
            _ if asked.method == Method::POST => json!({ "fine": true, "body": asked.body }),
            _ => return None,
        })
    })
    .await
}

#[tokio::test]
async fn clouds_are_tested_and_listed_with_a_token() {
    let vendor = cloud().await;
    let gateway = Gateway::new().await;
    let url = vendor.url("");
    let client = |extra: Value| {
        let mut client = json!({ "clientId": "app", "clientSecret": "app-secret-0123" });
        client.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        client.to_string()
    };
    for (provider, key, specific, listed, asked, field, value) in [
        (
            "vertex",
            account(&vendor),
            json!({ "baseUrl": url, "region": "europe-west4" }),
            "gemini-2.5-pro",
            "/v1/projects/project-1/locations/europe-west4/publishers/google/models/m-1:generateContent",
            "/contents/0/parts/0/text",
            json!("ping"),
        ),
        (
            "azure-openai",
            "azure-key-0123456789".to_owned(),
            json!({ "baseUrl": url, "apiVersion": "2024-10-21" }),
            "gpt-4o",
            "/openai/deployments/m-1/chat/completions?api-version=2024-10-21",
            "/messages/0/content",
            json!("ping"),
        ),
        (
            "azure",
            client(json!({ "tenantId": "t", "authorityHost": url })),
            json!({ "baseUrl": url, "authUrl": vendor.url("/t/oauth2/v2.0/token") }),
            "gpt-4o",
            "/openai/v1/chat/completions",
            "/messages/0/content",
            json!("ping"),
        ),
        (
            "databricks",
            client(json!({})),
            json!({ "baseUrl": url }),
            "dbrx",
            "/serving-endpoints/chat/completions",
            "/model",
            json!("m-1"),
        ),
        (
            "watsonx",
            "ibm-key-0123456789".to_owned(),
            json!({ "baseUrl": url, "authUrl": vendor.url("/identity/token"), "projectId": "p-1" }),
            "ibm/granite",
            "/ml/v1/text/chat?version=2025-04-17",
            "/project_id",
            json!("p-1"),
        ),
    ] {
        let body = json!({ "provider": provider, "name": provider, "apiKey": key, "providerSpecificData": specific });
        let id = connect(&gateway, body).await;
        let path = format!("/api/providers/{id}");
        let answer = gateway.get(&format!("{path}/models")).await.ok(200);
        assert_eq!((&answer["source"], &answer["models"][0]["id"]), (&json!("api"), &json!(listed)), "{answer}");
        assert_eq!(gateway.post(&format!("{path}/test"), json!({})).await.ok(200)["valid"], true, "{provider}");
        let tested = gateway.post(&format!("{path}/test"), json!({ "validationModelId": "m-1" })).await.ok(200);
        assert_eq!(tested["valid"], true, "{provider}: {tested}");
        let last = vendor.last();
        assert_eq!((last.path.as_str(), last.body.pointer(field)), (asked, Some(&value)), "{provider}");
        let shown = gateway.get(&path).await.ok(200).to_string();
        for secret in ["PRIVATE KEY", "app-secret", "minted", "azure-key", "ibm-key"] {
            assert!(!shown.contains(secret), "{provider}: {shown}");
        }
        let candidate =
            json!({ "provider": provider, "apiKey": key, "baseUrl": url, "providerSpecificData": specific });
        let tried = gateway.post("/api/providers/validate", candidate).await.ok(200);
        assert_eq!(tried["valid"], true, "{provider}: {tried}");
    }
}

#[tokio::test]
async fn what_a_cloud_lacks_is_told_by_its_field() {
    let gateway = Gateway::new().await;
    let no_key = json!({ "type": "service_account", "client_email": "e", "private_key": "none" }).to_string();
    let external = json!({ "type": "external_account", "credential_source": { "file": "/etc/passwd" } }).to_string();
    let client = json!({ "clientId": "a", "clientSecret": "b" }).to_string();
    for (provider, key, specific, field) in [
        ("azure-openai", "k", json!({}), "providerSpecificData.baseUrl"),
        ("azure-openai", client.as_str(), json!({ "baseUrl": "https://x.openai.azure.com" }), "apiKey"),
        (
            "azure-openai",
            "k",
            json!({ "baseUrl": "https://x.openai.azure.com", "apiVersion": 5 }),
            "providerSpecificData.apiVersion",
        ),
        ("databricks", "dapi1", json!({}), "providerSpecificData.baseUrl"),
        ("vertex", no_key.as_str(), json!({ "projectId": "p" }), "apiKey"),
        ("vertex", external.as_str(), json!({ "projectId": "p" }), "apiKey"),
        ("vertex", "{", json!({ "projectId": "p" }), "apiKey"),
        ("vertex", "AQ.key", json!({ "projectId": "../x" }), "providerSpecificData.projectId"),
        ("vertex", "AQ.key", json!({ "projectID": "p" }), "providerSpecificData.projectID"),
        ("watsonx", "k", json!({}), "providerSpecificData.projectId"),
        (
            "watsonx",
            "k",
            json!({ "projectId": "p", "authUrl": "http://169.254.169.254/" }),
            "providerSpecificData.authUrl",
        ),
        ("cloudflare-ai", "k", json!({}), "providerSpecificData.projectId"),
        ("bedrock", "k", json!({ "identity": "ambient" }), "providerSpecificData.identity"),
        ("openai", "k", json!({ "identity": "ambient" }), "providerSpecificData.identity"),
        ("bedrock", "k", json!({ "identity": "mine" }), "providerSpecificData.identity"),
    ] {
        let body = json!({ "provider": provider, "name": "c", "apiKey": key, "providerSpecificData": specific });
        assert_eq!(gateway.post("/api/providers", body.clone()).await.fields(), [field], "{body}");
    }
    let away = json!({ "provider": "bedrock", "name": "c",
        "providerSpecificData": { "identity": "ambient", "baseUrl": "https://collector.example" } });
    assert_eq!(gateway.post("/api/providers", away).await.fields(), ["providerSpecificData.identity"]);
    // The machine's own identity needs no secret, and the operator's word before it is used.
    let own = json!({ "provider": "bedrock", "name": "c", "providerSpecificData": { "identity": "ambient" } });
    let id = connect(&gateway, own).await;
    let tested = gateway.post(&format!("/api/providers/{id}/test"), json!({})).await.ok(200);
    assert_eq!((&tested["valid"], &tested["diagnosis"]["type"]), (&json!(false), &json!("configuration")), "{tested}");
    assert!(tested["error"].as_str().expect("words").contains("AMBIENT_CREDENTIALS"), "{tested}");
}

#[tokio::test]
async fn a_refused_credential_is_told_and_a_stored_one_goes_nowhere_else() {
    let vendor = Vendor::start(|_| None).await;
    let gateway = Gateway::new().await;
    let specific = json!({ "projectId": "p-1", "authUrl": vendor.url("/identity/token") });
    let body =
        json!({ "provider": "watsonx", "name": "w", "apiKey": "ibm-key-0123456789", "providerSpecificData": specific });
    let id = connect(&gateway, body).await;
    let path = format!("/api/providers/{id}");
    let tested = gateway.post(&format!("{path}/test"), json!({})).await.ok(200);
    assert_eq!(tested["diagnosis"]["type"], "upstream_auth_error", "{tested}");
    assert!(tested["error"].as_str().expect("words").contains("IBM Cloud refused"), "{tested}");
    let moved = json!({ "providerSpecificData": { "authUrl": "https://collector.example/token" } });
    assert_eq!(gateway.patch(&path, moved.clone()).await.fields(), ["apiKey"]);
    let mut anew = moved;
    anew["apiKey"] = json!("another-key-0123");
    gateway.patch(&path, anew).await.ok(200);
}

// === Many at once ===

#[tokio::test]
async fn many_keys_are_added_and_tested_at_once() {
    let vendor = Vendor::start(|asked| {
        let key = asked.headers.get("authorization").and_then(|value| value.to_str().ok());
        (key != Some("Bearer wrong-key-0123")).then(|| json!({ "data": [{ "id": "m-1" }] }))
    })
    .await;
    let gateway = Gateway::new().await;
    let specific = json!({ "baseUrl": vendor.url("/v1") });
    let entry = |name: &str, key: &str| json!({ "name": name, "apiKey": key });
    let added = gateway
        .post(
            "/api/providers/bulk",
            json!({ "provider": "openai", "providerSpecificData": specific, "validateKeys": true,
                "entries": [entry("team", "good-key-0123"), entry("team", "wrong-key-0123"), entry("line", "a\u{7f}b")] }),
        )
        .await
        .ok(200);
    assert_eq!((&added["success"], &added["failed"], &added["total"]), (&json!(2), &json!(1), &json!(3)), "{added}");
    let states: Vec<_> =
        added["created"].as_array().expect("rows").iter().map(|row| (&row["name"], &row["testStatus"])).collect();
    assert_eq!(states, [(&json!("team"), &json!("active")), (&json!("team 2"), &json!("error"))], "{added}");
    assert_eq!((&added["errors"][0]["index"], &added["errors"][0]["name"]), (&json!(2), &json!("line")));
    assert!(!added.to_string().contains("key-0123"), "{added}");

    let batch =
        gateway.post("/api/providers/test-batch", json!({ "mode": "provider", "providerId": "openai" })).await.ok(200);
    assert_eq!(batch["summary"], json!({ "total": 2, "passed": 1, "failed": 1 }), "{batch}");
    let none = gateway.post("/api/providers/test-batch", json!({ "mode": "oauth" })).await.ok(200);
    assert_eq!(none["summary"]["total"], 0);

    for (body, fields) in [
        (json!({ "provider": "openai", "entries": [] }), vec!["entries"]),
        (json!({ "provider": "openai" }), vec!["entries"]),
        (json!({ "provider": "openai", "entries": [{ "name": "x" }] }), vec!["entries.0.apiKey"]),
        (
            json!({ "provider": "openai", "entries": [{ "name": "x", "apiKey": "k", "keys": 1 }] }),
            vec!["entries.0.keys"],
        ),
        (json!({ "provider": "nobody-at-all", "entries": [{ "name": "x", "apiKey": "k" }] }), vec!["provider"]),
    ] {
        assert_eq!(gateway.post("/api/providers/bulk", body.clone()).await.fields(), fields, "{body}");
    }
    assert_eq!(gateway.post("/api/providers/test-batch", json!({ "mode": "provider" })).await.fields(), ["providerId"]);
}

#[tokio::test]
async fn weight_and_tags_are_kept_and_said_not_to_be_enforced() {
    let gateway = Gateway::new().await;
    let body =
        json!({ "provider": "openai", "name": "c", "apiKey": "sk-0123456789", "weight": 3, "tags": ["eu", "team-a"] });
    let created = gateway.post("/api/providers", body).await.ok(201);
    assert_eq!(
        (&created["connection"]["weight"], &created["connection"]["tags"]),
        (&json!(3), &json!(["eu", "team-a"]))
    );
    assert_eq!(created["notEnforced"], json!(["weight", "tags"]));
    let path = format!("/api/providers/{}", created["connection"]["id"].as_str().expect("an id"));
    assert_eq!(gateway.patch(&path, json!({ "tags": [""] })).await.fields(), ["tags"]);
    assert_eq!(gateway.patch(&path, json!({ "weight": 0 })).await.fields(), ["weight"]);
    let changed = gateway.patch(&path, json!({ "tags": null, "weight": 5 })).await.ok(200);
    assert_eq!((changed["connection"].get("tags"), &changed["connection"]["weight"]), (None, &json!(5)));
}
