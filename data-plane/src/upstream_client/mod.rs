//! The HTTP client towards providers: pooled connections that are guarded.
//!
//! A request asks the [`pool`] for a connection to its origin, which is the one place that hands them out: an idle HTTP/1
//! connection, a stream of an HTTP/2 connection that has one to spare, or a new connection. [`connect`] bounds the time for
//! DNS, TCP and TLS together, [`dns`] resolves the name (cached) and lets only addresses through that the operator allows.
//! [`http1`] and [`http2`] send the request and give back the head of the answer and its [`body`]; [`error`] says in which
//! stage a call failed. An HTTP/1 connection is driven by the task whose request is on it, an HTTP/2 connection has a task of
//! its own.
//!
//! **HTTP/2 where the provider speaks it, on several connections.** One connection for all of an origin's requests, which
//! is what hyper-util's client offers, fails its callers in two ways: what exceeds the peer's `MAX_CONCURRENT_STREAMS` waits
//! inside the connection where nobody sees it, and answers that clients do not read fill the connection's window, so that
//! all others stand still. Here the streams of a connection are counted, and none is given more than the peer takes; a
//! connection's window is as large as those of all its streams together, so that a stream can only fill its own.
//!
//! A connection that goes through an outbound proxy is pooled beside those that do not, by the version of the proxy that it
//! was opened through: what is configured anew is used at once. Which proxy that is was decided when the configuration was
//! compiled.
//!
//! HTTP/1.1 for all would avoid both faults too, and costs more where it counts. CPU of the client's thread, TLS on loopback, release build,
//! the same requests to the same server, medians of three:
//!
//! | | HTTP/2 | HTTP/1.1 |
//! |---|---|---|
//! | 1 KB request and answer, 16 at a time | 11.9 µs | 9.2 µs |
//! | a chunk of a stream at full speed, 16 streams | 0.7 µs | 1.8 µs |
//! | a chunk of a stream that comes every 5 ms, 96 streams | 1.3 µs | 4.9 µs |
//!
//! An answer of a model is a stream of hundreds of chunks: what several of them say at a time arrives in one read and one TLS
//! record. It also takes a socket and a handshake per 32 requests instead of one each.

mod body;
mod connect;
mod dns;
mod error;
mod http1;
mod http2;
mod pool;
mod roots;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use omniroute_core::address::AddressPolicy;
use omniroute_egress::{EgressError, OutboundProxy};

pub use self::{
    body::UpstreamBody,
    error::{BodyError, CallError, CallErrorKind},
    roots::{ExtraRoots, RootsError},
};
use self::{
    connect::Connector,
    pool::{Pool, PooledConnection},
};

/// An idle connection is closed before most providers close it (60 s and up), so that few requests meet a dead one.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Tells the address policy in force at this moment.
pub type PolicySource = Arc<dyn Fn() -> AddressPolicy + Send + Sync>;

/// What the client needs to know.
#[derive(Clone)]
pub struct ClientOptions {
    /// Idle HTTP/1 connections kept per host by each thread that has connections of its own.
    pub idle_per_host: usize,
    /// Asked when a connection is opened, and again when it is used once more.
    pub policy: PolicySource,
    /// CAs that are trusted beside the public ones.
    pub extra_roots: ExtraRoots,
}

/// A pooled client; cheap to clone, clones share the pool.
pub struct UpstreamClient<B> {
    pool: Pool<B>,
}

#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(#[from] std::io::Error);

// === impl UpstreamClient ===

impl<B> UpstreamClient<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A client with an empty pool.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(options: ClientOptions) -> Result<Self, TlsError> {
        let idle_per_host = options.idle_per_host;
        Ok(Self { pool: Pool::new(Connector::new(options)?, idle_per_host) })
    }

    /// Sends a request and waits for the head of its answer. `connect_timeout` is the limit for a connection to be ready
    /// for it: DNS, TCP and TLS together, where one has to be opened.
    ///
    /// # Errors
    /// With why it failed. Dropping the future cancels the request.
    pub fn send(
        &self,
        request: Request<B>,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<Response<UpstreamBody>, CallError>> + Send {
        self.send_by(request, None, connect_timeout)
    }

    /// As [`Self::send`], through `proxy`, whose use it counts.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_through(
        &self,
        request: Request<B>,
        proxy: &Arc<OutboundProxy>,
        connect_timeout: Duration,
    ) -> Result<Response<UpstreamBody>, CallError> {
        let sent = self.send_by(request, Some(proxy), connect_timeout).await;
        let used = proxy.used();
        match &sent {
            Ok(_) => used.succeeded(),
            Err(CallError {
                kind: CallErrorKind::ConnectTimeout | CallErrorKind::Egress(EgressError::Timeout),
                ..
            }) => {
                used.timed_out();
            }
            // That the operator forbids a target says nothing of the proxy.
            Err(CallError { kind: CallErrorKind::Egress(EgressError::TargetForbidden), .. }) => {}
            Err(_) => used.failed(),
        }
        sent
    }

    async fn send_by(
        &self,
        request: Request<B>,
        through: Option<&Arc<OutboundProxy>>,
        connect_timeout: Duration,
    ) -> Result<Response<UpstreamBody>, CallError> {
        let origin = self.pool.origin(request.uri(), through).ok_or(CallError::of(CallErrorKind::Connect))?;
        let mut request = request;
        loop {
            // Nearly always there is a connection, and the future that waits for one is large.
            let pooled = match self.pool.checkout(&origin) {
                Ok(pooled) => pooled,
                Err(next) => Box::pin(self.pool.wait(&origin, next, connect_timeout)).await.map_err(CallError::of)?,
            };
            let connection = match pooled {
                PooledConnection::Http2(stream) => return Box::pin(stream.send(request)).await,
                PooledConnection::Http1(connection) => connection,
            };
            let is_new = connection.idle_since.is_none();
            match connection.send(request, Arc::clone(&origin)).await {
                Ok(response) => return Ok(response),
                // It had ended unnoticed. There may be others like it, and then comes a new one.
                Err((_, Some(unsent))) if !is_new => request = unsent,
                Err((error, _)) => return Err(error),
            }
        }
    }
}

impl<B> Clone for UpstreamClient<B> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone() }
    }
}

#[cfg(test)]
mod tests;
