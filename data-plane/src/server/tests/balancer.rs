//! Balancers in front of the proxy.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{client::Raw, upstream::chat_answer, *};

/// A control plane that keeps what it is sent, and answers each connection's first request.
async fn control_plane() -> (String, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") && stream.read_buf(&mut read).await.is_ok_and(|read| read > 0) {}
            let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.expect("answered");
            sender.send(String::from_utf8(read).expect("text")).await.expect("kept");
        }
    });
    (url, receiver)
}

#[tokio::test]
async fn whom_the_proxy_protocol_names_is_the_caller_here_and_at_the_control_plane() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let (url, mut seen) = control_plane().await;
    let settings =
        [("TRUSTED_PROXIES", "127.0.0.1"), ("PROXY_PROTOCOL", "true"), ("CONTROL_PLANE_FORWARD_URL", url.as_str())];
    let proxy = Proxy::with(&settings, &upstream, |_| {}).await;
    let header = "PROXY TCP4 203.0.113.9 127.0.0.1 5555 443\r\n";
    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{header}GET /api/keys HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.1\r\n\r\n")).await;
    raw.read_until("\r\n\r\n").await;
    let forwarded = seen.recv().await.expect("forwarded");
    assert!(forwarded.contains("x-forwarded-for: 192.0.2.1, 203.0.113.9\r\n"), "{forwarded}");

    let mut raw = Raw::connect(proxy.address).await;
    raw.write(format!("{header}{}{CHAT}", proxy.chat_head(&format!("content-length: {}\r\n", CHAT.len())))).await;
    assert!(raw.read_until("\"reasoning_tokens\":2}}}").await.starts_with("HTTP/1.1 200 "));
    let mut without = Raw::connect(proxy.address).await;
    without.write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(without.read_to_end().await, "");
}

#[tokio::test]
async fn what_another_machine_sent_through_this_one_needs_a_key() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = Proxy::with(&[("REQUIRE_API_KEY", "false")], &upstream, |_| {}).await;
    let ask = async |name: &str, value: &str| {
        let request = proxy.request("POST", "/v1/chat/completions").header(name, value);
        send(request.body(Full::new(Bytes::from_static(CHAT.as_bytes()))).expect("a request")).await.status.as_u16()
    };
    assert_eq!(ask("x-forwarded-for", "127.0.0.1").await, 200);
    assert_eq!(ask("x-forwarded-for", "203.0.113.9").await, 401);
    assert_eq!(ask("forwarded", "for=203.0.113.9").await, 401);
}
