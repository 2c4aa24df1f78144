//! The stages of this proxy, each with what it needs.

use std::sync::Arc;

use omniroute_coordination::Coordination;
use omniroute_core::{
    address::AddressPolicy, client_address::TrustedProxies, settings::DataPlaneSettings, time::Clock,
};
use omniroute_telemetry::MetricsReport;
use tokio::sync::Semaphore;

use super::limits::Limits;
use crate::{
    accounting::AccountingSinks,
    admit::Admission,
    control_plane_proxy::{ControlPlaneProxy, ControlPlaneProxyError},
    count::Counting,
    credentials,
    dispatch::{Dispatcher, ThoughtDemands, Translator},
    health::Health,
    idempotency::Idempotency,
    lifecycle::Lifecycle,
    media::MediaStore,
    renewal::Renewals,
    request::BodyMemory,
    respond::Responder,
    response_store::ResponseStore,
    signatures,
    snapshot::SnapshotHandle,
    upstream_client::{ClientOptions, ExtraRoots, RootsError, TlsError, UpstreamClient},
    usage_journal::UsageRecorder,
};

/// WebSockets at once, and never more than connections.
const MAX_SOCKETS: usize = 2048;

/// What the stages are made of.
pub struct Foundations<'a> {
    pub settings: &'a DataPlaneSettings,
    pub snapshot: SnapshotHandle,
    pub recorder: UsageRecorder,
    pub coordination: Arc<dyn Coordination>,
    pub lifecycle: Lifecycle,
    pub clock: Arc<dyn Clock>,
    pub report: MetricsReport,
}

/// Every stage, and what connections obey. Built once; requests borrow from it.
pub struct Stages {
    pub(crate) admission: Admission,
    pub(crate) idempotency: Idempotency,
    pub(crate) responses: ResponseStore,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) responder: Responder,
    pub(crate) counting: Counting,
    pub(crate) control_plane_proxy: Option<ControlPlaneProxy>,
    pub(crate) sinks: Arc<AccountingSinks>,
    pub(crate) health: Arc<Health>,
    pub(crate) renewals: Arc<Renewals>,
    pub(crate) snapshot: SnapshotHandle,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) report: MetricsReport,
    /// Places for WebSockets, which leave the connections' own count once they are open.
    pub(crate) sockets: Arc<Semaphore>,
    /// Whose word about the client counts.
    pub(crate) trusted: TrustedProxies,
    pub(crate) proxy_protocol: bool,
    pub(crate) limits: Limits,
}

/// Why the stages cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    ControlPlaneProxy(#[from] ControlPlaneProxyError),
    #[error(transparent)]
    Roots(#[from] RootsError),
}

// === impl Stages ===

impl Stages {
    /// Puts the parts together. Metrics are counted by the recorder that is installed at this moment.
    ///
    /// # Errors
    /// When TLS or the forwarding to the control plane cannot be set up, or the operator's CAs cannot be read.
    pub fn build(foundations: Foundations<'_>) -> Result<Arc<Self>, SetupError> {
        let Foundations { settings, snapshot, recorder, coordination, lifecycle, clock, report } = foundations;
        let policy = {
            let snapshot = snapshot.clone();
            Arc::new(move || snapshot.load().settings().address_policy)
        };
        let extra_roots = ExtraRoots::read(&settings.upstream_tls_ca)?;
        let client = UpstreamClient::new(ClientOptions {
            idle_per_host: settings.upstream_idle_connections as usize,
            policy,
            extra_roots: extra_roots.clone(),
        })?;
        let keeper = credentials::keeper(client.clone(), Arc::clone(&clock), settings.ambient_credentials);
        let media_policy = AddressPolicy::from_allow_private(settings.allow_private_media_urls);
        let limits = Limits::new(settings);
        let memory = BodyMemory::new(settings.body_memory.0);
        let health = Arc::new(Health::new(Arc::clone(&coordination), snapshot.clone(), Arc::clone(&clock)));
        let renewals = Arc::new(Renewals::new(snapshot.clone()));
        let sinks = Arc::new(AccountingSinks::new(recorder, lifecycle.clone(), Arc::clone(&health)));
        let translator = Translator {
            media: MediaStore::new(media_policy, extra_roots)?,
            memory: memory.clone(),
            signatures: signatures::open(&*coordination, settings.signature_ttl.0, settings.signature_memory.0),
            demands: ThoughtDemands::default(),
        };
        Ok(Arc::new(Self {
            idempotency: Idempotency::open(&*coordination, settings, limits.times),
            responses: ResponseStore::open(&*coordination, settings, memory.clone(), Arc::clone(&clock)),
            admission: Admission::new(settings, snapshot.clone(), lifecycle.clone(), memory),
            counting: Counting::new(client.clone(), keeper.clone(), Arc::clone(&health)),
            dispatcher: Dispatcher::new(
                client,
                keeper,
                translator,
                Arc::clone(&health),
                Arc::clone(&renewals),
                Arc::clone(&sinks),
                Arc::clone(&clock),
            ),
            responder: Responder::new(limits.keepalive),
            control_plane_proxy: ControlPlaneProxy::new(&settings.forward_url)?,
            sinks,
            health,
            renewals,
            snapshot,
            lifecycle,
            clock,
            report,
            sockets: Arc::new(Semaphore::new((settings.max_connections as usize).min(MAX_SOCKETS))),
            trusted: settings.trusted_proxies.clone(),
            proxy_protocol: settings.proxy_protocol,
            limits,
        }))
    }

    pub(crate) fn renewals(&self) -> &Arc<Renewals> {
        &self.renewals
    }

    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.health
    }
}
