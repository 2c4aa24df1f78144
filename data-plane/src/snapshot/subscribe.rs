//! The configuration stream: updates come down, each is applied at its end and acknowledged.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge, histogram};
use omniroute_core::{
    id::{ConnectionId, ProxyId},
    settings::Span,
    time::{Clock, SystemClock},
};
use omniroute_proto::{
    PROTOCOL_MINOR,
    v1::{
        self, ConfigRequest, config_request::Body as Out, config_response::Body as In,
        config_stream_client::ConfigStreamClient,
    },
};
use omniroute_telemetry::names;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{
    Applied, Applier, SnapshotHandle, Update,
    disk::{DiskCopy, DiskError},
};
use crate::control::{Backoff, ControlPlane, link};

const PATH: &str = "/omniroute.v1.ConfigStream/Subscribe";
/// The control plane sends something every 5 s.
const SILENCE: Duration = Duration::from_secs(15);
/// Largest message that is taken: a chunk is at most 1 MiB, its last resource may go over.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// Resources that one update may have.
const MAX_RESOURCES: u64 = 5_000_000;

/// What an operator should know about the stream.
#[derive(Clone, Debug, Default)]
pub struct StreamHealth(Arc<Mutex<Option<(String, u64)>>>);

/// Receives the configuration.
pub struct Subscriber {
    pub snapshot: SnapshotHandle,
    pub control_plane: ControlPlane,
    pub proxy: ProxyId,
    /// Changes with every start of the process.
    pub boot_id: String,
    pub health: StreamHealth,
    /// Rung when everything should be fetched anew.
    pub resync: Arc<Notify>,
    applier: Option<Applier>,
    /// The next subscription asks for everything, whatever is held.
    anew: bool,
    disk: Option<DiskCopy>,
    clock: Arc<dyn Clock>,
    /// Where repaired connections are told.
    repairs: Option<mpsc::Sender<Vec<ConnectionId>>>,
}

/// Why a session ended.
enum Ended {
    Failed(Status),
    /// What we hold differs from what we should: ask for everything.
    Drifted,
}

// === impl StreamHealth ===

impl StreamHealth {
    /// The last error and when it was (Unix milliseconds); `None` while the stream is well.
    pub fn last_error(&self) -> Option<(String, u64)> {
        self.0.lock().clone()
    }

    fn set(&self, error: Option<(String, u64)>) {
        *self.0.lock() = error;
    }
}

// === impl Subscriber ===

impl Subscriber {
    /// `disk` is `None` when there is no join token to encrypt a copy with.
    pub fn new(
        snapshot: SnapshotHandle,
        control_plane: ControlPlane,
        proxy: ProxyId,
        boot_id: String,
        disk: Option<DiskCopy>,
    ) -> Self {
        Self {
            snapshot,
            control_plane,
            proxy,
            boot_id,
            health: StreamHealth::default(),
            resync: Arc::new(Notify::new()),
            applier: Some(Applier::default()),
            anew: false,
            disk,
            clock: Arc::new(SystemClock),
            repairs: None,
        }
    }

    /// The connections that each update repaired, once it is in force: credential, address or state have changed, so their
    /// earlier failures say nothing any more.
    pub fn repairs(&mut self) -> mpsc::Receiver<Vec<ConnectionId>> {
        let (sender, receiver) = mpsc::channel(4);
        self.repairs = Some(sender);
        receiver
    }

    /// Starts from the copy on disk, where there is a good one.
    pub fn start_from_disk(&mut self, max_age: Span) {
        let Some(disk) = &mut self.disk else {
            tracing::info!("no join token, so no copy of the configuration is kept on disk");
            return;
        };
        match disk.load(&*self.clock, max_age.0) {
            Ok(update) => {
                let Some(applier) = &mut self.applier else { return };
                let applied = applier.apply(update);
                tracing::info!(
                    revision = applied.snapshot.revision(),
                    "serving from the copy on disk until the control plane confirms it"
                );
                gauge_revision(applied.snapshot.revision());
                self.snapshot.publish(applied.snapshot, true);
                gauge!(names::SNAPSHOT_STALE).set(1.0);
            }
            Err(DiskError::None) => {}
            Err(error) => tracing::warn!(%error, path = %disk.path().display(), "the copy on disk is not used"),
        }
    }

    /// Stays subscribed for ever.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            match self.session(&mut backoff).await {
                Ended::Drifted => {
                    counter!(names::SNAPSHOT_RESYNCS).increment(1);
                    tracing::warn!("fetching all of the configuration anew");
                    // What is held stays: with it the counts of requests in flight, and what a rejection leaves in force.
                    self.anew = true;
                    continue;
                }
                Ended::Failed(error) => {
                    // Behind the address there may be another control plane that can serve this proxy.
                    self.control_plane.abandon();
                    gauge!(names::SNAPSHOT_CONNECTED).set(0.0);
                    let first = self.health.last_error().is_none_or(|(last, _)| last != error.message());
                    self.health.set(Some((error.message().to_owned(), self.clock.now().0)));
                    if link::needs_operator(&error) || first {
                        tracing::warn!(reason = error.message(), "no configuration stream; serving what is known");
                    }
                }
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Ended {
        match self.receive(backoff).await {
            Ok(()) => Ended::Drifted,
            Err(status) => Ended::Failed(status),
        }
    }

