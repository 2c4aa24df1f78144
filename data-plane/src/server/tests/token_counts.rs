//! Counting tokens.

use serde_json::{Value, json};

use super::{
    upstream::{chat_answer, json as json_answer},
    *,
};

const PROMPT: &str = r#"{"model":"MODEL","system":"Be brief.","messages":[{"role":"user","content":"hello world"}]}"#;
const CONTENTS: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hello world"}]}]}"#;

/// Anthropic, Gemini, an OpenAI-compatible host and an Anthropic-compatible one without a counter, each at a path of its own.
async fn proxy(upstream: &Upstream) -> Proxy {
    let base = format!("http://{}", upstream.address);
    let snapshot = snapshot_with(|resources| {
        resources.node("mock", &format!("{base}/openai"));
        resources.connection("c1", "mock", |_| {});
        resources.connection("a1", "anthropic", |connection| connection.base_url = format!("{base}/anthropic"));
        resources.connection("g1", "gemini", |connection| connection.base_url = format!("{base}/gemini"));
        resources.key("limited", "sk-limited", |key| key.allowed_models = vec!["mock/*".into()]);
    });
    Proxy::start(&[], snapshot).await
}

async fn counting_upstream() -> Upstream {
    Upstream::answering(|asked| match asked.path.as_str() {
        "/anthropic/v1/messages/count_tokens" if asked.body.windows(6).any(|six| six == b"refuse") => json_answer(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: at least one message is required"}}"#,
        ),
        "/anthropic/v1/messages/count_tokens" if asked.body.windows(4).any(|four| four == b"busy") => {
            json_answer(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#)
        }
        "/anthropic/v1/messages/count_tokens" => json_answer(200, r#"{"input_tokens":14}"#),
        "/gemini/v1beta/models/gemini-2.5-pro:countTokens" => json_answer(200, r#"{"totalTokens":31}"#),
        _ => chat_answer(),
    })
    .await
}

fn prompt(model: &str) -> String {
    PROMPT.replace("MODEL", model)
}

#[tokio::test]
async fn a_provider_that_counts_is_asked_in_its_own_dialect() {
    let upstream = counting_upstream().await;
    let proxy = proxy(&upstream).await;
    let beta = proxy.request("POST", "/v1/messages/count_tokens?beta=true").header("x-api-key", KEY);
    let beta = beta.header("anthropic-beta", "token-counting-2024-11-01").header("anthropic-version", "2023-06-01");
    let body = prompt("anthropic/claude-sonnet-4-5");
    let answer = send(beta.body(Full::from(body.clone())).expect("a request")).await;
    assert_eq!((answer.json(), answer.header("x-omniroute-token-count")), (json!({"input_tokens": 14}), "provider"));
    assert!(answer.header("x-request-id").starts_with("req_"));
    let asked = upstream.last();
    assert_eq!(asked.body, body.replace("anthropic/claude", "claude"), "bytes pass as they are");
    assert_eq!(asked.headers["anthropic-beta"], "token-counting-2024-11-01");
    assert_eq!(asked.headers["x-api-key"], "sk-secret-of-a1");

    let answer = proxy.post("/v1/messages/count_tokens", prompt("gemini/gemini-2.5-pro")).await;
    assert_eq!(answer.json(), json!({"input_tokens": 31}));
    let asked: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(asked["generateContentRequest"]["model"], "models/gemini-2.5-pro");
    assert_eq!(asked["generateContentRequest"]["contents"][0]["parts"][0]["text"], "hello world");

    for path in [
        "/v1beta/models/gemini/gemini-2.5-pro:countTokens",
        "/v1beta/gemini/gemini-2.5-pro:countTokens",
        "/v1/models/gemini/gemini-2.5-pro:countTokens",
    ] {
        let answer = proxy.post(path, CONTENTS).await;
        assert_eq!(answer.json()["totalTokens"], 31, "{path}");
    }
    let answer = proxy.post("/v1beta/models/anthropic%2Fclaude-sonnet-4-5:countTokens", CONTENTS).await;
    assert_eq!((&answer.json()["totalTokens"], answer.header("x-omniroute-token-count")), (&json!(14), "provider"));
    let asked: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!((&asked["model"], asked.get("max_tokens")), (&json!("claude-sonnet-4-5"), None));
    assert!(proxy.inner.opened().is_empty(), "counting leaves no event");
}

#[tokio::test]
async fn where_no_provider_counts_it_is_done_here() {
    let upstream = counting_upstream().await;
    let proxy = proxy(&upstream).await;
    // "Be brief." is 3, "hello world" 2; two messages of 3, and 3 before the answer.
    let answer = proxy.post("/v1/messages/count_tokens", prompt("mock/gpt-4o-mini")).await;
    assert_eq!((answer.json(), answer.header("x-omniroute-token-count")), (json!({"input_tokens": 14}), "tokenizer"));
    let answer = proxy.post("/v1beta/models/mock/gpt-4o-mini:countTokens", CONTENTS).await;
    assert_eq!(answer.json()["totalTokens"], 8);
    let answer = proxy.post("/v1/messages/count_tokens", prompt("mock/llama-3.3")).await;
    assert_eq!((answer.json(), answer.header("x-omniroute-token-count")), (json!({"input_tokens": 15}), "estimate"));
    assert!(upstream.asked().is_empty());
    let busy = proxy.post("/v1/messages/count_tokens", prompt("anthropic/claude-busy")).await;
    assert_eq!((busy.status.as_u16(), busy.header("x-omniroute-token-count")), (200, "estimate"));
    assert_eq!(proxy.chat(CHAT).await.status, 200, "nothing cools down for a count");
}

#[tokio::test]
async fn a_responses_clients_input_is_counted_where_it_can_be() {
    const COUNT: &str = "/v1/responses/input_tokens";
    let upstream = Upstream::answering(|asked| match asked.path.as_str() {
        "/openai/responses/input_tokens" => json_answer(200, r#"{"object":"response.input_tokens","input_tokens":77}"#),
        "/anthropic/v1/messages/count_tokens" => json_answer(200, r#"{"input_tokens":14}"#),
        _ => json_answer(404, r#"{"detail":"Not Found"}"#),
    })
    .await;
    let base = format!("http://{}", upstream.address);
    let snapshot = snapshot_with(|resources| {
        resources.connection("o1", "openai", |connection| {
            connection.base_url = format!("{base}/openai");
            connection.api_type = "both".to_owned();
        });
        resources.connection("a1", "anthropic", |connection| connection.base_url = format!("{base}/anthropic"));
        resources.node_of("vllm", &format!("{base}/vllm"), "openai-compatible", "responses");
        resources.connection("v1", "vllm", |_| {});
        resources.node("mock", &format!("{base}/mock"));
        resources.connection("m1", "mock", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let body = |model: &str| format!(r#"{{ "model":"{model}", "instructions":"Be brief.", "input":"hello world" }}"#);
    for (model, tokens, source) in [
        ("openai/gpt-4o", 77, "provider"),
        ("anthropic/claude-sonnet-4-5", 14, "provider"),
        // Without such a path, and without such an API.
        ("vllm/gpt-4o", 14, "tokenizer"),
        ("mock/gpt-4o", 14, "tokenizer"),
    ] {
        let answer = proxy.post(COUNT, body(model)).await;
        let expected = json!({"object": "response.input_tokens", "input_tokens": tokens});
        assert_eq!((answer.json(), answer.header("x-omniroute-token-count")), (expected, source), "{model}");
        if model.starts_with("openai") {
            assert_eq!(upstream.last().body, body("gpt-4o"), "bytes pass as they are");
        }
    }
    let (status, _, code) = proxy.post(COUNT, "{").await.error();
    assert_eq!((status, code.as_str()), (400, "invalid_json"));
    assert_eq!(proxy.post(COUNT, body("nobody/x")).await.status, 404);
    assert!(proxy.inner.opened().is_empty(), "counting leaves no event");
    let get = proxy.get(COUNT).await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn wrong_requests_are_refused_like_those_to_chat() {
    let upstream = counting_upstream().await;
    let proxy = proxy(&upstream).await;
    let count = "/v1/messages/count_tokens";
    for (body, status, kind) in [
        ("{".to_owned(), 400, "invalid_request_error"),
        (r#"{"messages":[]}"#.to_owned(), 400, "invalid_request_error"),
        (r#"{"model":"mock/gpt-4o","messages":1}"#.to_owned(), 400, "invalid_request_error"),
        (prompt("nobody/x"), 404, "not_found_error"),
        (prompt("anthropic/refuse"), 400, "invalid_request_error"),
    ] {
        let refused = proxy.post(count, body.clone()).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["type"]), (status, &json!(kind)), "{body}");
    }
    let limited = proxy.request("POST", count).header("x-api-key", "sk-limited");
    let refused = send(limited.body(Full::from(prompt("anthropic/claude-sonnet-4-5"))).expect("a request")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["type"]), (403, &json!("permission_error")));
    let nobody = send(proxy.request("POST", count).body(Full::from(prompt("mock/m"))).expect("a request")).await;
    assert_eq!((nobody.status.as_u16(), &nobody.json()["error"]["type"]), (401, &json!("authentication_error")));
    let gemini = proxy.post("/v1beta/models/nobody:countTokens", CONTENTS).await;
    assert_eq!((gemini.status.as_u16(), &gemini.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
    assert_eq!(proxy.post("/v1beta/models/x:fly", CONTENTS).await.status, 404);
    assert_eq!(proxy.get("/v1beta/nothing").await.status, 404);
    let get = proxy.get(count).await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}
