//! What providers get wrong, with nothing to fall back to.

use std::time::Duration;

use omniroute_proto::v1::Outcome;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    client::Raw,
    upstream::{events, json, typed},
    *,
};

/// The error of a chat and the event that it left.
async fn failed(proxy: &Proxy, upstream: &Upstream, body: &'static str) -> (u16, String, v1::UsageEvent) {
    let answer = proxy.chat(body).await;
    assert_discreet(upstream, &answer);
    let (status, _, code) = answer.error();
    let event = proxy.event().await;
    assert_eq!((u16::try_from(event.status).expect("a status"), event.error_code.as_str()), (status, code.as_str()));
    assert_eq!((event.estimated, event.usage.unwrap_or_default().input), (false, None), "nothing to charge");
    (status, code, event)
}

async fn failed_with(upstream: Upstream, settings: &[(&str, &str)]) -> (u16, String, v1::UsageEvent) {
    let proxy = Proxy::with(settings, &upstream, |_| {}).await;
    failed(&proxy, &upstream, CHAT).await
}

#[tokio::test]
async fn an_upstream_that_refuses_is_a_502() {
    let (status, code, event) = failed_with(Upstream::absent().await, &[]).await;
    assert_eq!((status, code.as_str()), (502, "upstream_unreachable"));
    assert_eq!(event.outcome(), Outcome::UpstreamError);
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_a_504() {
    let silent = Upstream::scripted(|stream: TcpStream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let (status, code, event) = failed_with(silent, &[("UPSTREAM_FIRST_BYTE_TIMEOUT", "150ms")]).await;
    assert_eq!((status, code.as_str(), event.outcome()), (504, "upstream_timeout", Outcome::Timeout));
}

#[tokio::test]
async fn a_model_that_thinks_is_waited_for_and_a_client_may_wait_less() {
    let slow = Upstream::scripted(|mut stream: TcpStream| async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let answer = "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"well\"}}]}";
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
    })
    .await;
    let settings = [("UPSTREAM_FIRST_BYTE_TIMEOUT", "50ms"), ("UPSTREAM_THINKING_FIRST_BYTE_TIMEOUT", "20s")];
    let proxy = Proxy::with(&settings, &slow, |_| {}).await;
    let asked = async |body: &'static str, timeout: Option<&str>| {
        let request = proxy.request("POST", "/v1/chat/completions").header("authorization", format!("Bearer {KEY}"));
        let request = timeout.into_iter().fold(request, |request, time| request.header("x-omniroute-timeout", time));
        send(request.body(Full::new(Bytes::from_static(body.as_bytes()))).expect("a request")).await
    };
    const THINKING: &str = r#"{"model":"mock/o3","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(asked(THINKING, None).await.status, 200);
    assert_eq!(asked(CHAT, Some("20")).await.status, 200, "the client waits longer than others");
    for (body, timeout) in [(CHAT, None), (THINKING, Some("0.05"))] {
        let (status, _, code) = asked(body, timeout).await.error();
        assert_eq!((status, code.as_str()), (504, "upstream_timeout"), "{body} {timeout:?}");
    }
    let (status, _, code) = asked(CHAT, Some("soon")).await.error();
    assert_eq!((status, code.as_str()), (400, "invalid_timeout"));
}

#[tokio::test]
async fn a_200_without_a_byte_is_a_504() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n",
    ] {
        let upstream = Upstream::scripted(move |mut stream: TcpStream| async move {
            let _ = stream.write_all(head.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        })
        .await;
        let (status, code, _) = failed_with(upstream, &[("UPSTREAM_FIRST_BYTE_TIMEOUT", "150ms")]).await;
        assert_eq!((status, code.as_str()), (504, "upstream_timeout"));
    }
}

