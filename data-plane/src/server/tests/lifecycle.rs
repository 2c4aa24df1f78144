//! Clients that leave, and a proxy that leaves.

use std::time::Duration;

use omniroute_proto::v1::Outcome;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit},
};

use super::{
    client::Raw,
    upstream::{chat_answer, event_stream, event_stream_of_silence},
    *,
};

const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// A proxy with one stream under way, and the sender of its frames.
async fn streaming() -> (Proxy, Upstream, tokio::sync::mpsc::Sender<&'static str>, Raw) {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().unwrap_or_else(chat_answer)).await;
    let proxy = Proxy::before(&upstream).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{STREAM}", proxy.chat_head(&format!("content-length: {}\r\n", STREAM.len())))).await;
    sender.send(TEXT).await.expect("sent");
    assert!(raw.read_until("12345678").await.starts_with("HTTP/1.1 200 OK\r\n"));
    (proxy, upstream, sender, raw)
}

#[tokio::test]
async fn a_client_that_hangs_up_in_mid_stream_cancels_the_upstream_at_once() {
    let (proxy, _upstream, sender, raw) = streaming().await;
    drop(raw);
    tokio::time::timeout(Duration::from_secs(20), sender.closed()).await.expect("cancelled");
    let event = proxy.event().await;
    assert_eq!((event.outcome(), event.estimated), (Outcome::ClientClosed, true));
    assert_eq!(event.usage.and_then(|usage| usage.output), Some(2));
    assert_eq!(proxy.inner.stages.lifecycle.requests_in_flight(), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_first_byte_cancels_the_upstream_too() {
    let (closed, mut told) = tokio::sync::mpsc::channel(1);
    let upstream = Upstream::scripted(move |mut stream: TcpStream| {
        let closed = closed.clone();
        async move {
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 8]).await;
            let _ = closed.send(matches!(read, Ok(0) | Err(_))).await;
        }
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())))).await;
    while upstream.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(proxy.inner.opened().len(), 1, "written down before the upstream is called");
    drop(raw);
    assert!(tokio::time::timeout(Duration::from_secs(20), told.recv()).await.expect("cancelled").expect("told"));
    let event = proxy.event().await;
    assert_eq!((event.outcome(), event.status), (Outcome::ClientClosed, 0));
    let usage = event.usage.expect("usage");
    assert_eq!((usage.input.is_some(), usage.output), (true, None));
}

#[tokio::test]
async fn a_draining_proxy_finishes_its_streams_and_refuses_new_work() {
    let (proxy, upstream, sender, mut raw) = streaming().await;
    let lifecycle = proxy.inner.stages.lifecycle.clone();
    assert_eq!(proxy.get("/readyz").await.status, 200);
    lifecycle.drain();
    let refused = proxy.chat(CHAT).await;
    assert_eq!(refused.error(), (503, "overloaded".to_owned(), "draining".to_owned()));
    assert_eq!((refused.header("retry-after"), refused.header("connection")), ("1", "close"));
    assert_eq!(proxy.get("/v1/models").await.status, 503);
    let readyz = proxy.get("/readyz").await;
    assert_eq!((readyz.status.as_u16(), readyz.json()["status"].as_str()), (503, Some("draining")));
    assert_eq!(proxy.get("/healthz").await.status, 200);
    assert!(!lifecycle.idle(Duration::from_millis(50)).await, "the stream still runs");

    sender.send(FINISH).await.expect("sent");
    drop(sender);
    assert!(raw.read_to_end().await.contains("data: [DONE]\n\n"), "it ends as it should, and then its connection does");
    assert!(lifecycle.idle(Duration::from_secs(2)).await);
    assert_eq!(proxy.event().await.outcome(), Outcome::Ok);
    assert_eq!(upstream.asked().len(), 1);

    lifecycle.resume();
    assert_eq!(proxy.chat(CHAT).await.status, 200);
}

#[tokio::test]
async fn idle_connections_close_when_draining_begins() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())))).await;
    raw.read_until("\"reasoning_tokens\":2}}}").await;
    proxy.inner.stages.lifecycle.drain();
    assert_eq!(raw.read_to_end().await, "");
}

#[tokio::test]
async fn without_a_configuration_nothing_is_served() {
    let proxy = Proxy::start(&[], Arc::default()).await;
    assert_eq!(proxy.chat(CHAT).await.error().2, "not_ready");
    assert_eq!(proxy.get("/readyz").await.status, 503);
    assert_eq!(proxy.get("/healthz").await.status, 200);
    proxy.inner.stages.snapshot.publish(snapshot_with(|_| {}), true);
    let readyz = proxy.get("/readyz").await;
    assert_eq!((readyz.status.as_u16(), readyz.json()["stale"].as_bool()), (200, Some(true)));
}

