//! What every request of this proxy shares.

use std::{net::IpAddr, sync::Arc, time::Duration};

use omniroute_coordination::Coordination;
use omniroute_core::{
    address::AddressPolicy, client_address::TrustedProxies, id::ConnectionId, settings::DataPlaneSettings, time::Clock,
};
use omniroute_telemetry::MetricsReport;
use tokio::sync::Semaphore;

use super::{Lifecycle, workers::worker_count};
use crate::{
    admit::{Access, memory::BodyMemory},
    count::Counter,
    dispatch::{Segmented, Times, health::Streaks, slot::Freed},
    forward::{ForwardError, Forwarder},
    media::MediaStore,
    metrics::Metrics,
    record::Recorder,
    snapshot::Snapshot,
    state::State,
    upstream_client::{ClientOptions, ExtraRoots, RootsError, TlsError, UpstreamClient},
};

/// WebSockets at once, and never more than connections.
const MAX_SOCKETS: usize = 2048;

/// A client that takes nothing is given this many times the limit for one that sends nothing: it may be busy with what
/// it got.
const UNREAD_FACTOR: u32 = 4;

/// What a gateway is made of.
pub struct GatewayParts<'a> {
    pub settings: &'a DataPlaneSettings,
    pub snapshot: Snapshot,
    pub recorder: Recorder,
    pub coordination: Arc<dyn Coordination>,
    pub lifecycle: Lifecycle,
    pub clock: Arc<dyn Clock>,
    pub report: MetricsReport,
}

/// The limits of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) times: Times,
    /// Pictures take longer than texts to begin.
    pub(crate) image_first_byte: Duration,
    pub(crate) keepalive: Duration,
    /// How long the client of a stream waits before it gets a sign of life; zero means never.
    pub(crate) first_sign: Duration,
    pub(crate) client_timeout: Duration,
    /// Client connections at once.
    pub(crate) max_connections: usize,
}

/// Shared by every connection and request.
pub struct Gateway {
    pub(crate) snapshot: Snapshot,
    pub(crate) recorder: Recorder,
    pub(crate) coordination: Arc<dyn Coordination>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) report: MetricsReport,
    pub(crate) upstream: UpstreamClient<Segmented>,
    pub(crate) forwarder: Option<Forwarder>,
    pub(crate) metrics: Metrics,
    pub(crate) memory: BodyMemory,
    pub(crate) media: MediaStore,
    pub(crate) counter: Counter,
    /// Places for WebSockets, which leave the connections' own count once they are open.
    pub(crate) sockets: Arc<Semaphore>,
    pub(crate) freed: Freed,
    pub(crate) streaks: Streaks,
    pub(crate) state: State,
    pub(crate) access: Access,
    /// Whose word about the client counts.
    pub(crate) trusted: TrustedProxies,
    pub(crate) proxy_protocol: bool,
    pub(crate) limits: Limits,
}

/// Why a gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error(transparent)]
    Roots(#[from] RootsError),
}

// === impl Gateway ===

impl Gateway {
    /// Puts the parts together. Metrics are counted by the recorder that is installed at this moment.
    ///
    /// # Errors
    /// When TLS or the forwarding to the control plane cannot be set up, or the operator's CAs cannot be read.
    pub fn new(parts: GatewayParts<'_>) -> Result<Arc<Self>, SetupError> {
        let GatewayParts { settings, snapshot, recorder, coordination, lifecycle, clock, report } = parts;
        let policy = {
            let snapshot = snapshot.clone();
            Arc::new(move || snapshot.load().settings().address_policy)
        };
        let extra_roots = ExtraRoots::read(&settings.upstream_tls_ca)?;
        let upstream = UpstreamClient::new(ClientOptions {
            idle_per_host: (settings.upstream_idle_connections as usize).div_ceil(worker_count(settings).get()),
            policy,
            extra_roots: extra_roots.clone(),
        })?;
        let media_policy = AddressPolicy::from_allow_private(settings.allow_private_media_urls);
        Ok(Arc::new(Self {
            state: State::open(&*coordination, settings),
            snapshot,
            recorder,
            coordination,
            lifecycle,
            clock,
            report,
            upstream,
            forwarder: Forwarder::new(&settings.forward_url)?,
            metrics: Metrics::new(),
            memory: BodyMemory::new(settings.body_memory.0),
            media: MediaStore::new(media_policy, extra_roots)?,
            counter: Counter::new(),
            sockets: Arc::new(Semaphore::new((settings.max_connections as usize).min(MAX_SOCKETS))),
            freed: Freed::default(),
            streaks: Streaks::default(),
            access: access(settings),
            trusted: settings.trusted_proxies.clone(),
            proxy_protocol: settings.proxy_protocol,
            limits: Limits::new(settings),
        }))
    }

    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub fn coordination(&self) -> &dyn Coordination {
        &*self.coordination
    }

    /// Holds nothing against these connections any more: a corrected credential is used at once. The control plane ends
    /// cooldowns too, but where there is no Redis it cannot reach those of this process.
    pub async fn forgive(&self, repaired: &[ConnectionId]) {
        for id in repaired {
            self.streaks.succeeded(id);
            self.coordination.warm(id.as_str()).await;
        }
    }
}

/// A key is not required only where nobody but this machine can come.
fn access(settings: &DataPlaneSettings) -> Access {
    match (settings.require_api_key, is_loopback(settings.host)) {
        (false, true) => Access::Open,
        (false, false) => {
            let host = settings.host;
            tracing::warn!(%host, "REQUIRE_API_KEY=false only counts on loopback; API keys are required");
            Access::KeyRequired
        }
        (true, _) => Access::KeyRequired,
    }
}

fn is_loopback(host: IpAddr) -> bool {
    host.to_canonical().is_loopback()
}

// === impl Limits ===

impl Limits {
    /// How long a client may leave what it was sent where it is.
    pub(crate) const fn unread(&self) -> Duration {
        self.client_timeout.saturating_mul(UNREAD_FACTOR)
    }

    fn new(settings: &DataPlaneSettings) -> Self {
        Self {
            times: Times {
                connect: settings.connect_timeout.0,
                first_byte: settings.first_byte_timeout.0,
                thinking: settings.thinking_first_byte_timeout.0,
                idle: settings.idle_timeout.0,
                total: settings.total_timeout.0,
            },
            image_first_byte: settings.image_first_byte_timeout.0,
            keepalive: settings.keepalive_interval.0,
            first_sign: settings.first_sign.0,
            client_timeout: settings.client_timeout.0,
            max_connections: settings.max_connections as usize,
        }
    }
}
