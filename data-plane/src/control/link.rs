//! A connection to the control plane, and the proof that both ends belong to the same fleet.

use std::{fs, net::IpAddr, path::Path, sync::Arc, time::Duration};

use omniroute_core::{
    handshake::{CONTROL_PLANE_HEADER, JoinSecret, PROXY_HEADER},
    settings::DataPlaneSettings,
    time::{Clock, SystemClock},
};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A link that says nothing is pinged this often, and given up when it does not answer in time.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// A snapshot that is being applied is not read from; the other streams of the connection go on meanwhile.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Why a proxy cannot talk to its control plane as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("CONTROL_PLANE_URL is not a URL: {0}")]
    Url(String),
    #[error(
        "CONTROL_PLANE_URL is not TLS and not on this machine, so provider secrets would cross the network in the clear; \
         use https://, or set GRPC_ALLOW_PLAINTEXT=true if the network is trusted"
    )]
    Plaintext,
    #[error(
        "neither OMNIROUTE_JOIN_TOKEN nor GRPC_TLS_CERT and GRPC_TLS_KEY are set, so this proxy cannot prove that it belongs to the fleet"
    )]
    NoProof,
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("TLS: {0}")]
    Tls(tonic::transport::Error),
}

/// Where the control plane is and how to prove oneself to it. Cheap to clone; the clones share one connection, so that
/// configuration, usage and status of this proxy go to the same control plane where several stand behind one address.
#[derive(Clone)]
pub struct ControlPlane {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    join: Option<JoinSecret>,
    clock: Arc<dyn Clock>,
}

struct Shared {
    /// Filled with the first call on it.
    channel: Mutex<Arc<OnceCell<Channel>>>,
    /// Counts the connections that were given up.
    abandoned: watch::Sender<u64>,
}

/// What was sent to prove who we are; the answer is checked against it.
pub struct Challenge {
    path: &'static str,
    nonce: [u8; 16],
}

// === impl Shared ===

impl Shared {
    fn new() -> Self {
        Self { channel: Mutex::default(), abandoned: watch::Sender::new(0) }
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// From settings.
    ///
    /// # Errors
    /// When the link would be unsafe, or its files cannot be read.
    pub fn new(settings: &DataPlaneSettings) -> Result<Self, LinkError> {
        let url = settings.control_plane_url.as_str();
        let parsed = url::Url::parse(url).map_err(|error| LinkError::Url(error.to_string()))?;
        let tls = parsed.scheme() == "https";
        if !tls && !is_this_machine(&parsed) && !settings.grpc_allow_plaintext {
            return Err(LinkError::Plaintext);
        }
        let has_certificate = !settings.grpc_tls_cert.as_os_str().is_empty();
        let join = settings.join_token.is_set().then(|| JoinSecret::new(settings.join_token.expose()));
        if join.is_none() && !(tls && has_certificate) {
            return Err(LinkError::NoProof);
        }
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| LinkError::Url(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true);
        if tls {
            let mut config = ClientTlsConfig::new();
            config = if settings.grpc_tls_ca.as_os_str().is_empty() {
                config.with_webpki_roots()
            } else {
                config.ca_certificate(Certificate::from_pem(read(&settings.grpc_tls_ca)?))
            };
            if has_certificate {
                config =
                    config.identity(Identity::from_pem(read(&settings.grpc_tls_cert)?, read(&settings.grpc_tls_key)?));
            }
            endpoint = endpoint.tls_config(config).map_err(LinkError::Tls)?;
        }
        Ok(Self { endpoint, shared: Arc::new(Shared::new()), join, clock: Arc::new(SystemClock) })
    }

    /// The connection that all clones share; the first call opens it.
    ///
    /// # Errors
    /// When the control plane cannot be reached.
    pub async fn connect(&self) -> Result<Channel, Status> {
        let shared = Arc::clone(&self.shared.channel.lock());
        let channel = shared.get_or_try_init(|| self.endpoint.connect()).await;
        channel.cloned().map_err(|error| {
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Status::unavailable(format!("the control plane cannot be reached: {reason}"))
        })
    }

    /// Gives the connection up: the next call opens a new one, perhaps to another control plane, and the other streams
    /// are to follow.
    pub fn abandon(&self) {
        *self.shared.channel.lock() = Arc::default();
        self.shared.abandoned.send_modify(|count| *count += 1);
    }

    /// Changes whenever the connection is given up. Ask for it before [`Self::connect`].
    pub fn abandoned(&self) -> watch::Receiver<u64> {
        self.shared.abandoned.subscribe()
    }

    /// Signs the metadata of a call. The path is the gRPC method's.
    pub fn sign(&self, path: &'static str, metadata: &mut MetadataMap) -> Option<Challenge> {
        let join = self.join.as_ref()?;
        let nonce: [u8; 16] = rand::random();
        let proof = join.proxy_proof(path, nonce, self.clock.now());
        let value: MetadataValue<Ascii> = proof.parse().ok()?;
        metadata.insert(PROXY_HEADER, value);
        Some(Challenge { path, nonce })
    }

    /// Checks the other side's answer. Nothing of a stream may be used before.
    ///
    /// # Errors
    /// When the other side does not know the join token.
    pub fn verify(&self, challenge: Option<Challenge>, metadata: &MetadataMap) -> Result<(), Status> {
        let (Some(join), Some(Challenge { path, nonce })) = (&self.join, challenge) else { return Ok(()) };
        let answer = metadata.get(CONTROL_PLANE_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        join.verify_answer(path, nonce, answer).map_err(|_| {
            Status::unauthenticated("what answers at CONTROL_PLANE_URL does not know this fleet's join token")
        })
    }
}

fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    fs::read(path).map_err(|error| LinkError::File(path.display().to_string(), error))
}

/// Whether trying again soon can help, or an operator has to act.
pub fn needs_operator(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}
