//! Clients that wait long for the first frame of a stream.

use std::time::Duration;

use omniroute_proto::v1::Outcome;
use tokio::{io::AsyncWriteExt, sync::Notify};

use super::{
    client::Raw,
    upstream::{chat_answer, event_stream},
    *,
};

const TEXT: &str =
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const SETTINGS: [(&str, &str); 2] = [("STREAM_FIRST_SIGN", "50ms"), ("STREAM_KEEPALIVE_INTERVAL", "50ms")];
const FAILURE: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 35\r\n\r\n\
                       {\"error\":{\"message\":\"out of luck\"}}";

/// An upstream that reads a request, waits until it is told, and fails.
async fn failing() -> (Upstream, Arc<Notify>) {
    let told = Arc::new(Notify::new());
    let waits = Arc::clone(&told);
    let upstream = Upstream::scripted(move |mut stream| {
        let waits = Arc::clone(&waits);
        async move {
            waits.notified().await;
            let _ = stream.write_all(FAILURE.as_bytes()).await;
        }
    })
    .await;
    (upstream, told)
}

fn body(path: &str, stream: bool) -> String {
    match path {
        "/v1/responses" => format!(r#"{{"model":"mock/m","stream":{stream},"store":false,"input":"hi"}}"#),
        _ => format!(
            r#"{{"model":"mock/m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
        ),
    }
}

async fn asking(proxy: &Proxy, path: &str, body: &str) -> Raw {
    let mut raw = Raw::connect(proxy.address).await;
    let head = proxy.chat_head(&format!("content-length: {}\r\nconnection: close\r\n", body.len()));
    raw.write(head.replace("/v1/chat/completions", path) + body).await;
    raw
}

#[tokio::test]
async fn a_client_that_waits_gets_a_status_and_signs_of_life_and_then_its_answer() {
    for (path, sign, end) in [
        ("/v1/chat/completions", ": keep-alive\n\n", "[DONE]"),
        ("/v1/messages", "event: ping\n", "event: message_stop"),
        ("/v1/responses", ": keep-alive\n\n", "event: response.completed"),
    ] {
        let (sender, given) = event_stream();
        let given = std::sync::Mutex::new(Some(given));
        let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
        let proxy = Proxy::with(&SETTINGS, &upstream, |_| {}).await;
        let mut raw = asking(&proxy, path, &body(path, true)).await;
        let begun = raw.read_until(sign).await;
        assert!(begun.starts_with("HTTP/1.1 200 ") && begun.contains("content-type: text/event-stream"), "{begun}");
        assert!(begun.contains("x-request-id: "), "{begun}");
        raw.read_until(sign).await;
        for piece in [TEXT, FINISH, DONE] {
            sender.send(piece).await.expect("sent");
        }
        drop(sender);
        let rest = raw.read_to_end().await;
        assert!(rest.contains("12345678") && rest.contains(end), "{path}: {rest}");
        // What the head would have said stands in front of the first event.
        let answer = rest.find("12345678").expect("its text");
        for told in [": x-omniroute-provider: mock\n", ": x-omniroute-model: m\n"] {
            assert!(rest.find(told).is_some_and(|at| at < answer), "{path}: {rest}");
        }
        let event = proxy.event().await;
        assert_eq!((event.outcome(), event.status), (Outcome::Ok, 200), "{path}");
    }
}

#[tokio::test]
async fn after_a_sign_of_life_another_connection_may_still_answer() {
    let (first, fail) = failing().await;
    let second = Upstream::answering(|_| upstream::events(&[TEXT, FINISH, DONE], Duration::ZERO)).await;
    let snapshot = snapshot_with(|resources| {
        resources.node("mock", &first.base_url());
        resources.connection("c1", "mock", |connection| connection.priority = 1);
        let url = second.base_url();
        resources.connection("c2", "mock", |connection| {
            connection.priority = 2;
            connection.base_url = url;
        });
    });
    let proxy = Proxy::start(&SETTINGS, snapshot).await;
    let mut raw = asking(&proxy, "/v1/chat/completions", &body("/v1/chat/completions", true)).await;
    raw.read_until(": keep-alive\n\n").await;
    fail.notify_one();
    let rest = raw.read_to_end().await;
    assert!(rest.contains("12345678") && rest.contains("[DONE]") && !rest.contains("error"), "{rest}");
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    assert_eq!(proxy.event().await.outcome(), Outcome::Ok);
}

#[tokio::test]
async fn a_failure_after_a_sign_of_life_is_an_event_of_the_dialect() {
    for (path, sign, told) in [
        ("/v1/chat/completions", ": keep-alive\n\n", "data: {\"error\":{"),
        ("/v1/messages", "event: ping\n", "event: error\ndata: {\"type\":\"error\""),
        ("/v1/responses", ": keep-alive\n\n", "event: response.failed\n"),
    ] {
        let (upstream, fail) = failing().await;
        let proxy = Proxy::with(&SETTINGS, &upstream, |_| {}).await;
        let mut raw = asking(&proxy, path, &body(path, true)).await;
        raw.read_until(sign).await;
        fail.notify_one();
        let rest = raw.read_to_end().await;
        assert!(rest.contains(told) && !rest.contains("[DONE]"), "{path}: {rest}");
        let event = proxy.event().await;
        let recorded = (event.outcome(), event.status, event.error_code.as_str());
        assert_eq!(recorded, (Outcome::UpstreamError, 502, "upstream_error"), "not the 200 that the client saw");
    }
}

#[tokio::test]
async fn what_a_translation_leaves_out_is_told_behind_an_early_head() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::with(&SETTINGS, &upstream, |_| {}).await;
    let body = body("/v1/messages", true).replace(r#""max_tokens""#, r#""top_k":3,"max_tokens""#);
    let mut raw = asking(&proxy, "/v1/messages", &body).await;
    raw.read_until("event: ping\n").await;
    for piece in [TEXT, FINISH, DONE] {
        sender.send(piece).await.expect("sent");
    }
    drop(sender);
    let rest = raw.read_to_end().await;
    assert!(rest.contains(": x-omniroute-dropped: top_k\n"), "{rest}");
}

#[tokio::test]
async fn a_drain_ends_what_has_had_nothing_but_signs_of_life() {
    let (upstream, _fail) = failing().await;
    let proxy = Proxy::with(&SETTINGS, &upstream, |_| {}).await;
    let mut raw = asking(&proxy, "/v1/chat/completions", &body("/v1/chat/completions", true)).await;
    raw.read_until(": keep-alive\n\n").await;
    proxy.inner.stages.lifecycle.drain();
    proxy.inner.stages.lifecycle.expire_drain();
    let rest = raw.read_to_end().await;
    assert!(rest.contains("this proxy is stopping"), "{rest}");
    assert_eq!(proxy.event().await.outcome(), Outcome::Drained);
}

#[tokio::test]
async fn who_has_no_sign_of_life_or_wants_no_stream_waits_for_a_status() {
    let gemini = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#.to_owned();
    for (path, body) in [
        ("/v1beta/models/mock/m:streamGenerateContent?alt=sse", gemini),
        ("/api/chat", body("/api/chat", true)),
        ("/v1/chat/completions", body("/v1/chat/completions", false)),
    ] {
        let (upstream, fail) = failing().await;
        let proxy = Proxy::with(&SETTINGS, &upstream, |_| {}).await;
        let mut raw = asking(&proxy, path, &body).await;
        while upstream.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Long enough for others to have had their sign.
        tokio::time::sleep(Duration::from_millis(200)).await;
        fail.notify_one();
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 50"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_long_wait_has_its_prompt_counted_before_anything_of_an_answer_comes() {
    let (upstream, _fail) = failing().await;
    let proxy = Proxy::with(&[], &upstream, |_| {}).await;
    let text = "four".repeat(100);
    for stream in [false, true] {
        let body =
            body("/v1/chat/completions", stream).replace("hi", &text).replace("mock/m\",", "mock/m\",          ");
        let _waiting = asking(&proxy, "/v1/chat/completions", &body).await;
        let seen = proxy.inner.noted().len();
        while proxy.inner.noted().len() == seen {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (noted, opened) = (proxy.inner.noted().pop().expect("one"), proxy.inner.opened().pop().expect("one"));
        assert_eq!(noted.id, opened.id);
        assert_eq!((noted.status, noted.first_byte_us, noted.attempts), (0, 0, 1));
        // A token for four bytes of the text, three for the message and three for the answer.
        let (counted, by_length) = (noted.usage.expect("usage"), opened.usage.expect("usage"));
        assert_eq!((counted.input, counted.output), (Some(106), None));
        assert!(by_length.input > counted.input, "{by_length:?}");
    }
}

#[tokio::test]
async fn without_the_setting_a_status_waits_for_the_upstream() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[("STREAM_FIRST_SIGN", "0s")], &upstream, |_| {}).await;
    assert_eq!(proxy.chat(CHAT).await.status, 200);
}
