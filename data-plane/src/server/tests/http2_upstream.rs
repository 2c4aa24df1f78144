//! Providers that speak HTTP/2 over TLS.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use h2::{Reason, SendStream};
use http_body_util::BodyExt as _;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use omniroute_core::address::AddressPolicy;
use omniroute_proto::v1::Outcome;
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{Notify, Semaphore, oneshot},
};

use super::{
    client::Raw,
    tls_upstream::{Exchange, TlsUpstream},
    upstream::json,
    *,
};
use crate::upstream_client::{CallErrorKind, ClientOptions, ExtraRoots, UpstreamClient};

const LONG: Duration = Duration::from_secs(20);
const SHORT: &str =
    r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}"#;

/// A good answer of more bytes than are judged as a whole.
fn long_chat() -> String {
    SHORT.replace("\"x\"", &format!("\"{}\"", "x".repeat(100 * 1024)))
}

fn long_response() -> String {
    let text = "x".repeat(100 * 1024);
    format!(
        r#"{{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{{"type":"output_text","text":"{text}","annotations":[]}}]}}],"usage":{{"input_tokens":3,"output_tokens":5,"total_tokens":8}}}}"#
    )
}

async fn push(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => stream.send_data(data.split_to(room?.min(data.len())), false)?,
            None => return Err(Reason::CANCEL.into()),
        }
    }
    Ok(())
}

/// Answers with documents whose length is told. The frame that ends the stream is one of its own, and comes when the test
/// says so.
async fn ending_late(end: Arc<Semaphore>) -> TlsUpstream {
    TlsUpstream::start(None, move |mut exchange: Exchange| {
        let end = Arc::clone(&end);
        async move {
            exchange.body().await;
            let is_chat = exchange.head.uri.path().ends_with("/chat/completions");
            let document = if is_chat { long_chat() } else { long_response() };
            let mut stream = exchange.begin(200, "application/json", Some(document.len()));
            push(&mut stream, document.into()).await.expect("sent");
            end.acquire().await.expect("open").forget();
            let _ = stream.send_data(Bytes::new(), true);
        }
    })
    .await
}

