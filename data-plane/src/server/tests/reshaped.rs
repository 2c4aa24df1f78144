//! Upstreams in the client's own format that answer in one piece where a stream was asked for, or the reverse.

use std::time::Duration;

use super::{
    upstream::{chat_answer, events, json, typed},
    *,
};

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","usage":{"input_tokens":11,"output_tokens":7}}"#;
const RESPONSE: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello!","annotations":[]}]}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}"#;
const GENERATED: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello!"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":7,"totalTokenCount":18}}"#;
const CHATTED: &str = r#"{"model":"m","message":{"role":"assistant","content":"Hello!"},"done":true,"done_reason":"stop","prompt_eval_count":11,"eval_count":7}"#;
const CHUNKS: &[&str] = &[
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\"}}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo!\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}\n\n",
    "data: [DONE]\n\n",
];

/// A proxy whose connection of `provider` gets that document to whatever it asks.
async fn answering(provider: &'static str, document: &'static str) -> (Proxy, Upstream) {
    let upstream = Upstream::answering(move |_| json(200, document)).await;
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", provider, |connection| {
            connection.base_url = format!("http://{}", upstream.address);
        });
    });
    (Proxy::start(&[], snapshot).await, upstream)
}

fn assert_counted(event: &v1::UsageEvent) {
    let usage = event.usage.expect("usage");
    let of = |counts: [Option<u64>; 2]| counts.into_iter().flatten().sum::<u64>();
    let counted = (of([usage.input, usage.cache_read]), of([usage.output, usage.reasoning]), event.estimated);
    assert_eq!(counted, (11, 7, false), "{event:?}");
}

#[tokio::test]
async fn a_document_becomes_the_stream_that_was_asked_for() {
    for (provider, document, path, body, kind, marks) in [
        (
            "anthropic",
            MESSAGE,
            "/v1/messages",
            r#"{"model":"anthropic/m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
            "text/event-stream",
            ["event: message_start", "\"signature\":\"c2ln\"", "\"text\":\"Hello!\"", "event: message_stop"],
        ),
        (
            "gemini",
            GENERATED,
            "/v1beta/models/gemini/m:streamGenerateContent?alt=sse",
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
            "text/event-stream",
            ["data: {", "\"text\":\"Hello!\"", "\"finishReason\":\"STOP\"", "\"promptTokenCount\":11"],
        ),
        (
            "ollama",
            CHATTED,
            "/api/chat",
            r#"{"model":"ollama/m","messages":[{"role":"user","content":"hi"}]}"#,
            "application/x-ndjson",
            ["\"content\":\"Hello!\"", "\"done\":false}\n{", "\"done\":true", "\"eval_count\":7"],
        ),
    ] {
        let (proxy, _upstream) = answering(provider, document).await;
        let answer = proxy.post(path, body).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{}", answer.text());
        let mut rest = answer.text();
        for mark in marks {
            let at = rest.find(mark).unwrap_or_else(|| panic!("{provider}: {mark} in {rest}"));
            rest = &rest[at..];
        }
        assert_counted(&proxy.event().await);
    }
}

#[tokio::test]
async fn a_responses_client_gets_its_events() {
    let upstream = Upstream::answering(|_| json(200, RESPONSE)).await;
    let snapshot = snapshot_with(|resources| {
        resources.node_of("mock", &upstream.base_url(), "openai-compatible", "responses");
        resources.connection("c1", "mock", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let answer = proxy.post("/v1/responses", r#"{"model":"mock/m","stream":true,"input":"hi","store":false}"#).await;
    let text = answer.text();
    assert_eq!(answer.header("content-type"), "text/event-stream", "{text}");
    for kind in ["response.created", "response.output_text.delta", "response.completed"] {
        assert!(text.contains(&format!("event: {kind}\n")), "{kind} in {text}");
    }
    assert_counted(&proxy.event().await);
}

#[tokio::test]
async fn a_chat_document_becomes_chunks_with_the_usage_that_was_asked_for() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    for options in ["", r#","stream_options":{"include_usage":true}"#] {
        let answer = proxy.chat(STREAM.replacen("true", &format!("true{options}"), 1)).await;
        let text = answer.text();
        assert_eq!(answer.header("content-type"), "text/event-stream", "{text}");
        assert!(text.contains("\"content\":\"Hello!\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(text.contains("\"usage\":{"), !options.is_empty(), "{text}");
    }
    for event in proxy.inner.closed_events(2).await {
        assert_counted(&event);
    }
}

#[tokio::test]
async fn a_stream_becomes_the_document_that_was_asked_for() {
    // Some hosts also name another type.
    for typed_as in [None, Some("application/json")] {
        let upstream = Upstream::answering(move |_| match typed_as {
            None => events(CHUNKS, Duration::ZERO),
            Some(kind) => typed(200, kind, CHUNKS.concat()),
        })
        .await;
        let proxy = Proxy::before(&upstream).await;
        let answer = proxy.chat(CHAT).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
        let body = answer.json();
        assert_eq!(body["object"], "chat.completion");
        assert_eq!(body["choices"][0]["message"]["content"], "Hello!");
        assert_eq!(body["usage"]["total_tokens"], 18);
        assert_counted(&proxy.event().await);
    }
}

#[tokio::test]
async fn an_error_in_the_other_shape_is_still_an_error() {
    for given in ["data: {\"error\":{\"message\":\"out of order\"}}\n\n", ": wait\n\ndata: {\"choices\":[]}\n\n"] {
        let upstream = Upstream::answering(move |_| typed(200, "text/event-stream", given)).await;
        let proxy = Proxy::before(&upstream).await;
        let answer = proxy.chat(CHAT).await;
        let (status, _, code) = answer.error();
        assert_eq!((status, code.as_str()), (502, "upstream_error"), "{}", answer.text());
        assert_eq!(proxy.event().await.error_code, "upstream_error");
    }
}
