//! Opening a connection: one time limit over DNS, TCP and TLS, and no address that the operator does not allow. Through an
//! outbound proxy as well, where the connection has one: then it is the proxy whose address is resolved and judged.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Extensions, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connection as _, HttpConnector, HttpInfo},
    rt::TokioIo,
};
use omniroute_egress::{EgressError, OutboundProxy, Target, TargetGuard, TlsSettings, Tunnel, connect_through};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::{CallErrorKind, ClientOptions, PolicySource, TlsError, dns::Resolver, error::ConnectFailure};

/// The other address family is tried after this long (RFC 8305).
const HAPPY_EYEBALLS: Duration = Duration::from_millis(250);
/// A silent peer is probed after this long, this often, this many times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;
/// Data that the peer's machine does not acknowledge for this long ends the connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Connects to `http` and `https` origins.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

/// A connection that nothing has been sent on.
pub(super) struct EstablishedConnection {
    pub(super) stream: Transport,
    /// Whose connection it is: the provider's, or its proxy's.
    pub(super) peer: IpAddr,
    /// The TLS handshake chose HTTP/2.
    pub(super) is_http2: bool,
}

/// What bytes travel on. Known when a connection is opened, and not looked at again.
#[expect(clippy::large_enum_variant, reason = "one for each connection, taken apart at once")]
pub(super) enum Transport {
    Direct(MaybeHttpsStream<TokioIo<TcpStream>>),
    Tunnel(Tunnel),
}

struct Inner {
    connector: HttpsConnector<HttpConnector<Resolver>>,
    resolver: Resolver,
    guard: TargetGuard,
    tls: TlsSettings,
    policy: PolicySource,
}

/// Opens sockets.
fn tcp(resolver: Resolver) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_happy_eyeballs_timeout(Some(HAPPY_EYEBALLS));
    tcp.set_keepalive(Some(KEEPALIVE_AFTER));
    tcp.set_keepalive_interval(Some(KEEPALIVE_EVERY));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

// === impl Connector ===

impl Connector {
    pub(super) fn new(options: ClientOptions) -> Result<Self, TlsError> {
        let ClientOptions { policy, extra_roots, .. } = options;
        let resolver = Resolver::new(Arc::clone(&policy));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?
            .with_root_certificates(extra_roots.with_public_ones())
            .with_no_client_auth();
        let mut target = tls.clone();
        target.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let through = TlsSettings { proxy: Arc::new(tls.clone()), target: Arc::new(target) };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp(resolver.clone()));
        Ok(Self(Arc::new(Inner { connector, resolver, guard: TargetGuard::new(), tls: through, policy })))
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

    /// Connects within `limit`.
    ///
    /// # Errors
    /// With why it failed.
    pub(super) async fn connect(&self, uri: Uri, limit: Duration) -> Result<EstablishedConnection, CallErrorKind> {
        self.check_literal(&uri).map_err(|failure| CallErrorKind::of_connecting(&failure))?;
        let connecting = self.0.connector.clone().oneshot(uri);
        let stream = match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected.map_err(|error| CallErrorKind::of_connecting(&*error))?,
            Err(_) => return Err(CallErrorKind::ConnectTimeout),
        };
        let connected = stream.connected();
        let mut told = Extensions::new();
        connected.get_extras(&mut told);
        // A socket that cannot tell its peer any more is closed.
        let peer = told.get::<HttpInfo>().map(HttpInfo::remote_addr).as_ref().map(SocketAddr::ip);
        let peer = peer.ok_or(CallErrorKind::Connect)?;
        Ok(EstablishedConnection { is_http2: connected.is_negotiated_h2(), stream: Transport::Direct(stream), peer })
    }

    /// As [`Self::connect`], through `proxy`.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(super) async fn connect_through(
        &self,
        proxy: &OutboundProxy,
        uri: &Uri,
        limit: Duration,
    ) -> Result<EstablishedConnection, CallErrorKind> {
        let connecting = async {
            let target = Target::of(uri).ok_or(EgressError::TargetForbidden)?;
            let guarded = self.0.guard.check((self.0.policy)(), &target);
            let (guarded, reached) = tokio::join!(guarded, self.reach(proxy));
            guarded?;
            let stream = reached?;
            let peer = stream.peer_addr().map_err(|_| EgressError::ProxyUnreachable)?.ip();
            let tunnel = connect_through(stream, proxy, &target, &self.0.tls).await?;
            Ok(EstablishedConnection { is_http2: tunnel.is_http2(), stream: Transport::Tunnel(tunnel), peer })
        };
        let connected = tokio::time::timeout(limit, connecting).await;
        connected.unwrap_or(Err(EgressError::Timeout)).map_err(CallErrorKind::Egress)
    }

    /// A connection to the proxy itself.
    async fn reach(&self, proxy: &OutboundProxy) -> Result<TcpStream, EgressError> {
        let uri: Uri =
            format!("http://{}:{}/", proxy.host(), proxy.port()).parse().map_err(|_| EgressError::ProxyName)?;
        self.check_literal(&uri).map_err(|_| EgressError::ProxyForbidden)?;
        let connecting = tcp(self.0.resolver.of(proxy.family())).oneshot(uri);
        let stream = connecting.await.map_err(|error| match CallErrorKind::of_connecting(&error) {
            CallErrorKind::Dns => EgressError::ProxyName,
            CallErrorKind::AddressRefused => EgressError::ProxyForbidden,
            _ => EgressError::ProxyUnreachable,
        })?;
        Ok(stream.into_inner())
    }

    /// Whether a connection to this address may be used at this moment.
    pub(super) fn allows(&self, peer: IpAddr) -> bool {
        (self.0.policy)().check(peer).is_ok()
    }
}
