//! The port on which proxies connect.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::TryStreamExt as _;
use omniroute_core::handshake::JoinSecret;
use omniroute_ingress::IdleLimited;
use omniroute_proto::v1::{proxy_control_server::ProxyControlServer, usage_stream_server::UsageStreamServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming};

use super::{ProxyRegistry, Publisher, config_service::ConfigService, gate::Gate};
use crate::ledger::{Ledger, UsageService};

/// Pings that notice a proxy whose machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Longest silence of a connection: whoever speaks HTTP/2 answers the pings, and who says nothing has no place.
const SILENCE: Duration = Duration::from_secs(30);

/// Time for a TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams of one proxy: three, and room for those that end.
const MAX_STREAMS: u32 = 32;

/// Largest batch of usage events.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How the port is opened.
pub struct GrpcOptions {
    pub address: SocketAddr,
    /// `None`: plaintext.
    pub tls: Option<TlsMaterial>,
    /// Plaintext on an address that is not loopback.
    pub allow_plaintext: bool,
    pub join: Option<JoinSecret>,
}

/// PEM texts.
pub struct TlsMaterial {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    /// CA of the proxies' certificates: set, a certificate lets a proxy in.
    pub client_ca: Option<Vec<u8>>,
}

/// What proxies talk to.
pub struct Services {
    pub publisher: Publisher,
    pub proxies: ProxyRegistry,
    pub ledger: Ledger,
}

/// The port, taken; nothing is served yet.
pub struct GrpcListener {
    listener: TcpListener,
    options: GrpcOptions,
}

/// Why the port is not opened. Each says what to set.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    #[error(
        "proxies have no way to prove who they are: set OMNIROUTE_JOIN_TOKEN, or GRPC_TLS_CERT, GRPC_TLS_KEY and \
         GRPC_TLS_CLIENT_CA for mutual TLS"
    )]
    NoAuthentication,
    #[error(
        "GRPC_HOST {0} is not loopback and TLS is not configured, so provider secrets would cross the network in the \
         clear: set GRPC_TLS_CERT and GRPC_TLS_KEY, or GRPC_ALLOW_PLAINTEXT=true where something else encrypts"
    )]
    Plaintext(SocketAddr),
    #[error("the gRPC address {address} cannot be opened: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("GRPC_TLS_CERT, GRPC_TLS_KEY or GRPC_TLS_CLIENT_CA cannot be used: {0}")]
    Tls(tonic::transport::Error),
    #[error("the gRPC server failed: {0}")]
    Serve(tonic::transport::Error),
}

// === impl GrpcListener ===

impl GrpcListener {
    /// Checks the options and takes the port.
    ///
    /// # Errors
    /// With a sentence that names the setting at fault.
    pub async fn bind(options: GrpcOptions) -> Result<Self, GrpcError> {
        let by_certificate = options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if options.join.is_none() && !by_certificate {
            return Err(GrpcError::NoAuthentication);
        }
        if options.tls.is_none() && !options.allow_plaintext && !options.address.ip().is_loopback() {
            return Err(GrpcError::Plaintext(options.address));
        }
        let listener = TcpListener::bind(options.address).await;
        let listener = listener.map_err(|source| GrpcError::Bind { address: options.address, source })?;
        Ok(Self { listener, options })
    }

    /// The address, with the port that the system chose when 0 was asked for.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`. The streams end themselves then, so that proxies turn to another replica at once.
    ///
    /// # Errors
    /// When the certificates cannot be used, or the server fails.
    pub async fn serve(self, services: Services, shutdown: CancellationToken) -> Result<(), GrpcError> {
        let gate = Gate { join: self.options.join.clone(), clock: services.ledger.clock().clone() };
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(MAX_STREAMS)
            .layer(gate);
        if let Some(tls) = &self.options.tls {
            // Only the first call in a process has an effect, and every call installs the same.
            let _ = rustls::crypto::ring::default_provider().install_default();
            server = server.tls_config(tls.config(self.options.join.is_some())).map_err(GrpcError::Tls)?;
        }
        let usage = UsageService::new(services.ledger, shutdown.clone());
        let usage = UsageStreamServer::new(usage).max_decoding_message_size(MAX_BATCH_BYTES);
        server
            .add_service(ConfigService::new(services.publisher))
            .add_service(ProxyControlServer::new(services.proxies))
            .add_service(usage)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(self.listener)
                    .with_nodelay(Some(true))
                    .map_ok(|stream| IdleLimited::new(stream, SILENCE)),
                shutdown.cancelled_owned(),
            )
            .await
            .map_err(GrpcError::Serve)
    }
}

// === impl TlsMaterial ===

impl TlsMaterial {
    /// With a join token as the other way in, a certificate is optional; whoever shows neither is turned away.
    fn config(&self, has_join_token: bool) -> ServerTlsConfig {
        let config =
            ServerTlsConfig::new().identity(Identity::from_pem(&self.certificate, &self.key)).timeout(TLS_TIMEOUT);
        match &self.client_ca {
            Some(ca) => config.client_ca_root(Certificate::from_pem(ca)).client_auth_optional(has_join_token),
            None => config,
        }
    }
}
