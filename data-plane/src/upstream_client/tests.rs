use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use omniroute_egress::{
    EgressError, OutboundProxy, ProxySpec,
    testing::{TestProxy, TestProxyOptions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const LONG: Duration = Duration::from_secs(5);

fn client(policy: AddressPolicy) -> UpstreamClient<Full<Bytes>> {
    let options =
        ClientOptions { idle_per_host: 8, policy: Arc::new(move || policy), extra_roots: ExtraRoots::default() };
    UpstreamClient::new(options).expect("a client")
}

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).expect("a request")
}

async fn kind_of(client: &UpstreamClient<Full<Bytes>>, url: &str, limit: Duration) -> CallErrorKind {
    client.send(get(url), limit).await.expect_err("a failure").kind
}

/// A listener that treats every connection in the same way.
async fn listener<F, Fut>(treat: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    address
}

async fn answering(text: &'static str) -> SocketAddr {
    listener(move |mut stream| async move {
        let mut buffer = [0; 1024];
        if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            let _ = stream.write_all(text.as_bytes()).await;
        }
    })
    .await
}

async fn others_have_their_turn() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// Answers every request with these pieces, and counts the connections. Between two pieces everybody has a turn.
async fn keeping(pieces: &'static [&'static str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let address = listener(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            stream.set_nodelay(true).expect("set");
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                for piece in pieces {
                    let _ = stream.write_all(piece.as_bytes()).await;
                    others_have_their_turn().await;
                }
            }
        }
    })
    .await;
    (address, opened)
}

#[tokio::test]
async fn a_connection_is_used_again_when_its_answer_has_come_to_its_end() {
    const DECLARED: &[&str] = &["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", "ab", "cd"];
    const CHUNKED: &[&str] = &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"];
    const LATE_END: &[&str] =
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", "2\r\ncd\r\n", "0\r\n\r\n"];
    for pieces in [DECLARED, CHUNKED, LATE_END] {
        let (address, opened) = keeping(pieces).await;
        let client = client(AddressPolicy::AllowPrivate);
        for _ in 0..3 {
            let answer = client.send(get(&format!("http://{address}/")), LONG).await.expect("an answer");
            assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "abcd");
        }
        assert_eq!(opened.load(Ordering::Relaxed), 1, "{pieces:?}");
    }
}

#[tokio::test]
async fn an_end_that_came_with_the_last_bytes_is_known_with_them() {
    let (address, _) =
        keeping(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"]).await;
    let client = client(AddressPolicy::AllowPrivate);
    let mut body = client.send(get(&format!("http://{address}/")), LONG).await.expect("an answer").into_body();
    for (piece, is_last) in [("ab", false), ("cd", true)] {
        let frame = body.frame().await.expect("a frame").expect("read");
        assert_eq!(frame.into_data().expect("data"), piece);
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (is_last, is_last.then_some(0)));
    }
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_connection_whose_answer_nobody_reads_to_its_end_is_closed() {
    let closed = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&closed);
    let address = listener(move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab").await;
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            told.notify_one();
        }
    })
    .await;
    let client = client(AddressPolicy::AllowPrivate);
    let mut body = client.send(get(&format!("http://{address}/")), LONG).await.expect("an answer").into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    drop(body);
    tokio::time::timeout(LONG, closed.notified()).await.expect("closed");
}

#[tokio::test]
async fn an_idle_connection_that_its_peer_has_closed_is_not_used_again() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let client = client(AddressPolicy::AllowPrivate);
    for _ in 0..5 {
        let answer = client.send(get(&format!("http://{address}/")), LONG).await.expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "hi");
        others_have_their_turn().await;
    }
}

#[tokio::test]
async fn an_allowed_address_is_called() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let answer = client(AddressPolicy::AllowPrivate).send(get(&format!("http://{address}/")), LONG).await;
    let body = answer.expect("an answer").into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, "hi");
}

#[tokio::test]
async fn a_private_address_is_refused_as_a_literal_and_behind_a_name() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = client(AddressPolicy::PublicOnly);
    assert_eq!(kind_of(&client, &format!("http://{address}/"), LONG).await, CallErrorKind::AddressRefused);
    let name = format!("http://localhost:{}/", address.port());
    assert_eq!(kind_of(&client, &name, LONG).await, CallErrorKind::AddressRefused);
    assert_eq!(kind_of(&client, "http://[::1]:9/", LONG).await, CallErrorKind::AddressRefused);
}

