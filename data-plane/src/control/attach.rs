//! The proxy's status goes up every 5 s; commands come down.

use std::{sync::Arc, time::Duration};

use omniroute_core::id::ConnectionId;
use omniroute_proto::v1::{self, proxy_command::Body, proxy_control_client::ProxyControlClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Backoff, ControlPlane, link};

const PATH: &str = "/omniroute.v1.ProxyControl/Attach";
const EVERY: Duration = Duration::from_secs(5);

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
    Forgive(ConnectionId),
}

/// Where a status comes from, and where commands go.
pub trait Controlled: Send + Sync + 'static {
    fn status(&self) -> v1::ProxyStatus;
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
    let _ = statuses.try_send(controlled.status());
    let response = ProxyControlClient::new(channel).attach(request).await?;
    control_plane.verify(challenge, response.metadata())?;
    backoff.reset();
    let mut commands = response.into_inner();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                statuses.send(controlled.status()).await.map_err(|_| Status::unavailable("the stream has ended"))?;
            }
            _ = abandoned.changed() => return Err(Status::unavailable("the connection was given up")),
            command = commands.message() => match command? {
                Some(v1::ProxyCommand { body: Some(body) }) => controlled.command(match body {
                    Body::Drain(drain) => Command::Drain { deadline: Duration::from_millis(drain.deadline_ms) },
                    Body::Resume(_) => Command::Resume,
                    Body::Resync(_) => Command::Resync,
                    Body::Forgive(forgive) => Command::Forgive(forgive.connection_id.into()),
                }),
                // A command that this version does not know.
                Some(v1::ProxyCommand { body: None }) => {}
                None => return Err(Status::unavailable("the stream has ended")),
            },
        }
    }
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
pub fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()).and_then(|field| field.parse().ok());
    kib.unwrap_or(0) * 1024
}
