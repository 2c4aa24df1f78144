//! Signatures that a client drops, and those that an upstream does not take.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    upstream::{json as answer_json, typed},
    *,
};

const CALLS: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"thinking","thinking":"hm","signature":"c2lnbmVk"},{"type":"tool_use","id":"toolu_1","name":"look","input":{"at":"this"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":5}}"#;
const CALLS_STREAMED: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"c2lnbmVk\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"look\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"at\\\": \\\"this\\\"}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);
const TEXT: &str = r#"{"id":"msg_2","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"done"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":5}}"#;
const REFUSED: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#;

/// An upstream of Anthropic's that refuses every signature, or none.
async fn claude(refuses: bool) -> (Upstream, Proxy) {
    let upstream = Upstream::answering(move |asked| {
        let has = |text: &str| memchr::memmem::find(&asked.body, text.as_bytes()).is_some();
        if refuses && has("\"signature\"") {
            answer_json(400, REFUSED)
        } else if has("tool_result") {
            answer_json(200, TEXT)
        } else if has("\"stream\":true") {
            typed(200, "text/event-stream", CALLS_STREAMED)
        } else {
            answer_json(200, CALLS)
        }
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        resources.node_of("claude", &upstream.base_url(), "anthropic-compatible", "messages");
        resources.connection("c1", "claude", |_| {});
        resources.key("k2", "sk-two", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    (upstream, proxy)
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}])
}

/// The first request, and the second as a client sends it that knows nothing of thoughts.
fn rounds(model: &str, stream: bool) -> (String, String) {
    let ask = json!({"role": "user", "content": "look"});
    let first = json!({
        "model": model, "messages": [ask], "tools": tools(), "reasoning_effort": "low", "stream": stream,
    });
    let call =
        json!({"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": "{\"at\": \"this\"}"}});
    let second = json!({
        "model": model, "tools": tools(), "reasoning_effort": "low",
        "messages": [ask, {"role": "assistant", "content": null, "tool_calls": [call]},
                     {"role": "tool", "tool_call_id": "toolu_1", "content": "seen"}],
    });
    (first.to_string(), second.to_string())
}

/// The blocks of the assistant's turn, as the upstream got them.
fn assistant(upstream: &Upstream) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    let messages = body["messages"].as_array().expect("messages");
    let turn = messages.iter().find(|message| message["role"] == "assistant").expect("an assistant's turn");
    turn["content"].as_array().expect("blocks").clone()
}

fn signed() -> Value {
    json!({"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"})
}

fn kinds(blocks: &[Value]) -> Vec<&str> {
    blocks.iter().map(|block| block["type"].as_str().expect("a type")).collect()
}

#[tokio::test]
async fn what_the_client_drops_goes_back_to_who_signed_it() {
    for stream in [false, true] {
        let (upstream, proxy) = claude(false).await;
        let (first, second) = rounds("claude/claude-sonnet-4-5", stream);
        let answer = proxy.chat(first).await;
        assert!(answer.text().contains("toolu_1"), "{}", answer.text());
        assert_eq!(proxy.chat(second).await.status, StatusCode::OK);
        let blocks = assistant(&upstream);
        assert_eq!(kinds(&blocks), ["thinking", "tool_use"], "{stream}");
        assert_eq!(blocks[0], signed());
    }
}

#[tokio::test]
async fn what_is_said_behind_a_result_ends_no_loop() {
    let (upstream, proxy) = claude(false).await;
    let (first, second) = rounds("claude/claude-sonnet-4-5", false);
    assert_eq!(proxy.chat(first).await.status, StatusCode::OK);
    let mut second: Value = serde_json::from_str(&second).expect("JSON");
    second["messages"].as_array_mut().expect("messages").push(json!({"role": "user", "content": "be quick"}));
    let answer = proxy.chat(second.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let blocks = assistant(&upstream);
    assert_eq!((kinds(&blocks), &blocks[0]), (vec!["thinking", "tool_use"], &signed()));
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["thinking"]["type"], "enabled");
    assert!(!answer.headers.contains_key("x-omniroute-dropped"), "{:?}", answer.headers);
}

