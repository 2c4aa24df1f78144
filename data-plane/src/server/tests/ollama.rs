//! Ollama's clients before an Ollama upstream: nothing is rewritten but the model's name.

use std::time::Duration;

use super::{
    upstream::{UpstreamResponse, json, typed},
    *,
};

const BODY: &str = r#"{ "keep_alive" : "5m","model":"ollama/qwen3:8b", "messages":[{"role":"user","content":"hi","own":1.0}],"options":{"num_ctx":8e3,"mirostat":2},"future":{"a":[null]}}"#;
const WHOLE: &str = r#"{"model":"qwen3:8b","created_at":"2025-01-01T00:00:00Z","message":{"role":"assistant","content":"Hello!","new":[1.0]},"done":true,"done_reason":"stop","total_duration":123,"prompt_eval_count":11,"eval_count":7,"extra":1e2}"#;
const FIRST: &str = r#"{"model":"qwen3:8b","message":{"role":"assistant","content":"He","x":1.0},"done":false}"#;

async fn over(upstream: &Upstream, settings: &[(&str, &str)]) -> Proxy {
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", "ollama", |connection| connection.base_url = format!("http://{}", upstream.address));
    });
    Proxy::start(settings, snapshot).await
}

fn lines(lines: impl Into<Bytes>) -> UpstreamResponse {
    typed(200, "application/x-ndjson", lines)
}

/// Pieces of a stream, with pauses.
fn slowly<const N: usize>(pieces: [&'static str; N]) -> UpstreamResponse {
    let (sender, mut given) = upstream::event_stream();
    tokio::spawn(async move {
        for piece in pieces {
            if sender.send(piece).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    given.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-ndjson"));
    given
}

#[tokio::test]
async fn a_request_and_its_answer_pass_byte_for_byte() {
    let stream = format!("{FIRST}\n{WHOLE}\n");
    let given = stream.clone();
    let upstream = Upstream::answering(move |asked| {
        let whole = memchr::memmem::find(&asked.body, b"\"stream\":false").is_some();
        if whole { json(200, WHOLE) } else { lines(given.clone()) }
    })
    .await;
    let proxy = over(&upstream, &[]).await;
    let not_streamed = BODY.replacen('{', r#"{"stream":false,"#, 1);
    for (path, body, expected) in
        [("/api/chat", BODY, stream.as_str()), ("/v1/api/chat", BODY, &stream), ("/api/chat", &not_streamed, WHOLE)]
    {
        let answer = proxy.post(path, body.to_owned()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, expected), "{body}");
        assert_eq!(answer.header("x-omniroute-model"), "qwen3:8b");
        let kind = if expected == WHOLE { "application/json" } else { "application/x-ndjson" };
        assert_eq!(answer.header("content-type"), kind);
        let asked = upstream.last();
        assert_eq!(asked.path, "/api/chat");
        assert_eq!(String::from_utf8_lossy(&asked.body), body.replace("ollama/qwen3:8b", "qwen3:8b"));
    }
    for event in proxy.inner.closed_events(3).await {
        let usage = event.usage.expect("usage");
        assert_eq!((usage.input, usage.output, event.finish_reason.as_str()), (Some(11), Some(7), "stop"));
        assert!(!event.estimated);
    }
}

#[tokio::test]
async fn what_goes_wrong_in_a_stream_is_a_line() {
    let upstream = Upstream::answering(|asked| {
        let asked_for = |what: &str| memchr::memmem::find(&asked.body, what.as_bytes()).is_some();
        // The answer has begun before it goes wrong.
        let then: &'static str = match () {
            // In the middle of a line.
            () if asked_for("\"cut\"") => r#"{"model":"qwen3:8b","mess"#,
            () if asked_for("\"err\"") => "{\"error\":\"out of memory\"}\n",
            () => return lines("{\"error\":\"model is broken\"}\n"),
        };
        slowly([FIRST, "\n", then])
    })
    .await;
    let proxy = over(&upstream, &[]).await;
    let ask = async |what: &str| proxy.post("/api/chat", BODY.replace("\"hi\"", &format!("\"{what}\""))).await;
    let cut = ask("cut").await;
    let cut = cut.text();
    let told: Vec<_> = cut.lines().collect();
    assert_eq!(told[0], FIRST);
    let error: serde_json::Value = serde_json::from_str(told.last().expect("a line")).expect("JSON");
    assert!(error["error"].as_str().expect("a text").contains("broke off"), "{cut}");
    assert!(cut.lines().all(|line| !line.is_empty()), "{cut}");
    let error = ask("err").await;
    assert_eq!(error.text(), format!("{FIRST}\n{{\"error\":\"out of memory\"}}\n"), "the upstream's own words, once");
    // Before anything went out it is an answer of its own.
    let refused = ask("bad").await;
    assert!(refused.status.is_server_error(), "{}", refused.status);
    assert!(refused.json()["error"].is_string(), "{}", refused.text());
    let events = proxy.inner.closed_events(3).await;
    assert!(events.iter().all(|event| !event.error_code.is_empty()), "{events:?}");
}

#[tokio::test]
async fn nothing_is_put_between_lines() {
    let upstream =
        Upstream::answering(|_| slowly(["{\"message\":{\"content\":\"a\"},\"done\":false}\n", "{\"done\":true}\n"]))
            .await;
    let proxy = over(&upstream, &[("STREAM_KEEPALIVE_INTERVAL", "50ms")]).await;
    let mut request = proxy.request("POST", "/api/chat").header("authorization", format!("Bearer {KEY}"));
    request = request.header("x-omniroute-progress", "true");
    let answer = send(request.body(Full::from(BODY)).expect("a request")).await;
    assert_eq!(answer.text(), "{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"done\":true}\n");
    assert!(!answer.headers.contains_key("x-omniroute-progress"));
}
