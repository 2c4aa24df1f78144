//! Opening a connection: one time limit over DNS, TCP and TLS, and no address that the operator does not allow.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};

use super::{ClientOptions, PolicySource, TlsError, dns::Resolver, error::ConnectFailure};

/// The other address family is tried after this long (RFC 8305).
const HAPPY_EYEBALLS: Duration = Duration::from_millis(250);
/// A silent peer is probed after this long, this often, this many times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;
/// Data that the peer's machine does not acknowledge for this long ends the connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// Connect limit of the request that is being polled, where it has its own.
    pub(super) static CONNECT_TIMEOUT: Duration;
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects to `http` and `https` origins. The client clones it for each request, most of which need no connection.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    connector: HttpsConnector<HttpConnector<Resolver>>,
    timeout: Duration,
    policy: PolicySource,
}

// === impl Connector ===

impl Connector {
    pub(super) fn new(options: ClientOptions) -> Result<Self, TlsError> {
        let ClientOptions { connect_timeout, policy, extra_roots, .. } = options;
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(Arc::clone(&policy)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_happy_eyeballs_timeout(Some(HAPPY_EYEBALLS));
        tcp.set_keepalive(Some(KEEPALIVE_AFTER));
        tcp.set_keepalive_interval(Some(KEEPALIVE_EVERY));
        tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        #[cfg(any(target_os = "linux", target_os = "android"))]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?
            .with_root_certificates(extra_roots.with_public_ones())
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
        Ok(Self(Arc::new(Inner { connector, timeout: connect_timeout, policy })))
    }

    /// Literal addresses never reach the resolver, so they are judged here.
    fn check_literal(&self, uri: &Uri) -> Result<(), ConnectFailure> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match host.parse::<IpAddr>() {
            Ok(address) => (self.0.policy)().check(address).map_err(ConnectFailure::Refused),
            Err(_) => Ok(()),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Err(refused) = self.check_literal(&uri) {
            return Box::pin(std::future::ready(Err(refused.into())));
        }
        let limit = CONNECT_TIMEOUT.try_with(|limit| *limit).unwrap_or(self.0.timeout);
        let connecting = self.0.connector.clone().oneshot(uri);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectFailure::Timeout.into()),
            }
        })
    }
}
