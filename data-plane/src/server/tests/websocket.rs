//! Many requests over one socket, with a real client.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest,
        protocol::{
            CloseFrame,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::{
    upstream::{event_stream, events},
    *,
};

const TEXT: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"H\u{e9}llo\"}}]}\n\n";
const FINISH: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const LONG: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(proxy: &Proxy, key: &str) -> Self {
        let mut request = format!("ws://{}/v1/ws", proxy.address).into_client_request().expect("a request");
        let value = format!("Bearer {key}").parse().expect("a value");
        request.headers_mut().insert("authorization", value);
        let (socket, _) = connect_async(request).await.expect("opened");
        let mut socket = Self(socket);
        let ready = socket.next().await;
        assert_eq!(ready["type"], "session.ready");
        socket
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("sent");
    }

    /// The next frame that is no ping.
    async fn next(&mut self) -> Value {
        loop {
            match tokio::time::timeout(LONG, self.0.next()).await.expect("no hang") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Frames up to one of this type.
    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            let is_last = frame["type"] == kind;
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }

    /// The next frame of this request.
    async fn until_about(&mut self, id: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["id"] == id {
                return frame;
            }
        }
    }

    async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            match tokio::time::timeout(LONG, self.0.next()).await.expect("no hang") {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn request(id: &str, payload: Value) -> Value {
    json!({"type": "request", "id": id, "payload": payload})
}

fn chat() -> Value {
    json!({"model": "mock/m", "messages": [{"role": "user", "content": "hi"}]})
}

async fn streaming() -> Upstream {
    Upstream::answering(|asked| {
        let wants_stream = asked.body.windows(13).any(|bytes| bytes == b"\"stream\":true");
        if wants_stream { events(&[TEXT, FINISH, DONE], Duration::ZERO) } else { upstream::chat_answer() }
    })
    .await
}

#[tokio::test]
async fn the_handshake_describes_the_protocol_to_who_has_a_key() {
    let proxy = Proxy::before(&streaming().await).await;
    let described = proxy.get("/v1/ws?handshake=1").await;
    let json = described.json();
    assert_eq!((&json["ok"], &json["path"], &json["authType"]), (&json!(true), &json!("/v1/ws"), &json!("api-key")));
    assert_eq!(
        (&json["protocol"]["request"]["type"], &json["protocol"]["cancel"]["id"]),
        (&json!("request"), &json!("req-1"))
    );
    assert_eq!(described.header("cache-control"), "no-store");
    let by_query = send(
        proxy.request("GET", &format!("/v1/ws?handshake=1&api_key={KEY}")).body(Full::default()).expect("a request"),
    );
    assert_eq!(by_query.await.status, 200);
    let nobody = send(proxy.request("GET", "/v1/ws?handshake=1").body(Full::default()).expect("a request")).await;
    assert_eq!(nobody.error().0, 401);
    let plain = proxy.get("/v1/ws").await;
    assert_eq!((plain.error().0, plain.header("upgrade")), (426, "websocket"));
    let refused = connect_async(format!("ws://{}/v1/ws", proxy.address)).await.expect_err("no key");
    assert!(matches!(refused, WsError::Http(answer) if answer.status() == 401));
}

#[tokio::test]
async fn requests_of_every_dialect_run_over_one_socket() {
    let upstream = streaming().await;
    let proxy = Proxy::before(&upstream).await;
    let mut socket = Socket::open(&proxy, KEY).await;
    socket.send(request("a", chat())).await;
    let frames = socket.until("response.completed").await;
    assert_eq!((&frames[0]["type"], &frames[0]["status"]), (&json!("response.start"), &json!(200)));
    assert_eq!(
        (&frames[0]["contentType"], &frames[0]["headers"]["x-omniroute-provider"]),
        (&json!("text/event-stream; charset=utf-8"), &json!("mock"))
    );
    let text: String = frames.iter().filter_map(|frame| frame["chunk"].as_str()).collect();
    assert_eq!(text, [TEXT, FINISH, DONE].concat());
    assert!(frames.iter().all(|frame| frame["id"] == "a"));

    let body = json!({"model": "mock/m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    socket
        .send(json!({"type": "request", "id": "b", "endpoint": "/v1/messages", "frames": "events", "payload": body}))
        .await;
    let frames = socket.until("response.completed").await;
    let names: Vec<_> = frames.iter().filter_map(|frame| frame["event"].as_str()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"message_start"), Some(&"message_stop")), "{names:?}");
    let delta = frames.iter().find(|frame| frame["event"] == "content_block_delta").expect("a delta");
    assert_eq!(delta["data"]["delta"]["text"], "H\u{e9}llo");

    socket.send(json!({"type": "request", "id": "c", "endpoint": "/v1/responses", "payload": {"model": "mock/m", "input": "hi", "stream": false}})).await;
    let frames = socket.until("response.completed").await;
    let output = frames.iter().find(|frame| frame["type"] == "response.output").expect("an output");
    assert_eq!(output["body"]["output"][0]["content"][0]["text"], "Hello!");
    let events = proxy.inner.closed_events(3).await;
    assert!(events.iter().all(|event| event.api_key_id == "k1"), "each request is in the ledger");

    for (message, code) in [
        (json!([]), "invalid_envelope"),
        (json!({"type": "cancel", "id": "none"}), "unknown_request"),
        (json!({"type": "request", "id": "", "payload": {}}), "invalid_request_id"),
    ] {
        socket.send(message).await;
        let fault = socket.next().await;
        assert_eq!((&fault["type"], &fault["code"]), (&json!("protocol.error"), &json!(code)));
    }
    socket.send(json!({"type": "request", "id": "d", "endpoint": "/v1/models", "payload": {}})).await;
    assert_eq!(socket.next().await["code"], "invalid_endpoint");
    socket.send(request("e", json!({"model": "nobody/x", "messages": []}))).await;
    let frames = socket.until("response.completed").await;
    let error = frames.iter().find(|frame| frame["type"] == "response.error").expect("an error");
    assert_eq!((&error["status"], &error["body"]["error"]["code"]), (&json!(404), &json!("model_not_found")));
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await["type"], "pong");
}

#[tokio::test]
async fn a_cancelled_request_ends_upstream_too_and_its_id_is_free_again() {
    let upstream = Upstream::answering(|asked| {
        let (sender, given) = event_stream();
        let is_slow = asked.body.windows(4).any(|four| four == b"slow");
        tokio::spawn(async move {
            let _ = sender.send(TEXT).await;
            if is_slow {
                tokio::time::sleep(LONG).await;
            }
            let _ = sender.send(FINISH).await;
            let _ = sender.send(DONE).await;
        });
        given
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let mut socket = Socket::open(&proxy, KEY).await;
    let mut slow = chat();
    slow["user"] = "slow".into();
    socket.send(request("a", slow.clone())).await;
    assert_eq!(socket.until("response.chunk").await.len(), 2);
    socket.send(request("a", chat())).await;
    assert_eq!(socket.next().await["code"], "duplicate_request");
    // Others run beside it.
    socket.send(request("b", chat())).await;
    assert!(socket.until("response.completed").await.iter().all(|frame| frame["id"] == "b"));
    socket.send(json!({"type": "cancel", "id": "a"})).await;
    let frames = socket.until("response.cancelled").await;
    assert_eq!(frames.last().map(|frame| frame["id"].clone()), Some(json!("a")));
    let closed = proxy.inner.closed_events(2).await;
    assert!(closed.iter().any(|event| event.error_code == "client_closed"), "{closed:?}");
    socket.send(request("a", chat())).await;
    assert!(socket.until("response.completed").await.iter().all(|frame| frame["id"] == "a"));
    // Leaving cancels what runs.
    socket.send(request("c", slow)).await;
    socket.until("response.chunk").await;
    drop(socket);
    assert_eq!(proxy.inner.closed_events(4).await.last().expect("an event").error_code, "client_closed");
    assert_eq!(proxy.inner.stages.lifecycle.requests_in_flight(), 0);
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_the_socket() {
    let upstream = streaming().await;
    let proxy = Proxy::with(&[], &upstream, |resources| resources.key("k2", "sk-second", |_| {})).await;
    let mut socket = Socket::open(&proxy, "sk-second").await;
    socket.send(request("a", chat())).await;
    socket.until("response.completed").await;
    proxy.inner.stages.snapshot.publish(in_front_of(&upstream, |_| {}), false);
    socket.send(request("b", chat())).await;
    let refused = socket.next().await;
    assert_eq!(
        (&refused["id"], &refused["status"], &refused["code"]),
        (&json!("b"), &json!(401), &json!("invalid_api_key"))
    );
    let close = socket.closed().await.expect("a frame");
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4401, "key_refused"));
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test]
async fn a_drain_lets_requests_end_and_closes_the_socket_then() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::before(&upstream).await;
    let mut idle = Socket::open(&proxy, KEY).await;
    let mut busy = Socket::open(&proxy, KEY).await;
    sender.send(TEXT).await.expect("sent");
    busy.send(request("a", chat())).await;
    busy.until("response.chunk").await;
    proxy.inner.stages.lifecycle.drain();
    let close = idle.closed().await.expect("a frame");
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "draining"));
    for piece in [FINISH, DONE] {
        sender.send(piece).await.expect("sent");
    }
    drop(sender);
    busy.until("response.completed").await;
    assert_eq!(u16::from(busy.closed().await.expect("a frame").code), 1001);
}

