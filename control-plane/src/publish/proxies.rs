//! `ProxyControl`: who is attached, how they are, and what they are told.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use omniroute_core::time::UnixMillis;
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
use crate::store::{Command, Delivery, Store, StoreError};

/// A proxy's row is written at most this often, unless its configuration or its state is another. Statuses come every
/// 5 s, and within a second of such a change; the slack is for their jitter.
const WRITE_EVERY: Duration = Duration::from_millis(4_500);

/// How often commands left by other replicas are looked for.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// How long whoever gives a command waits until another replica has passed it on.
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(2_500);
const DELIVERY_POLL: Duration = Duration::from_millis(100);

/// Stands between an id that two proxies claim and what tells the second one apart.
pub const DUPLICATE_SEPARATOR: char = '~';
/// Of the process's boot id.
const SUFFIX: usize = 8;

/// Commands on their way to one proxy.
const QUEUE: usize = 16;

/// Refused tokens that are heard of in one status.
const MOST_REFUSED: usize = 256;

/// The proxies attached to this replica.
#[derive(Clone)]
pub struct ProxyRegistry(Arc<Inner>);

/// Who renews the tokens of connections hears of it here when a provider has refused one.
pub trait RefusedTokens: Send + Sync + 'static {
    /// Must not take long.
    fn refused(&self, connection: &str, fingerprint: [u8; 16]);
}