    /// Returns when everything should be fetched anew.
    async fn receive(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let channel = self.control_plane.connect().await?;
        let (requests, outgoing) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        let challenge = self.control_plane.sign(PATH, request.metadata_mut());
        let hello = self.hello();
        requests.try_send(hello).map_err(|_| Status::internal("a full queue at the start"))?;
        let mut client = ConfigStreamClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let response = client.subscribe(request).await?;
        // Whoever took the control plane's port must not configure this proxy.
        self.control_plane.verify(challenge, response.metadata())?;
        let mut messages = response.into_inner();
        let resync = Arc::clone(&self.resync);
        let mut arriving: Option<Update> = None;
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(SILENCE, messages.message()) => {
                    message.map_err(|_| Status::deadline_exceeded("the control plane has gone silent"))??
                }
                () = resync.notified() => return Ok(()),
            };
            let Some(message) = message else { return Err(Status::unavailable("the stream has ended")) };
            match message.body {
                Some(In::Begin(begin)) => {
                    if begin.count > MAX_RESOURCES {
                        return Err(Status::internal("an update without bounds"));
                    }
                    arriving = Some(Update { revision: begin.revision, full: begin.full, resources: Vec::new() });
                }
                Some(In::Resources(chunk)) => {
                    let Some(update) = &mut arriving else { return Err(Status::internal("resources before a begin")) };
                    update.resources.extend(chunk.resources);
                    if update.resources.len() as u64 > MAX_RESOURCES {
                        return Err(Status::internal("an update without bounds"));
                    }
                }
                Some(In::End(end)) => {
                    let Some(update) = arriving.take() else { return Err(Status::internal("an end before a begin")) };
                    let matches = self.apply(update, &end.digests, &requests).await?;
                    backoff.reset();
                    self.health.set(None);
                    gauge!(names::SNAPSHOT_CONNECTED).set(1.0);
                    if !matches {
                        return Ok(());
                    }
                }
                Some(In::Heartbeat(heartbeat)) if arriving.is_none() => {
                    if self.differs(&heartbeat) {
                        return Ok(());
                    }
                    self.confirm().await?;
                }
                // A heartbeat between the parts of an update, or a message that this version does not know.
                Some(In::Heartbeat(_)) | None => {}
            }
        }
    }

    fn hello(&self) -> ConfigRequest {
        let (have, digests) = match &self.applier {
            Some(applier) if applier.revision() > 0 && !self.anew => (applier.revision(), applier.digests().to_proto()),
            _ => (0, Vec::new()),
        };
        ConfigRequest {
            body: Some(Out::Subscribe(v1::Subscribe {
                proxy_id: self.proxy.to_string(),
                boot_id: self.boot_id.clone(),
                version: omniroute_core::VERSION.to_owned(),
                protocol: PROTOCOL_MINOR,
                have,
                digests,
            })),
        }
    }

    /// Applies an update, answers it, and says whether the result is what the control plane has.
    async fn apply(
        &mut self,
        update: Update,
        digests: &[v1::Digest],
        requests: &mpsc::Sender<ConfigRequest>,
    ) -> Result<bool, Status> {
        let mut applier = self.applier.take().unwrap_or_default();
        self.anew &= !update.full;
        let mut disk = self.disk.take();
        let now = self.clock.now();
        let started = std::time::Instant::now();
        // A full snapshot is work for a while, and the disk may be slow: neither belongs on the runtime's threads.
        let (applier, disk, Applied { snapshot, rejections, repaired }, saved) =
            tokio::task::spawn_blocking(move || {
                let saved = disk.as_mut().map_or(Ok(()), |disk| disk.save(&update, now));
                let applied = applier.apply(update);
                (applier, disk, applied, saved)
            })
            .await
            .map_err(|error| Status::internal(format!("applying an update failed: {error}")))?;
        if let Err(error) = saved {
            tracing::warn!(%error, "the copy of the configuration on disk could not be written");
        }
        self.disk = disk;
        let matches = applier.digests().matches(digests);
        self.applier = Some(applier);
        let revision = snapshot.revision();
        self.snapshot.publish(snapshot, false);
        if let Some(repairs) = &self.repairs
            && !repaired.is_empty()
        {
            // Nobody listens any more when the process ends.
            let _ = repairs.send(repaired).await;
        }
        histogram!(names::SNAPSHOT_APPLY).record(started.elapsed());
        gauge_revision(revision);
        gauge!(names::SNAPSHOT_STALE).set(0.0);
        let answer = if rejections.is_empty() {
            Out::Ack(v1::Ack { revision, complete: true })
        } else {
            Out::Nack(v1::Nack { revision, rejections, complete: true })
        };
        requests
            .send(ConfigRequest { body: Some(answer) })
            .await
            .map_err(|_| Status::unavailable("the stream has ended"))?;
        Ok(matches)
    }

    /// The control plane has what the copy on disk has.
    async fn confirm(&mut self) -> Result<(), Status> {
        let (Some(mut disk), Some(applier)) = (self.disk.take(), &self.applier) else { return Ok(()) };
        let (revision, now) = (applier.revision(), self.clock.now());
        let (disk, confirmed) = tokio::task::spawn_blocking(move || {
            let confirmed = disk.confirm(revision, now);
            (disk, confirmed)
        })
        .await
        .map_err(|error| Status::internal(format!("confirming the copy failed: {error}")))?;
        self.disk = Some(disk);
        if let Err(error) = confirmed {
            tracing::warn!(%error, "the copy of the configuration on disk could not be written");
        }
        Ok(())
    }

    /// Whether a heartbeat shows that we hold something else: same revision and other contents, or a past of which we hold
    /// the future (a restored database).
    fn differs(&self, heartbeat: &v1::Heartbeat) -> bool {
        let Some(applier) = &self.applier else { return false };
        let held = applier.revision();
        held > heartbeat.revision || (held == heartbeat.revision && !applier.digests().matches(&heartbeat.digests))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn gauge_revision(revision: u64) {
    gauge!(names::SNAPSHOT_REVISION).set(revision as f64);
}

#[cfg(test)]
#[path = "subscribe_tests.rs"]
mod tests;
