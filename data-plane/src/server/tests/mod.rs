//! The request path over real sockets: a client, this proxy, an upstream.

mod bad_input;
mod bad_upstream;
mod balancer;
mod charged;
mod chat;
mod client;
mod clouds;
mod compact;
mod early_head;
mod fallback;
mod gateway_headers;
mod http2_upstream;
mod images;
mod lifecycle;
mod media_over_tls;
mod missing_terminator;
mod model_lists;
mod ollama;
mod provider_quirks;
mod providers;
mod reasoning;
mod repeated_requests;
mod reshaped;
mod routes;
mod signatures;
mod stored;
mod tls_upstream;
mod token_counts;
mod upstream;
mod websocket;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, request};
use http_body_util::Full;
use omniroute_proto::v1;
use tokio::net::TcpListener;

use self::{
    client::{Answer, send},
    upstream::Upstream,
};
use crate::{
    server::{
        Server,
        testing::{KEY, Resources, TestGateway, index_with},
    },
    snapshot::Index,
};

const CHAT: &str = r#"{"model":"mock/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &str = r#"{"model":"mock/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// A proxy that listens.
struct Proxy {
    address: SocketAddr,
    inner: TestGateway,
}

// === impl Proxy ===

impl Proxy {
    async fn start(settings: &[(&str, &str)], index: Arc<Index>) -> Self {
        let inner = TestGateway::new(settings, index);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(Server::new(listener, Arc::clone(&inner.stages)).run());
        Self { address, inner }
    }

    /// With one node `mock` and one connection `c1` to `upstream`.
    async fn before(upstream: &Upstream) -> Self {
        Self::with(&[], upstream, |_| {}).await
    }

    async fn with(settings: &[(&str, &str)], upstream: &Upstream, add: impl FnOnce(&mut Resources)) -> Self {
        Self::start(settings, in_front_of(upstream, add)).await
    }

    fn request(&self, method: &str, path: &str) -> request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.address))
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request("POST", path).header("authorization", format!("Bearer {KEY}"));
        send(request.header("content-type", "application/json").body(Full::new(body.into())).expect("a request")).await
    }

    async fn chat(&self, body: impl Into<Bytes>) -> Answer {
        self.post("/v1/chat/completions", body).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.request("GET", path).header("authorization", format!("Bearer {KEY}"));
        send(request.body(Full::default()).expect("a request")).await
    }

    /// The head of a chat request, up to the blank line, with these lines more.
    fn chat_head(&self, lines: &str) -> String {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {KEY}\r\n{lines}\r\n",
            self.address
        )
    }

    /// The one event there is.
    async fn event(&self) -> v1::UsageEvent {
        let mut events = self.inner.closed_events(1).await;
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }
}

fn in_front_of(upstream: &Upstream, add: impl FnOnce(&mut Resources)) -> Arc<Index> {
    index_with(|resources| {
        resources.node("mock", &upstream.base_url());
        resources.connection("c1", "mock", |_| {});
        add(resources);
    })
}

/// That a text for a client gives nothing away.
fn assert_discreet(upstream: &Upstream, answer: &Answer) {
    let shown = format!("{:?} {:?}", answer.headers, answer.body);
    let port = upstream.address.port().to_string();
    for secret in ["sk-secret", "127.0.0.1", KEY, port.as_str(), "/v1/chat"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
