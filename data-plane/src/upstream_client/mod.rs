//! The HTTP client towards providers: hyper-util's pooled client over guarded connections.
//!
//! A request takes an idle connection of its host or opens one: [`connect`] bounds the time for DNS, TCP and TLS
//! together, [`dns`] resolves the name (cached) and lets only addresses through that the operator allows. What comes
//! back is the response's head and hyper's own body; [`error`] says in which stage a call failed.

mod connect;
mod dns;
mod error;
mod roots;

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use omniroute_core::address::AddressPolicy;

use self::connect::{CONNECT_TIMEOUT, Connector};
pub use self::{
    error::{CallError, Stage},
    roots::{ExtraRoots, RootsError},
};

/// An idle connection is closed before most providers close it (60 s and up), so that few requests meet a dead one.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// An HTTP/2 connection that carries streams is pinged this often, and given up when the answer is this late.
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells the address policy in force when a connection is opened.
pub type PolicySource = Arc<dyn Fn() -> AddressPolicy + Send + Sync>;

/// What the client needs to know.
#[derive(Clone)]
pub struct ClientOptions {
    /// Limit for DNS, TCP and TLS together, unless the request names its own.
    pub connect_timeout: Duration,
    /// Idle connections kept per host.
    pub idle_per_host: usize,
    pub policy: PolicySource,
    /// CAs that are trusted beside the public ones.
    pub extra_roots: ExtraRoots,
}

/// A pooled client; cheap to clone, clones share the pool.
pub struct UpstreamClient<B> {
    inner: Client<Connector, B>,
    connect_timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(#[from] std::io::Error);

// === impl UpstreamClient ===

impl<B> UpstreamClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A client with an empty pool.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(options: ClientOptions) -> Result<Self, TlsError> {
        let connect_timeout = options.connect_timeout;
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(options.idle_per_host)
            .http2_keep_alive_interval(H2_PING_EVERY)
            .http2_keep_alive_timeout(H2_PING_TIMEOUT);
        Ok(Self { inner: builder.build(Connector::new(options)?), connect_timeout })
    }

    /// Sends a request and waits for the head of its answer. `connect_timeout` applies if a connection has to be
    /// opened for it.
    ///
    /// # Errors
    /// With the stage in which it failed. Dropping the future cancels the request.
    pub async fn send(&self, request: Request<B>, connect_timeout: Duration) -> Result<Response<Incoming>, CallError> {
        let call = self.inner.request(request);
        let answer = if connect_timeout == self.connect_timeout {
            call.await
        } else {
            // hyper hands its connector a URI and nothing else; the request's own limit travels beside it.
            CONNECT_TIMEOUT.scope(connect_timeout, call).await
        };
        answer.map_err(CallError::from)
    }
}

impl<B> Clone for UpstreamClient<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), connect_timeout: self.connect_timeout }
    }
}

#[cfg(test)]
mod tests;
