//! Connections of every kind of provider, asked where they stand: the path, the proof of who asks, the pages of a list.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::tests::gateway::Gateway;

const PAIR: &str = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

type Answering = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// A provider that answers what it is told to, and 404 elsewhere.
#[derive(Clone)]
pub(super) struct Vendor {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    answering: Arc<Answering>,
}

impl Vendor {
    pub(super) async fn start(answering: impl Fn(&Asked) -> Option<Value> + Send + Sync + 'static) -> Self {
        Self::start_with(move |asked| match answering(asked) {
            Some(body) => (200, body.to_string()),
            None => (404, json!({ "message": "nothing here" }).to_string()),
        })
        .await
    }

    /// One that answers with a status of its own, and with anything.
    pub(super) async fn start_with(answering: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let vendor = Self { address, asked: Arc::default(), answering: Arc::new(answering) };
        let router = Router::new().fallback(answer).with_state(vendor.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        vendor
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.asked.lock().iter().map(|asked| asked.path.clone()).collect()
    }

    pub(super) fn last(&self) -> Asked {
        self.asked.lock().last().cloned().expect("it was asked")
    }

    pub(super) fn forget(&self) {
        self.asked.lock().clear();
    }
}

async fn answer(State(vendor): State<Vendor>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let one = Asked { method, path: uri.to_string(), headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    let (status, body) = (vendor.answering)(&one);
    vendor.asked.lock().push(one);
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Adds a connection and waits until its models have been asked for.
pub(super) async fn connect(gateway: &Gateway, body: Value) -> String {
    let id = gateway.post("/api/providers", body).await.ok(201)["connection"]["id"].as_str().expect("an id").to_owned();
    gateway.on.background.close();
    gateway.on.background.wait().await;
    gateway.on.background.reopen();
    id
}

fn listed(answer: &Value) -> Vec<(&str, &str)> {
    assert_eq!(answer["source"], "api", "{answer}");
    let models = answer["models"].as_array().expect("a list");
    models.iter().map(|model| (model["id"].as_str().expect("an id"), model["type"].as_str().expect("a type"))).collect()
}

#[tokio::test]
async fn lists_are_read_to_their_last_page_with_the_providers_own_proof() {
    let vendor = Vendor::start(|asked| {
        Some(match asked.path.as_str() {
            "/v1/models?limit=1000" => {
                json!({ "data": [{ "id": "claude-opus-4-6", "type": "model" }], "has_more": true, "last_id": "claude-opus-4-6" })
            }
            "/v1/models?limit=1000&after_id=claude-opus-4-6" => {
                json!({ "data": [{ "id": "claude-haiku-4-5", "type": "model" }], "has_more": false, "last_id": "x" })
            }
            "/v1beta/models?pageSize=1000" => json!({ "models": [
                { "name": "models/gemini-2.5-pro", "supportedGenerationMethods": ["generateContent"] },
            ], "nextPageToken": "p/2" }),
            "/v1beta/models?pageSize=1000&pageToken=p%2F2" => json!({ "models": [
                { "name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"] },
            ] }),
            "/api/tags" => json!({ "models": [{ "name": "qwen3:8b" }, { "name": "nomic-embed-text:latest" }] }),
            "/v1/models?page_size=1000" => json!({ "models": [
                { "name": "command-a-03-2025", "endpoints": ["chat"], "context_length": 256_000 },
            ], "next_page_token": "t" }),
            "/v1/models?page_size=1000&page_token=t" => {
                json!({ "models": [{ "name": "embed-v4.0", "endpoints": ["embed"] }] })
            }
            "/foundation-models" => json!({ "modelSummaries": [
                { "modelId": "amazon.nova-pro-v1:0", "outputModalities": ["TEXT"], "inferenceTypesSupported": ["ON_DEMAND"] },
            ] }),
            "/inference-profiles?maxResults=1000&typeEquals=SYSTEM_DEFINED" => json!({ "inferenceProfileSummaries": [
                { "inferenceProfileId": "us.anthropic.claude-opus-4-6-v1", "status": "ACTIVE" },
            ] }),
            _ => return None,
        })
    })
    .await;
    let gateway = Gateway::new().await;
    for (provider, base, key, name, value, models) in [
        (
            "anthropic",
            "",
            "sk-ant-0123456789",
            "x-api-key",
            "sk-ant-0123456789",
            [("claude-opus-4-6", "chat"), ("claude-haiku-4-5", "chat")],
        ),
        (
            "gemini",
            "/v1beta",
            "AIza0123456789",
            "x-goog-api-key",
            "AIza0123456789",
            [("gemini-2.5-pro", "chat"), ("gemini-embedding-001", "embedding")],
        ),
        (
            "cohere",
            "",
            "co-0123456789",
            "authorization",
            "Bearer co-0123456789",
            [("command-a-03-2025", "chat"), ("embed-v4.0", "embedding")],
        ),
        (
            "bedrock",
            "",
            "ABSK0123456789",
            "authorization",
            "Bearer ABSK0123456789",
            [("amazon.nova-pro-v1:0", "chat"), ("us.anthropic.claude-opus-4-6-v1", "chat")],
        ),
    ] {
        let body = json!({ "provider": provider, "name": provider, "apiKey": key,
            "providerSpecificData": { "baseUrl": vendor.url(base) } });
        let id = connect(&gateway, body).await;
        vendor.forget();
        let answer = gateway.get(&format!("/api/providers/{id}/models")).await.ok(200);
        assert_eq!(listed(&answer), models, "{provider}");
        assert_eq!(vendor.paths().len(), 2, "{provider}: {:?}", vendor.paths());
        for asked in vendor.asked.lock().iter() {
            assert_eq!(asked.headers[name], value, "{provider}");
            assert_eq!(asked.headers.contains_key("anthropic-version"), provider == "anthropic");
        }
        vendor.forget();
        let tested = gateway.post(&format!("/api/providers/{id}/test"), json!({})).await.ok(200);
        assert_eq!((&tested["valid"], vendor.paths().len()), (&json!(true), 1), "{provider}: {tested}");
        let candidate = json!({ "provider": provider, "apiKey": key, "baseUrl": vendor.url(base) });
        let tried = gateway.post("/api/providers/validate", candidate).await.ok(200);
        assert_eq!((&tried["valid"], &tried["method"]), (&json!(true), &json!("models")), "{provider}: {tried}");
    }

    // Ollama wants no key.
    let body = json!({ "provider": "ollama", "name": "o", "providerSpecificData": { "baseUrl": vendor.url("/") } });
    let id = connect(&gateway, body).await;
    let answer = gateway.get(&format!("/api/providers/{id}/models")).await.ok(200);
    assert_eq!(listed(&answer), [("qwen3:8b", "chat"), ("nomic-embed-text:latest", "embedding")]);
    assert!(!vendor.last().headers.contains_key(header::AUTHORIZATION));
    let tried = json!({ "provider": "ollama", "baseUrl": vendor.url("") });
    assert_eq!(gateway.post("/api/providers/validate", tried).await.ok(200)["valid"], true);
}

#[tokio::test]
async fn where_there_is_no_list_a_model_is_asked_in_the_formats_own_words() {
    let vendor = Vendor::start(|asked| (asked.method == Method::POST).then(|| json!({ "fine": true }))).await;
    let gateway = Gateway::new().await;
    for (provider, path, field, value) in [
        ("openai", "/chat/completions", "/messages/0/content", json!("ping")),
        ("anthropic", "/v1/messages", "/max_tokens", json!(16)),
        ("gemini", "/v1beta/models/m-1:generateContent", "/contents/0/parts/0/text", json!("ping")),
        ("ollama", "/api/chat", "/stream", json!(false)),
        ("cohere", "/v2/chat", "/model", json!("m-1")),
        ("bedrock", "/model/m-1/converse", "/inferenceConfig/maxTokens", json!(16)),
    ] {
        let body = json!({ "provider": provider, "name": provider, "apiKey": "key-0123456789",
            "providerSpecificData": { "baseUrl": vendor.url("") } });
        let id = connect(&gateway, body).await;
        let options = json!({ "validationModelId": "m-1" });
        let tested = gateway.post(&format!("/api/providers/{id}/test"), options).await.ok(200);
        assert_eq!(tested["valid"], true, "{provider}: {tested}");
        let asked = vendor.last();
        assert_eq!(asked.path, path, "{provider}");
        assert_eq!(asked.body.pointer(field), Some(&value), "{provider}: {}", asked.body);
        // The catalog knows models to ask for itself.
        vendor.forget();
        let tested = gateway.post(&format!("/api/providers/{id}/test"), json!({})).await.ok(200);
        assert_eq!(tested["valid"], provider != "ollama", "{provider}: {tested}");
    }
}

#[tokio::test]
async fn nodes_are_asked_in_their_own_api_with_and_without_the_version() {
    let vendor = Vendor::start(|asked| match asked.path.as_str() {
        "/v1/models" | "/v1/models?limit=1000" => Some(json!({ "data": [{ "id": "m-1" }] })),
        _ => (asked.method == Method::POST).then(|| json!({ "fine": true })),
    })
    .await;
    let gateway = Gateway::new().await;
    for (kind, api_type, base, chat, header, value) in [
        ("openai-compatible", "chat", "/v1", "/v1/chat/completions", "authorization", "Bearer key-0123456789"),
        ("openai-compatible", "responses", "/v1", "/v1/responses", "authorization", "Bearer key-0123456789"),
        ("openai-compatible", "both", "/v1", "/v1/chat/completions", "authorization", "Bearer key-0123456789"),
        ("anthropic-compatible", "chat", "/v1", "/v1/messages", "x-api-key", "key-0123456789"),
        ("anthropic-compatible", "chat", "", "/v1/messages", "x-api-key", "key-0123456789"),
    ] {
        let prefix =
            format!("n{}", gateway.get("/api/provider-nodes").await.ok(200)["nodes"].as_array().map_or(0, Vec::len));
        let node =
            json!({ "name": "N", "prefix": prefix, "type": kind, "apiType": api_type, "baseUrl": vendor.url(base) });
        let node = gateway.post("/api/provider-nodes", node).await.ok(201)["node"]["id"].clone();
        let id = connect(&gateway, json!({ "provider": node, "name": "c", "apiKey": "key-0123456789" })).await;
        let answer = gateway.get(&format!("/api/providers/{id}/models")).await.ok(200);
        assert_eq!(listed(&answer), [("m-1", "chat")], "{kind} {api_type} {base}");
        let options = json!({ "validationModelId": "m-1" });
        assert_eq!(gateway.post(&format!("/api/providers/{id}/test"), options).await.ok(200)["valid"], true);
        let asked = vendor.last();
        assert_eq!((asked.path.as_str(), asked.headers[header].to_str().expect("text")), (chat, value));
        let candidate =
            json!({ "type": kind, "apiType": api_type, "baseUrl": vendor.url(base), "apiKey": "key-0123456789" });
        assert_eq!(gateway.post("/api/provider-nodes/validate", candidate).await.ok(200)["valid"], true);
    }
}

#[tokio::test]
async fn a_connection_says_which_of_openais_apis_its_host_has() {
    let vendor = Vendor::start(|asked| (asked.method == Method::POST).then(|| json!({ "fine": true }))).await;
    let gateway = Gateway::new().await;
    let specific = |api_type: Value| json!({ "baseUrl": vendor.url("/v1"), "apiType": api_type });
    let body = json!({ "provider": "openai", "name": "c", "apiKey": "key-0123456789", "providerSpecificData": specific(json!("chat")) });
    let id = connect(&gateway, body.clone()).await;
    let path = format!("/api/providers/{id}");
    let options = json!({ "validationModelId": "gpt-5-codex" });
    for (api_type, asked) in [
        (json!("chat"), "/v1/chat/completions"),
        (json!("responses"), "/v1/responses"),
        (json!("both"), "/v1/responses"),
        // A host that is not OpenAI's own.
        (Value::Null, "/v1/chat/completions"),
    ] {
        let edit = json!({ "providerSpecificData": { "apiType": api_type } });
        let shown = gateway.patch(&path, edit).await.ok(200)["connection"]["providerSpecificData"]["apiType"].clone();
        assert_eq!(shown, api_type);
        assert_eq!(gateway.post(&format!("{path}/test"), options.clone()).await.ok(200)["valid"], true, "{api_type}");
        // The list of models is asked for in the background.
        let posted =
            || vendor.asked.lock().iter().rfind(|asked| asked.method == Method::POST).cloned().expect("asked").path;
        assert_eq!(posted(), asked, "{api_type}");
        let mut candidate = json!({ "provider": "openai", "apiKey": "key-0123456789", "baseUrl": vendor.url("/v1"),
            "validationModelId": "gpt-5-codex" });
        if !api_type.is_null() {
            candidate["apiType"] = api_type.clone();
        }
        assert_eq!(gateway.post("/api/providers/validate", candidate).await.ok(200)["valid"], true, "{api_type}");
        assert_eq!(posted(), asked, "{api_type}");
    }
    let mut misspelt = body;
    misspelt["providerSpecificData"] = specific(json!("reponses"));
    assert_eq!(gateway.post("/api/providers", misspelt).await.fields(), ["providerSpecificData.apiType"]);
}

// === Bedrock ===

#[tokio::test]
async fn a_pair_of_keys_signs_for_its_region_and_the_list_of_profiles_may_be_missing() {
    let vendor = Vendor::start(|asked| {
        let signature = asked.headers[header::AUTHORIZATION].to_str().expect("text");
        assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/"), "{signature}");
        assert!(signature.contains("/eu-west-1/bedrock/aws4_request"), "{signature}");
        assert!(!format!("{:?}", asked.headers).contains("wJalrXUtnFEMI"));
        match asked.path.as_str() {
            "/foundation-models" => Some(json!({ "modelSummaries": [{ "modelId": "amazon.nova-pro-v1:0" }] })),
            path if path.ends_with("/converse") => Some(json!({ "output": {} })),
            _ => None,
        }
    })
    .await;
    let gateway = Gateway::new().await;
    let body = json!({ "provider": "bedrock", "name": "b", "apiKey": PAIR,
        "providerSpecificData": { "baseUrl": vendor.url(""), "region": "EU-West-1" } });
    let id = connect(&gateway, body).await;
    let path = format!("/api/providers/{id}");
    let shown = gateway.get(&path).await.ok(200)["connection"].clone();
    assert_eq!(shown["providerSpecificData"]["region"], "eu-west-1");
    assert_eq!(listed(&gateway.get(&format!("{path}/models")).await.ok(200)), [("amazon.nova-pro-v1:0", "chat")]);
    assert_eq!(gateway.post(&format!("{path}/test"), json!({})).await.ok(200)["valid"], true);
    let options = json!({ "validationModelId": "amazon.nova-pro-v1:0" });
    assert_eq!(gateway.post(&format!("{path}/test"), options).await.ok(200)["valid"], true);
    assert_eq!(vendor.last().path, "/model/amazon.nova-pro-v1%3A0/converse");
    let candidate = json!({ "provider": "bedrock", "apiKey": PAIR, "region": "eu-west-1", "baseUrl": vendor.url("") });
    assert_eq!(gateway.post("/api/providers/validate", candidate).await.ok(200)["valid"], true);
}

#[tokio::test]
async fn bedrocks_mistakes_are_named() {
    let gateway = Gateway::new().await;
    for (key, specific, field) in [
        ("AKIAIOSFODNN7EXAMPLE", json!({}), "apiKey"),
        (r#"{"accessKeyId":"AKIAIOSFODNN7EXAMPLE"}"#, json!({}), "apiKey"),
        (PAIR, json!({ "region": "somewhere.example" }), "providerSpecificData.region"),
        (PAIR, json!({ "region": 5 }), "providerSpecificData.region"),
    ] {
        let body = json!({ "provider": "bedrock", "name": "b", "apiKey": key, "providerSpecificData": specific });
        assert_eq!(gateway.post("/api/providers", body.clone()).await.fields(), [field], "{body}");
    }
    let body = json!({ "provider": "bedrock", "name": "b" });
    assert_eq!(gateway.post("/api/providers", body).await.fields(), ["apiKey"]);
}