#[tokio::test]
async fn nobody_else_gets_it() {
    let (upstream, proxy) = claude(false).await;
    let (first, second) = rounds("claude/claude-sonnet-4-5", false);
    assert_eq!(proxy.chat(first).await.status, StatusCode::OK);
    let other_model = second.replace("claude-sonnet-4-5", "claude-opus-4-1");
    assert_eq!(proxy.chat(other_model).await.status, StatusCode::OK);
    assert_eq!(kinds(&assistant(&upstream)), ["tool_use"], "another model");
    let request = proxy.request("POST", "/v1/chat/completions").header("x-api-key", "sk-two");
    assert_eq!(send(request.body(second.clone().into()).expect("a request")).await.status, StatusCode::OK);
    assert_eq!(kinds(&assistant(&upstream)), ["tool_use"], "another key");
    // A loop that is over needs none.
    let mut over: Value = serde_json::from_str(&second).expect("JSON");
    let turns = over["messages"].as_array_mut().expect("messages");
    turns.extend([json!({"role": "assistant", "content": "done"}), json!({"role": "user", "content": "thanks"})]);
    assert_eq!(proxy.chat(over.to_string()).await.status, StatusCode::OK);
    assert_eq!(kinds(&assistant(&upstream)), ["tool_use"], "the loop is over");
}

#[tokio::test]
async fn a_refused_signature_is_left_out_once() {
    let (upstream, proxy) = claude(true).await;
    let (first, second) = rounds("claude/claude-sonnet-4-5", false);
    assert_eq!(proxy.chat(first).await.status, StatusCode::OK);
    let answer = proxy.chat(second).await;
    assert_eq!((answer.status, &answer.json()["choices"][0]["message"]["content"]), (StatusCode::OK, &json!("done")));
    assert_eq!(upstream.asked().len(), 3, "the second request was sent twice");
    assert_eq!(kinds(&assistant(&upstream)), ["tool_use"]);
    assert_eq!(proxy.inner.closed_events(2).await.len(), 2);
}

#[tokio::test]
async fn a_refused_signature_of_the_clients_own_is_left_out_too() {
    let (upstream, proxy) = claude(true).await;
    let body = json!({
        "model": "claude/claude-sonnet-4-5", "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": [signed(), {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}]},
        ],
    });
    let answer = proxy.post("/v1/messages", body.to_string()).await;
    assert_eq!((answer.status, &answer.json()["content"][0]["text"]), (StatusCode::OK, &json!("done")));
    assert_eq!(kinds(&assistant(&upstream)), ["tool_use"]);
    assert_eq!(upstream.asked().len(), 2);
}

#[tokio::test]
async fn thoughts_of_another_family_do_not_go_to_who_did_not_sign_them() {
    // Refuses what is not Anthropic's, as Anthropic does.
    let claude = Upstream::answering(|asked| {
        let foreign = memchr::memmem::find(&asked.body, b"omr1.").is_some();
        if foreign { answer_json(400, REFUSED) } else { answer_json(200, TEXT) }
    })
    .await;
    let gpt = Upstream::answering(|_| answer_json(200, THINKS)).await;
    let snapshot = snapshot_with(|resources| {
        resources.node_of("claude", &claude.base_url(), "anthropic-compatible", "messages");
        resources.node_of("gpt", &gpt.base_url(), "openai-compatible", "responses");
        resources.connection("c1", "claude", |_| {});
        resources.connection("c2", "gpt", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let mut body = json!({
        "model": "gpt/gpt-5.4", "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "look", "input_schema": {"type": "object"}}], "messages": [{"role": "user", "content": "look"}],
    });
    let answer = proxy.post("/v1/messages", body.to_string()).await;
    assert!(answer.text().contains("omr1."), "{}", answer.text());
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"), "Anthropic's name for it");
    body["model"] = "claude/claude-sonnet-4-5".into();
    let turns = body["messages"].as_array_mut().expect("messages");
    turns.push(json!({"role": "assistant", "content": answer.json()["content"]}));
    turns.push(
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}]}),
    );
    turns.push(json!({"role": "assistant", "content": [signed(), {"type": "text", "text": "so it is"}]}));
    turns.push(json!({"role": "user", "content": "look again"}));
    let answer = proxy.post("/v1/messages", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(claude.asked().len(), 1, "at the first try");
    let sent: Value = serde_json::from_slice(&claude.last().body).expect("JSON");
    assert_eq!(kinds(sent["messages"][1]["content"].as_array().expect("blocks")), ["tool_use"]);
    assert_eq!(sent["messages"][3]["content"][0], signed(), "its own stays");
    assert_eq!(sent["thinking"]["type"], "enabled");
}