struct Inner {
    store: Store,
    timing: Timing,
    /// Set once the areas are built.
    refused_tokens: OnceLock<Arc<dyn RefusedTokens>>,
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
    /// Starts to look for commands until `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> Self {
        Self::start_with(store, Timing::STANDARD, shutdown)
    }

    pub(super) fn start_with(store: Store, timing: Timing, shutdown: CancellationToken) -> Self {
        let registry = Self(Arc::new(Inner {
            store,
            timing,
            refused_tokens: OnceLock::new(),
            attached: Mutex::default(),
            shutdown,
        }));
        // Also before the first one comes: no proxy is a number too.
        metrics::gauge!(names::PROXIES).set(0.0);
        tokio::spawn(deliver_pending(registry.clone()));
        registry
    }

    /// From now on `renews` hears of tokens that providers refuse. The first one counts.
    pub fn on_refused_tokens(&self, renews: Arc<dyn RefusedTokens>) {
        let _ = self.0.refused_tokens.set(renews);
    }

    fn pass_on_refused(&self, status: &v1::ProxyStatus) {
        let Some(renews) = self.0.refused_tokens.get() else { return };
        for token in status.refused_tokens.iter().take(MOST_REFUSED) {
            if let Ok(fingerprint) = token.fingerprint.as_slice().try_into() {
                renews.refused(&token.connection_id, fingerprint);
            }
        }
    }

    /// Tells a proxy something, as [`Self::command`] does, and does not wait until another replica has passed it on.
    ///
    /// # Errors
    /// When the database is needed and fails.
    pub async fn notify(&self, proxy_id: &str, command: Command) -> Result<(), StoreError> {
        if self.send(proxy_id, &command) {
            return Ok(());
        }
        self.0.store.proxies().enqueue(proxy_id, &command).await.map(drop)
    }

    /// Tells a proxy something: at once when it is attached here, else through the database to the replica that it is
    /// attached to, which looks every second and is waited for. A command that nobody can deliver is void after five
    /// minutes.
    ///
    /// # Errors
    /// When the database is needed and fails.
    pub async fn command(&self, proxy_id: &str, command: Command) -> Result<Delivery, StoreError> {
        if self.send(proxy_id, &command) {
            return Ok(Delivery::Delivered);
        }
        let proxies = self.0.store.proxies();
        let pending = proxies.enqueue(proxy_id, &command).await?;
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        while Instant::now() < deadline {
            if !proxies.is_pending(&pending).await? {
                return Ok(Delivery::Delivered);
            }
            tokio::time::sleep(DELIVERY_POLL).await;
        }
        Ok(Delivery::Pending)
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

    /// Keeps a status, and says under which id: the proxy's own, or one with a suffix while another process that runs has
    /// the same and had it first. `held` is the id of the last time.
    async fn store_status(&self, status: &v1::ProxyStatus, held: Option<&str>) -> Result<String, StoreError> {
        let proxies = self.0.store.proxies();
        let (own, second) = (&status.proxy_id, duplicate_id(status));
        if proxies.upsert(status).await? {
            if held == Some(second.as_str()) {
                tracing::info!(proxy = own, "the other proxy of this id is gone");
                proxies.remove(&second, &status.boot_id).await?;
            }
            return Ok(own.clone());
        }
        if held != Some(second.as_str()) {
            tracing::warn!(
                proxy = own,
                address = status.address,
                shown_as = second,
                "two proxies have the same OMNIROUTE_PROXY_ID; give each its own"
            );
        }
        proxies.upsert(&v1::ProxyStatus { proxy_id: second.clone(), ..status.clone() }).await?;
        Ok(second)
    }

    fn attach(
        &self,
        shown: &str,
        status: &v1::ProxyStatus,
        commands: mpsc::Sender<Result<v1::ProxyCommand, Status>>,
    ) -> u64 {
        let mut attached = self.0.attached.lock();
        attached.last_attachment += 1;
        let number = attached.last_attachment;
        let status = v1::ProxyStatus { proxy_id: shown.to_owned(), ..status.clone() };
        attached.proxies.insert(shown.to_owned(), Attachment { number, commands, status });
        metrics::gauge!(names::PROXIES).set(attached.proxies.len() as f64);
        number
    }

    /// Has the proxy attached under this id, and no other.
    fn attach_as(
        &self,
        shown: &str,
        status: &v1::ProxyStatus,
        attachment: &mut Option<(String, u64)>,
        commands: &mpsc::Sender<Result<v1::ProxyCommand, Status>>,
    ) {
        if let Some((known, number)) = attachment.take_if(|(known, _)| known != shown) {
            self.detach(&known, number);
        }
        let (_, number) =
            attachment.get_or_insert_with(|| (shown.to_owned(), self.attach(shown, status, commands.clone())));
        self.update_status(shown, status, *number);
    }

    fn update_status(&self, shown: &str, status: &v1::ProxyStatus, number: u64) {
        let mut attached = self.0.attached.lock();
        let attachment = attached.proxies.get_mut(shown).filter(|attachment| attachment.number == number);
        if let Some(attachment) = attachment {
            attachment.status = v1::ProxyStatus { proxy_id: shown.to_owned(), ..status.clone() };
        }
    }

    /// The id under which a proxy goes while the database is away.
    fn provisional_id(&self, status: &v1::ProxyStatus) -> String {
        let attached = self.0.attached.lock();
        let holder = attached.proxies.get(&status.proxy_id);
        let is_taken = holder.is_some_and(|holder| holder.status.boot_id != status.boot_id);
        if is_taken { duplicate_id(status) } else { status.proxy_id.clone() }
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
        // The proxy's own id and the process's.
        let mut claimed: Option<(String, String)> = None;
        // When its row was last written, and with what.
        let mut written = None;
        // What is stored of what it said last of outbound proxies.
        let mut outbound = Vec::new();
        let mut seen = UnixMillis(0);
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
            match &claimed {
                Some((id, _)) if *id != status.proxy_id => {
                    break Some(Status::invalid_argument("the proxy id must stay the same"));
                }
                Some(_) => {}
                None if status.proxy_id.is_empty() => break Some(Status::invalid_argument("proxy_id is empty")),
                None => claimed = Some((status.proxy_id.clone(), status.boot_id.clone())),
            }
            self.pass_on_refused(&status);
            let held = attachment.as_ref().map(|(shown, _)| shown.clone());
            let shown = held.clone().unwrap_or_else(|| self.provisional_id(&status));
            self.attach_as(&shown, &status, &mut attachment, &commands);
            let state = (status.revision, status.stale, status.draining);
            if written.is_some_and(|(at, last): (Instant, _)| at.elapsed() < WRITE_EVERY && last == state) {
                continue;
            }
            match self.store_status(&status, held.as_deref()).await {
                Ok(shown) => {
                    (written, seen) = (Some((Instant::now(), state)), self.0.store.clock().now());
                    self.attach_as(&shown, &status, &mut attachment, &commands);
                }
                Err(error) => tracing::warn!(%error, proxy = status.proxy_id, "a proxy's status is not stored"),
            }
            if outbound == status.outbound {
                continue;
            }
            match self.0.store.egress_health().report(&status.boot_id, &status.outbound).await {
                Ok(()) => outbound = status.outbound,
                // It counts on, so what is missing comes with the next one.
                Err(error) => {
                    tracing::warn!(%error, proxy = status.proxy_id, "the use of outbound proxies is not stored")
                }
            }
        };
        if let (Some((shown, number)), Some((own, boot_id))) = (attachment, claimed) {
            self.detach(&shown, number);
            tracing::info!(proxy = shown, "a proxy left");
            let proxies = self.0.store.proxies();
            let left = if shown == own {
                proxies.release(&shown, &boot_id, seen).await
            } else {
                proxies.remove(&shown, &boot_id).await
            };
            if let Err(error) = left {
                tracing::debug!(%error, proxy = shown, "the proxy's id is free once it has been silent for a while");
            }
        }
        if let Some(status) = ended {
            let _ = commands.try_send(Err(status));
        }
    }
}

fn duplicate_id(status: &v1::ProxyStatus) -> String {
    let suffix: String = status.boot_id.chars().filter(char::is_ascii_alphanumeric).take(SUFFIX).collect();
    format!("{}{DUPLICATE_SEPARATOR}{suffix}", status.proxy_id)
}

/// Fetches what other replicas were asked to tell proxies that are attached here.
async fn deliver_pending(registry: ProxyRegistry) {
    let mut tick = interval(POLL_EVERY);
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
            tracing::debug!(%error, "commands for proxies cannot be read");
        }
    }
}

async fn deliver(registry: &ProxyRegistry) -> Result<(), StoreError> {
    let proxies = registry.0.store.proxies();
    for id in proxies.with_pending_commands().await? {
        let is_here = registry.0.attached.lock().proxies.contains_key(&id);
        if !is_here {
            continue;
        }
        for command in proxies.take_commands(&id).await? {
            if !registry.send(&id, &command) {
                proxies.enqueue(&id, &command).await?;
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