#[tokio::test]
async fn a_document_is_whole_when_all_its_bytes_are_there_though_the_stream_ends_later() {
    let end = Arc::new(Semaphore::new(0));
    let upstream = ending_late(Arc::clone(&end)).await;
    let proxy = upstream.proxy().await;
    let post = |path: &'static str, body: &'static str| {
        let request = proxy.request("POST", path).header("authorization", format!("Bearer {KEY}"));
        request.header("idempotency-key", path).header("content-type", "application/json").body(Full::from(body))
    };
    let asked = [
        ("/v1/chat/completions", CHAT, long_chat()),
        ("/v1/responses", r#"{"model":"vendor/m","input":"hi"}"#, long_response()),
    ];
    for (index, (path, body, expected)) in asked.iter().enumerate() {
        let answer = send(post(path, body).expect("a request")).await;
        assert_eq!(answer.body.len(), expected.len(), "{path}");
        let closed = proxy.inner.closed_events(index + 1).await;
        assert_eq!(closed[index].outcome(), Outcome::Ok, "{path}");
        // It is kept for whoever asks again.
        let again = send(post(path, body).expect("a request")).await;
        assert_eq!(again.header("x-omniroute-idempotent"), "true", "{path}");
        assert_eq!(again.body, answer.body);
        if let Some(id) = answer.json()["id"].as_str().filter(|_| *path == "/v1/responses") {
            let stored = proxy.get(&format!("/v1/responses/{id}")).await;
            assert_eq!(stored.status, 200, "{}", stored.text());
        }
    }
    // The same for a client that speaks HTTP/2.
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = proxy.request("POST", "/v1/chat/completions").header("authorization", format!("Bearer {KEY}"));
    let sent = client.request(request.body(Full::from(CHAT)).expect("a request")).await.expect("an answer");
    assert_eq!(sent.into_body().collect().await.expect("whole").to_bytes().len(), long_chat().len());
    assert_eq!(proxy.inner.closed_events(3).await[2].outcome(), Outcome::Ok);
    end.add_permits(3);
}

#[tokio::test]
async fn requests_beyond_what_a_connection_takes_go_out_on_others() {
    const REQUESTS: usize = 7;
    // Nobody is answered before all are there.
    let there = Arc::new(tokio::sync::Barrier::new(REQUESTS));
    let upstream = TlsUpstream::start(Some(2), move |mut exchange: Exchange| {
        let there = Arc::clone(&there);
        async move {
            exchange.body().await;
            there.wait().await;
            exchange.document(SHORT).await;
        }
    })
    .await;
    let proxy = upstream.proxy().await;
    let answers = tokio::time::timeout(LONG, join_all((0..REQUESTS).map(|_| proxy.chat(CHAT)))).await;
    assert!(answers.expect("nobody waits unseen").iter().all(|answer| answer.status == 200));
    assert!(upstream.connections() >= REQUESTS.div_ceil(2));
    let before = upstream.connections();
    let again = tokio::time::timeout(LONG, join_all((0..REQUESTS).map(|_| proxy.chat(CHAT)))).await;
    assert!(again.expect("no hang").iter().all(|answer| answer.status == 200));
    assert!(upstream.connections() <= before + 1, "connections are used again");
}

#[tokio::test]
async fn clients_that_stop_reading_hold_up_nobody_else() {
    const CLIENTS: usize = 6;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let upstream = TlsUpstream::start(None, move |mut exchange: Exchange| {
        let sent = Arc::clone(&counted);
        async move {
            let body = exchange.body().await;
            if memchr::memmem::find(&body, b"\"stream\":true").is_none() {
                return exchange.document(SHORT).await;
            }
            let mut stream = exchange.begin(200, "text/event-stream", None);
            let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(8000));
            let event = Bytes::from(event);
            while push(&mut stream, event.clone()).await.is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await;
    let proxy = upstream.proxy().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut raw = Raw(socket.connect(proxy.address).await.expect("connected"));
        raw.write(format!("{}{STREAM}", proxy.chat_head(&format!("content-length: {}\r\n", STREAM.len())))).await;
        raw.read_until("data: ").await;
        clients.push(raw);
    }
    // Until nothing moves any more. On a slow machine that may be a moment too early, which only makes it easier.
    let mut last = 0;
    while sent.load(Ordering::Relaxed) != last {
        last = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let other = tokio::time::timeout(LONG, proxy.chat(CHAT)).await.expect("an answer");
    assert_eq!(other.status, 200);
    assert_eq!(upstream.connections(), 1, "on the same connection");
}

fn direct(
    upstream: &TlsUpstream,
    policy: impl Fn() -> AddressPolicy + Send + Sync + 'static,
) -> UpstreamClient<Full<Bytes>> {
    let extra_roots = ExtraRoots::read(&upstream.ca()).expect("roots");
    UpstreamClient::new(ClientOptions { idle_per_host: 8, policy: Arc::new(policy), extra_roots }).expect("a client")
}

#[tokio::test]
async fn small_frames_that_nobody_reads_do_not_break_a_connection() {
    // As many as fit into the window of a stream, on several streams.
    const STREAMS: usize = 8;
    const FRAMES: usize = 4000;
    let sent = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&sent);
    let upstream = TlsUpstream::start(None, move |mut exchange: Exchange| {
        let told = Arc::clone(&told);
        async move {
            let mut stream = exchange.begin(200, "text/event-stream", None);
            for _ in 0..FRAMES {
                if push(&mut stream, Bytes::from_static(&[b'x'; 64])).await.is_err() {
                    return;
                }
            }
            told.add_permits(1);
            let _ = stream.send_data(Bytes::new(), true);
        }
    })
    .await;
    let client = direct(&upstream, || AddressPolicy::AllowPrivate);
    let get = || Request::get(upstream.base_url()).body(Full::default()).expect("a request");
    let mut answers = Vec::new();
    for _ in 0..STREAMS {
        answers.push(client.send(get(), LONG).await.expect("an answer"));
    }
    sent.acquire_many(u32::try_from(STREAMS).expect("few")).await.expect("open").forget();
    for answer in answers {
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes().len(), FRAMES * 64);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_goes_away_finishes_what_it_has_and_gets_nothing_new() {
    let finish = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&finish);
    let upstream = TlsUpstream::start(None, move |mut exchange: Exchange| {
        let finish = Arc::clone(&told);
        async move {
            exchange.body().await;
            if exchange.connection == 1 {
                exchange.go_away();
                // Whoever comes to it later finds it open.
                drop(finish.acquire().await);
            }
            exchange.document(SHORT).await;
        }
    })
    .await;
    let proxy = upstream.proxy().await;
    let (first, second) = tokio::join!(proxy.chat(CHAT), async {
        // The first is under way once its connection is there.
        while upstream.connections() == 0 {
            tokio::task::yield_now().await;
        }
        loop {
            // Until the GOAWAY has arrived, others join the first on its connection and wait with it.
            let answer = tokio::time::timeout(Duration::from_millis(500), proxy.chat(CHAT)).await;
            if let Ok(answer) = answer {
                finish.add_permits(1);
                return answer;
            }
        }
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn what_a_provider_has_not_begun_with_is_sent_again_and_counts_against_nobody() {
    let refusals = AtomicUsize::new(0);
    let upstream = TlsUpstream::start(None, move |exchange: Exchange| {
        let is_refused = refusals.fetch_add(1, Ordering::Relaxed) % 3 < 2;
        async move { if is_refused { exchange.reset(Reason::REFUSED_STREAM) } else { exchange.document(SHORT).await } }
    })
    .await;
    let proxy = upstream.proxy().await;
    for _ in 0..3 {
        let answer = proxy.chat(CHAT).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(proxy.inner.stages.health.cooling(&"c1".into()).is_none());
}

#[tokio::test]
async fn an_answer_that_is_reset_is_not_whole() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::NO_ERROR] {
        let begun = Arc::new(Semaphore::new(0));
        let told = Arc::clone(&begun);
        let upstream = TlsUpstream::start(None, move |mut exchange: Exchange| {
            let told = Arc::clone(&told);
            async move {
                exchange.body().await;
                let document = long_chat();
                let mut stream = exchange.begin(200, "application/json", Some(document.len()));
                push(&mut stream, Bytes::from(document).slice(..50 * 1024)).await.expect("sent");
                told.acquire().await.expect("open").forget();
                stream.send_reset(reason);
            }
        })
        .await;
        let proxy = upstream.proxy().await;
        let mut raw = Raw::connect(proxy.address).await;
        raw.write(format!("{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())))).await;
        raw.read_until("xxxx").await;
        begun.add_permits(1);
        raw.read_to_end().await;
        assert_eq!(proxy.event().await.outcome(), Outcome::UpstreamError, "{reason:?}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_stream_and_no_other() {
    let (cancelled, reason) = oneshot::channel();
    let cancelled = Mutex::new(Some(cancelled));
    let upstream = TlsUpstream::start(None, move |mut exchange: Exchange| {
        let cancelled = cancelled.lock().expect("a lock").take();
        async move {
            exchange.body().await;
            let Some(cancelled) = cancelled else { return exchange.document(SHORT).await };
            let mut stream = exchange.begin(200, "text/event-stream", None);
            let _ = stream.send_data("data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\n".into(), false);
            let _ = cancelled.send(tls_upstream::cancelled(&mut stream).await);
        }
    })
    .await;
    let proxy = upstream.proxy().await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{STREAM}", proxy.chat_head(&format!("content-length: {}\r\n", STREAM.len())))).await;
    raw.read_until("12345678").await;
    drop(raw);
    let reason = tokio::time::timeout(LONG, reason).await.expect("cancelled").expect("told");
    assert_eq!(reason, Some(Reason::CANCEL));
    assert_eq!(proxy.chat(CHAT).await.status, 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn an_answer_may_come_before_all_of_the_request_has_been_taken() {
    let upstream = TlsUpstream::start(None, move |mut exchange: Exchange| async move {
        // Nothing is read of the body, which is larger than the window.
        let document = r#"{"error":{"message":"too large","type":"invalid_request_error"}}"#;
        let mut stream = exchange.begin(413, "application/json", Some(document.len()));
        let _ = stream.send_data(document.into(), true);
        // Not even the answer's end lets go of the request.
        std::future::pending::<()>().await;
        drop(exchange);
    })
    .await;
    let proxy = upstream.proxy().await;
    let mut body: Value = serde_json::from_str(CHAT).expect("JSON");
    body["messages"][0]["content"] = "x".repeat(600 * 1024).into();
    let answer = proxy.chat(body.to_string()).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[tokio::test]
async fn a_pooled_connection_is_not_used_once_its_address_is_forbidden() {
    let secure = TlsUpstream::start(None, |exchange: Exchange| exchange.document(SHORT)).await;
    let plain = Upstream::answering(|_| json(200, SHORT)).await;
    let private = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&private);
    let client = direct(&secure, move || AddressPolicy::from_allow_private(told.load(Ordering::Relaxed)));
    let get = |url: String| Request::get(url).body(Full::default()).expect("a request");
    for url in [secure.base_url(), plain.base_url(), format!("http://localhost:{}/", plain.address.port())] {
        for is_allowed in [true, true, false, true] {
            private.store(is_allowed, Ordering::Relaxed);
            match client.send(get(url.clone()), LONG).await {
                Ok(answer) => {
                    assert!(is_allowed, "{url}");
                    answer.into_body().collect().await.expect("whole");
                }
                Err(error) => assert_eq!((error.kind, is_allowed), (CallErrorKind::AddressRefused, false), "{url}"),
            }
        }
    }
    assert_eq!(secure.connections(), 2, "a forbidden one is not taken up again");
}

#[tokio::test]
async fn a_host_that_speaks_only_http1_over_tls_is_spoken_to_so() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (acceptor, pem) = tls_upstream::tls("127.0.0.1", &["http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut read = [0; 4096];
                while stream.read(&mut read).await.is_ok_and(|read| read > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{SHORT}", SHORT.len());
                    let _ = stream.write_all(head.as_bytes()).await;
                }
            });
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, pem).expect("written");
    let index = snapshot_with(|resources| {
        resources.node("mock", &format!("https://{address}/v1"));
        resources.connection("c1", "mock", |_| {});
    });
    let proxy = Proxy::start(&[("UPSTREAM_TLS_CA", ca.to_str().expect("text"))], index).await;
    let answers = tokio::time::timeout(LONG, join_all((0..8).map(|_| proxy.chat(CHAT)))).await.expect("no hang");
    assert!(answers.iter().all(|answer| answer.status == 200), "{:?}", answers[0].text());
}

#[tokio::test]
async fn the_time_that_a_client_gives_its_request_says_nothing_of_the_connection() {
    // It takes requests and never answers.
    let upstream = Upstream::scripted(|stream: TcpStream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        resources.node("other", "http://127.0.0.1:9/v1");
        resources.connection("c2", "mock", |_| {});
    })
    .await;
    for _ in 0..3 {
        let request = proxy.request("POST", "/v1/chat/completions").header("authorization", format!("Bearer {KEY}"));
        let request = request.header("x-omniroute-timeout", "0.05").body(Full::from(CHAT)).expect("a request");
        assert_eq!(send(request).await.status, 504);
    }
    let health = &proxy.inner.stages.health;
    assert!(health.cooling(&"c1".into()).is_none() && health.cooling(&"c2".into()).is_none());
}

#[tokio::test]
async fn a_new_connection_that_says_nothing_holds_up_only_who_opened_it() {
    let upstream = TlsUpstream::start_behind(1, None, |exchange: Exchange| exchange.document(SHORT)).await;
    let proxy = Arc::new(upstream.proxy().await);
    let first = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.chat(CHAT).await }
    });
    while upstream.connections() == 0 {
        tokio::task::yield_now().await;
    }
    let next = tokio::time::timeout(LONG, proxy.chat(CHAT)).await.expect("no hang");
    assert_eq!((next.status.as_u16(), upstream.connections()), (200, 2));
    let first = tokio::time::timeout(LONG, first).await.expect("it is given up").expect("no panic");
    assert_eq!(first.status, 200, "whoever says nothing has done nothing: it is asked again elsewhere");
}

#[tokio::test]
async fn a_body_that_nobody_reads_keeps_nothing_else_from_going_out() {
    let upstream = TlsUpstream::start(None, |exchange: Exchange| async move {
        if exchange.connection == 1 {
            // As long as it is held, its bytes fill the one window that all requests of its connection share.
            let _unread = exchange;
            return std::future::pending().await;
        }
        exchange.document(SHORT).await;
    })
    .await;
    let proxy = Arc::new(upstream.proxy().await);
    let body = |length: usize| CHAT.replacen("\"hi\"", &format!("\"{}\"", "x".repeat(length)), 1);
    assert!(body(9).len() > CHAT.len(), "{CHAT}");
    let unread = tokio::spawn({
        let (proxy, body) = (Arc::clone(&proxy), body(900_000));
        async move { proxy.chat(body).await }
    });
    let served = async {
        loop {
            let asked = tokio::time::timeout(Duration::from_millis(300), proxy.chat(body(30_000))).await;
            if asked.is_ok_and(|answer| answer.status == 200) {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, served).await.expect("another connection is opened");
    unread.abort();
}

#[tokio::test]
async fn half_a_document_is_no_answer_however_its_stream_is_reset() {
    let half_read = Arc::new(Notify::new());
    let read = Arc::clone(&half_read);
    let upstream = TlsUpstream::start(None, move |mut exchange: Exchange| {
        let read = Arc::clone(&read);
        async move {
            exchange.body().await;
            let document = long_chat();
            let mut stream = exchange.begin(200, "application/json", None);
            push(&mut stream, document[..document.len() / 2].to_owned().into()).await.expect("sent");
            read.notified().await;
            stream.send_reset(Reason::NO_ERROR);
        }
    })
    .await;
    let proxy = upstream.proxy().await;
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())))).await;
    raw.read_until(&"x".repeat(1_000)).await;
    half_read.notify_one();
    raw.read_to_end().await;
    assert_eq!(proxy.event().await.error_code, "upstream_broken");
}
