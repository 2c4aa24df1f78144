//! Lists of models in every dialect, and what Ollama's clients ask beside chatting.

use serde_json::json;

use super::{upstream::chat_answer, *};

async fn proxy() -> Proxy {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    Proxy::with(&[], &upstream, |resources| {
        for model in ["a", "b", "c", "gpt-4o-mini"] {
            resources.model("mock", model, "chat");
        }
        resources.model("mock", "embed/small", "embedding");
        resources.key("limited", "sk-limited", |key| key.allowed_models = vec!["mock/embed/*".into()]);
    })
    .await
}

async fn get(proxy: &Proxy, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(proxy.request("GET", path), |request, (name, value)| request.header(*name, *value));
    send(request.body(Full::default()).expect("a request")).await
}

fn ids(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let models = json["data"].as_array().or(json["models"].as_array()).expect("a list");
    let id = |model: &serde_json::Value| model["id"].as_str().or(model["name"].as_str()).expect("an id").to_owned();
    models.iter().map(id).collect()
}

#[tokio::test]
async fn anthropics_clients_get_pages() {
    let proxy = proxy().await;
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let first = get(&proxy, "/v1/models?limit=2", &headers).await;
    assert_eq!(ids(&first), ["mock/a", "mock/b"]);
    let json = first.json();
    assert_eq!(
        (&json["has_more"], &json["first_id"], &json["last_id"]),
        (&json!(true), &json!("mock/a"), &json!("mock/b"))
    );
    assert_eq!(json["data"][0]["type"], "model");
    assert_eq!(json["data"][0]["display_name"], "a (mock)");
    assert_eq!(json["data"][0]["created_at"], "1970-01-01T00:00:00.000Z");
    let rest = get(&proxy, "/v1/models?after_id=mock/b", &headers).await;
    assert_eq!(ids(&rest), ["mock/c", "mock/embed/small", "mock/gpt-4o-mini"]);
    assert_eq!(rest.json()["has_more"], false);
    let before = get(&proxy, "/v1/models?before_id=mock%2Fc&limit=1", &headers).await;
    assert_eq!((ids(&before), &before.json()["has_more"]), (vec!["mock/b".to_owned()], &json!(true)));
    for path in ["/v1/models?after_id=mock/none", "/v1/models?limit=0", "/v1/models?limit=many"] {
        let refused = get(&proxy, path, &headers).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["type"]), (400, &json!("error")), "{path}");
    }
    let one = get(&proxy, "/v1/models/mock/a", &headers).await.json();
    assert_eq!((&one["type"], &one["id"]), (&json!("model"), &json!("mock/a")));
    let none = get(&proxy, "/v1/models/mock/none", &headers).await;
    assert_eq!((none.status.as_u16(), &none.json()["error"]["type"]), (404, &json!("not_found_error")));
    let limited = get(&proxy, "/v1/models", &[("x-api-key", "sk-limited")]).await;
    assert_eq!(ids(&limited), ["mock/embed/small"]);
    let empty = get(&proxy, "/v1/models?after_id=mock/embed/small", &[("x-api-key", "sk-limited")]).await.json();
    assert_eq!((&empty["data"], &empty["first_id"]), (&json!([]), &json!(null)));
}

#[tokio::test]
async fn openais_clients_and_codex_get_one_list() {
    let proxy = proxy().await;
    let bearer = format!("Bearer {KEY}");
    let list = get(&proxy, "/v1/models", &[("authorization", &bearer)]).await;
    assert_eq!((ids(&list).len(), list.json().get("models")), (5, None));
    assert!(list.header("x-request-id").starts_with("req_"));
    let codex = get(&proxy, "/v1/models?client_version=0.98.0", &[("authorization", &bearer)]).await;
    assert_eq!((&codex.json()["models"], codex.json()["data"].as_array().map(Vec::len)), (&json!([]), Some(5)));
}

#[tokio::test]
async fn geminis_clients_get_pages_and_send_their_key_in_their_own_ways() {
    let proxy = proxy().await;
    let first = get(&proxy, "/v1beta/models?pageSize=3", &[("x-goog-api-key", KEY)]).await;
    assert_eq!(ids(&first), ["models/mock/a", "models/mock/b", "models/mock/c"]);
    let token = first.json()["nextPageToken"].as_str().expect("a token").to_owned();
    let rest = get(&proxy, &format!("/v1beta/models?pageToken={token}&key={KEY}"), &[]).await;
    assert_eq!(ids(&rest), ["models/mock/embed/small", "models/mock/gpt-4o-mini"]);
    assert_eq!(rest.json()["models"][0]["supportedGenerationMethods"], json!(["embedContent", "batchEmbedContents"]));
    assert_eq!(rest.json().get("nextPageToken"), None);
    let newer = get(&proxy, "/v1/models?pageSize=3", &[("x-goog-api-key", KEY)]).await;
    assert_eq!(newer.json(), first.json(), "newer clients leave out the beta");
    let one = get(&proxy, "/v1beta/models/mock/a", &[("x-goog-api-key", KEY)]).await.json();
    assert_eq!(one["name"], "models/mock/a");
    assert!(one["supportedGenerationMethods"].as_array().is_some_and(|all| all.contains(&json!("countTokens"))));
    for (path, key, status, word) in [
        ("/v1beta/models?pageToken=!", KEY, 400, "INVALID_ARGUMENT"),
        ("/v1beta/models/none", KEY, 404, "NOT_FOUND"),
        ("/v1beta/models", "sk-wrong", 401, "UNAUTHENTICATED"),
    ] {
        let refused = get(&proxy, path, &[("x-goog-api-key", key)]).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["status"]), (status, &json!(word)), "{path}");
    }
}

