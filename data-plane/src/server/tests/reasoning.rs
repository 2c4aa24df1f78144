//! Thoughts that their model wants back, though the client never saw them or has no field for them.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    upstream::{ReceivedRequest, UpstreamResponse, json as answer_json, typed},
    *,
};

const DEEPSEEK_CALLS: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"deepseek-v4-pro","choices":[{"index":0,"message":{"role":"assistant","content":"","reasoning_content":"I should look.","tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\": \"this\"}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}"#;
const DEEPSEEK_CALLS_STREAMED: &str = concat!(
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"deepseek-v4-pro\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"I should \"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"look.\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"at\\\": \\\"this\\\"}\"}}]},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":5,\"total_tokens\":10}}\n\n",
    "data: [DONE]\n\n",
);
const SAYS: &str = r#"{"id":"c2","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"done"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}"#;
const GREETS: &str = r#"{"id":"c3","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there.","reasoning_content":"They greet me."},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}"#;
const MISSED: &str = r#"{"error":{"message":"The `reasoning_content` in the thinking mode must be passed back to the API.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#;
/// As MiMo says the same.
const MISSED_PARAM: &str = r#"{"error":{"code":"400","message":"Param Incorrect","param":"The reasoning_content in the thinking mode must be passed back to the API.","type":""}}"#;
/// As OpenRouter tells what Gemini thought: sealed, with the call's own id.
const ROUTED_CALLS: &str = r#"{"id":"gen-1","object":"chat.completion","created":1,"model":"google/gemini-3-pro-preview","choices":[{"index":0,"message":{"role":"assistant","content":"","reasoning":"Look.","reasoning_details":[{"type":"reasoning.text","text":"Look.","format":"google-gemini-v1","index":0},{"type":"reasoning.encrypted","data":"c2VhbGVk","id":"call_1","format":"google-gemini-v1","index":1}],"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\": \"this\"}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}"#;
const ROUTED_CALLS_STREAMED: &str = concat!(
    "data: {\"id\":\"gen-1\",\"model\":\"google/gemini-3-pro-preview\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"reasoning\":\"Lo\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"Lo\",\"format\":\"google-gemini-v1\",\"index\":0}]},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"gen-1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"ok.\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"ok.\",\"format\":\"google-gemini-v1\",\"index\":0}]},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"gen-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"at\\\": \\\"this\\\"}\"}}]},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"gen-1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"c2VhbGVk\",\"id\":\"call_1\",\"format\":\"google-gemini-v1\",\"index\":1}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: [DONE]\n\n",
);

fn has(asked: &ReceivedRequest, text: &str) -> bool {
    memchr::memmem::find(&asked.body, text.as_bytes()).is_some()
}

/// Refuses a call without its thought, and among tools every other answer too, as DeepSeek does.
fn deepseek(asked: &ReceivedRequest) -> UpstreamResponse {
    strict(asked, true, MISSED)
}

/// Refuses only a call, as MiMo and Moonshot do.
fn mimo(asked: &ReceivedRequest) -> UpstreamResponse {
    strict(asked, false, MISSED_PARAM)
}

fn strict(asked: &ReceivedRequest, every: bool, missed: &'static str) -> UpstreamResponse {
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    let messages = body["messages"].as_array().expect("messages");
    let every = every && body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    let calls = messages.iter().filter(|message| message.get("tool_calls").is_some());
    let thought = |message: &Value| message["reasoning_content"].as_str().is_some_and(|text| !text.is_empty());
    let answers = messages.iter().filter(|message| message["role"] == "assistant");
    if !calls.clone().all(thought) || (every && !answers.clone().all(thought)) {
        return answer_json(400, missed);
    }
    if messages.last().is_some_and(|last| last["content"] == "hello") {
        return answer_json(200, GREETS);
    }
    match (calls.count(), body["stream"] == true) {
        (0, true) => typed(200, "text/event-stream", DEEPSEEK_CALLS_STREAMED),
        (0, false) => answer_json(200, DEEPSEEK_CALLS),
        _ => answer_json(200, SAYS),
    }
}

fn openrouter(asked: &ReceivedRequest) -> UpstreamResponse {
    match (has(asked, "\"tool_calls\""), has(asked, "\"stream\":true")) {
        (true, _) => answer_json(200, SAYS),
        (false, true) => typed(200, "text/event-stream", ROUTED_CALLS_STREAMED),
        (false, false) => answer_json(200, ROUTED_CALLS),
    }
}

async fn routed() -> (Upstream, Proxy) {
    let upstream = Upstream::answering(openrouter).await;
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", "openrouter", |connection| connection.base_url = upstream.base_url());
    });
    let proxy = Proxy::start(&[], snapshot).await;
    (upstream, proxy)
}

/// The messages that the upstream was sent last.
fn messages(upstream: &Upstream) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    body["messages"].as_array().expect("messages").clone()
}