#[tokio::test]
async fn a_connect_that_hangs_ends_at_its_limit() {
    // A listener whose backlog is full does not take another connection.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let _filling: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let _held = TcpStream::connect(address).await;
                std::future::pending::<()>().await;
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut upstream = Upstream::absent().await;
    upstream.address = address;
    let (status, code, _) = failed_with(upstream, &[("UPSTREAM_CONNECT_TIMEOUT", "150ms")]).await;
    assert_eq!((status, code.as_str()), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn garbage_of_every_kind_is_a_502() {
    const WHAT: [&str; 8] = [
        "I am no web server\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 20\r\n\r\n<html>10.1.2.3</html>",
        "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<!doctype html>",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\nnot json at",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"hello\":\"w\"}",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x0b",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/inner\r\ncontent-length: 0\r\n\r\n",
    ];
    for bytes in WHAT {
        let (status, code, event) = failed_with(Upstream::writing(bytes).await, &[]).await;
        assert_eq!((status, code.as_str()), (502, "upstream_error"), "{bytes}");
        assert_eq!(event.outcome(), Outcome::UpstreamError);
    }
}

#[tokio::test]
async fn an_error_behind_a_200_is_an_error() {
    let in_json = Upstream::answering(|_| json(200, r#"{"error":{"message":"no luck","code":500}}"#)).await;
    assert_eq!(failed_with(in_json, &[]).await.0, 502);
    let in_stream =
        Upstream::answering(|_| typed(200, "text/event-stream", "data: {\"error\":{\"message\":\"no luck\"}}\n\n"))
            .await;
    let proxy = Proxy::before(&in_stream).await;
    assert_eq!(failed(&proxy, &in_stream, STREAM).await.0, 502);
    let limited =
        Upstream::answering(|_| json(200, r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#)).await;
    assert_eq!(failed_with(limited, &[]).await.0, 429);
    let nothing = Upstream::answering(|_| typed(200, "text/event-stream", ": hi\n\n")).await;
    assert_eq!(failed_with(nothing, &[]).await.0, 502);
}

#[tokio::test]
async fn an_upstreams_refusals_are_told_in_our_words() {
    for (status, body, seen, code) in [
        (401, r#"{"error":{"message":"Incorrect API key provided: sk-secret-of-c1"}}"#, 502, "upstream_auth"),
        (403, "{}", 502, "upstream_auth"),
        (404, r#"{"error":{"message":"no such model at http://127.0.0.1/v1/chat"}}"#, 404, "upstream_model_unknown"),
        (400, r#"{"error":{"message":"bad temperature, sk-secret-of-c1"}}"#, 400, "upstream_rejected"),
        (400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#, 400, "context_length_exceeded"),
        (500, "<html>inner</html>", 502, "upstream_error"),
        (503, "{}", 503, "upstream_error"),
    ] {
        let upstream = Upstream::answering(move |_| json(status, body)).await;
        let (seen_status, seen_code, _) = failed_with(upstream, &[]).await;
        assert_eq!((seen_status, seen_code.as_str()), (seen, code), "{status} {body}");
    }
}

#[tokio::test]
async fn a_rate_limit_is_told_with_its_wait() {
    let upstream = Upstream::answering(|_| {
        let mut given = json(429, r#"{"error":{"message":"slow down"}}"#);
        given.headers_mut().insert("retry-after", "7".parse().expect("a value"));
        given
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let answer = proxy.chat(CHAT).await;
    assert_eq!(answer.error(), (429, "rate_limit_exceeded".to_owned(), "upstream_rate_limited".to_owned()));
    assert_eq!(answer.header("retry-after"), "7");
    // The connection cools down: the next request is refused without asking again, with what is left of the wait.
    let answer = proxy.chat(CHAT).await;
    assert_eq!(answer.error().2, "connections_cooling");
    assert!(answer.text().contains("rate limit: slow down; the first can be tried again in"), "{}", answer.text());
    assert!((6..=7).contains(&answer.header("retry-after").parse::<u32>().expect("seconds")));
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!(proxy.inner.opened().len(), 1, "a request that reached no upstream leaves no event");
}

#[tokio::test]
async fn a_stream_that_dies_ends_with_an_error_event() {
    const BEGUN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\n";
    let upstream = Upstream::scripted(|mut stream: TcpStream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}{:x}\r\n{BEGUN}\r\n", BEGUN.len()).as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let answer = proxy.chat(STREAM).await;
    let rest = answer.text().strip_prefix(BEGUN).expect("what came goes on").to_owned();
    assert!(rest.starts_with("data: {\"error\":{") && rest.contains("upstream_error"), "{rest}");
    assert!(!rest.contains("[DONE]"));
    assert_discreet(&upstream, &answer);
    let event = proxy.event().await;
    assert_eq!((event.outcome(), event.error_code.as_str()), (Outcome::UpstreamError, "upstream_broken"));
    assert_eq!((event.status, event.estimated), (200, true));
    assert_eq!(event.usage.and_then(|usage| usage.output), Some(2));
}

#[tokio::test]
async fn a_stream_that_goes_silent_is_kept_alive_and_then_given_up() {
    const BEGUN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let upstream = Upstream::scripted(|mut stream: TcpStream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let _ = stream.write_all(format!("{head}{BEGUN}").as_bytes()).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let settings = [("UPSTREAM_IDLE_TIMEOUT", "3s"), ("STREAM_KEEPALIVE_INTERVAL", "100ms")];
    let proxy = Proxy::with(&settings, &upstream, |_| {}).await;
    let answer = proxy.chat(STREAM).await;
    assert!(answer.text().starts_with(&format!("{BEGUN}: keep-alive\n\n: keep-alive\n\n")), "{}", answer.text());
    assert!(answer.text().contains("\"code\":\"timeout\""), "{}", answer.text());
    assert_eq!(proxy.event().await.outcome(), Outcome::Timeout);
}

#[tokio::test]
async fn a_document_that_dies_is_cut_so_that_nobody_takes_it_for_whole() {
    let long = "x".repeat(40_000);
    let upstream = Upstream::scripted(move |mut stream: TcpStream| {
        let text = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50000\r\n\r\n{{\"choices\":[{{\"message\":{{\"content\":\"{long}"
        );
        async move {
            let _ = stream.write_all(text.as_bytes()).await;
        }
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())))).await;
    let answer = raw.read_to_end().await;
    assert!(answer.contains("content-length: 50000\r\n") && answer.len() < 50_000, "{}", answer.len());
    assert_eq!(proxy.event().await.error_code, "upstream_broken");
}

#[tokio::test]
async fn a_short_document_that_dies_is_an_error_and_the_next_connections() {
    let dying = Upstream::writing(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":[{\"message\":{\"content\":\"",
    )
    .await;
    let (status, code, _) = failed_with(dying.clone(), &[]).await;
    assert_eq!((status, code.as_str()), (502, "upstream_error"));
    assert_eq!(dying.asked().len(), 1, "it may have been paid for");
}

#[tokio::test]
async fn what_an_upstream_says_in_mid_stream_is_sanitised_and_names_the_request() {
    const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    const ERROR: &str = "data: {\"error\":{\"message\":\"bad key sk-secret-of-c1 at https://10.1.2.3:8443/v1\",\"type\":\"server_error\"}}\n\n";
    let upstream = Upstream::answering(|_| events(&[CHUNK, ERROR], Duration::from_millis(50))).await;
    let proxy = Proxy::before(&upstream).await;
    let passed = proxy.chat(STREAM).await;
    let shown = "data: {\"error\":{\"message\":\"bad key [redacted] at [url]\",\"type\":\"server_error\"}}\n\n";
    assert_eq!(passed.text(), format!("{CHUNK}{shown}"));
    let body = r#"{"model":"mock/m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let translated = proxy.post("/v1/messages", body).await;
    let text = translated.text();
    assert!(text.contains("bad key [redacted] at [url]"), "{text}");
    let id = translated.header("x-request-id");
    assert!(text.contains(&format!("\"request_id\":\"{id}\"")), "{id} in {text}");
    for answer in [&passed, &translated] {
        assert_discreet(&upstream, answer);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_field_is_told_as_the_upstream_names_it() {
    let refusal = r#"{"error":{"message":"no such value","type":"invalid_request_error","param":"tools[0].x","code":"unsupported_value"}}"#;
    let upstream = Upstream::answering(move |_| json(400, refusal)).await;
    let proxy = Proxy::before(&upstream).await;
    let error = proxy.chat(CHAT).await.json()["error"].clone();
    assert_eq!((&error["param"], &error["code"]), (&"tools[0].x".into(), &"unsupported_value".into()));
    assert_eq!(error["omniroute"]["code"], "upstream_rejected");
    // The path leads into a body that this client did not write.
    let error =
        proxy.post("/v1/responses", r#"{"model":"mock/m","input":"hi","store":false}"#).await.json()["error"].clone();
    assert_eq!((error["param"].is_null(), &error["code"]), (true, &"unsupported_value".into()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_asked_for_again_at_the_same_place() {
    let upstream = Upstream::writing(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":[{\"message\":{\"content\":\"",
    )
    .await;
    let proxy = Proxy::before(&upstream).await;
    let answer = proxy.post("/v1/responses", r#"{"model":"mock/m","input":"hi","store":false}"#).await;
    let (status, _, code) = answer.error();
    assert_eq!((status, code.as_str()), (502, "upstream_error"));
    assert!(answer.text().contains("broke off"), "{}", answer.text());
    assert_eq!(upstream.asked().len(), 1, "it may have been paid for");
}

#[tokio::test]
async fn an_answer_that_says_that_it_failed_is_told_as_what_it_is() {
    for (document, status, said) in [
        (
            r#"{"object":"response","status":"failed","output":[],"error":{"code":"rate_limit_exceeded","message":"slow down"}}"#,
            429,
            "slow down",
        ),
        (
            r#"{"object":"response","status":"failed","output":[],"error":{"code":"server_error","message":"lost it"}}"#,
            502,
            "lost it",
        ),
    ] {
        let upstream = Upstream::answering(move |_| json(200, document)).await;
        let snapshot = snapshot_with(|resources| {
            resources.node_of("mock", &upstream.base_url(), "openai-compatible", "responses");
            resources.connection("c1", "mock", |_| {});
        });
        let proxy = Proxy::start(&[], snapshot).await;
        let answer = proxy.chat(CHAT).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(said), "{}", answer.text());
    }
}
