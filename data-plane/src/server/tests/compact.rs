//! Conversations made shorter.

use serde_json::{Value, json};

use super::{
    upstream::{chat_answer, json as json_answer, typed},
    *,
};

const COMPACT: &str = "/v1/responses/compact";
/// As Codex sends it.
const BODY: &str = r#"{"model":"MODEL","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"}],"instructions":"Rules.","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"parallel_tool_calls":true}"#;
const COMPACTED: &str = r#"{"id":"resp_9","object":"response.compaction","created_at":1,"output":[{"type":"compaction","id":"cmp_1","encrypted_content":"x"}],"usage":{"input_tokens":40,"output_tokens":5,"total_tokens":45}}"#;
const ANSWERED: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello!","annotations":[]}]}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}"#;

fn body(model: &str) -> String {
    BODY.replace("MODEL", model)
}

/// A proxy before a node `mock` that speaks Chat and a node `vendor` that speaks Responses.
async fn before(upstream: &Upstream) -> Proxy {
    let base = format!("http://{}", upstream.address);
    Proxy::with(&[], upstream, |resources| {
        resources.node_of("vendor", &format!("{base}/vendor"), "openai-compatible", "responses");
        resources.connection("c2", "vendor", |_| {});
    })
    .await
}

#[tokio::test]
async fn an_upstream_that_compacts_gets_the_body_as_it_came_and_is_billed() {
    let upstream = Upstream::answering(|asked| match asked.path.as_str() {
        "/vendor/responses/compact" => json_answer(200, COMPACTED),
        _ => chat_answer(),
    })
    .await;
    let proxy = before(&upstream).await;
    let answer = proxy.post(COMPACT, body("vendor/gpt-5.4")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, COMPACTED));
    let asked = upstream.last();
    assert_eq!((asked.path.as_str(), &asked.body[..]), ("/vendor/responses/compact", body("gpt-5.4").as_bytes()));
    let event = proxy.event().await;
    let usage = event.usage.expect("usage");
    assert_eq!((event.path.as_str(), usage.input, usage.output), (COMPACT, Some(40), Some(5)));
    assert_eq!(proxy.get("/v1/responses/resp_9").await.status, 404, "it is not stored");
}

#[tokio::test]
async fn elsewhere_the_model_is_asked_for_a_summary_that_can_be_sent_back() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = before(&upstream).await;
    let answer = proxy.post(COMPACT, body("mock/gpt-4o")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["object"], "response.compaction");
    let item = &told["output"][0];
    assert_eq!((&item["type"], &item["role"]), (&json!("message"), &json!("user")));
    assert!(item["content"][0]["text"].as_str().expect("a text").ends_with("Hello!"), "{told}");
    assert!(told["usage"]["total_tokens"].as_u64().is_some_and(|total| total > 0), "{told}");
    let asked: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!((&asked["tool_choice"], asked.get("stream")), (&json!("none"), None));
    let messages = asked["messages"].as_array().expect("messages");
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap_or_default()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "user"]);
    let event = proxy.event().await;
    assert_eq!((event.path.as_str(), event.target_format.as_str()), (COMPACT, "openai"));

    let next = json!({"model": "mock/gpt-4o", "input": told["output"], "store": false}).to_string();
    assert_eq!(proxy.post("/v1/responses", next).await.status, 200);
}

#[tokio::test]
async fn a_responses_host_that_compacts_nothing_is_asked_for_a_summary_too() {
    let upstream = Upstream::answering(|asked| match asked.path.as_str() {
        "/vendor/responses" => json_answer(200, ANSWERED),
        _ => json_answer(404, r#"{"detail":"Not Found"}"#),
    })
    .await;
    let proxy = before(&upstream).await;
    let answer = proxy.post(COMPACT, body("vendor/qwen3")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["object"]), (200, &json!("response.compaction")));
    assert_eq!(upstream.last().path, "/vendor/responses");
    assert_eq!(proxy.event().await.attempts, 2);
}

// === Codex's own way: an item that asks for it, in a request like any other ===

const SUMMARY_STREAMED: &str = concat!(
    "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"They \"}}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"want tea.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":5,\"total_tokens\":10}}\n\n",
    "data: [DONE]\n\n",
);
const SUMMARY: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"They want tea."},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}"#;

