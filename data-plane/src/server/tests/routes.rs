//! Everything that is no model call.

use http::StatusCode;

use super::{upstream::chat_answer, *};

async fn proxy(settings: &[(&str, &str)]) -> Proxy {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    Proxy::with(settings, &upstream, |resources| {
        resources.model("mock", "gpt-4o-mini", "chat");
        resources.model("mock", "embed/small", "embedding");
        resources.key("limited", "sk-limited", |key| key.allowed_models = vec!["mock/embed/*".into()]);
    })
    .await
}

fn ids(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().expect("a list");
    models.iter().map(|model| model["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn models_are_listed_as_the_caller_may_use_them() {
    let proxy = proxy(&[]).await;
    let all = proxy.get("/v1/models").await;
    assert_eq!(ids(&all), ["mock/embed/small", "mock/gpt-4o-mini"]);
    let model = &all.json()["data"][1];
    assert_eq!((model["object"].as_str(), model["owned_by"].as_str()), (Some("model"), Some("mock")));
    assert_eq!(model["root"], "gpt-4o-mini");
    assert_eq!(ids(&proxy.get("/v1/embeddings").await), ["mock/embed/small"]);
    assert_eq!(proxy.get("/v1/models/mock/embed/small").await.json()["id"], "mock/embed/small");
    assert_eq!(proxy.get("/v1/models/gpt-4o-mini").await.json()["id"], "mock/gpt-4o-mini");
    assert_eq!(proxy.get("/v1/models/mock/none").await.error().2, "model_not_found");
    let limited = proxy.request("GET", "/v1/models").header("x-api-key", "sk-limited");
    assert_eq!(ids(&send(limited.body(Full::default()).expect("a request")).await), ["mock/embed/small"]);
    let nobody = send(proxy.request("GET", "/v1/models").body(Full::default()).expect("a request")).await;
    assert_eq!(nobody.error().2, "missing_api_key");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_in_json() {
    let proxy = proxy(&[]).await;
    for path in ["/v1", "/v1/nothing", "/v2/chat/completions", "/api/keys", "/dashboard", "/%ff"] {
        assert_eq!(proxy.get(path).await.error().0, 404, "{path}");
    }
    for (method, path, allowed) in [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/embeddings", "GET, HEAD, POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/v1/models/mock/m", "GET, HEAD"),
        ("PUT", "/v1beta/models/mock/m", "GET, HEAD"),
        ("PUT", "/v1beta/models/mock/m:generateContent", "POST"),
        ("GET", "/v1beta/mock/m:generateContent", "POST"),
        ("DELETE", "/v1/models/mock/m:countTokens", "POST"),
        ("POST", "/api/tags", "GET, HEAD"),
        ("PUT", "/v1/api/ps", "GET, HEAD"),
        ("GET", "/api/show", "POST"),
        ("GET", "/api/chat", "POST"),
    ] {
        let request = proxy.request(method, path).body(Full::default()).expect("a request");
        let answer = send(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allowed), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/json", "{method} {path}");
        let error = &answer.json()["error"];
        assert!(
            if path.contains("/api/") { error.is_string() } else { error["message"].is_string() },
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_version_that_comes_twice_is_understood_and_one_that_is_missing_is_named() {
    let proxy = proxy(&[]).await;
    let call = proxy.request("POST", "/v1/v1/chat/completions").header("x-api-key", KEY);
    assert_eq!(send(call.body(CHAT.into()).expect("a request")).await.status, StatusCode::OK);
    let messages = r#"{"model":"mock/gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let call = proxy.request("POST", "/v1/v1/messages?beta=true").header("x-api-key", KEY);
    let answer = send(call.body(messages.into()).expect("a request")).await;
    assert_eq!((answer.status, answer.json()["type"].as_str()), (StatusCode::OK, Some("message")));
    assert_eq!(proxy.get("/v1/v1/models").await.status, StatusCode::OK);
    let call = proxy.request("POST", "/chat/completions").header("x-api-key", KEY);
    let refused = send(call.body(CHAT.into()).expect("a request")).await;
    assert_eq!((refused.error().0, refused.error().2.as_str()), (404, "unknown_path"));
    assert!(refused.json()["error"]["omniroute"]["hint"].as_str().is_some_and(|hint| hint.contains("`/v1`")));
}

#[tokio::test]
async fn a_page_may_ask_and_read() {
    let proxy = proxy(&[]).await;
    let preflight = proxy
        .request("OPTIONS", "/v1/chat/completions")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let answer = send(preflight.body(Full::default()).expect("a request")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (StatusCode::NO_CONTENT, "*"));
    assert_eq!(answer.header("access-control-allow-headers"), "authorization");
    let call =
        proxy.request("POST", "/v1/chat/completions").header("origin", "https://app.example").header("x-api-key", KEY);
    let answer = send(call.body(CHAT.into()).expect("a request")).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, "*"));
    let refused = proxy.request("POST", "/v1/chat/completions").header("origin", "https://app.example");
    let answer = send(refused.body(CHAT.into()).expect("a request")).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (401, "*"));
}

#[tokio::test]
async fn a_page_may_call_ollamas_own_paths_and_no_others_beside_them() {
    let proxy = proxy(&[]).await;
    let from_page = |method: &str, path: &str| {
        let request = proxy.request(method, path).header("origin", "https://app.example").header("x-api-key", KEY);
        if method == "OPTIONS" { request.header("access-control-request-method", "POST") } else { request }
    };
    for (method, path, status) in [
        ("OPTIONS", "/api/chat", 204),
        ("OPTIONS", "/api/tags", 204),
        ("GET", "/api/tags", 200),
        ("GET", "/api/version", 200),
        ("POST", "/api/tags", 405),
    ] {
        let answer = send(from_page(method, path).body(Full::default()).expect("a request")).await;
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!((answer.status.as_u16(), allowed), (status, "*"), "{method} {path}");
    }
    let answer = send(from_page("OPTIONS", "/api/keys").body(Full::default()).expect("a request")).await;
    assert!(answer.headers.get("access-control-allow-origin").is_none(), "the control plane's to allow");
}

#[tokio::test]
async fn without_required_keys_this_machine_may_call_and_foreign_pages_may_not() {
    let proxy = proxy(&[("REQUIRE_API_KEY", "false")]).await;
    let call = |origin: Option<&str>| {
        let mut request = proxy.request("POST", "/v1/chat/completions");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        send(request.body(CHAT.into()).expect("a request"))
    };
    assert_eq!(call(None).await.status, 200);
    assert_eq!(call(Some("http://localhost:3000")).await.status, 200);
    assert_eq!(call(Some("https://evil.example")).await.error().2, "missing_api_key");
    assert_eq!(proxy.inner.closed()[0].api_key_id, "");

    let exposed = self::proxy(&[("REQUIRE_API_KEY", "false"), ("HOST", "0.0.0.0")]).await;
    let request = exposed.request("POST", "/v1/chat/completions").body(CHAT.into()).expect("a request");
    assert_eq!(send(request).await.error().2, "missing_api_key");
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let proxy = proxy(&[]).await;
    assert_eq!(proxy.chat(CHAT).await.status, 200);
    let report = proxy.get("/metrics").await;
    assert!(report.header("content-type").starts_with("text/plain"));
    for name in [
        "omniroute_requests_total{operation=\"chat\",status=\"200\",code=\"\"}",
        "omniroute_upstream_attempts_total{provider=\"mock\",outcome=\"ok\"}",
        "omniroute_tokens_total{provider=\"mock\",class=\"cache_read\"}",
        "omniroute_request_duration_seconds_count{operation=\"chat\",stream=\"false\"}",
        "omniroute_client_connections",
    ] {
        assert!(report.text().contains(name), "{name}");
    }
}

#[tokio::test]
async fn the_control_planes_paths_go_to_the_control_plane() {
    let control_plane = Upstream::answering(|asked| {
        upstream::json(if asked.path == "/api/keys?x=1" { 201 } else { 200 }, asked.path.clone())
    })
    .await;
    let url = format!("http://{}", control_plane.address);
    let proxy = proxy(&[("CONTROL_PLANE_FORWARD_URL", &url)]).await;
    assert_eq!(proxy.post("/api/keys?x=1", "{}").await.status, 201);
    for path in ["/api", "/dashboard", "/dashboard/assets/a.js", "/a2a", "/.well-known/agent.json"] {
        assert_eq!(proxy.get(path).await.text(), path);
    }
    // Ollama's client, which wants to manage models, is answered in its own words and not in those of the management API.
    let blob = "blobs/sha256-29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2";
    let before = control_plane.asked().len();
    for prefix in ["/api", "/v1/api"] {
        for (method, path) in [
            ("POST", "pull"),
            ("POST", "push"),
            ("POST", "create"),
            ("POST", "copy"),
            ("DELETE", "delete"),
            ("POST", blob),
        ] {
            let path = format!("{prefix}/{path}");
            let request = proxy.request(method, &path).body(r#"{"model":"qwen3"}"#.into()).expect("a request");
            let answer = send(request).await;
            assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{method} {path}");
            let error = answer.json()["error"].as_str().expect("Ollama's shape").to_owned();
            assert!(error.contains("gateway") && error.contains("Ollama"), "{error}");
        }
    }
    assert_eq!(control_plane.asked().len(), before, "the control plane is not asked");
    let asked = control_plane.last();
    assert_eq!(asked.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(asked.headers["host"], proxy.address.to_string());

    let away = Upstream::absent().await;
    let url = format!("http://{}", away.address);
    let proxy = self::proxy(&[("CONTROL_PLANE_FORWARD_URL", &url)]).await;
    let answer = proxy.get("/api/keys").await;
    assert_eq!(answer.error(), (503, "overloaded".to_owned(), "control_plane_unavailable".to_owned()));
    assert_eq!(proxy.chat(CHAT).await.status, 200, "models keep being served");
}
