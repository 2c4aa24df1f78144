//! A balancer that passes TCP through in front of a proxy, and names its clients with the PROXY protocol's version 2.

#![cfg(test)]
#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use omniroute_tests::harness::{Client, Engine, Setup};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};

/// Where the balancer is: on this machine, and not where everybody else here is.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header for a client's connection.
fn proxied(client: Ipv4Addr) -> Vec<u8> {
    let (from, to) = (SocketAddrV4::new(client, 5555), SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 80), 443));
    let mut header = [SIGNATURE.as_slice(), &[0x21, 0x11, 0, 12]].concat();
    for address in [from, to] {
        header.extend_from_slice(&address.ip().octets());
    }
    for address in [from, to] {
        header.extend_from_slice(&address.port().to_be_bytes());
    }
    header
}

/// The header for what the balancer itself asks.
fn its_own() -> Vec<u8> {
    [SIGNATURE.as_slice(), &[0x20, 0, 0, 0]].concat()
}

/// What a proxy answers to a request from the balancer's address; nothing when it hangs up.
async fn ask(proxy: SocketAddr, header: &[u8], method: &str, path: &str, lines: &str, body: &str) -> (u16, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((BALANCER, 0).into()).expect("bound");
    let mut stream = socket.connect(proxy).await.expect("connected");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{lines}\r\n{body}"
    );
    stream.write_all(&[header, request.as_bytes()].concat()).await.expect("sent");
    let mut answer = Vec::new();
    // Who is hung up on may be told by a reset.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_header_of_version_two_names_is_the_client_at_the_proxy_and_at_the_control_plane() {
    let stack = Setup::on(Engine::Sqlite)
        .control_plane("LOGIN_ATTEMPTS", "1")
        .proxy("PROXY_PROTOCOL", "true")
        .proxy("TRUSTED_PROXIES", &BALANCER.to_string())
        .start()
        .await;
    let proxy: SocketAddr = stack.proxies[0].url.trim_start_matches("http://").parse().expect("an address");

    // Failed logins are counted against the client, not against the balancer.
    let (guesser, other) = (Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(198, 51, 100, 7));
    let guess = json!({ "password": "wrong" }).to_string();
    let login = async |client| ask(proxy, &proxied(client), "POST", "/api/auth/login", "", &guess).await.0;
    assert_eq!((login(guesser).await, login(guesser).await), (401, 429));
    assert_eq!(login(other).await, 401);
    let log = stack.control_plane.log();
    let failures: Vec<&str> = log.lines().filter(|line| line.contains("a login failed")).collect();
    for client in [guesser, other] {
        assert!(failures.iter().any(|line| line.contains(&client.to_string())), "{client}: {failures:?}");
    }
    assert!(!failures.iter().any(|line| line.contains("127.0.0.")), "{failures:?}");

    // Requests to models pass behind the header as they do without.
    let bearer = format!("authorization: Bearer {}\r\n", stack.client.key());
    let chat = Client::chat_body("mock/gpt-mock", "hi", false).to_string();
    let (status, answer) = ask(proxy, &proxied(other), "POST", "/v1/chat/completions", &bearer, &chat).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ask(proxy, &its_own(), "GET", "/readyz", "", "").await.0, 200, "a check of the balancer's own");

    // A balancer that forgets the header is not served, and who is none does not need it.
    assert_eq!(ask(proxy, b"", "GET", "/readyz", "", "").await.0, 0);
    let listed: Value = stack.client.get("/v1/models").await.ok().json();
    assert!(listed["data"].is_array(), "{listed}");
}
