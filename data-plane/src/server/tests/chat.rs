//! What works.

use std::time::Duration;

use futures_util::StreamExt as _;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use omniroute_proto::v1::Outcome;

use super::{
    client::Raw,
    upstream::{chat_answer, event_stream, events, json},
    *,
};

const ROLE: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
const TEXT: &str =
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1,\"total_tokens\":6}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[tokio::test]
async fn a_chat_goes_through_and_leaves_its_event() {
    let upstream = Upstream::answering(|_| {
        let mut given = chat_answer();
        given.headers_mut().insert("set-cookie", "session=1".parse().expect("a value"));
        given.headers_mut().insert("server", "vendor".parse().expect("a value"));
        given.headers_mut().insert("x-ratelimit-remaining-requests", "9".parse().expect("a value"));
        given
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let body = r#" {"messages" : [{"role":"user","content":"h\u00e9"}],"model":"mock/gpt-4o-mini", "future_field":1.0e3, "n":1}"#;
    let answer = proxy.chat(body).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello!");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("x-omniroute-provider"), "mock");
    assert_eq!(answer.header("x-omniroute-model"), "gpt-4o-mini");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "9");
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("server"));

    let asked = upstream.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(asked.body, body.replace("mock/gpt-4o-mini", "gpt-4o-mini"), "every other byte is as it was");
    assert_eq!(asked.headers["authorization"], "Bearer sk-secret-of-c1");
    assert_eq!(asked.headers["content-length"], asked.body.len().to_string());

    let event = proxy.event().await;
    let usage = event.usage.expect("usage");
    assert_eq!((event.outcome(), event.status, event.estimated), (Outcome::Ok, 200, false));
    assert_eq!((usage.input, usage.cache_read), (Some(7), Some(4)));
    assert_eq!((usage.output, usage.reasoning), (Some(5), Some(2)));
    assert_eq!(
        (event.api_key_id.as_str(), event.connection_id.as_str(), event.provider.as_str()),
        ("k1", "c1", "mock")
    );
    assert_eq!((event.requested_model.as_str(), event.model.as_str()), ("mock/gpt-4o-mini", "gpt-4o-mini"));
    assert_eq!((event.operation.as_str(), event.stream, event.attempts), ("chat", false, 1));
    assert_eq!((event.finish_reason.as_str(), event.request_id.as_str()), ("stop", answer.header("x-request-id")));
    assert!(event.first_byte_us > 0 && event.duration_us >= event.first_byte_us);
}