fn calls(upstream: &Upstream) -> Vec<Value> {
    messages(upstream).into_iter().filter(|message| message.get("tool_calls").is_some()).collect()
}

/// Of a client of Anthropic's that does not ask for thoughts.
fn ask(model: &str, stream: bool) -> Value {
    json!({
        "model": model, "max_tokens": 4096, "stream": stream,
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "look"}],
    })
}

/// The next round, as such a client sends it.
fn and_then(mut body: Value, call: Value) -> Value {
    let turns = body["messages"].as_array_mut().expect("messages");
    turns.push(json!({"role": "assistant", "content": [call]}));
    turns.push(
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "seen"}]}),
    );
    body["stream"] = false.into();
    body
}

fn call() -> Value {
    json!({"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "this"}})
}

#[tokio::test]
async fn a_thought_that_was_never_shown_goes_back_to_who_demands_it() {
    for stream in [false, true] {
        let (upstream, proxy) = before_deepseek().await;
        let first = ask("seek/deepseek-v4-pro", stream);
        let answer = proxy.post("/v1/messages", first.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert!(!answer.text().contains("I should"), "not asked for: {}", answer.text());
        let mut second = and_then(first, call());
        let answer = proxy.post("/v1/messages", second.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(calls(&upstream)[0]["reasoning_content"], "I should look.", "{stream}");
        // In every later request, also when the loop is over.
        let turns = second["messages"].as_array_mut().expect("messages");
        turns.push(json!({"role": "assistant", "content": "done"}));
        turns.push(json!({"role": "user", "content": "thanks"}));
        assert_eq!(proxy.post("/v1/messages", second.to_string()).await.status, StatusCode::OK);
        assert_eq!(calls(&upstream)[0]["reasoning_content"], "I should look.");
        assert_eq!(upstream.asked().len(), 3, "each at the first try");
    }
}

#[tokio::test]
async fn among_tools_an_answer_that_calls_nothing_needs_its_thought_too() {
    // As clients of Anthropic's and of Responses send it.
    let (upstream, proxy) = before_deepseek().await;
    let mut body = ask("seek/deepseek-v4-pro", false);
    body["messages"] = json!([{"role": "user", "content": "hello"}]);
    let items = json!([{"role": "user", "content": "hello"}]);
    let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
    let mut responses = json!({"model": "seek/deepseek-v4-pro", "store": false, "tools": tools, "input": items});
    for (path, body, turns) in [("/v1/messages", &mut body, "messages"), ("/v1/responses", &mut responses, "input")] {
        let answer = proxy.post(path, body.to_string()).await;
        assert!(answer.text().contains("Hello there."), "{}", answer.text());
        let asked = upstream.asked().len();
        let next =
            [json!({"role": "assistant", "content": "Hello there.\n"}), json!({"role": "user", "content": "look"})];
        body[turns].as_array_mut().expect("turns").extend(next);
        let answer = proxy.post(path, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(messages(&upstream)[1]["reasoning_content"], "They greet me.", "{path}");
        // Where it is gone, something stands in for it.
        let other = body.to_string().replace("Hello there.", "Good morning.");
        assert_eq!(proxy.post(path, other).await.status, StatusCode::OK);
        assert_eq!(messages(&upstream)[1]["reasoning_content"], " ", "{path}");
        // Without tools nobody asks for it.
        body.as_object_mut().expect("a body").remove("tools");
        assert_eq!(proxy.post(path, body.to_string()).await.status, StatusCode::OK);
        assert_eq!(messages(&upstream)[1].get("reasoning_content"), None, "{path}");
        assert_eq!(upstream.asked().len(), asked + 3, "each at the first try");
    }
}

#[tokio::test]
async fn at_a_second_try_every_answer_among_tools_has_a_thought() {
    let (upstream, proxy) = before_deepseek().await;
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    for model in ["seek/deepseek-v4-pro", "seek/house-model"] {
        let body = json!({"model": model, "tools": tools, "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "Hello there."},
            {"role": "user", "content": "hello"},
        ]});
        let before = upstream.asked().len();
        let answer = proxy.chat(body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!((upstream.asked().len(), &messages(&upstream)[1]["reasoning_content"]), (before + 2, &json!(" ")));
    }
}

#[tokio::test]
async fn a_thought_that_is_missed_in_the_place_of_a_parameter_is_missed() {
    let upstream = Upstream::answering(mimo).await;
    let snapshot = snapshot_with(|resources| {
        resources.node("xm", &upstream.base_url());
        resources.connection("c1", "xm", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    // By its name, at once; and only of calls.
    let mut second = and_then(ask("xm/mimo-v2.5-pro", false), call());
    let turns = second["messages"].as_array_mut().expect("messages");
    turns.push(json!({"role": "assistant", "content": "done"}));
    turns.push(json!({"role": "user", "content": "hello"}));
    assert_eq!(proxy.post("/v1/messages", second.to_string()).await.status, StatusCode::OK);
    assert_eq!((upstream.asked().len(), &calls(&upstream)[0]["reasoning_content"]), (1, &json!(" ")));
    let done = messages(&upstream).into_iter().find(|message| message["content"] == "done").expect("an answer");
    assert_eq!(done.get("reasoning_content"), None);
    // By what it says, at a second try.
    second["model"] = "xm/house-model".into();
    assert_eq!(proxy.post("/v1/messages", second.to_string()).await.status, StatusCode::OK);
    assert_eq!((upstream.asked().len(), &calls(&upstream)[0]["reasoning_content"]), (3, &json!(" ")));
}

async fn before_deepseek() -> (Upstream, Proxy) {
    let upstream = Upstream::answering(deepseek).await;
    let snapshot = snapshot_with(|resources| {
        resources.node("seek", &upstream.base_url());
        resources.connection("c1", "seek", |_| {});
        resources.key("k2", "sk-two", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    (upstream, proxy)
}

#[tokio::test]
async fn where_the_thought_is_gone_something_stands_in_for_it() {
    let (upstream, proxy) = before_deepseek().await;
    let second = and_then(ask("seek/deepseek-v4-pro", false), call());
    let answer = proxy.post("/v1/messages", second.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(calls(&upstream)[0]["reasoning_content"], " ");
    // Another key's thoughts are nobody else's.
    let first = ask("seek/deepseek-v4-pro", false);
    assert_eq!(proxy.post("/v1/messages", first.to_string()).await.status, StatusCode::OK);
    let request = proxy.request("POST", "/v1/messages").header("x-api-key", "sk-two");
    let answer = send(request.body(second.to_string().into()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(calls(&upstream)[0]["reasoning_content"], " ");
}

#[tokio::test]
async fn a_refusal_that_misses_a_thought_is_mended_whatever_the_model_is_called() {
    // A Chat client that drops what it was shown, and a name that says nothing.
    let (upstream, proxy) = before_deepseek().await;
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    let called = json!([{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]);
    let body = json!({"model": "seek/house-model", "tools": tools, "messages": [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": null, "tool_calls": called},
        {"role": "tool", "tool_call_id": "call_1", "content": "seen"},
    ]});
    let answer = proxy.chat(body.to_string()).await;
    assert_eq!((answer.status, &answer.json()["choices"][0]["message"]["content"]), (StatusCode::OK, &json!("done")));
    assert_eq!(upstream.asked().len(), 2);
    assert_eq!(calls(&upstream)[0]["reasoning_content"], " ");
    // From then on it is known, whatever the client speaks.
    assert_eq!(proxy.chat(body.to_string()).await.status, StatusCode::OK);
    assert_eq!((upstream.asked().len(), &calls(&upstream)[0]["reasoning_content"]), (3, &json!(" ")));
    let other = and_then(ask("seek/house-model", false), call());
    assert_eq!(proxy.post("/v1/messages", other.to_string()).await.status, StatusCode::OK);
    assert_eq!((upstream.asked().len(), &calls(&upstream)[0]["reasoning_content"]), (4, &json!(" ")));
    // One that sends them passes as it is.
    let mut whole = body;
    whole["messages"][1]["reasoning_content"] = "mine".into();
    whole["own_field"] = true.into();
    assert_eq!(proxy.chat(whole.to_string()).await.status, StatusCode::OK);
    assert_eq!((upstream.asked().len(), &calls(&upstream)[0]["reasoning_content"]), (5, &json!("mine")));
    assert!(has(&upstream.last(), "own_field"), "not written anew");
}

/// What OpenRouter told, in its own order.
fn told() -> Value {
    json!([
        {"type": "reasoning.text", "text": "Look.", "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "c2VhbGVk", "id": "call_1", "format": "google-gemini-v1", "index": 1},
    ])
}

#[tokio::test]
async fn reasoning_details_go_back_as_they_came_from_a_client_that_never_saw_them() {
    for stream in [false, true] {
        let (upstream, proxy) = routed().await;
        let first = ask("openrouter/google/gemini-3-pro-preview", stream);
        let answer = proxy.post("/v1/messages", first.to_string()).await;
        assert!(answer.text().contains("call_1"), "{}", answer.text());
        let mut second = and_then(first, call());
        let answer = proxy.post("/v1/messages", second.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(calls(&upstream)[0]["reasoning_details"], told(), "{stream}");
        // As Claude Code puts a word of its own beside a result.
        let reminder = json!({"type": "text", "text": "<system-reminder>\nno todos\n</system-reminder>"});
        second["messages"][2]["content"].as_array_mut().expect("blocks").push(reminder);
        assert_eq!(proxy.post("/v1/messages", second.to_string()).await.status, StatusCode::OK);
        assert_eq!(calls(&upstream)[0]["reasoning_details"], told(), "{stream}, reminded");
    }
}

#[tokio::test]
async fn reasoning_details_go_back_from_clients_that_carry_them_in_fields_of_their_own() {
    // Anthropic's, through a proxy that remembers nothing.
    let (upstream, proxy) = routed().await;
    let mut first = ask("openrouter/google/gemini-3-pro-preview", false);
    first["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    let answer = proxy.post("/v1/messages", first.to_string()).await.json();
    assert_eq!(answer["content"][0]["thinking"], "Look.");
    assert!(!answer.to_string().contains("c2VhbGVk"), "sealed: {answer}");
    let mut second = and_then(first, call());
    second["messages"][1]["content"] = answer["content"].clone();
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", "openrouter", |connection| connection.base_url = upstream.base_url());
    });
    let other = Proxy::start(&[], snapshot).await;
    assert_eq!(other.post("/v1/messages", second.to_string()).await.status, StatusCode::OK);
    assert_eq!(calls(&upstream)[0]["reasoning_details"], told());

    // A Chat client's own pass untouched.
    let called = json!([{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]);
    let body = json!({"model": "openrouter/google/gemini-3-pro-preview", "messages": [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": null, "reasoning_details": told(), "tool_calls": called},
        {"role": "tool", "tool_call_id": "call_1", "content": "seen"},
    ]});
    assert_eq!(proxy.chat(body.to_string()).await.status, StatusCode::OK);
    assert_eq!(messages(&upstream), body["messages"].as_array().expect("messages").clone());
}

#[tokio::test]
async fn what_openrouter_told_goes_to_the_maker_in_the_makers_own_words() {
    // The conversation moves from OpenRouter to Google itself.
    let (router, _) = routed().await;
    let google = Upstream::answering(|_| {
        answer_json(
            200,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"done"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}"#,
        )
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", "openrouter", |connection| connection.base_url = router.base_url());
        resources.connection("g1", "gemini", |connection| connection.base_url = format!("http://{}", google.address));
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let mut first = ask("openrouter/google/gemini-3-pro-preview", false);
    first["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    let answer = proxy.post("/v1/messages", first.to_string()).await.json();
    let mut second = and_then(first, call());
    second["messages"][1]["content"] = answer["content"].clone();
    second["model"] = "gemini/gemini-3-pro-preview".into();
    let answer = proxy.post("/v1/messages", second.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let sent: Value = serde_json::from_slice(&google.last().body).expect("JSON");
    assert!(sent["contents"][1].to_string().contains("c2VhbGVk"), "Google's own signature: {sent}");
    assert!(!sent.to_string().contains("omr1."), "{sent}");
}

#[tokio::test]
async fn a_client_of_googles_carries_anothers_token_to_google_and_only_that_is_left_out() {
    // Refuses what it did not sign, as Google does.
    let google = Upstream::answering(|asked| {
        if has(asked, "b21yMS") {
            return answer_json(400, r#"{"error":{"code":400,"message":"Corrupted thought signature.","status":"INVALID_ARGUMENT"}}"#);
        }
        answer_json(
            200,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"done"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}"#,
        )
    })
    .await;
    let (router, _) = routed().await;
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", "openrouter", |connection| connection.base_url = router.base_url());
        resources.connection("g1", "gemini", |connection| connection.base_url = format!("http://{}", google.address));
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let declared = json!([{"functionDeclarations": [{"name": "look"}]}]);
    let ask = json!({"role": "user", "parts": [{"text": "look"}]});
    let path = "/v1beta/models/openrouter/anthropic/claude-opus-5:generateContent";
    let answer = proxy.post(path, json!({"contents": [ask], "tools": declared}).to_string()).await.json();
    let content = &answer["candidates"][0]["content"];
    assert!(content.to_string().contains("b21yMS"), "a token of ours: {answer}");
    let response = |name: &str| json!({"role": "user", "parts": [{"functionResponse": {"name": name, "response": {"output": "seen"}}}]});
    let own = json!({"role": "model", "parts": [{"functionCall": {"name": "own", "args": {}}, "thoughtSignature": "R29vZ2xl"}]});
    let body = json!({"contents": [ask, content, response("look"), own, response("own")], "tools": declared});
    let answer = proxy.post("/v1beta/models/gemini/gemini-3-pro-preview:generateContent", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(google.asked().len(), 1, "at the first try");
    assert!(has(&google.last(), "R29vZ2xl"), "Google's own stays: {}", String::from_utf8_lossy(&google.last().body));
}

#[tokio::test]
async fn what_a_tool_search_found_is_told_to_models_of_others() {
    let upstream = Upstream::answering(|_| answer_json(200, SAYS)).await;
    let proxy = Proxy::before(&upstream).await;
    let found = json!([
        {"type": "tool_reference", "tool_name": "mcp__docs__search"},
        {"type": "tool_reference", "tool_name": "mcp__docs__read"},
    ]);
    let body = json!({
        "model": "mock/gpt-4o", "max_tokens": 50,
        "tools": [{"name": "ToolSearch", "input_schema": {"type": "object"}},
                  {"name": "mcp__docs__search", "input_schema": {"type": "object"}, "defer_loading": true}],
        "messages": [
            {"role": "user", "content": "look it up"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "ToolSearch", "input": {"query": "docs"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": found}]},
        ],
    });
    let answer = proxy.post("/v1/messages", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let result = messages(&upstream).into_iter().find(|message| message["role"] == "tool").expect("a result");
    let text = result["content"].as_str().expect("a text");
    assert!(text.contains("mcp__docs__search, mcp__docs__read"), "{text}");
    assert!(
        !answer.headers.contains_key("x-omniroute-dropped")
            || !answer.header("x-omniroute-dropped").contains("tool_result")
    );
}

#[tokio::test]
async fn googles_signature_comes_back_from_a_client_without_thoughts() {
    let google = Upstream::answering(|asked| {
        let part = match has(asked, "functionResponse") {
            true => r#"{"text":"done"}"#,
            false => r#"{"functionCall":{"name":"look","args":{"at":"this"}},"thoughtSignature":"R29vZ2xl"}"#,
        };
        let body =
            format!(r#"{{"candidates":[{{"content":{{"role":"model","parts":[{part}]}},"finishReason":"STOP"}}],"usageMetadata":{{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}}}"#);
        answer_json(200, body)
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        resources.connection("g1", "gemini", |connection| connection.base_url = format!("http://{}", google.address));
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let first = ask("gemini/gemini-3-pro-preview", false);
    let answer = proxy.post("/v1/messages", first.to_string()).await.json();
    let blocks = answer["content"].as_array().expect("blocks");
    let call = blocks.iter().find(|block| block["type"] == "tool_use").expect("a call");
    let mut second = and_then(first, call.clone());
    second["messages"][2]["content"][0]["tool_use_id"] = call["id"].clone();
    let answer = proxy.post("/v1/messages", second.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let sent: Value = serde_json::from_slice(&google.last().body).expect("JSON");
    assert_eq!(sent["contents"][1]["parts"][0]["thoughtSignature"], "R29vZ2xl", "{sent}");
}

// === Hosts whose ids are not unique ===

/// What such a host thinks in each round of each conversation.
fn secret(conversation: &str, round: usize) -> String {
    format!("SECRET of {conversation}, {round}")
}

/// Counts its calls anew in every answer, and calls the same in all conversations.
fn counting(asked: &ReceivedRequest) -> UpstreamResponse {
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    let messages = body["messages"].as_array().expect("messages");
    let of = |role: &'static str| messages.iter().filter(move |message| message["role"] == role);
    let rounds = of("tool").count();
    if rounds == 2 {
        return answer_json(200, SAYS);
    }
    let content = &of("user").next().expect("a question")["content"];
    let conversation = content.as_str().or_else(|| content[0]["text"].as_str()).expect("a text");
    let thought = secret(conversation, rounds);
    let mut answer: Value = serde_json::from_str(DEEPSEEK_CALLS).expect("JSON");
    let message = &mut answer["choices"][0]["message"];
    if body["model"] == "Kimi-K2-Thinking" {
        message["reasoning_content"] = thought.into();
    } else {
        message["reasoning_content"] = Value::Null;
        message["reasoning_details"] = json!([{"type": "reasoning.encrypted", "data": thought, "index": 0}]);
    }
    message["tool_calls"] = json!([
        {"id": "functions.sh:0", "type": "function", "function": {"name": "sh", "arguments": "{\"n\": 1.0, \"cmd\": \"ls\"}"}},
    ]);
    answer_json(200, answer.to_string())
}

async fn before_counting() -> (Upstream, Proxy) {
    let upstream = Upstream::answering(counting).await;
    let snapshot = snapshot_with(|resources| {
        resources.node("kimi", &upstream.base_url());
        resources.connection("c1", "kimi", |_| {});
        resources.connection("c2", "openrouter", |connection| connection.base_url = upstream.base_url());
    });
    let proxy = Proxy::start(&[], snapshot).await;
    (upstream, proxy)
}

/// So many rounds of a conversation, as a client of Anthropic's sends them.
fn in_messages(model: &str, conversation: &str, rounds: usize) -> (&'static str, Value) {
    let mut turns = vec![json!({"role": "user", "content": conversation})];
    for _ in 0..rounds {
        let call = json!({"type": "tool_use", "id": "functions.sh:0", "name": "sh", "input": {"cmd": "ls", "n": 1}});
        let result = json!({"type": "tool_result", "tool_use_id": "functions.sh:0", "content": "seen"});
        turns.push(json!({"role": "assistant", "content": [call]}));
        turns.push(json!({"role": "user", "content": [result]}));
    }
    let tools = json!([{"name": "sh", "input_schema": {"type": "object"}}]);
    ("/v1/messages", json!({"model": model, "max_tokens": 4096, "tools": tools, "messages": turns}))
}

/// And one of Responses.
fn in_responses(model: &str, conversation: &str, rounds: usize) -> (&'static str, Value) {
    let mut input = vec![json!({"role": "user", "content": conversation})];
    for _ in 0..rounds {
        let arguments = "{\"n\":1,\"cmd\":\"ls\"}";
        input.push(json!({"type": "function_call", "call_id": "functions.sh:0", "name": "sh", "arguments": arguments}));
        input.push(json!({"type": "function_call_output", "call_id": "functions.sh:0", "output": "seen"}));
    }
    let tools = json!([{"type": "function", "name": "sh", "parameters": {"type": "object"}}]);
    ("/v1/responses", json!({"model": model, "store": false, "tools": tools, "input": input}))
}

#[tokio::test]
async fn thoughts_stay_in_their_place_where_ids_are_counted() {
    for model in ["kimi/Kimi-K2-Thinking", "openrouter/google/gemini-3-pro-preview"] {
        for client in [in_messages, in_responses] {
            let (upstream, proxy) = before_counting().await;
            for rounds in 0..=2 {
                for conversation in ["one", "two"] {
                    let (path, body) = client(model, conversation, rounds);
                    let answer = proxy.post(path, body.to_string()).await;
                    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                    let thought = |call: &Value| match model.starts_with("kimi") {
                        true => call["reasoning_content"].clone(),
                        false => call["reasoning_details"][0]["data"].clone(),
                    };
                    let thoughts: Vec<Value> = calls(&upstream).iter().map(thought).collect();
                    let own: Vec<Value> = (0..rounds).map(|round| secret(conversation, round).into()).collect();
                    assert_eq!(thoughts, own, "{model} {path}");
                }
            }
            // What nobody thought there is not put there.
            let (path, body) = client(model, "two", 1);
            for (old, new) in [("two", "three"), ("\"ls", "\"pwd"), ("\"sh\"", "\"zsh\"")] {
                let answer = proxy.post(path, body.to_string().replace(old, new)).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                assert_eq!(calls(&upstream).len(), 1);
                assert!(!has(&upstream.last(), "SECRET"), "{new} {model} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_result_that_the_client_cleared_takes_no_thought_with_it() {
    for model in ["kimi/Kimi-K2-Thinking", "openrouter/google/gemini-3-pro-preview"] {
        let (upstream, proxy) = before_counting().await;
        for rounds in 0..=2 {
            let (path, body) = in_messages(model, "one", rounds);
            assert_eq!(proxy.post(path, body.to_string()).await.status, StatusCode::OK);
        }
        let (path, mut body) = in_messages(model, "one", 2);
        body["messages"][2]["content"][0]["content"] = "[Old tool result content cleared]".into();
        assert_eq!(proxy.post(path, body.to_string()).await.status, StatusCode::OK);
        for round in 0..2 {
            assert!(has(&upstream.last(), &secret("one", round)), "{model} {round}");
        }
        // What was really given back tells apart conversations whose calls are the same.
        body["messages"][2]["content"][0]["content"] = "seen by another".into();
        assert_eq!(proxy.post(path, body.to_string()).await.status, StatusCode::OK);
        assert!(has(&upstream.last(), &secret("one", 0)), "{model}: before that they are one");
        assert!(!has(&upstream.last(), &secret("one", 1)), "{model}");
    }
}

#[tokio::test]
async fn clients_of_googles_that_leave_out_ids_get_their_thoughts_back() {
    let (upstream, proxy) = before_counting().await;
    let path = "/v1beta/models/kimi/Kimi-K2-Thinking:generateContent";
    let declared = json!([{"functionDeclarations": [{"name": "sh"}]}]);
    let mut contents = vec![json!({"role": "user", "parts": [{"text": "one"}]})];
    for rounds in 0..=2 {
        let answer = proxy.post(path, json!({"contents": contents, "tools": declared}).to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let thoughts: Vec<Value> = calls(&upstream).iter().map(|call| call["reasoning_content"].clone()).collect();
        let own: Vec<Value> = (0..rounds).map(|round| secret("one", round).into()).collect();
        assert_eq!(thoughts, own);
        contents
            .push(json!({"role": "model", "parts": [{"functionCall": {"name": "sh", "args": {"cmd": "ls", "n": 1}}}]}));
        let response = json!({"functionResponse": {"name": "sh", "response": {"output": "seen"}}});
        contents.push(json!({"role": "user", "parts": [response]}));
    }
}

#[tokio::test]
async fn a_system_tells_conversations_apart_and_later_reminders_do_not() {
    let (upstream, proxy) = before_counting().await;
    let of = |system: &str, rounds: usize| {
        let (path, mut body) = in_messages("kimi/Kimi-K2-Thinking", "one", rounds);
        body["system"] = system.into();
        (path, body)
    };
    let (path, first) = of("You help Ann.", 0);
    assert_eq!(proxy.post(path, first.to_string()).await.status, StatusCode::OK);
    let (path, other) = of("You help Bob.", 1);
    assert_eq!(proxy.post(path, other.to_string()).await.status, StatusCode::OK);
    assert!(!has(&upstream.last(), "SECRET"), "Ann's");
    // As Claude Code moves what it adds: a reminder is there in one request and gone in the next, marks go on.
    let (path, mut second) = of("You help Ann.", 1);
    let results = second["messages"][2]["content"].as_array_mut().expect("blocks");
    results[0]["cache_control"] = json!({"type": "ephemeral"});
    results.push(json!({"type": "text", "text": "<system-reminder>\nno todos\n</system-reminder>"}));
    assert_eq!(proxy.post(path, second.to_string()).await.status, StatusCode::OK);
    let (path, mut third) = of("You help Ann.", 2);
    let reminder = json!({"type": "text", "text": "<system-reminder>\nnew tools\n</system-reminder>"});
    third["messages"][0]["content"] = json!([{"type": "text", "text": "one"}, reminder]);
    assert_eq!(proxy.post(path, third.to_string()).await.status, StatusCode::OK);
    let thoughts: Vec<Value> = calls(&upstream).iter().map(|call| call["reasoning_content"].clone()).collect();
    assert_eq!(thoughts, [secret("one", 0), secret("one", 1)]);
}

#[tokio::test]
async fn a_refusal_that_misses_a_thought_is_mended_with_the_thought_that_was_kept() {
    let (upstream, proxy) = before_deepseek().await;
    let first = ask("seek/deepseek-v4-pro", false);
    assert_eq!(proxy.post("/v1/messages", first.to_string()).await.status, StatusCode::OK);
    // The conversation goes on in a Chat client, whose requests pass as they are.
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    let function = json!({"name": "look", "arguments": "{\"at\":\"this\"}"});
    let body = json!({"model": "seek/deepseek-v4-pro", "tools": tools, "messages": [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "seen"},
    ]});
    let answer = proxy.chat(body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(upstream.asked().len(), 3, "refused once");
    assert_eq!(calls(&upstream)[0]["reasoning_content"], "I should look.");
}
