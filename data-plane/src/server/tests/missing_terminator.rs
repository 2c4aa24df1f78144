//! Upstreams that have said everything and do not close the stream, or break it.

use omniroute_proto::v1::Outcome;
use omniroute_wire::bedrock::frames::write_event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{client::Raw, *};

const CHUNKS: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"}}]}\n\n\
    data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}\n\n";
const MESSAGES: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":11}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"12345678\"}}\n\n\
    event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n\
    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const RESPONSES: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n\
    event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"id\":\"i\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"12345678\"}]}],\"usage\":{\"input_tokens\":11,\"output_tokens\":7}}}\n\n";
const LINES: &str = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"12345678\"},\"done\":false}\n\
    {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":11,\"eval_count\":7}\n";
const RECORDS: &str = "data: {\"type\":\"message-start\",\"id\":\"1\"}\n\n\
    data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"12345678\"}}}}\n\n\
    data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":11,\"output_tokens\":7}}}}\n\n";

fn frames() -> Vec<u8> {
    let mut frames = Vec::new();
    for (kind, payload) in [
        ("messageStart", "{\"role\":\"assistant\"}"),
        ("contentBlockDelta", "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"12345678\"}}"),
        ("contentBlockStop", "{\"contentBlockIndex\":0}"),
        ("messageStop", "{\"stopReason\":\"end_turn\"}"),
        ("metadata", "{\"usage\":{\"inputTokens\":11,\"outputTokens\":7}}"),
    ] {
        write_event(kind, payload.as_bytes(), &mut frames);
    }
    frames
}

/// An upstream that sends this, behind a head that promises more. `holds`: it waits until it is left, or hangs up.
async fn saying(kind: &'static str, said: Vec<u8>, holds: bool) -> Upstream {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    let answer = [format!("{head}{:x}\r\n", said.len()).as_bytes(), &said, b"\r\n"].concat();
    Upstream::scripted(move |mut stream| {
        let answer = answer.clone();
        async move {
            let _ = stream.write_all(&answer).await;
            while holds && stream.read(&mut [0]).await.is_ok_and(|read| read > 0) {}
        }
    })
    .await
}

/// A proxy whose model `mock/m` is at `upstream`, which speaks as `provider` does.
async fn before(provider: &str, upstream: &Upstream) -> (Proxy, String) {
    let snapshot = snapshot_with(|resources| match provider {
        "chat" | "responses" => {
            resources.node_of("mock", &upstream.base_url(), "openai-compatible", provider);
            resources.connection("c1", "mock", |_| {});
        }
        _ => resources.connection("c1", provider, |connection| {
            connection.base_url = format!("http://{}", upstream.address);
        }),
    });
    let model = if matches!(provider, "chat" | "responses") { "mock/m".to_owned() } else { format!("{provider}/m") };
    (Proxy::start(&[], snapshot).await, model)
}

fn assert_counted(event: &v1::UsageEvent, provider: &str) {
    let usage = event.usage.expect("usage");
    assert_eq!((event.outcome(), usage.input, usage.output), (Outcome::Ok, Some(11), Some(7)), "{provider}");
    assert!(!event.estimated, "{provider}");
}

async fn check(provider: &str, upstream: &Upstream, path: &str, end: &str) {
    for stream in [true, false] {
        let (proxy, model) = before(provider, upstream).await;
        let body = format!(
            r#"{{"model":"{model}","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let mut raw = Raw::connect(proxy.address).await;
        let head = proxy.chat_head(&format!("content-length: {}\r\nconnection: close\r\n", body.len()));
        raw.write(head.replace("/v1/chat/completions", path) + &body).await;
        let told = if stream { raw.read_until(end).await } else { raw.read_to_end().await };
        assert!(told.starts_with("HTTP/1.1 200 ") && told.contains("12345678"), "{provider} {stream}: {told}");
        assert!(!told.contains("error") && (!stream || told.contains(end)), "{provider} {stream}: {told}");
        assert_counted(&proxy.event().await, provider);
    }
}

#[tokio::test]
async fn the_terminator_of_an_upstream_is_the_end_for_a_client_of_another_format() {
    const SSE: &str = "text/event-stream";
    for (provider, kind, said) in [
        ("anthropic", SSE, MESSAGES.as_bytes().to_vec()),
        ("responses", SSE, RESPONSES.into()),
        ("ollama", "application/x-ndjson", LINES.into()),
        ("cohere", SSE, RECORDS.into()),
        ("bedrock", "application/vnd.amazon.eventstream", frames()),
    ] {
        let upstream = saying(kind, said, true).await;
        check(provider, &upstream, "/v1/chat/completions", "data: [DONE]\n\n").await;
    }
    let upstream = saying(SSE, format!("{CHUNKS}data: [DONE]\n\n").into(), true).await;
    check("chat", &upstream, "/v1/messages", "event: message_stop\n").await;
}

#[tokio::test]
async fn a_whole_answer_without_terminator_is_one_though_its_connection_breaks() {
    let upstream = saying("text/event-stream", CHUNKS.into(), false).await;
    for (path, end) in [("/v1/chat/completions", "data: [DONE]\n\n"), ("/v1/messages", "event: message_stop\n")] {
        check("chat", &upstream, path, end).await;
    }
}
