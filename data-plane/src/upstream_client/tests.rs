use std::{net::SocketAddr, sync::atomic::AtomicBool, sync::atomic::Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
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

async fn stage_of(client: &UpstreamClient<Full<Bytes>>, url: &str, limit: Duration) -> Stage {
    client.send(get(url), limit).await.expect_err("a failure").stage
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
    assert_eq!(stage_of(&client, &format!("http://{address}/"), LONG).await, Stage::Refused);
    let name = format!("http://localhost:{}/", address.port());
    assert_eq!(stage_of(&client, &name, LONG).await, Stage::Refused);
    assert_eq!(stage_of(&client, "http://[::1]:9/", LONG).await, Stage::Refused);
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
    assert_eq!(stage_of(&client, &url, LONG).await, Stage::Refused);
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
    for (url, stage) in [
        (format!("http://{closed}/"), Stage::Connect),
        (format!("http://{hangs_up}/"), Stage::Broken),
        (format!("http://{garbage}/"), Stage::Garbage),
        (format!("https://{plain}/"), Stage::Tls),
        ("http://no-such-host.invalid/".to_owned(), Stage::Dns),
    ] {
        assert_eq!(stage_of(&client, &url, LONG).await, stage, "{url}");
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
    assert_eq!(stage_of(&client, &format!("https://{silent}/"), limit).await, Stage::ConnectTimeout);
}

#[tokio::test]
async fn errors_carry_no_address() {
    let client = client(AddressPolicy::PublicOnly);
    let error = client.send(get("http://127.0.0.1:4711/secret"), LONG).await.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("127.0.0.1") && !shown.contains("secret"), "{shown}");
}
