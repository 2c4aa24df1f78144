//! The proxy's status goes up every 5 s, within a second when it has new configuration or another state, and at once when
//! requests wait for what it says; commands come down.

use std::{sync::Arc, time::Duration};

use omniroute_core::id::ConnectionId;
use omniroute_proto::v1::{self, proxy_command::Body, proxy_control_client::ProxyControlClient};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Backoff, ControlPlane, link};

const PATH: &str = "/omniroute.v1.ProxyControl/Attach";
/// How often is looked whether a status is due.
const LOOK: Duration = Duration::from_secs(1);
/// Looks from one status to the next while nothing changes.
const LOOKS: u32 = 5;

/// What an operator can tell a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Drain {
        /// What still runs then is cut.
        deadline: Duration,
    },
    Resume,
    Resync,
    /// A connection works again: nothing is held against it any more.
    ResetConnection(ConnectionId),
}

/// Whether the next status is due.
#[derive(Default)]
struct Reports {
    looks: u32,
    revision: u64,
    stale: bool,
    draining: bool,
}

/// Where a status comes from, and where commands go.
pub trait Controlled: Send + Sync + 'static {
    fn status(&self) -> v1::ProxyStatus;
    /// Told when a status must not wait.
    fn urgent(&self) -> &Notify;
    fn command(&self, command: Command);
}

/// Keeps the proxy attached for ever.
pub async fn run(control_plane: ControlPlane, controlled: Arc<dyn Controlled>) {
    let mut backoff = Backoff::new();
    loop {
        let Err(error) = session(&control_plane, &*controlled, &mut backoff).await;
        tracing::debug!(%error, "detached from the control plane");
        if link::needs_operator(&error) {
            tracing::warn!(reason = error.message(), "the control plane refuses this proxy");
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

async fn session(
    control_plane: &ControlPlane,
    controlled: &dyn Controlled,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, Status> {
    let mut abandoned = control_plane.abandoned();
    let channel = control_plane.connect().await?;
    let (statuses, outgoing) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    let challenge = control_plane.sign(PATH, request.metadata_mut());
    let mut reports = Reports::default();
    let first = controlled.status();
    reports.is_due(&first);
    let _ = statuses.try_send(first);
    let response = ProxyControlClient::new(channel).attach(request).await?;
    control_plane.verify(challenge, response.metadata())?;
    backoff.reset();
    let mut commands = response.into_inner();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let status = controlled.status();
                if reports.is_due(&status) {
                    statuses.send(status).await.map_err(|_| Status::unavailable("the stream has ended"))?;
                }
            }
            () = controlled.urgent().notified() => {
                let status = controlled.status();
                reports.is_due(&status);
                statuses.send(status).await.map_err(|_| Status::unavailable("the stream has ended"))?;
            }
            _ = abandoned.changed() => return Err(Status::unavailable("the connection was given up")),
            command = commands.message() => match command? {
                Some(v1::ProxyCommand { body: Some(body) }) => controlled.command(match body {
                    Body::Drain(drain) => Command::Drain { deadline: Duration::from_millis(drain.deadline_ms) },
                    Body::Resume(_) => Command::Resume,
                    Body::Resync(_) => Command::Resync,
                    Body::Forgive(forgive) => Command::ResetConnection(forgive.connection_id.into()),
                }),
                // A command that this version does not know.
                Some(v1::ProxyCommand { body: None }) => {}
                None => return Err(Status::unavailable("the stream has ended")),
            },
        }
    }
}

// === impl Reports ===

impl Reports {
    /// Called at every look; `true` means that the status goes up.
    fn is_due(&mut self, status: &v1::ProxyStatus) -> bool {
        self.looks += 1;
        let &v1::ProxyStatus { revision, stale, draining, .. } = status;
        let is_news = (self.revision, self.stale, self.draining) != (revision, stale, draining);
        if self.looks < LOOKS && !is_news {
            return false;
        }
        *self = Self { looks: 0, revision, stale, draining };
        true
    }
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
pub fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()).and_then(|field| field.parse().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_configuration_is_reported_at_the_next_look_and_all_else_every_fifth() {
        let status = |revision, requests_total| v1::ProxyStatus { revision, requests_total, ..Default::default() };
        let mut reports = Reports::default();
        assert!(reports.is_due(&status(1, 0)), "the first");
        let looks: Vec<bool> = (1..=10).map(|requests| reports.is_due(&status(1, requests))).collect();
        assert_eq!(looks, [false, false, false, false, true, false, false, false, false, true]);
        assert!(reports.is_due(&status(2, 10)));
        assert!(!reports.is_due(&status(2, 11)));
    }
}