#[tokio::test]
async fn what_outlives_a_drain_is_told_so_before_the_socket_closes() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::before(&upstream).await;
    let mut socket = Socket::open(&proxy, KEY).await;
    sender.send(TEXT).await.expect("sent");
    socket.send(request("a", chat())).await;
    socket.until("response.chunk").await;
    let lifecycle = &proxy.inner.stages.lifecycle;
    lifecycle.drain();
    lifecycle.expire_drain();
    let frames = socket.until("response.completed").await;
    assert!(frames.iter().any(|frame| frame.to_string().contains("this proxy is stopping")), "{frames:?}");
    assert_eq!(socket.closed().await.expect("a frame").reason.as_str(), "draining");
    assert_eq!(proxy.event().await.outcome(), v1::Outcome::Drained);
}

#[tokio::test]
async fn who_reads_slowly_slows_the_upstream_and_messages_are_bounded() {
    const PIECE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}}]}\n\n";
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counting = std::sync::Arc::clone(&sent);
    let upstream = Upstream::answering(move |_| {
        let (sender, given) = event_stream();
        let counting = std::sync::Arc::clone(&counting);
        tokio::spawn(async move {
            while sender.send(PIECE).await.is_ok() {
                counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        given
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let mut socket = Socket::open(&proxy, KEY).await;
    socket.send(request("a", chat())).await;
    let count = || sent.load(std::sync::atomic::Ordering::Relaxed);
    // The client reads nothing: at some point the upstream has to wait.
    let mut before = 0;
    let stopped = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = count();
            if now > 0 && now == before {
                return;
            }
            before = now;
        }
    };
    tokio::time::timeout(LONG * 2, stopped).await.expect("it goes on for ever");
    let stuck = count();
    for _ in 0..500 {
        socket.next().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(count() >= stuck, "reading lets it go on");
    drop(socket);

    let mut socket = Socket::open(&proxy, KEY).await;
    let large = json!({"type": "request", "id": "x", "payload": {"model": "x".repeat(2 * 1024 * 1024)}});
    let _ = socket.0.send(Message::text(large.to_string())).await;
    assert_eq!(u16::from(socket.closed().await.expect("a frame").code), 1009);
}

/// The first bytes of a text message of this length.
fn beginning_of_message(length: usize) -> Vec<u8> {
    let text = format!("{{\"type\":\"request\",\"id\":\"half\"{}", " ".repeat(length));
    let mut frame = Frame::message(text, OpCode::Data(Data::Text), true);
    frame.header_mut().mask = Some([0; 4]);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).expect("formatted");
    bytes.truncate(bytes.len() / 2);
    bytes
}

fn large_chat(bytes: usize) -> Value {
    let mut chat = chat();
    chat["user"] = "x".repeat(bytes).into();
    chat
}

#[tokio::test]
async fn messages_take_body_memory_from_their_first_byte() {
    let upstream = streaming().await;
    // One key may take half of it.
    let proxy = Proxy::with(&[("BODY_MEMORY", "2MiB")], &upstream, |_| {}).await;
    let memory = proxy.inner.stages.admission.memory();
    let mut half = Socket::open(&proxy, KEY).await;
    let mut other = Socket::open(&proxy, KEY).await;
    half.0.get_mut().write_all(&beginning_of_message(900 * 1024)).await.expect("sent");
    while memory.held() < 900 * 1024 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Another socket's message finds no room, and neither does an HTTP body.
    other.send(request("large", large_chat(300 * 1024))).await;
    let refused = other.next().await;
    assert_eq!(
        (&refused["type"], &refused["id"], &refused["status"], &refused["code"]),
        (&json!("response.error"), &json!("large"), &json!(503), &json!("overloaded"))
    );
    let by_http = proxy.chat(large_chat(300 * 1024).to_string()).await;
    assert_eq!((by_http.error().0, by_http.error().1.as_str()), (503, "overloaded"));
    // Its id stands too far behind.
    let late = format!(r#"{{"type":"request","payload":{},"id":"late"}}"#, large_chat(300 * 1024));
    other.0.send(Message::text(late)).await.expect("sent");
    let refused = other.next().await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("protocol.error"), &json!("overloaded")));
    // What is small goes on, on the same socket.
    other.send(json!({"type": "ping"})).await;
    assert_eq!(other.next().await["type"], "pong");
    other.send(request("small", chat())).await;
    assert!(other.until("response.completed").await.iter().all(|frame| frame["id"] == "small"));
    // The unfinished message gives its memory back when its socket goes.
    drop(half);
    while memory.held() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.send(request("large", large_chat(600 * 1024))).await;
    assert!(other.until("response.completed").await.iter().all(|frame| frame["id"] == "large"));
    assert_eq!(upstream.asked().len(), 2);
    let largest = upstream.asked().iter().map(|asked| asked.body.len()).max();
    assert!(largest.is_some_and(|bytes| bytes > 600 * 1024), "the message is the body: it is not paid for twice");
    assert_eq!(memory.held(), 0);
}

#[tokio::test]
async fn a_socket_runs_a_bounded_number_of_requests() {
    let upstream = Upstream::answering(|_| {
        let (sender, given) = event_stream();
        tokio::spawn(async move {
            let _ = sender.send(TEXT).await;
            tokio::time::sleep(LONG).await;
        });
        given
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let mut socket = Socket::open(&proxy, KEY).await;
    for number in 0..32 {
        socket.send(request(&number.to_string(), chat())).await;
    }
    socket.send(request("one more", chat())).await;
    let frames = socket.until("response.error").await;
    let refused = frames.last().expect("a frame");
    assert_eq!(
        (&refused["id"], &refused["status"], &refused["code"]),
        (&json!("one more"), &json!(429), &json!("too_many_requests"))
    );
    assert!(frames.iter().all(|frame| frame["type"] != "response.completed"), "the others go on");
    socket.send(json!({"type": "cancel", "id": "0"})).await;
    socket.until("response.cancelled").await;
    // A place is free as soon as the call is gone.
    for attempt in 0.. {
        socket.send(request(&format!("again {attempt}"), chat())).await;
        let started = socket.until_about(&format!("again {attempt}")).await;
        if started["type"] == "response.start" {
            break;
        }
        assert!(attempt < 100, "{started}");
    }
}

#[tokio::test]
async fn a_proxy_has_a_bounded_number_of_sockets() {
    let proxy = Proxy::with(&[("MAX_CONNECTIONS", "1")], &streaming().await, |_| {}).await;
    let socket = Socket::open(&proxy, KEY).await;
    let mut request = format!("ws://{}/v1/ws", proxy.address).into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().expect("a value"));
    let WsError::Http(refused) = connect_async(request).await.expect_err("one too many") else { panic!("no answer") };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().ok()), (503, Some("5")));
    let body = refused.body().as_deref().map(String::from_utf8_lossy).expect("a body");
    assert!(body.contains("too_many_sockets"), "{body}");
    drop(socket);
    for _ in 0..200 {
        if proxy.inner.stages.sockets.available_permits() == 1 {
            Socket::open(&proxy, KEY).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place is never given back");
}

#[tokio::test]
async fn what_is_no_protocol_closes_the_socket_with_its_reason() {
    let proxy = Proxy::before(&streaming().await).await;
    let close = Message::Close(Some(CloseFrame { code: 1000.into(), reason: "bye".into() }));
    for (message, code) in [(Message::binary("x"), 1003), (close, 1000)] {
        let mut socket = Socket::open(&proxy, KEY).await;
        socket.0.send(message).await.expect("sent");
        assert_eq!(u16::from(socket.closed().await.expect("a frame").code), code);
    }
    let mut socket = Socket::open(&proxy, KEY).await;
    // No mask.
    socket.0.get_mut().write_all(b"\x81\x01x").await.expect("sent");
    assert_eq!(u16::from(socket.closed().await.expect("a frame").code), 1002);
    let mut socket = Socket::open(&proxy, KEY).await;
    socket.0.get_mut().write_all(b"\x81\x81\x00\x00\x00\x00\xff").await.expect("sent");
    assert_eq!(u16::from(socket.closed().await.expect("a frame").code), 1007);
}
