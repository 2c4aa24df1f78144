//! What clients get wrong. Each gets an error in OpenAI's shape, with the right status.

use std::time::Duration;

use omniroute_core::time::{Clock as _, SystemClock};
use serde_json::json;

use super::{
    client::Raw,
    upstream::{chat_answer, event_stream},
    *,
};

async fn proxy() -> (Proxy, Upstream) {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    (proxy, upstream)
}

fn error(status: u16, code: &str, own: &str) -> (u16, String, String) {
    (status, code.to_owned(), own.to_owned())
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused_before_any_upstream_is_asked() {
    let (proxy, upstream) = proxy().await;
    let deep = format!(r#"{{"model":"mock/m","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for (body, code, param) in [
        ("", "invalid_json", None),
        ("{\"model\":", "invalid_json", None),
        ("{} trailing", "invalid_json", None),
        ("[1,2]", "not_an_object", None),
        ("{}", "missing_model", Some("model")),
        (r#"{"messages":"x"}"#, "missing_model", Some("model")),
        (r#"{"model":""}"#, "missing_model", Some("model")),
        (r#"{"model":null}"#, "invalid_field", Some("model")),
        (r#"{"model":7}"#, "invalid_field", Some("model")),
        (r#"{"model":"mock/m","stream":"yes"}"#, "invalid_field", Some("stream")),
        (r#"{"model":"mock/m","model":"mock/n"}"#, "duplicate_field", Some("model")),
        (deep.as_str(), "too_deep", None),
    ] {
        let answer = proxy.chat(body.to_owned()).await;
        assert_eq!(answer.error().0, 400, "{}", &body[..body.len().min(60)]);
        assert_eq!(answer.error().2, code, "{}", &body[..body.len().min(60)]);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        assert_eq!(answer.json()["error"]["param"].as_str(), param);
        assert_eq!(answer.json()["error"]["request_id"], answer.header("x-request-id"));
    }
    let latin1 = proxy.chat(&b"{\"model\":\"mock/\xe9\"}"[..]).await;
    assert_eq!(latin1.error().2, "invalid_utf8");
    assert!(upstream.asked().is_empty());
    assert!(proxy.inner.opened().is_empty());
}

#[tokio::test]
async fn a_model_that_nobody_has_is_a_404_that_names_the_nearest() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[], &upstream, |resources| resources.model("mock", "gpt-4o-mini", "chat")).await;
    let answer = proxy.chat(r#"{"model":"mok/gpt-4o-mini","messages":[]}"#).await;
    assert_eq!(answer.error(), error(404, "model_not_found", "model_not_found"));
    assert_eq!(answer.json()["error"]["omniroute"]["hint"], "nearest: mock/gpt-4o-mini");
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn a_name_that_can_be_no_models_is_refused_in_every_dialect() {
    let (proxy, upstream) = proxy().await;
    let long = format!("mock/{}", "x".repeat(300_000));
    let in_body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "x"}]}).to_string();
    for (path, body) in [
        ("/v1/chat/completions", in_body(&long)),
        ("/v1/chat/completions", in_body("mock/g\n")),
        ("/v1/providers/mock/chat/completions", in_body(&long)),
        ("/v1/messages", in_body(&long)),
        ("/v1/messages/count_tokens", in_body(&long)),
        ("/v1/responses", json!({"model": long, "input": "x"}).to_string()),
        ("/api/chat", in_body("mock/g\u{0}")),
        ("/v1/embeddings", json!({"model": long, "input": "x"}).to_string()),
    ] {
        let answer = proxy.post(path, body).await;
        assert_eq!(answer.status, 400, "{path}");
        let error = &answer.json()["error"];
        let message = error["message"].as_str().or(error.as_str()).expect("a message");
        assert!(message.starts_with("the model's name "), "{path}: {message}");
    }
    let in_path = format!("/v1beta/models/mock/{}:generateContent", "x".repeat(1000));
    for path in [in_path.as_str(), "/v1beta/models/mock/g%0A:generateContent"] {
        let answer = proxy.post(path, r#"{"contents":[{"parts":[{"text":"x"}]}]}"#).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    }
    assert!(upstream.asked().is_empty() && proxy.inner.opened().is_empty());
}

#[tokio::test]
async fn each_fault_of_a_key_has_its_own_code() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let past = SystemClock.now().0 - 1;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        resources.key("expired", "sk-expired", |key| key.expires_at_ms = past);
        resources.key("revoked", "sk-revoked", |key| key.revoked_at_ms = past);
        resources.key("inactive", "sk-inactive", |key| key.is_active = false);
        resources.key("limited", "sk-limited", |key| key.allowed_models = vec!["mock/other".into()]);
    })
    .await;
    for (header, status, code) in [
        (None, 401, "missing_api_key"),
        (Some("Bearer sk-unknown"), 401, "invalid_api_key"),
        (Some("Bearer sk-expired"), 401, "key_expired"),
        (Some("Bearer sk-revoked"), 401, "key_revoked"),
        (Some("Bearer sk-inactive"), 401, "key_inactive"),
        (Some("Bearer sk-limited"), 403, "model_forbidden"),
    ] {
        let mut request = proxy.request("POST", "/v1/chat/completions");
        if let Some(value) = header {
            request = request.header("authorization", value);
        }
        let answer = send(request.body(CHAT.into()).expect("a request")).await;
        let (seen_status, openai_code, own_code) = answer.error();
        assert_eq!((seen_status, own_code.as_str()), (status, code));
        assert_eq!(openai_code == "invalid_api_key", status == 401, "{header:?}");
        assert!(!answer.text().contains("sk-"), "{}", answer.text());
    }
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_however_it_is_sent() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        resources.key("large", "sk-large", |key| key.max_body_bytes = 4 * 1024 * 1024);
    })
    .await;
    let large = format!(r#"{{"model":"mock/m","x":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    assert_eq!(proxy.chat(large.clone()).await.error().2, "body_too_large");

    let mut raw = Raw::connect(proxy.address).await;
    raw.write(proxy.chat_head("transfer-encoding: chunked\r\n")).await;
    let piece = "x".repeat(64 * 1024);
    for _ in 0..32 {
        raw.write(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
    }
    let answer = raw.read_until("\"omniroute\"").await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");

    let own_limit = proxy.request("POST", "/v1/chat/completions").header("x-api-key", "sk-large");
    assert_eq!(send(own_limit.body(large.into()).expect("a request")).await.status, 200);
    assert_eq!(proxy.inner.stages.admission.memory().held(), 0);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let (proxy, _upstream) = proxy().await;
    let mut raw = Raw::connect(proxy.address).await;
    let length = 24 * 1024 * 1024;
    raw.write(proxy.chat_head(&format!("content-length: {length}\r\n"))).await;
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..24 {
        raw.write(&piece).await;
    }
    let answer = raw.read_until("\"omniroute\"").await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn a_slow_client_gets_a_408() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[("CLIENT_TIMEOUT", "200ms")], &upstream, |_| {}).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{{\"model\":", proxy.chat_head("content-length: 100\r\n"))).await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "{answer}");

    // Nothing at all: closed without an answer, there is no request yet.
    assert_eq!(Raw::connect(proxy.address).await.read_to_end().await, "");
    for (said, shape) in [
        ("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n", r#"{"error":{"message":"#),
        ("POST /v1/messages HTTP/1.1\r\nhost: x\r\n", r#"{"type":"error","error":{"type":"timeout_error""#),
        ("POST /v1beta/models/m:generateContent HTTP/1.1\r\n", "DEADLINE_EXCEEDED"),
        ("GET ", r#"{"error":{"message":"#),
    ] {
        let mut raw = Raw::connect(proxy.address).await;
        raw.write(said).await;
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(shape), "{said}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_stops_in_mid_body_gets_a_400_where_it_can_still_read() {
    let (proxy, upstream) = proxy().await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{{\"model\":", proxy.chat_head("content-length: 100\r\n"))).await;
    tokio::io::AsyncWriteExt::shutdown(&mut raw.0).await.expect("half closed");
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("incomplete_body"), "{answer}");
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn a_client_that_half_closes_after_its_request_has_left() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::before(&upstream).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{STREAM}", proxy.chat_head(&format!("content-length: {}\r\n", STREAM.len())))).await;
    while upstream.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::io::AsyncWriteExt::shutdown(&mut raw.0).await.expect("half closed");
    tokio::time::timeout(Duration::from_secs(20), sender.closed()).await.expect("the upstream is cancelled");
    assert_eq!(proxy.event().await.error_code, "client_closed");
}

#[tokio::test]
async fn what_is_no_http_is_a_400() {
    let (proxy, _upstream) = proxy().await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write("hello there\r\n\r\n").await;
    assert!(raw.read_to_end().await.starts_with("HTTP/1.1 400 "));
    let openai = r#"{"error":{"message":"#;
    let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error""#;
    let many = format!("POST /v1/messages HTTP/1.1\r\n{}\r\n", "x-a: b\r\n".repeat(500));
    for (said, status, shape, code) in [
        ("hello there\r\n\r\n", 400, openai, "malformed_request"),
        ("POST /v1/chat/completions HTTP/1.1\r\nbad header\r\n\r\n", 400, openai, "malformed_request"),
        ("POST /v1/messages HTTP/1.1\r\nbad header\r\n\r\n", 400, anthropic, "malformed_request"),
        (many.as_str(), 431, anthropic, "headers_too_large"),
    ] {
        // The second on a connection that has served already.
        for before in ["", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let mut raw = Raw::connect(proxy.address).await;
            if !before.is_empty() {
                raw.write(before).await;
                raw.read_until("\"ok\"}").await;
            }
            raw.write(said).await;
            let answer = raw.read_to_end().await;
            let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains("application/json"), "{answer}");
            assert!(body.starts_with(shape) && body.contains(code), "{answer}");
        }
    }
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(proxy.chat_head("transfer-encoding: chunked\r\n") + "zz\r\n").await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_compressed_body_is_read_and_one_that_cannot_be_is_refused_by_name() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    let (proxy, upstream) = proxy().await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(CHAT.as_bytes()).expect("written");
    let packed = Bytes::from(encoder.finish().expect("finished"));
    let ask = async |coding: &str, body: Bytes| {
        let request = proxy.request("POST", "/v1/chat/completions").header("authorization", format!("Bearer {KEY}"));
        send(request.header("content-encoding", coding).body(Full::new(body)).expect("a request")).await
    };
    assert_eq!(ask("gzip", packed.clone()).await.status, 200);
    let asked = upstream.last();
    assert_eq!(asked.body, CHAT.replace("mock/", ""));
    assert!(!asked.headers.contains_key("content-encoding"));
    for (coding, body, code) in
        [("br", packed, "unsupported_encoding"), ("gzip", Bytes::from_static(CHAT.as_bytes()), "invalid_encoding")]
    {
        let refused = ask(coding, body).await.error();
        assert_eq!((refused.0, refused.2.as_str()), (if coding == "br" { 415 } else { 400 }, code));
    }
    for (path, shape) in [("/v1/messages", r#""type":"invalid_request_error""#), ("/api/chat", r#"{"error":""#)] {
        let request = proxy.request("POST", path).header("authorization", format!("Bearer {KEY}"));
        let request = request.header("content-encoding", "zstd").body(Full::new(Bytes::from_static(CHAT.as_bytes())));
        let refused = send(request.expect("a request")).await;
        assert!(refused.status == 415 && refused.text().contains(shape), "{path}: {}", refused.text());
    }
    assert_eq!(upstream.asked().len(), 1);
}