#[tokio::test]
async fn a_stream_goes_through_frame_by_frame_and_is_in_the_ledger_with_its_terminator() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = Proxy::before(&upstream).await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = proxy.request("POST", "/v1/chat/completions").header("x-api-key", KEY).body(STREAM.into());
    sender.send(ROLE).await.expect("sent");
    let answer = client.request(request.expect("a request")).await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert!(!answer.headers().contains_key("content-length"));
    assert_eq!(proxy.inner.stages.lifecycle.streams_in_flight(), 1);
    let mut body = answer.into_body().into_data_stream();
    let mut next = async || body.next().await.map(|piece| piece.expect("a piece"));
    assert_eq!(next().await.expect("a frame"), ROLE);
    for frame in [TEXT, FINISH] {
        sender.send(frame).await.expect("sent");
        assert_eq!(next().await.expect("a frame"), frame);
    }
    assert!(proxy.inner.closed().is_empty());
    sender.send(USAGE).await.expect("sent");
    sender.send(DONE).await.expect("sent");
    assert_eq!(next().await.expect("a frame"), DONE, "the usage chunk was not asked for");
    let event = proxy.inner.closed().pop().expect("closed before the client has the terminator");
    assert_eq!((event.outcome(), event.stream), (Outcome::Ok, true));
    assert_eq!(event.usage.and_then(|usage| usage.output), Some(1));
    drop(sender);
    assert_eq!(next().await, None);
    let asked = upstream.last();
    assert!(asked.body.starts_with(br#"{"stream_options":{"include_usage":true},"model":"gpt-4o-mini""#), "{asked:?}");
    assert_eq!(asked.headers["accept"], "text/event-stream");
}

#[tokio::test]
async fn usage_is_shown_to_who_asks_for_it() {
    let upstream = Upstream::answering(|_| events(&[ROLE, TEXT, FINISH, USAGE, DONE], Duration::ZERO)).await;
    let proxy = Proxy::before(&upstream).await;
    let asking = r#"{"model":"mock/m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    assert_eq!(proxy.chat(asking).await.text(), [ROLE, TEXT, FINISH, USAGE, DONE].concat());
    assert_eq!(proxy.chat(STREAM).await.text(), [ROLE, TEXT, FINISH, DONE].concat());
}

#[tokio::test]
async fn embeddings_go_through() {
    let upstream = Upstream::answering(|_| {
        json(200, r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"e","usage":{"prompt_tokens":4,"total_tokens":4}}"#)
    })
    .await;
    let proxy = Proxy::before(&upstream).await;
    let answer = proxy.post("/v1/embeddings", r#"{"model":"mock/embed","input":"x"}"#).await;
    assert_eq!(answer.json()["data"][0]["object"], "embedding");
    let asked = upstream.last();
    assert_eq!((asked.path.as_str(), &asked.body[..]), ("/v1/embeddings", &br#"{"model":"embed","input":"x"}"#[..]));
    let event = proxy.event().await;
    assert_eq!((event.operation.as_str(), event.estimated), ("embeddings", false));
    let usage = event.usage.expect("usage");
    assert_eq!((usage.input, usage.output), (Some(4), None));
}

#[tokio::test]
async fn a_body_in_many_pieces_arrives_whole() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    let text = "x".repeat(300 * 1024);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"model":"mock/gpt-4o-mini"}}"#);
    assert_eq!(proxy.chat(body.clone()).await.status, 200);
    assert_eq!(upstream.last().body, body.replace("mock/gpt", "gpt"));
    assert_eq!(proxy.inner.stages.admission.memory().held(), 0);

    let mut raw = Raw::connect(proxy.address).await;
    raw.write(proxy.chat_head("transfer-encoding: chunked\r\nconnection: close\r\n")).await;
    for piece in CHAT.as_bytes().chunks(10) {
        raw.write(format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).expect("text"))).await;
    }
    raw.write("0\r\n\r\n").await;
    assert!(raw.read_to_end().await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(upstream.last().body, CHAT.replace("mock/gpt", "gpt"));
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on_or_refused() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(proxy.chat_head(&format!("content-length: {}\r\nexpect: 100-continue\r\n", CHAT.len()))).await;
    assert_eq!(raw.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    raw.write(CHAT).await;
    assert!(raw.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));

    let mut raw = Raw::connect(proxy.address).await;
    raw.write(proxy.chat_head("content-length: 999999999\r\nexpect: 100-continue\r\n")).await;
    assert!(raw.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 413 "), "without a byte of the body");
}

#[tokio::test]
async fn http2_without_tls_works_with_many_streams_on_one_connection() {
    let upstream = Upstream::answering(|_| events(&[ROLE, TEXT, FINISH, USAGE, DONE], Duration::from_millis(1))).await;
    let proxy = Proxy::before(&upstream).await;
    let stream = tokio::net::TcpStream::connect(proxy.address).await.expect("connected");
    let handshake = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(connection);
    let calls = (0..20).map(|_| {
        let mut sender = sender.clone();
        let request = proxy.request("POST", "/v1/chat/completions").header("x-api-key", KEY).body(Full::from(STREAM));
        async move {
            let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
            answer.into_body().collect().await.expect("a body").to_bytes()
        }
    });
    for body in futures_util::future::join_all(calls).await {
        assert_eq!(body, [ROLE, TEXT, FINISH, DONE].concat());
    }
    assert_eq!(proxy.inner.closed().len(), 20);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    let mut raw = Raw::connect(proxy.address).await;
    for _ in 0..3 {
        raw.write(format!("{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())))).await;
        let answer = raw.read_until("\"reasoning_tokens\":2}}}").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn the_clients_request_id_is_kept_and_nothing_secret_goes_up() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::before(&upstream).await;
    let request = proxy
        .request("POST", "/v1/chat/completions")
        .header("authorization", format!("Bearer {KEY}"))
        .header("cookie", "auth_token=t")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-request-id", "trace-7")
        .header("openai-beta", "x=1");
    let answer = send(request.body(CHAT.into()).expect("a request")).await;
    assert_eq!(answer.header("x-request-id"), "trace-7");
    let asked = format!("{:?}", upstream.last().headers);
    for secret in [KEY, "auth_token", "192.0.2.1", "trace-7"] {
        assert!(!asked.contains(secret), "{secret} in {asked}");
    }
    assert!(asked.contains("openai-beta"));
}