#[tokio::test]
async fn when_bodies_fill_the_memory_others_wait_and_are_then_told_to_come_back() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[("BODY_MEMORY", "64KiB")], &upstream, |_| {}).await;
    let mut holding = Raw::connect(proxy.address).await;
    holding.write(proxy.chat_head("content-length: 65536\r\n")).await;
    while proxy.inner.stages.admission.memory().held() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = proxy.chat(CHAT).await;
    assert_eq!(answer.error(), (503, "overloaded".to_owned(), "overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), "1");
    drop(holding);
    assert_eq!(proxy.chat(CHAT).await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[("MAX_CONNECTIONS", "1")], &upstream, |_| {}).await;
    let first = Raw::connect(proxy.address).await;
    while proxy.inner.stages.lifecycle.connections() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut second = Raw::connect(proxy.address).await;
    second.write("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(proxy.inner.stages.lifecycle.connections(), 1);
    drop(first);
    assert!(second.read_to_end().await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_dropped() {
    let filler: &'static str =
        Box::leak(format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(64 * 1024)).into_boxed_str());
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::with(&[("CLIENT_TIMEOUT", "200ms")], &upstream, |_| {}).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{STREAM}", proxy.chat_head(&format!("content-length: {}\r\n", STREAM.len())))).await;
    let filling = async { while sender.send(filler).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(15), filling).await.expect("the upstream is cancelled");
    assert_eq!(proxy.event().await.outcome(), Outcome::ClientClosed);
    drop(raw);
}

/// Ten thousand idle streams are no reason to run out of memory.
#[test]
fn what_a_connection_and_a_request_hold_is_small() {
    fn held<A, F>(_: impl FnOnce(Arc<crate::server::Shared>, A, SocketAddr, OwnedSemaphorePermit) -> F) -> usize {
        size_of::<F>()
    }
    fn moved<A, F>(_: impl FnOnce(&Arc<crate::server::Shared>, SocketAddr, A) -> F) -> usize {
        size_of::<F>()
    }
    fn held_by_request<A, B, C, D, F>(_: impl FnOnce(Arc<crate::server::Stages>, A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }
    assert!(held(crate::server::connection::serve) < 4 * 1024);
    let moved = moved(crate::server::service::answer);
    assert!(moved < 1024, "{moved}");
    let request = held_by_request(crate::server::pipeline::serve::<hyper::body::Incoming>);
    assert!(request < 6 * 1024, "{request}");
    assert!(size_of::<crate::reply::Reply>() <= 64);
}

#[tokio::test]
async fn what_outlives_the_deadline_of_a_drain_is_cut_and_recorded() {
    let (proxy, _upstream, sender, mut raw) = streaming().await;
    let lifecycle = &proxy.inner.stages.lifecycle;
    lifecycle.drain();
    sender.send(TEXT).await.expect("the stream goes on");
    raw.read_until("12345678").await;
    lifecycle.expire_drain();
    let last = raw.read_to_end().await;
    assert!(last.contains("data: {\"error\":") && last.contains("this proxy is stopping"), "{last}");
    tokio::time::timeout(Duration::from_secs(20), sender.closed()).await.expect("cancelled");
    let event = proxy.event().await;
    assert_eq!((event.outcome(), event.error_code.as_str()), (Outcome::Drained, "drain_deadline"));
    assert_eq!((event.usage.and_then(|usage| usage.output), event.estimated), (Some(4), true));
    lifecycle.resume();
    assert_eq!(proxy.chat(CHAT).await.status, 200);
}

#[tokio::test]
async fn the_end_of_the_process_tells_every_stream_and_every_waiting_client_in_its_own_words() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| match given.lock().expect("a lock").take() {
        Some(given) => given,
        // A head, and no body.
        None => event_stream_of_silence(),
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let body = r#"{"model":"mock/m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let head = |path: &str| {
        proxy.chat_head(&format!("content-length: {}\r\n", body.len())).replace("/v1/chat/completions", path)
    };
    let mut streaming = Raw::connect(proxy.address).await;
    streaming.write(format!("{}{body}", head("/v1/messages"))).await;
    sender.send(TEXT).await.expect("sent");
    streaming.read_until("12345678").await;
    let mut waiting = Raw::connect(proxy.address).await;
    waiting.write(format!("{}{body}", head("/v1/messages"))).await;
    while upstream.asked().len() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let lifecycle = &proxy.inner.stages.lifecycle;
    lifecycle.shut_down();
    lifecycle.expire_shutdown();
    let told = streaming.read_to_end().await;
    assert!(told.contains("event: error\n") && told.contains("overloaded_error"), "{told}");
    let told = waiting.read_to_end().await;
    assert!(told.starts_with("HTTP/1.1 529 ") && told.contains("\"code\":\"draining\""), "{told}");
    let events = proxy.inner.closed_events(2).await;
    assert!(events.iter().all(|event| event.outcome() == Outcome::Drained), "{events:?}");
    assert!(lifecycle.idle(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_process_that_leaves_is_not_ready_and_serves_on() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    let mut kept = Raw::connect(proxy.address).await;
    let asking = format!("{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())));
    kept.write(&asking).await;
    kept.read_until("\"reasoning_tokens\":2}}}").await;
    let lifecycle = &proxy.inner.stages.lifecycle;
    lifecycle.enter_lameduck();
    let readyz = proxy.get("/readyz").await;
    assert_eq!((readyz.status.as_u16(), readyz.json()["status"].as_str()), (503, Some("draining")));
    assert_eq!(proxy.chat(CHAT).await.status, 200, "new connections are served");
    kept.write(&asking).await;
    assert!(kept.read_until("\"reasoning_tokens\":2}}}").await.starts_with("HTTP/1.1 200 "), "and so are old ones");
    lifecycle.shut_down();
    assert_eq!(kept.read_to_end().await, "");
    assert_eq!(proxy.chat(CHAT).await.error().2, "draining");
}

#[tokio::test]
async fn a_client_that_does_not_finish_an_http_2_preface_is_let_go() {
    let upstream = Upstream::absent().await;
    let proxy = Proxy::with(&[("CLIENT_TIMEOUT", "200ms")], &upstream, |_| {}).await;
    for said in ["P", "PRI", "PRI * HTTP/2.0\r\n"] {
        let mut raw = Raw::connect(proxy.address).await;
        raw.write(said).await;
        assert_eq!(raw.read_to_end().await, "", "{said}");
    }
    while proxy.inner.stages.lifecycle.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An HTTP/2 client that lets so many bytes of an answer come and reads none of them.
async fn unread_over_http_2(proxy: &Proxy, window: u32) -> hyper::body::Incoming {
    let stream = TcpStream::connect(proxy.address).await.expect("connected");
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let request = proxy.request("POST", "/v1/chat/completions").header("authorization", format!("Bearer {KEY}"));
    let request = request.body(Full::new(Bytes::from_static(STREAM.as_bytes()))).expect("a request");
    let answer = client.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let body = answer.into_body();
    // The connection lives as long as the sender.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(client);
    });
    body
}

#[tokio::test]
async fn an_http_2_client_that_grants_no_window_is_given_up() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::with(&[("CLIENT_TIMEOUT", "200ms")], &upstream, |_| {}).await;
    sender.send(TEXT).await.expect("sent");
    let body = unread_over_http_2(&proxy, 10).await;
    let filling = async { while sender.send(TEXT).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), filling).await.expect("the upstream is cancelled");
    assert_eq!(proxy.event().await.outcome(), Outcome::ClientClosed);
    while proxy.inner.stages.lifecycle.requests_in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(body);
}

#[tokio::test]
async fn an_http_2_client_that_grants_no_window_for_a_sign_of_life_is_given_up() {
    let left = Arc::new(Notify::new());
    let told = Arc::clone(&left);
    let upstream = Upstream::scripted(move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            // It never answers.
            while stream.read(&mut [0]).await.is_ok_and(|read| read > 0) {}
            told.notify_one();
        }
    })
    .await;
    let settings = [("CLIENT_TIMEOUT", "200ms"), ("STREAM_FIRST_SIGN", "50ms")];
    let proxy = Proxy::with(&settings, &upstream, |_| {}).await;
    let body = unread_over_http_2(&proxy, 0).await;
    tokio::time::timeout(Duration::from_secs(20), left.notified()).await.expect("the upstream is cancelled");
    assert_eq!(proxy.event().await.outcome(), Outcome::ClientClosed);
    while proxy.inner.stages.lifecycle.requests_in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(body);
}

#[tokio::test]
async fn the_deadline_of_a_request_counts_though_its_client_reads_nothing() {
    let filler: &'static str =
        Box::leak(format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(64 * 1024)).into_boxed_str());
    for over_http_2 in [true, false] {
        let (sender, given) = event_stream();
        let given = std::sync::Mutex::new(Some(given));
        let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
        let proxy = Proxy::with(&[("REQUEST_TIMEOUT", "500ms")], &upstream, |_| {}).await;
        let mut raw = Raw::connect(proxy.address).await;
        let filling = tokio::spawn(async move { while sender.send(filler).await.is_ok() {} });
        let body = if over_http_2 {
            Some(unread_over_http_2(&proxy, 10).await)
        } else {
            raw.write(format!("{}{STREAM}", proxy.chat_head(&format!("content-length: {}\r\n", STREAM.len())))).await;
            None
        };
        tokio::time::timeout(Duration::from_secs(20), filling)
            .await
            .expect("the upstream is cancelled")
            .expect("no panic");
        let event = proxy.event().await;
        assert_eq!((event.outcome(), event.error_code.as_str()), (Outcome::Timeout, "request_deadline"));
        drop((raw, body));
    }
}

#[tokio::test]
async fn a_drain_reaches_a_stream_whose_client_reads_nothing() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::before(&upstream).await;
    sender.send(TEXT).await.expect("sent");
    let body = unread_over_http_2(&proxy, 10).await;
    let lifecycle = &proxy.inner.stages.lifecycle;
    lifecycle.drain();
    lifecycle.expire_drain();
    tokio::time::timeout(Duration::from_secs(20), sender.closed()).await.expect("cancelled");
    assert_eq!(proxy.event().await.outcome(), Outcome::Drained);
    drop(body);
}
