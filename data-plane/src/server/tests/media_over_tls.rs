//! Media behind https, from a server with a certificate of the operator's own CA.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{tls_upstream::tls, upstream::json as answer_json, *};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0123456789";
const BASE64: &str = "iVBORw0KGgowMTIzNDU2Nzg5";

/// A server for pictures, with a certificate for this name. Also the certificate of its CA.
async fn pictures(name: &str) -> (SocketAddr, String) {
    let (acceptor, pem) = tls(name, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let length = PNG.len();
                    let head =
                        format!("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: {length}\r\n\r\n");
                    let _ = stream.write_all(&[head.as_bytes(), PNG].concat()).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    (address, pem)
}

async fn before_ollama(upstream: &Upstream, ca: &Path) -> Proxy {
    let snapshot = snapshot_with(|resources| {
        let url = format!("http://{}", upstream.address);
        resources.connection("o1", "ollama", |connection| connection.base_url = url);
    });
    let settings = [("UPSTREAM_TLS_CA", ca.to_str().expect("text")), ("ALLOW_PRIVATE_MEDIA_URLS", "true")];
    Proxy::start(&settings, snapshot).await
}

fn looking_at(address: SocketAddr) -> String {
    let url = format!("https://{address}/a.png");
    let parts = json!([{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]);
    json!({"model": "ollama/llava", "messages": [{"role": "user", "content": parts}]}).to_string()
}

#[tokio::test]
async fn media_come_over_tls_from_whom_the_operator_trusts() {
    let upstream = Upstream::answering(|_| {
        answer_json(200, r#"{"model":"m","message":{"role":"assistant","content":"A cat."},"done":true}"#)
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    let (trusted, pem) = pictures("127.0.0.1").await;
    let (of_another_name, other_pem) = pictures("elsewhere.example").await;
    std::fs::write(&ca, [pem, other_pem].concat()).expect("written");
    let proxy = before_ollama(&upstream, &ca).await;
    let answer = proxy.chat(looking_at(trusted)).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "A cat.", "{}", answer.text());
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["messages"][0]["images"], json!([BASE64]));

    let (unknown, _) = pictures("127.0.0.1").await;
    for (address, why) in [(unknown, "a CA that nobody trusts"), (of_another_name, "another name")] {
        let refused = proxy.chat(looking_at(address)).await;
        assert_eq!((refused.error().0, refused.error().2.as_str()), (400, "media_unreachable"), "{why}");
        assert!(refused.text().contains("certificate"), "{}", refused.text());
    }
    assert_eq!(upstream.asked().len(), 1);
    // Without the setting, the first is nobody either.
    let plain = before_ollama(&upstream, Path::new("")).await;
    assert!(plain.chat(looking_at(trusted)).await.text().contains("certificate"));
}