#[tokio::test]
async fn ollamas_clients_find_their_side_routes_under_both_prefixes() {
    let control_plane = Upstream::answering(|asked| upstream::json(200, asked.path.clone())).await;
    let url = format!("http://{}", control_plane.address);
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[("CONTROL_PLANE_FORWARD_URL", &url)], &upstream, |resources| {
        resources.model("mock", "gpt-4o-mini", "chat");
        resources.model("mock", "embed", "embedding");
    })
    .await;
    for prefix in ["/api", "/v1/api"] {
        let tags = proxy.get(&format!("{prefix}/tags")).await;
        assert_eq!(ids(&tags), ["mock/embed", "mock/gpt-4o-mini"]);
        assert_eq!(tags.json()["models"][0]["capabilities"], json!(["embedding"]));
        let show = proxy.post(&format!("{prefix}/show"), r#"{"model":"mock/gpt-4o-mini:latest"}"#).await.json();
        assert_eq!(show["capabilities"], json!(["completion", "tools", "vision"]));
        assert_eq!(show["details"]["family"], "mock");
        let none = proxy.post(&format!("{prefix}/show"), r#"{"model":"nobody"}"#).await;
        assert_eq!((none.status.as_u16(), &none.json()["error"]), (404, &json!("model 'nobody' not found")));
        let broken = proxy.post(&format!("{prefix}/show"), "{").await;
        assert_eq!((broken.status.as_u16(), broken.json()["error"].is_string()), (400, true));
        assert!(proxy.get(&format!("{prefix}/version")).await.json()["version"].is_string());
        assert_eq!(proxy.get(&format!("{prefix}/ps")).await.json(), json!({"models": []}));
        assert_eq!(proxy.get(&format!("{prefix}/show")).await.status, 405);
        let nobody = get(&proxy, &format!("{prefix}/tags"), &[]).await;
        assert_eq!((nobody.status.as_u16(), nobody.json()["error"].is_string()), (401, true));
    }
    assert!(control_plane.asked().is_empty(), "none of these is the control plane's");
    assert_eq!(proxy.get("/api/keys").await.text(), "/api/keys");
    assert_eq!(get(&proxy, "/", &[]).await.text(), "OmniRoute is running\n");
    let page = get(&proxy, "/", &[("accept", "text/html,application/xhtml+xml")]).await;
    assert_eq!((page.status.as_u16(), page.header("location")), (307, "/dashboard"));
}

#[tokio::test]
async fn a_request_without_a_prompt_loads_nothing_and_asks_nobody() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    for (path, body, reason) in [
        ("/api/chat", r#"{"model":"mock/m"}"#, "load"),
        ("/api/chat", r#"{"model":"mock/m","messages":[],"keep_alive":0}"#, "unload"),
        ("/api/generate", r#"{"model":"mock/m","prompt":"","stream":false}"#, "load"),
        ("/v1/api/generate", r#"{"model":"mock/m","keep_alive":"0s"}"#, "unload"),
    ] {
        let answer = proxy.post(path, body).await;
        let json = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &json["done"], &json["done_reason"]),
            (200, &json!(true), &json!(reason)),
            "{body}"
        );
        assert_eq!(json["model"], "mock/m");
    }
    assert_eq!(proxy.post("/api/chat", r#"{"model":"nobody"}"#).await.status, 404);
    assert!(upstream.asked().is_empty() && proxy.inner.opened().is_empty());
}

#[tokio::test]
async fn a_websocket_where_there_is_none_is_told_so_at_once() {
    let proxy = proxy().await;
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    let answer = get(&proxy, "/v1/responses", &upgrade).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (426, "websocket_unsupported"));
    assert_eq!(get(&proxy, "/v1/responses", &[]).await.status, 405);
}

#[tokio::test]
async fn every_client_finds_the_limits_of_a_model_in_the_field_that_it_reads() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        resources.connection("a1", "anthropic", |_| {});
        // As a provider lists it that says nothing of limits.
        resources.model("anthropic", "claude-opus-4-6", "chat");
        resources.model("anthropic", "unheard-of", "chat");
    })
    .await;
    let bearer = format!("Bearer {KEY}");
    let one = get(&proxy, "/v1/models/anthropic/claude-opus-4-6", &[("authorization", &bearer)]).await.json();
    for field in ["context_length", "context_window", "max_model_len", "max_input_tokens"] {
        assert_eq!(one[field], 1_000_000, "{field}");
    }
    for field in ["max_output_tokens", "max_completion_tokens"] {
        assert_eq!(one[field], 128_000, "{field}");
    }
    assert_eq!(one["capabilities"], json!({"tool_calling": true, "reasoning": true, "vision": true}));
    let unknown = get(&proxy, "/v1/models/anthropic/unheard-of", &[("authorization", &bearer)]).await.json();
    assert_eq!((unknown.get("context_length"), unknown.get("capabilities")), (None, None), "nothing is made up");
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let anthropics = get(&proxy, "/v1/models/anthropic/claude-opus-4-6", &headers).await.json();
    assert_eq!((&anthropics["max_input_tokens"], &anthropics["max_tokens"]), (&json!(1_000_000), &json!(128_000)));
}
