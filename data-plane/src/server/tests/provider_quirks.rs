//! Hosts that speak a format in their own way, to clients of the same format and of others.

use std::time::Duration;

use omniroute_proto::v1::Outcome;

use super::{
    upstream::{UpstreamResponse, events, json, typed},
    *,
};

const MARK: &str = "\u{feff}";
const MESSAGES: &str = r#"{"model":"mock/m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;

/// An answer that breaks off where this text ends.
fn sse(text: &str) -> UpstreamResponse {
    typed(200, "text/event-stream", text.to_owned())
}

#[tokio::test]
async fn a_finish_reason_in_every_chunk_ends_no_answer_for_whoever_is_translated_to() {
    const CHUNKS: [&str; 6] = [
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo you\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"run\",\"arguments\":\"{\\\"cmd\\\":\"}}]},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"ls\\\"}\"}}]},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
    ];
    let upstream = Upstream::answering(|_| events(&CHUNKS, Duration::ZERO)).await;
    let proxy = Proxy::before(&upstream).await;
    let answer = proxy.post("/v1/messages", MESSAGES).await;
    let text = answer.text();
    assert!(text.contains("\"lo you\"") && text.contains("\"stop_reason\":\"tool_use\""), "{text}");
    assert!(text.contains(r#"\"ls\"}"#), "{text}");
    let body = r#"{"model":"mock/m","stream":true,"input":"hi"}"#;
    let answer = proxy.post("/v1/responses", body).await;
    assert!(answer.text().contains(r#""arguments":"{\"cmd\":\"ls\"}""#), "{}", answer.text());
    assert!(answer.text().contains(r#""text":"Hello you""#), "{}", answer.text());
}

#[tokio::test]
async fn an_answer_of_gemini_with_a_reason_in_every_element_is_followed_to_its_end() {
    const FIRST: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}],\"role\":\"model\"},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":1}}\r\n\r\n";
    const LAST: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}],\"role\":\"model\"},\"finishReason\":\"MAX_TOKENS\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2}}\r\n\r\n";
    let upstream = Upstream::answering(|_| events(&[FIRST, LAST], Duration::from_millis(20))).await;
    let url = format!("http://{}", upstream.address);
    let snapshot = snapshot_with(|resources| {
        resources.connection("g1", "gemini", |connection| connection.base_url = url);
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    let answer = proxy.post("/v1beta/models/gemini/gemini-2.5-flash:streamGenerateContent?alt=sse", body).await;
    assert_eq!(answer.text(), [FIRST, LAST].concat());
    let event = proxy.event().await;
    assert_eq!((event.outcome(), event.finish_reason.as_str()), (Outcome::Ok, "MAX_TOKENS"));
    assert_eq!(event.usage.and_then(|usage| usage.output), Some(2), "what the last element counts");
}

#[tokio::test]
async fn a_byte_order_mark_reaches_nobody() {
    const EVENT: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    const MARKED: &str = "\u{feff}data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n\n";
    // In one piece with the first event, and in a piece of its own.
    const IN_ONE: &[&str] = &[MARKED, DONE];
    const ALONE: &[&str] = &[MARK, EVENT, DONE];
    for pieces in [IN_ONE, ALONE] {
        let upstream = Upstream::answering(move |_| events(pieces, Duration::from_millis(20))).await;
        let proxy = Proxy::before(&upstream).await;
        assert_eq!(proxy.chat(STREAM).await.text(), [EVENT, DONE].concat());
        let messages = proxy.post("/v1/messages", MESSAGES).await;
        assert!(messages.text().contains("\"Hello\""), "{}", messages.text());
    }
    const DOCUMENT: &str =
        r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}"#;
    let upstream = Upstream::answering(|_| json(200, [MARK, DOCUMENT].concat())).await;
    let proxy = Proxy::before(&upstream).await;
    let whole = proxy.chat(CHAT).await;
    assert_eq!(whole.text(), DOCUMENT);
    let translated = proxy.post("/v1/messages", MESSAGES.replace("\"stream\":true,", "")).await;
    assert_eq!(translated.json()["content"][0]["text"], "Hello", "{}", translated.text());
    // In front of what a client sends, too; the provider does not get it either.
    assert_eq!(proxy.chat([MARK, CHAT].concat()).await.status, 200);
    assert!(upstream.last().body.starts_with(b"{"));
}

#[tokio::test]
async fn an_answer_that_ended_with_an_error_in_its_choice_is_none() {
    const WORDS: &str =
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n";
    const FAILED: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\",\"error\":{\"code\":502,\"message\":\"it broke\"}}]}\n\n";
    let upstream = Upstream::answering(|_| sse(&[WORDS, FAILED, "data: [DONE]\n\n"].concat())).await;
    let proxy = Proxy::before(&upstream).await;
    let answer = proxy.chat(STREAM).await;
    // All of it came at once, so that the error was seen before anything went out.
    assert_eq!(answer.error().0, 502, "{}", answer.text());
    assert_eq!(proxy.event().await.outcome(), Outcome::UpstreamError);

    let document = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"error","error":{"code":503,"message":"it is overloaded"}}]}"#;
    let upstream = Upstream::answering(move |_| json(200, document)).await;
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let proxy = Proxy::before(&upstream).await;
        let answer = proxy.post(path, MESSAGES.replace("\"stream\":true,", "")).await;
        assert!(answer.status.is_server_error(), "{path}: {}", answer.text());
        assert!(answer.text().contains("it is overloaded"), "{path}: {}", answer.text());
    }
}