#[tokio::test]
async fn a_refusal_that_stays_is_told() {
    let upstream = Upstream::answering(|_| answer_json(400, REFUSED)).await;
    let snapshot = snapshot_with(|resources| {
        resources.node_of("claude", &upstream.base_url(), "anthropic-compatible", "messages");
        resources.connection("c1", "claude", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let (first, _) = rounds("claude/claude-sonnet-4-5", false);
    let answer = proxy.chat(first).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (400, "upstream_rejected"));
    assert_eq!(upstream.asked().len(), 1, "there was nothing to leave out");
}

// === OpenAI's encrypted thoughts ===

const THINKS: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt-5.4","output":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"c2VjcmV0"},{"type":"function_call","id":"fc_1","call_id":"toolu_1","name":"look","arguments":"{\"at\": \"this\"}","status":"completed"}],"usage":{"input_tokens":5,"output_tokens":5,"total_tokens":10}}"#;
const SAYS: &str = r#"{"id":"resp_2","object":"response","created_at":1,"status":"completed","model":"gpt-5.4","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"done","annotations":[]}]}],"usage":{"input_tokens":5,"output_tokens":5,"total_tokens":10}}"#;

/// An upstream of OpenAI's that thinks before it calls.
async fn responses() -> (Upstream, Proxy) {
    let upstream = Upstream::answering(|asked| {
        let called = memchr::memmem::find(&asked.body, b"function_call_output").is_some();
        answer_json(200, if called { SAYS } else { THINKS })
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        resources.node_of("gpt", &upstream.base_url(), "openai-compatible", "responses");
        resources.connection("c1", "gpt", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    (upstream, proxy)
}

/// That the thought stands in front of its call, as it came.
fn assert_thought_is_back(upstream: &Upstream, client: &str) {
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    let input = sent["input"].as_array().expect("items");
    let at = input.iter().position(|item| item["type"] == "reasoning").unwrap_or_else(|| panic!("{client}: {sent}"));
    assert_eq!(input[at]["encrypted_content"], "c2VjcmV0", "{client}");
    assert_eq!((&input[at + 1]["type"], &input[at + 1]["call_id"]), (&json!("function_call"), &json!("toolu_1")));
    assert_eq!(
        (&sent["store"], &sent["include"]),
        (&json!(false), &json!(["reasoning.encrypted_content"])),
        "{client}"
    );
}

#[tokio::test]
async fn encrypted_thoughts_are_asked_for_and_come_back_from_every_client() {
    // Chat clients know nothing of thoughts, and ask for none.
    let (upstream, proxy) = responses().await;
    let (first, second) = rounds("gpt/gpt-5.4", false);
    let [first, second] = [first, second].map(|body| body.replace("\"reasoning_effort\":\"low\",", ""));
    assert_eq!(proxy.chat(first).await.status, StatusCode::OK);
    let asked: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(asked["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(proxy.chat(second).await.status, StatusCode::OK);
    assert_thought_is_back(&upstream, "Chat");

    // Anthropic's send back what they got: a sealed block that any proxy can open, here one that remembers nothing.
    let tools = json!([{"name": "look", "input_schema": {"type": "object"}}]);
    let ask = json!({"role": "user", "content": "look"});
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    let body =
        json!({"model": "gpt/gpt-5.4", "max_tokens": 4096, "thinking": thinking, "tools": tools, "messages": [ask]});
    let answer = proxy.post("/v1/messages", body.to_string()).await.json();
    assert!(!answer["content"][0].to_string().contains("c2VjcmV0"), "sealed: {answer}");
    let result = json!([{"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}]);
    let mut next = body.clone();
    next["messages"] =
        json!([ask, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": result}]);
    let snapshot = snapshot_with(|resources| {
        resources.node_of("gpt", &upstream.base_url(), "openai-compatible", "responses");
        resources.connection("c1", "gpt", |_| {});
    });
    let other = Proxy::start(&[], snapshot).await;
    assert_eq!(other.post("/v1/messages", next.to_string()).await.status, StatusCode::OK);
    assert_thought_is_back(&upstream, "Messages");

    // Gemini's keep the signature of a part.
    let declared = json!([{"functionDeclarations": [{"name": "look"}]}]);
    let ask = json!({"role": "user", "parts": [{"text": "look"}]});
    let path = "/v1beta/models/gpt/gpt-5.4:generateContent";
    let answer = proxy.post(path, json!({"contents": [ask], "tools": declared}).to_string()).await.json();
    let content = &answer["candidates"][0]["content"];
    let response = json!({"functionResponse": {"id": "toolu_1", "name": "look", "response": {"output": "seen"}}});
    let body = json!({"contents": [ask, content, {"role": "user", "parts": [response]}], "tools": declared});
    assert_eq!(proxy.post(path, body.to_string()).await.status, StatusCode::OK, "{body}");
    assert_thought_is_back(&upstream, "Gemini");
}