#[tokio::test]
async fn a_change_of_policy_counts_for_the_next_connection_though_the_name_is_cached() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let private = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&private);
    let policy: PolicySource = Arc::new(move || AddressPolicy::from_allow_private(told.load(Ordering::Relaxed)));
    let options = ClientOptions { idle_per_host: 8, policy, extra_roots: ExtraRoots::default() };
    let client = UpstreamClient::new(options).expect("a client");
    let url = format!("http://localhost:{}/", address.port());
    assert!(client.send(get(&url), LONG).await.is_ok());
    private.store(false, Ordering::Relaxed);
    assert_eq!(kind_of(&client, &url, LONG).await, CallErrorKind::AddressRefused);
}

#[tokio::test]
async fn every_way_to_fail_has_its_stage() {
    let client = client(AddressPolicy::AllowPrivate);
    let closed = {
        let unused = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        unused.local_addr().expect("an address")
    };
    let hangs_up = listener(|mut stream| async move {
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await;
    let garbage = answering("I do not speak HTTP\r\n\r\n").await;
    let plain = answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    for (url, kind) in [
        (format!("http://{closed}/"), CallErrorKind::Connect),
        (format!("http://{hangs_up}/"), CallErrorKind::ConnectionLost),
        (format!("http://{garbage}/"), CallErrorKind::NotHttp),
        (format!("https://{plain}/"), CallErrorKind::Tls),
        ("http://no-such-host.invalid/".to_owned(), CallErrorKind::Dns),
    ] {
        assert_eq!(kind_of(&client, &url, LONG).await, kind, "{url}");
    }
}

#[tokio::test]
async fn the_connect_limit_covers_tls_and_can_be_the_requests_own() {
    let silent = listener(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    let client = client(AddressPolicy::AllowPrivate);
    let limit = Duration::from_millis(50);
    assert_eq!(kind_of(&client, &format!("https://{silent}/"), limit).await, CallErrorKind::ConnectTimeout);
}

#[tokio::test]
async fn errors_carry_no_address() {
    let client = client(AddressPolicy::PublicOnly);
    let error = client.send(get("http://127.0.0.1:4711/secret"), LONG).await.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("127.0.0.1") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_stage_says_whose_fault_it_is_that_nothing_came_through_a_proxy() {
    let answering = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let closed = {
        let unused = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        unused.local_addr().expect("an address")
    };
    let options = || TestProxyOptions { credentials: Some(("user", "secret")), ..TestProxyOptions::default() };
    let server = TestProxy::start(options()).await.expect("a proxy");
    let silent = listener(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let proxy = |address: SocketAddr, password: &str| {
        let spec = ProxySpec {
            kind: "http",
            host: "127.0.0.1",
            port: address.port().into(),
            username: "user",
            password,
            family: "",
        };
        Arc::new(OutboundProxy::compile("p", &spec, AddressPolicy::AllowPrivate, Arc::default()).expect("a proxy"))
    };
    let open = client(AddressPolicy::AllowPrivate);
    let target = format!("http://{answering}/");
    let sent = open.send_through(get(&target), &proxy(server.address, "secret"), LONG).await;
    assert_eq!(sent.expect("an answer").into_body().collect().await.expect("a body").to_bytes(), "hi");
    for (proxy, url, limit, kind) in [
        (proxy(server.address, "wrong"), target.clone(), LONG, EgressError::Credentials),
        (proxy(closed, ""), target.clone(), LONG, EgressError::ProxyUnreachable),
        (proxy(silent, ""), target.clone(), Duration::from_millis(50), EgressError::Timeout),
        (proxy(server.address, "secret"), format!("http://{closed}/"), LONG, EgressError::TargetUnreachable),
        (proxy(server.address, "secret"), format!("https://{answering}/"), LONG, EgressError::TargetTls),
        (proxy(server.address, "secret"), "http://169.254.169.254/".to_owned(), LONG, EgressError::TargetForbidden),
    ] {
        let error = open.send_through(get(&url), &proxy, limit).await.expect_err("a failure");
        assert_eq!(error.kind, CallErrorKind::Egress(kind), "{url}");
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }
    let public = client(AddressPolicy::PublicOnly);
    let error = public.send_through(get("http://provider.test/"), &proxy(server.address, "secret"), LONG).await;
    assert_eq!(error.expect_err("a failure").kind, CallErrorKind::Egress(EgressError::ProxyForbidden));
}
