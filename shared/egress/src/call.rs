//! Single calls through a proxy, each on a connection of its own: to test a connection, to list models, to try a proxy.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use omniroute_core::address::AddressPolicy;
use rustls::ClientConfig;
use tokio::net::TcpStream;

use super::{
    error::EgressError,
    guard::TargetGuard,
    outbound_proxy::OutboundProxy,
    through::{Target, TlsSettings, Tunnel, connect_through},
};

/// Tells which addresses may be used now.
type PolicyInForce = Arc<dyn Fn() -> AddressPolicy + Send + Sync>;

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Until there is a connection with the provider.
    pub connect: Duration,
    /// Until all of the answer is there.
    pub total: Duration,
    /// Bytes of the answer.
    pub body: usize,
}

/// Makes calls through proxies.
#[derive(Clone)]
pub struct Caller {
    policy: PolicyInForce,
    guard: TargetGuard,
    tls: TlsSettings,
    limits: CallLimits,
}

// === impl Caller ===

impl Caller {
    /// `tls` says which certificates are trusted; it offers no protocols, which means HTTP/1.1.
    pub fn new(policy: PolicyInForce, tls: Arc<ClientConfig>, limits: CallLimits) -> Self {
        let tls = TlsSettings { proxy: Arc::clone(&tls), target: tls };
        Self { policy, guard: TargetGuard::new(), tls, limits }
    }

    /// Sends a request through `proxy` and reads the whole answer. Redirects are answers.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn call(&self, proxy: &OutboundProxy, request: Request<Bytes>) -> Result<Response<Bytes>, EgressError> {
        let exchange = async {
            let tunnel = tokio::time::timeout(self.limits.connect, self.open(proxy, request.uri())).await;
            self.exchange(tunnel.map_err(|_| EgressError::Timeout)??, request).await
        };
        // Two TLS handshakes take room that whoever waits for this has no use for.
        tokio::time::timeout(self.limits.total, Box::pin(exchange)).await.unwrap_or(Err(EgressError::Timeout))
    }

    async fn open(&self, proxy: &OutboundProxy, uri: &Uri) -> Result<Tunnel, EgressError> {
        let target = Target::of(uri).ok_or(EgressError::TargetForbidden)?;
        let policy = (self.policy)();
        self.guard.check(policy, &target).await?;
        connect_through(reach(proxy, policy).await?, proxy, &target, &self.tls).await
    }

    async fn exchange(&self, tunnel: Tunnel, mut request: Request<Bytes>) -> Result<Response<Bytes>, EgressError> {
        let uri = std::mem::take(request.uri_mut());
        let authority = uri.authority().ok_or(EgressError::TargetForbidden)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| EgressError::TargetForbidden)?;
        let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        request.headers_mut().entry(header::HOST).or_insert(host);
        let (mut sender, connection) = http1::handshake(TokioIo::new(tunnel)).await.map_err(|_| EgressError::Broken)?;
        let exchange = async {
            let answer = sender.send_request(request.map(Full::new)).await.map_err(|_| EgressError::Broken)?;
            let (head, mut body) = answer.into_parts();
            let mut whole = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|_| EgressError::Broken)?.into_data() else { continue };
                if whole.len() + data.len() > self.limits.body {
                    return Err(EgressError::TooLarge);
                }
                whole.extend_from_slice(&data);
            }
            Ok(Response::from_parts(head, whole.freeze()))
        };
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answered = &mut exchange => answered,
            // What ended it shows in the exchange, and an answer may end with its connection.
            _ = &mut connection => exchange.await,
        }
    }
}

/// A connection to the proxy itself.
async fn reach(proxy: &OutboundProxy, policy: AddressPolicy) -> Result<TcpStream, EgressError> {
    let mut forbidden = false;
    let mut reached = Err(EgressError::ProxyUnreachable);
    for address in addresses(proxy).await? {
        if policy.check(address).is_err() {
            forbidden = true;
            continue;
        }
        if let Ok(stream) = TcpStream::connect(SocketAddr::new(address, proxy.port())).await {
            // Waiting to fill a packet only delays the handshakes.
            let _ = stream.set_nodelay(true);
            reached = Ok(stream);
            break;
        }
        forbidden = false;
    }
    if forbidden { Err(EgressError::ProxyForbidden) } else { reached }
}

async fn addresses(proxy: &OutboundProxy) -> Result<Vec<IpAddr>, EgressError> {
    let Some(name) = proxy.name() else { return Ok(proxy.address().into_iter().collect()) };
    let found = tokio::net::lookup_host((name, proxy.port())).await.map_err(|_| EgressError::ProxyName)?;
    let fitting: Vec<IpAddr> = found.map(|found| found.ip()).filter(|address| proxy.family().fits(*address)).collect();
    if fitting.is_empty() { Err(EgressError::ProxyName) } else { Ok(fitting) }
}
