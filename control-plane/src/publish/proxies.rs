//! `ProxyControl`: who is attached, how they are, and what they are told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use omniroute_proto::v1::{self, proxy_control_server::ProxyControl};
use omniroute_telemetry::names;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Timing;
use crate::store::{Command, Store, StoreError};

/// A proxy's row is written at most this often, unless its configuration or its state is another. Statuses come every
/// 5 s, and within a second of such a change; the slack is for their jitter.
const WRITE_EVERY: Duration = Duration::from_millis(4_500);

/// How often orders left by other replicas are looked for.
const ORDERS_EVERY: Duration = Duration::from_secs(1);

/// Commands on their way to one proxy.
const QUEUE: usize = 16;

/// The proxies attached to this replica.
#[derive(Clone)]
pub struct ProxyRegistry(Arc<Inner>);

struct Inner {
    store: Store,
    timing: Timing,
    attached: Mutex<Attached>,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct Attached {
    /// Tells the attachments of one proxy apart.
    last_attachment: u64,
    proxies: HashMap<String, Attachment>,
}

struct Attachment {
    number: u64,
    commands: mpsc::Sender<Result<v1::ProxyCommand, Status>>,
    status: v1::ProxyStatus,
}

// === impl ProxyRegistry ===

impl ProxyRegistry {
    /// Starts to look for orders until `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> Self {
        Self::start_with(store, Timing::STANDARD, shutdown)
    }

    pub(super) fn start_with(store: Store, timing: Timing, shutdown: CancellationToken) -> Self {
        let registry = Self(Arc::new(Inner { store, timing, attached: Mutex::default(), shutdown }));
        tokio::spawn(deliver_orders(registry.clone()));
        registry
    }

    /// Tells a proxy something: at once when it is attached here, else through the database to the replica that it is
    /// attached to, which looks every second. An order that nobody can deliver is void after five minutes.
    ///
    /// # Errors
    /// When the database is needed and fails.
    pub async fn order(&self, proxy_id: &str, command: Command) -> Result<(), StoreError> {
        if self.send(proxy_id, &command) {
            return Ok(());
        }
        self.0.store.proxies().order(proxy_id, &command).await
    }

    /// The last status of each proxy that is attached to this replica.
    pub fn attached(&self) -> Vec<v1::ProxyStatus> {
        self.0.attached.lock().proxies.values().map(|attachment| attachment.status.clone()).collect()
    }

    fn send(&self, proxy_id: &str, command: &Command) -> bool {
        let attached = self.0.attached.lock();
        let attachment = attached.proxies.get(proxy_id);
        attachment.is_some_and(|attachment| attachment.commands.try_send(Ok(command.to_proto())).is_ok())
    }

    fn attach(&self, status: &v1::ProxyStatus, commands: mpsc::Sender<Result<v1::ProxyCommand, Status>>) -> u64 {
        let mut attached = self.0.attached.lock();
        attached.last_attachment += 1;
        let number = attached.last_attachment;
        attached.proxies.insert(status.proxy_id.clone(), Attachment { number, commands, status: status.clone() });
        metrics::gauge!(names::PROXIES).set(attached.proxies.len() as f64);
        number
    }

    fn note(&self, status: &v1::ProxyStatus, number: u64) {
        let mut attached = self.0.attached.lock();
        let attachment = attached.proxies.get_mut(&status.proxy_id).filter(|attachment| attachment.number == number);
        if let Some(attachment) = attachment {
            attachment.status = status.clone();
        }
    }

    fn detach(&self, proxy_id: &str, number: u64) {
        let mut attached = self.0.attached.lock();
        if attached.proxies.get(proxy_id).is_some_and(|attachment| attachment.number == number) {
            attached.proxies.remove(proxy_id);
            metrics::gauge!(names::PROXIES).set(attached.proxies.len() as f64);
        }
    }

    /// Serves one attachment until the proxy leaves or falls silent.
    async fn serve(
        self,
        mut statuses: Streaming<v1::ProxyStatus>,
        commands: mpsc::Sender<Result<v1::ProxyCommand, Status>>,
    ) {
        let mut attachment: Option<(String, u64)> = None;
        let mut written = None;
        let ended = loop {
            let next = tokio::select! {
                () = self.0.shutdown.cancelled() => break Some(Status::unavailable("the control plane is stopping")),
                next = timeout(self.0.timing.silence, statuses.next()) => next,
            };
            let status = match next {
                Ok(Some(Ok(status))) => status,
                Ok(Some(Err(_)) | None) => break None,
                Err(_) => break Some(Status::deadline_exceeded("no status in time")),
            };
            let number = match &attachment {
                Some((id, number)) if *id == status.proxy_id => *number,
                Some(_) => break Some(Status::invalid_argument("the proxy id must stay the same")),
                None if status.proxy_id.is_empty() => break Some(Status::invalid_argument("proxy_id is empty")),
                None => {
                    let number = self.attach(&status, commands.clone());
                    attachment = Some((status.proxy_id.clone(), number));
                    number
                }
            };
            self.note(&status, number);
            let state = (status.revision, status.stale, status.draining);
            if written.is_none_or(|(at, last): (Instant, _)| at.elapsed() >= WRITE_EVERY || last != state) {
                match self.0.store.proxies().upsert(&status).await {
                    Ok(()) => written = Some((Instant::now(), state)),
                    Err(error) => tracing::warn!(%error, proxy = status.proxy_id, "a proxy's status is not stored"),
                }
            }
        };
        if let Some((id, number)) = attachment {
            self.detach(&id, number);
            tracing::info!(proxy = id, "a proxy left");
        }
        if let Some(status) = ended {
            let _ = commands.try_send(Err(status));
        }
    }
}

/// Fetches what other replicas were asked to tell proxies that are attached here.
async fn deliver_orders(registry: ProxyRegistry) {
    let mut tick = interval(ORDERS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = registry.0.shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        if registry.0.attached.lock().proxies.is_empty() {
            continue;
        }
        if let Err(error) = deliver(&registry).await {
            tracing::debug!(%error, "orders for proxies cannot be read");
        }
    }
}

async fn deliver(registry: &ProxyRegistry) -> Result<(), StoreError> {
    let proxies = registry.0.store.proxies();
    for id in proxies.with_orders().await? {
        let is_here = registry.0.attached.lock().proxies.contains_key(&id);
        if !is_here {
            continue;
        }
        for command in proxies.take_orders(&id).await? {
            if !registry.send(&id, &command) {
                proxies.order(&id, &command).await?;
            }
        }
    }
    Ok(())
}

#[tonic::async_trait]
impl ProxyControl for ProxyRegistry {
    type AttachStream = ReceiverStream<Result<v1::ProxyCommand, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::ProxyStatus>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (commands, stream) = mpsc::channel(QUEUE);
        tokio::spawn(self.clone().serve(request.into_inner(), commands));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
