//! One HTTP/1 connection: a request at a time.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::time::Instant;

use super::{CallError, Stage, body::UpstreamBody, connect::Connected, pool::Origin};

/// A connection that no request is on.
pub(super) struct Http1<B> {
    sender: SendRequest<B>,
    pub(super) peer: IpAddr,
    /// When its last answer came to its end; `None` before the first.
    pub(super) idle_since: Option<Instant>,
}

// === impl Http1 ===

impl<B> Http1<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) async fn open(connected: Connected) -> Result<Self, Stage> {
        let Connected { stream, peer, .. } = connected;
        let (sender, connection) = http1::handshake(stream).await.map_err(|_| Stage::Connect)?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told of an error; an idle connection that ends is no news.
            let _ = connection.await;
        });
        Ok(Self { sender, peer, idle_since: None })
    }

    /// Whether it can take a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Sends `request`, and gives the connection back to `origin` once it is free again. The request comes back when the
    /// connection was closed before it took it.
    pub(super) async fn send(
        mut self,
        mut request: Request<B>,
        origin: &Arc<Origin<B>>,
    ) -> Result<Response<UpstreamBody>, (CallError, Option<Request<B>>)> {
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let whole_uri = std::mem::replace(request.uri_mut(), Uri::from(path));
        *request.version_mut() = Version::HTTP_11;
        if !request.headers().contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, origin.host().clone());
        }
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                self.give_back(origin);
                Ok(response.map(UpstreamBody::http1))
            }
            Err(mut error) => {
                let mut unsent = error.take_message();
                if let Some(request) = &mut unsent {
                    *request.uri_mut() = whole_uri;
                }
                Err((CallError::of_http1(error.error(), unsent.is_some()), unsent))
            }
        }
    }

    /// A short answer has often come whole by now; else the connection is free when the answer's end has come.
    fn give_back(mut self, origin: &Arc<Origin<B>>) {
        if self.sender.is_ready() {
            self.idle_since = Some(Instant::now());
            origin.keep(self);
            return;
        }
        let origin = Arc::clone(origin);
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.idle_since = Some(Instant::now());
                origin.keep(self);
            }
        });
    }
}

/// What `Host` says of an origin: the port only where it is not the scheme's own.
pub(super) fn host_header(uri: &Uri) -> Option<HeaderValue> {
    let (host, secure) = (uri.host()?, uri.scheme_str() == Some("https"));
    match uri.port_u16() {
        Some(port) if port != if secure { 443 } else { 80 } => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        _ => HeaderValue::try_from(host).ok(),
    }
}
