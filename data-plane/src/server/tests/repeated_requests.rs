//! Requests that come twice, and requests that belong together.

use std::time::Duration;

use http::StatusCode;

use super::{
    upstream::{chat_answer, events, json},
    *,
};

const PATH: &str = "/v1/chat/completions";

async fn named(proxy: &Proxy, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = proxy.request("POST", PATH).header("authorization", format!("Bearer {KEY}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.body(body.to_owned().into()).expect("a request")).await
}

fn is_again(answer: &Answer) -> bool {
    answer.header("x-omniroute-idempotent") == "true"
}

async fn slow() -> Upstream {
    let (count, answered) = (std::sync::atomic::AtomicU32::new(0), Duration::from_millis(150));
    Upstream::answering(move |asked| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if memchr::memmem::find(&asked.body, b"\"stream\":true").is_some() {
            return events(
                &[
                    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
                    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
                ],
                answered / 2,
            );
        }
        json(200, format!(r#"{{"id":"n{n}","choices":[{{"index":0,"message":{{"content":"x"}},"finish_reason":"stop"}}]}}"#))
    })
    .await
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_is_charged_once() {
    let upstream = slow().await;
    let proxy = Proxy::before(&upstream).await;
    let key = [("idempotency-key", "order-1")];
    let first = named(&proxy, &key, CHAT).await;
    assert!(first.status == StatusCode::OK && !is_again(&first));
    let again = named(&proxy, &key, CHAT).await;
    assert!(is_again(&again));
    assert_eq!((&again.body, again.header("content-type")), (&first.body, "application/json"));
    assert_eq!(again.header("x-omniroute-provider"), "mock");
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert!(!is_again(&named(&proxy, &[("idempotency-key", "order-2")], CHAT).await));
    assert_eq!(upstream.asked().len(), 2);
    assert_eq!(proxy.inner.closed_events(2).await.len(), 2);
}

#[tokio::test]
async fn requests_at_once_wait_for_the_first_streams_too() {
    let upstream = slow().await;
    let proxy = Proxy::before(&upstream).await;
    for (name, body) in [("one", CHAT), ("two", STREAM)] {
        let key = [("idempotency-key", name)];
        let before = upstream.asked().len();
        let answers = futures_util::future::join_all((0..5).map(|_| named(&proxy, &key, body))).await;
        assert_eq!(answers.iter().filter(|answer| is_again(answer)).count(), 4, "{name}");
        assert!(answers.iter().all(|answer| answer.body == answers[0].body), "{name}");
        assert_eq!(upstream.asked().len(), before + 1, "{name}");
    }
    let stream = named(&proxy, &[("idempotency-key", "two")], STREAM).await;
    assert!(stream.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(stream.header("content-type").split(';').next(), Some("text/event-stream"));
}

#[tokio::test]
async fn another_body_under_the_same_key_is_a_mistake_and_under_the_same_request_id_another_request() {
    let upstream = slow().await;
    let proxy = Proxy::before(&upstream).await;
    let key = [("idempotency-key", "k")];
    assert_eq!(named(&proxy, &key, CHAT).await.status, StatusCode::OK);
    let other = CHAT.replace("hi", "ho");
    let refused = named(&proxy, &key, &other).await;
    assert_eq!((refused.error().0, refused.error().2.as_str()), (409, "idempotency_key_reused"));

    let id = [("x-request-id", "trace-1")];
    assert!(!is_again(&named(&proxy, &id, CHAT).await));
    let again = named(&proxy, &id, CHAT).await;
    assert!(is_again(&again));
    assert_eq!(again.header("x-request-id"), "trace-1");
    let another = named(&proxy, &id, &other).await;
    assert!(another.status == StatusCode::OK && !is_again(&another));
    let long = "k".repeat(256);
    assert_eq!(named(&proxy, &[("idempotency-key", &long)], CHAT).await.error().2, "invalid_idempotency_key");
}

#[tokio::test]
async fn events_of_progress_are_not_part_of_an_answer() {
    let upstream = slow().await;
    let proxy = Proxy::before(&upstream).await;
    let progress = ("x-omniroute-progress", "true");
    // A first that was told of progress, and one that was not.
    for (name, first_asks, then_asks) in [("one", true, false), ("two", true, true), ("three", false, true)] {
        let key = ("idempotency-key", name);
        let headers = |asks: bool| if asks { vec![key, progress] } else { vec![key] };
        let first = named(&proxy, &headers(first_asks), STREAM).await;
        assert_eq!(first.text().contains("event: progress"), first_asks, "{name}");
        let again = named(&proxy, &headers(then_asks), STREAM).await;
        assert!(is_again(&again), "{name}");
        assert!(!again.text().contains("progress") && again.text().ends_with("data: [DONE]\n\n"), "{}", again.text());
        assert_eq!(again.header("x-omniroute-progress"), "", "nothing is promised that does not come");
        let without: String =
            first.text().split_inclusive("\n\n").filter(|event| !event.contains("progress")).collect();
        assert_eq!(again.text(), without, "{name}");
    }
    assert_eq!(upstream.asked().len(), 3);
    // One that waits for a first with progress gets the answer all the same.
    let key = ("idempotency-key", "at once");
    let with_progress = [key, progress];
    let waiting = async {
        // The first is under way once its upstream is asked, and takes its time.
        while upstream.asked().len() < 4 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        named(&proxy, &[key], STREAM).await
    };
    let (first, second) = tokio::join!(named(&proxy, &with_progress, STREAM), waiting);
    assert!(first.text().contains("\"done\":true") && is_again(&second) && !second.text().contains("progress"));
}

#[tokio::test]
async fn who_is_strict_gets_no_answer_again_that_left_something_out() {
    let upstream = Upstream::answering(|_| {
        json(200, r#"{"model":"m","message":{"role":"assistant","content":"x"},"done":true,"done_reason":"stop"}"#)
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        let url = format!("http://{}", upstream.address);
        resources.connection("o1", "ollama", |connection| connection.base_url = url);
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let strict = ("x-omniroute-strict", "true");
    let lossy = r#"{"model":"ollama/m","logit_bias":{"1":1},"messages":[{"role":"user","content":"hi"}]}"#;
    let key = ("idempotency-key", "lossy");
    let first = named(&proxy, &[key], lossy).await;
    assert_eq!(first.header("x-omniroute-dropped"), "logit_bias");
    let refused = named(&proxy, &[key, strict], lossy).await;
    assert_eq!((refused.error().0, refused.error().2.as_str()), (400, "unsupported_feature"));
    assert!(refused.text().contains("logit_bias"), "{}", refused.text());
    let again = named(&proxy, &[key], lossy).await;
    assert!(is_again(&again) && again.header("x-omniroute-dropped") == "logit_bias");
    // A refusal is not an answer: who then does not mind losing something gets one.
    let key = ("idempotency-key", "strict first");
    assert_eq!(named(&proxy, &[key, strict], lossy).await.status, StatusCode::BAD_REQUEST);
    let lenient = named(&proxy, &[key], lossy).await;
    assert!(lenient.status == StatusCode::OK && !is_again(&lenient));
    // What lost nothing is given again to anybody.
    let whole = r#"{"model":"ollama/m","messages":[{"role":"user","content":"hi"}]}"#;
    let key = ("idempotency-key", "whole");
    assert_eq!(named(&proxy, &[key], whole).await.status, StatusCode::OK);
    assert!(is_again(&named(&proxy, &[key, strict], whole).await));
}

#[tokio::test]
async fn another_api_key_is_somebody_else() {
    let upstream = slow().await;
    let proxy = Proxy::with(&[], &upstream, |resources| resources.key("k2", "sk-two", |_| {})).await;
    assert!(!is_again(&named(&proxy, &[("idempotency-key", "k")], CHAT).await));
    let request = proxy.request("POST", PATH).header("x-api-key", "sk-two").header("idempotency-key", "k");
    let theirs = send(request.body(CHAT.into()).expect("a request")).await;
    assert!(theirs.status == StatusCode::OK && !is_again(&theirs));
}

#[tokio::test]
async fn failures_and_what_is_too_large_are_not_given_again() {
    let turn = std::sync::atomic::AtomicU32::new(0);
    let upstream = Upstream::answering(move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#),
        1 => chat_answer(),
        _ => json(200, format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, "x".repeat(8 * 1024))),
    })
    .await;
    let proxy = Proxy::with(&[("IDEMPOTENCY_ANSWER_MAX", "4KiB")], &upstream, |_| {}).await;
    let key = [("idempotency-key", "k")];
    assert_eq!(named(&proxy, &key, CHAT).await.status, StatusCode::BAD_REQUEST);
    let second = named(&proxy, &key, CHAT).await;
    assert!(second.status == StatusCode::OK && !is_again(&second));
    assert!(is_again(&named(&proxy, &key, CHAT).await));
    for _ in 0..2 {
        assert!(!is_again(&named(&proxy, &[("idempotency-key", "large")], CHAT).await));
    }
}

#[tokio::test]
async fn the_window_ends_and_can_be_shut() {
    let upstream = slow().await;
    let proxy = Proxy::with(&[("IDEMPOTENCY_WINDOW", "200ms")], &upstream, |_| {}).await;
    let key = [("idempotency-key", "k")];
    assert!(!is_again(&named(&proxy, &key, CHAT).await));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(!is_again(&named(&proxy, &key, CHAT).await));
    let shut = Proxy::with(&[("IDEMPOTENCY_WINDOW", "0s")], &upstream, |_| {}).await;
    assert!(!is_again(&named(&shut, &key, CHAT).await));
    assert!(!is_again(&named(&shut, &key, CHAT).await));
}

#[tokio::test]
async fn a_first_that_goes_away_leaves_the_way_free() {
    let upstream = slow().await;
    let proxy = Proxy::before(&upstream).await;
    let mut first = client::Raw::connect(proxy.address).await;
    let head = proxy.chat_head(&format!("idempotency-key: k\r\ncontent-length: {}\r\n", STREAM.len()));
    first.write(format!("{head}{STREAM}")).await;
    first.read_until("data: ").await;
    let waiting = named(&proxy, &[("idempotency-key", "k")], STREAM);
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(first);
    };
    let (second, ()) = tokio::join!(waiting, leaving);
    assert!(second.status == StatusCode::OK && second.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_session_stays_with_one_connection_among_equals() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        for id in ["c2", "c3", "c4"] {
            resources.connection(id, "mock", |_| {});
        }
        resources.connection("spare", "mock", |connection| connection.priority = 9);
    })
    .await;
    let used = |name: &'static str| {
        let (proxy, upstream) = (&proxy, &upstream);
        async move {
            let answer = named(proxy, &[("x-session-id", name)], CHAT).await;
            assert_eq!(answer.header("x-omniroute-session-id"), name);
            upstream.last().headers["authorization"].to_str().expect("text").to_owned()
        }
    };
    let mut all = std::collections::BTreeSet::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
        let first = used(name).await;
        assert_eq!(used(name).await, first);
        all.insert(first);
    }
    assert!(all.len() > 1 && !all.iter().any(|secret| secret.contains("spare")), "{all:?}");
    let plain = proxy.chat(CHAT).await;
    assert_eq!(plain.header("x-omniroute-session-id"), "");
    let underscored = named(&proxy, &[("x_session_id", "a")], CHAT).await;
    assert_eq!(underscored.header("x-omniroute-session-id"), "a");
    let long = "s".repeat(300);
    assert_eq!(named(&proxy, &[("x-session-id", &long)], CHAT).await.error().2, "invalid_session_id");
}
