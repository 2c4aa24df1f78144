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
    let index = index_with(|resources| {
        resources.node_of("claude", &upstream.base_url(), "anthropic-compatible", "messages");
        resources.connection("c1", "claude", |_| {});
        resources.key("k2", "sk-two", |_| {});
    });
    let proxy = Proxy::start(&[], index).await;
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
    over["messages"].as_array_mut().expect("messages").push(json!({"role": "user", "content": "thanks"}));
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
async fn a_refusal_that_stays_is_told() {
    let upstream = Upstream::answering(|_| answer_json(400, REFUSED)).await;
    let index = index_with(|resources| {
        resources.node_of("claude", &upstream.base_url(), "anthropic-compatible", "messages");
        resources.connection("c1", "claude", |_| {});
    });
    let proxy = Proxy::start(&[], index).await;
    let (first, _) = rounds("claude/claude-sonnet-4-5", false);
    let answer = proxy.chat(first).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (400, "upstream_rejected"));
    assert_eq!(upstream.asked().len(), 1, "there was nothing to leave out");
}
