//! Clients for tests: one that speaks HTTP properly, and a bare socket.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LONG: Duration = Duration::from_secs(20);

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

// === impl Answer ===

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    /// Status, OpenAI's code and ours, of an answer that must have OpenAI's error shape.
    pub(super) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let error = &json["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{json}");
        assert!(error["request_id"].is_string(), "{json}");
        assert_eq!(self.header("content-type"), "application/json", "{json}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), text(&error["code"]), text(&error["omniroute"]["code"]))
    }
}

/// Sends a request and reads the whole answer.
pub(super) async fn send(request: Request<Full<Bytes>>) -> Answer {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let sending = async {
        let (head, body) = client.request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    };
    tokio::time::timeout(LONG, sending).await.expect("no hang")
}

/// A bare socket to the proxy.
pub(super) struct Raw(pub(super) TcpStream);

// === impl Raw ===

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("connected"))
    }

    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("written");
    }

    /// Reads until `wanted` has come, or the end; gives everything read so far.
    pub(super) async fn read_until(&mut self, wanted: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while memchr::memmem::find(&read, wanted.as_bytes()).is_none() {
                if self.0.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(LONG, reading).await.expect("no hang");
        String::from_utf8(read).expect("text")
    }

    pub(super) async fn read_to_end(&mut self) -> String {
        self.read_until("\u{0}never sent\u{0}").await
    }
}
