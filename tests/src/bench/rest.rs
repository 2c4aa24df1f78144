//! Calls of the management API and of probes, one connection each.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    dialect::Dialect,
    question::{Question, SECURE_PREFIX},
    site::PASSWORD,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A manager, signed in.
pub(super) struct Rest {
    address: SocketAddr,
    cookie: HeaderValue,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    cookie: Option<String>,
    pub(super) body: Bytes,
}

// === impl Rest ===

impl Rest {
    pub(super) async fn sign_in(address: SocketAddr) -> anyhow::Result<Self> {
        let request = request(Method::POST, "/api/auth/login", Some(&json!({"password": PASSWORD})))?;
        let answer = send(address, request).await?;
        let cookie = answer.cookie.as_deref().and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.with_context(|| format!("no session: {}", answer.text()))?;
        Ok(Self { address, cookie: HeaderValue::try_from(cookie)? })
    }

    /// # Errors
    /// When the answer is no success.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = request(method.clone(), path, body)?;
        request.headers_mut().insert(header::COOKIE, self.cookie.clone());
        let answer = send(self.address, request).await?;
        if !answer.status.is_success() {
            bail!("{method} {path}: {} {}", answer.status, answer.text());
        }
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// An endpoint under the dialect's prefix and a connection to it.
    pub(super) async fn add_provider(&self, upstream: SocketAddr, dialect: Dialect) -> anyhow::Result<()> {
        self.add(&format!("http://{upstream}/v1"), dialect, dialect.prefix()).await
    }

    /// The same behind TLS.
    pub(super) async fn add_secure_provider(&self, upstream: SocketAddr) -> anyhow::Result<()> {
        self.add(&format!("https://{upstream}/v1"), Dialect::Chat, SECURE_PREFIX).await
    }

    async fn add(&self, base_url: &str, dialect: Dialect, prefix: &str) -> anyhow::Result<()> {
        let kind = if dialect == Dialect::Messages { "anthropic-compatible" } else { "openai-compatible" };
        let node = json!({
            "name": format!("Bench {prefix}"), "prefix": prefix, "type": kind, "apiType": "chat", "baseUrl": base_url,
        });
        let made = self.call(Method::POST, "/api/provider-nodes", Some(&node)).await?;
        let id = made["node"]["id"].as_str().with_context(|| format!("no id in {made}"))?;
        let connection = json!({"name": "bench", "provider": id, "apiKey": "sk-upstream-0123456789"});
        self.call(Method::POST, "/api/providers", Some(&connection)).await?;
        Ok(())
    }

    /// A key for clients.
    pub(super) async fn add_key(&self) -> anyhow::Result<String> {
        let made = self.call(Method::POST, "/api/keys", Some(&json!({"name": "bench"}))).await?;
        let key = made["key"].as_str().context("a key that is not shown")?;
        Ok(key.to_owned())
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body[..self.body.len().min(500)]))
    }
}

/// What `GET path` answers; `None` while nobody does.
pub(super) async fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    send(address, request(Method::GET, path, None).ok()?).await.ok()
}

/// The answer to a question.
pub(super) async fn ask(address: SocketAddr, question: &Question) -> anyhow::Result<Answer> {
    send(address, question.request()).await
}

fn request(method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    Ok(match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(serde_json::to_vec(body)?.into()))?,
        None => request.body(Full::default())?,
    })
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let what = format!("{} {}", request.method(), request.uri());
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        let cookie = head.headers.get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok()).map(str::to_owned);
        anyhow::Ok(Answer { status: head.status, cookie, body })
    };
    tokio::time::timeout(PATIENCE, exchange).await.with_context(|| format!("{what}: no answer"))?.context(what)
}
