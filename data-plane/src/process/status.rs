//! What the control plane is told about this proxy, and what it may tell it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use omniroute_core::{
    id::ProxyId,
    time::{Clock as _, SystemClock, UnixMillis},
};
use omniroute_egress::OutboundProxy;
use omniroute_proto::{PROTOCOL_MINOR, v1};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle};

use crate::{
    control::attach::{Command, Controlled, resident_memory},
    health::Health,
    lifecycle::{Lifecycle, Phase},
    renewal::Renewals,
    server::Stages,
    snapshot::{
        SnapshotHandle,
        subscribe::{StreamHealth, Subscriber},
    },
    usage_journal::journal::Journal,
};

/// This proxy, as the control plane sees it.
pub(super) struct ControlledProxy {
    snapshot: SnapshotHandle,
    lifecycle: Lifecycle,
    journal: Arc<Journal>,
    health: Arc<Health>,
    renewals: Arc<Renewals>,
    proxy: ProxyId,
    boot_id: String,
    address: SocketAddr,
    started: UnixMillis,
    stream: StreamHealth,
    resync: Arc<Notify>,
    /// Waits for the deadline of a drain.
    deadline: Mutex<Option<AbortHandle>>,
}

// === impl ControlledProxy ===

impl ControlledProxy {
    pub(super) fn new(stages: &Stages, subscriber: &Subscriber, boot_id: String, address: SocketAddr) -> Self {
        Self {
            snapshot: stages.snapshot.clone(),
            lifecycle: stages.lifecycle.clone(),
            journal: Arc::clone(stages.sinks.recorder().journal()),
            health: Arc::clone(stages.health()),
            renewals: Arc::clone(stages.renewals()),
            proxy: subscriber.proxy.clone(),
            boot_id,
            address,
            started: SystemClock.now(),
            stream: subscriber.health.clone(),
            resync: Arc::clone(&subscriber.resync),
            deadline: Mutex::new(None),
        }
    }

    /// Lets what runs go on for as long as `limit`, from now.
    fn drain(&self, limit: Duration) {
        let lifecycle = self.lifecycle.clone();
        lifecycle.drain();
        let waiting = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            if lifecycle.requests_in_flight() > 0 {
                tracing::warn!(requests = lifecycle.requests_in_flight(), "the drain deadline cuts what still runs");
            }
            lifecycle.expire_drain();
        });
        self.set_deadline(Some(waiting.abort_handle()));
    }

    /// An earlier drain's deadline no longer counts.
    fn set_deadline(&self, waiting: Option<AbortHandle>) {
        if let Some(earlier) = std::mem::replace(&mut *self.deadline.lock(), waiting) {
            earlier.abort();
        }
    }
}

impl Controlled for ControlledProxy {
    fn status(&self) -> v1::ProxyStatus {
        let Self { snapshot, lifecycle, journal, .. } = self;
        let (last_error, last_error_at_ms) = self.stream.last_error().unwrap_or_default();
        let cooling = self.health.cooldowns();
        let stale = snapshot.stale();
        let snapshot = snapshot.load();
        v1::ProxyStatus {
            proxy_id: self.proxy.to_string(),
            boot_id: self.boot_id.clone(),
            version: omniroute_core::VERSION.to_owned(),
            protocol: PROTOCOL_MINOR,
            address: format!("http://{}", self.address),
            started_at_ms: self.started.0,
            revision: snapshot.revision(),
            stale,
            draining: lifecycle.phase() != Phase::Serving,
            requests_in_flight: lifecycle.requests_in_flight(),
            streams_in_flight: lifecycle.streams_in_flight(),
            requests_total: lifecycle.requests_total(),
            memory_rss_bytes: resident_memory(),
            journal_pending: journal.unacknowledged(),
            journal_lost: journal.lost(),
            last_error,
            last_error_at_ms,
            cooling: cooling
                .into_iter()
                .map(|(id, cooldown)| v1::CoolingConnection {
                    connection_id: id.to_string(),
                    until_ms: cooldown.until.0,
                    reason: cooldown.reason.to_string(),
                })
                .collect(),
            refused_tokens: self
                .renewals
                .wanted()
                .into_iter()
                .map(|(id, fingerprint)| v1::RefusedToken {
                    connection_id: id.to_string(),
                    fingerprint: fingerprint.to_vec(),
                })
                .collect(),
            outbound: snapshot.outbound().map(|proxy| outbound_use(proxy)).collect(),
        }
    }

    fn urgent(&self) -> &Notify {
        self.renewals.urgent()
    }

    fn command(&self, command: Command) {
        match command {
            Command::Drain { deadline } => {
                let deadline_seconds = deadline.as_secs_f64();
                tracing::info!(command = "drain", deadline_seconds, "the control plane commands");
                self.drain(deadline);
            }
            Command::Resume => {
                tracing::info!(command = "resume", "the control plane commands");
                self.set_deadline(None);
                self.lifecycle.resume();
            }
            Command::Resync => {
                tracing::info!(command = "resync", "the control plane commands");
                self.resync.notify_one();
            }
            Command::ResetConnection(connection) => {
                let health = Arc::clone(&self.health);
                tokio::spawn(async move { health.reset(&[connection]).await });
            }
        }
    }
}

fn outbound_use(proxy: &OutboundProxy) -> v1::OutboundProxyUse {
    let used = proxy.used().now();
    v1::OutboundProxyUse {
        proxy: proxy.id().to_owned(),
        succeeded: used.succeeded,
        failed: used.failed,
        timed_out: used.timed_out,
        opened: used.opened,
        opening_us: used.opening_us,
    }
}
