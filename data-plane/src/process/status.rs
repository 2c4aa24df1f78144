//! What the control plane is told about this proxy, and what it may tell it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use omniroute_core::{
    id::ProxyId,
    time::{Clock as _, SystemClock, UnixMillis},
};
use omniroute_proto::{PROTOCOL_MINOR, v1};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle};

use crate::{
    control::attach::{Command, Controlled, resident_memory},
    server::{Gateway, Phase},
    snapshot::subscribe::{StreamHealth, Subscriber},
};

/// This proxy, as the control plane sees it.
pub(super) struct ControlledProxy {
    gateway: Arc<Gateway>,
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
    pub(super) fn new(gateway: Arc<Gateway>, subscriber: &Subscriber, boot_id: String, address: SocketAddr) -> Self {
        Self {
            gateway,
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
        let lifecycle = self.gateway.lifecycle().clone();
        lifecycle.drain();
        let waiting = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            if lifecycle.requests_in_flight() > 0 {
                tracing::warn!(requests = lifecycle.requests_in_flight(), "the drain deadline cuts what still runs");
            }
            lifecycle.cut();
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
        let gateway = &self.gateway;
        let lifecycle = gateway.lifecycle();
        let journal = gateway.recorder().journal();
        let (last_error, last_error_at_ms) = self.stream.last_error().unwrap_or_default();
        let cooling = gateway.coordination().cooldowns();
        v1::ProxyStatus {
            proxy_id: self.proxy.to_string(),
            boot_id: self.boot_id.clone(),
            version: omniroute_core::VERSION.to_owned(),
            protocol: PROTOCOL_MINOR,
            address: format!("http://{}", self.address),
            started_at_ms: self.started.0,
            revision: gateway.snapshot().load().revision(),
            stale: gateway.snapshot().stale(),
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
        }
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
                self.gateway.lifecycle().resume();
            }
            Command::Resync => {
                tracing::info!(command = "resync", "the control plane commands");
                self.resync.notify_one();
            }
            Command::Forgive(connection) => {
                let gateway = Arc::clone(&self.gateway);
                tokio::spawn(async move { gateway.forgive(&[connection]).await });
            }
        }
    }
}