fn triggered(model: &str, stream: bool) -> Value {
    let mut body: Value = serde_json::from_str(&body(model)).expect("JSON");
    body["input"].as_array_mut().expect("items").push(json!({"type": "compaction_trigger"}));
    body["stream"] = stream.into();
    body["store"] = false.into();
    body
}

#[tokio::test]
async fn a_trigger_is_answered_with_one_item_that_stands_for_the_summary() {
    let upstream = Upstream::answering(|asked| match memchr::memmem::find(&asked.body, b"\"stream\":true") {
        Some(_) => typed(200, "text/event-stream", SUMMARY_STREAMED),
        None => json_answer(200, SUMMARY),
    })
    .await;
    let proxy = before(&upstream).await;
    for stream in [false, true] {
        let answer = proxy.post("/v1/responses", triggered("mock/gpt-4o", stream).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let asked: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
        let last = asked["messages"].as_array().and_then(|messages| messages.last()).expect("a message");
        assert!(last["content"].as_str().is_some_and(|text| text.starts_with("Write a summary")), "{asked}");
        assert_eq!(asked["tool_choice"], "none");
        let response = match stream {
            false => answer.json(),
            true => {
                let text = answer.text();
                assert_eq!(text.matches("event: response.output_item.done").count(), 1, "{text}");
                let (_, end) = text.split_once("event: response.completed\ndata: ").expect("an end");
                let end: Value = serde_json::from_str(end.trim_end()).expect("JSON");
                end["response"].clone()
            }
        };
        let output = response["output"].as_array().expect("items");
        assert_eq!((output.len(), &output[0]["type"]), (1, &json!("compaction")), "{response}");
        assert!(!response.to_string().contains("tea"), "sealed");
        // It goes on from there, wherever it is sent.
        for model in ["mock/gpt-4o", "vendor/gpt-5.4"] {
            let next =
                json!({"model": model, "store": false, "input": [output[0], {"role": "user", "content": "go on"}]});
            proxy.post("/v1/responses", next.to_string()).await;
            let sent = String::from_utf8(upstream.last().body.to_vec()).expect("text");
            assert!(sent.contains("They want tea.") && !sent.contains("omr1."), "{sent}");
        }
    }
}

#[tokio::test]
async fn a_trigger_passes_to_an_upstream_that_speaks_responses() {
    let upstream = Upstream::answering(|_| json_answer(200, ANSWERED)).await;
    let proxy = before(&upstream).await;
    assert_eq!(proxy.post("/v1/responses", triggered("vendor/gpt-5.4", false).to_string()).await.status, 200);
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["input"][3], json!({"type": "compaction_trigger"}));
}

#[tokio::test]
async fn a_host_of_responses_that_knows_no_trigger_is_asked_for_a_summary() {
    let upstream = Upstream::answering(|_| json_answer(200, ANSWERED)).await;
    let proxy = before(&upstream).await;
    let answer = proxy.post("/v1/responses", triggered("vendor/qwen3-32b", false).to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["output"][0]["type"]), (200, &json!("compaction")));
    let sent = String::from_utf8(upstream.last().body.to_vec()).expect("text");
    assert!(sent.contains("Write a summary") && !sent.contains("compaction_trigger"), "{sent}");
    // A text that speaks of it asks for nothing.
    let body = json!({"model": "vendor/qwen3-32b", "store": false, "input": "what is a \"compaction_trigger\"?"});
    assert_eq!(proxy.post("/v1/responses", body.to_string()).await.json()["output"][0]["type"], "message");
}

#[tokio::test]
async fn wrong_requests_are_refused_in_openais_words() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = before(&upstream).await;
    for (body, status, code) in [
        ("{".to_owned(), 400, "invalid_json"),
        (r#"{"input":"hi"}"#.to_owned(), 400, "missing_model"),
        (r#"{"model":"mock/gpt-4o"}"#.to_owned(), 400, "invalid_field"),
        (body("nobody/x"), 404, "model_not_found"),
    ] {
        let refused = proxy.post(COMPACT, body.clone()).await;
        let (got, _, own) = refused.error();
        assert_eq!((got, own.as_str()), (status, code), "{body}: {}", refused.text());
    }
    let get = proxy.get(COMPACT).await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    assert!(upstream.asked().is_empty());
}
