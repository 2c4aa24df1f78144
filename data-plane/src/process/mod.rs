//! The process around the proxy: what it starts, in which order, and how it ends.
//!
//! [`run`] binds the port, takes the journal, serves from the copy on disk if there is one, and starts the three
//! streams to the control plane: configuration ([`Subscriber`]), usage ([`sender`]) and status ([`status`]). A signal
//! ends it: new work is refused, what runs may finish until the drain deadline, the last usage is sent.

mod identity;
mod signals;
mod status;

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use omniroute_coordination::RedisUrlError;
use omniroute_core::{
    handshake::JoinSecret,
    id::ConnectionId,
    settings::{DataPlaneSettings, SettingsTable as _},
    time::SystemClock,
};
use omniroute_telemetry::{Options, TelemetryError};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{identity::proxy_id, signals::Signals, status::ControlledProxy};
use crate::{
    control::{ControlPlane, attach, link::LinkError},
    health::Health,
    lifecycle::{Lifecycle, Phase},
    server::{Foundations, Server, SetupError, Stages},
    snapshot::{SnapshotHandle, disk::DiskCopy, subscribe::Subscriber},
    usage_journal::{
        UsageRecorder,
        journal::{Journal, JournalError, JournalOptions},
        sender,
    },
};

/// How long load balancers get to notice that this proxy is not ready, unless a setting says otherwise.
const LAME_DUCK: Duration = Duration::from_secs(5);
/// How long the last bytes of answers may take to reach their clients.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// How long the last usage events may take to reach the control plane. They are safe in the journal either way.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Why a proxy does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("{} cannot be used: {}", .0.display(), .1)]
    DataDir(PathBuf, io::Error),
    #[error("cannot listen on {0}: {1}{hint}", hint = taken_hint(.1))]
    Listen(SocketAddr, io::Error),
    #[error("REDIS_URL: {0}")]
    Redis(#[from] RedisUrlError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("signals cannot be handled: {0}")]
    Signals(io::Error),
    #[error("a background task ended: {0}")]
    Background(String),
}

fn taken_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has this port: stop it, or set PORT",
        io::ErrorKind::PermissionDenied => "; this user may not use this port: set PORT to one above 1023",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have this address: set HOST",
        _ => "",
    }
}

/// Runs a proxy until it is told to stop.
///
/// # Errors
/// When it cannot start as it is configured.
pub async fn run(settings: DataPlaneSettings) -> Result<(), ProcessError> {
    let _telemetry = omniroute_telemetry::init(Options {
        process: DataPlaneSettings::PROCESS,
        log_level: &settings.log_level,
        log_format: &settings.log_format,
        otlp_endpoint: &settings.otlp_endpoint,
        sample_ratio: settings.trace_sample_ratio,
    })?;
    let report = omniroute_telemetry::prometheus().with_build_info(DataPlaneSettings::PROCESS);
    // Only fails when it was done before, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let signals = Signals::listen().map_err(ProcessError::Signals)?;

    private_dir(&settings.data_dir)?;
    let proxy = proxy_id(&settings).map_err(|error| ProcessError::DataDir(settings.data_dir.clone(), error))?;
    let address = SocketAddr::new(settings.host, settings.port);
    let listener = TcpListener::bind(address).await.map_err(|error| ProcessError::Listen(address, error))?;
    let control_plane = ControlPlane::new(&settings)?;
    if settings.redis_url.is_set() {
        omniroute_coordination::check_redis_url(settings.redis_url.expose())?;
    }
    let coordination = omniroute_coordination::connect(settings.redis_url.expose()).await;
    let journal = Journal::open(journal_options(&settings))?;

    let snapshot = SnapshotHandle::new();
    let boot_id = uuid::Uuid::new_v4().to_string();
    let mut subscriber =
        Subscriber::new(snapshot.clone(), control_plane.clone(), proxy.clone(), boot_id.clone(), disk_copy(&settings));
    subscriber.start_from_disk(settings.snapshot_max_age);
    let repairs = subscriber.repairs();

    let lifecycle = Lifecycle::new();
    let stages = Stages::build(Foundations {
        settings: &settings,
        snapshot,
        recorder: UsageRecorder::new(Arc::clone(&journal)),
        coordination,
        lifecycle: lifecycle.clone(),
        clock: Arc::new(SystemClock),
        report,
    })?;
    let controlled = ControlledProxy::new(&stages, &subscriber, boot_id, address);
    let mut background = JoinSet::new();
    background.spawn(subscriber.run());
    background.spawn(reset(Arc::clone(stages.health()), repairs));
    background.spawn(sender::run(Arc::clone(&journal), control_plane.clone(), proxy));
    background.spawn(attach::run(control_plane, Arc::new(controlled)));
    background.spawn(Server::new(listener, Arc::clone(&stages)).run());
    tracing::info!(%address, version = omniroute_core::VERSION, "listening");

    let ended = tokio::select! {
        () = signals.stop() => None,
        ended = background.join_next() => ended,
    };
    if let Some(ended) = ended {
        let reason = ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
        return Err(ProcessError::Background(reason));
    }
    tokio::select! {
        () = stop(&lifecycle, &journal, lame_duck(&settings), settings.drain_deadline.0) => {}
        () = signals.stop() => tracing::warn!("told to stop again; not waiting any longer"),
    }
    Ok(())
}

/// Gives each connection that an update repaired its new chance.
async fn reset(health: Arc<Health>, mut repairs: mpsc::Receiver<Vec<ConnectionId>>) {
    while let Some(repaired) = repairs.recv().await {
        health.reset(&repaired).await;
    }
}

/// Nobody balances what only this machine can reach.
fn lame_duck(settings: &DataPlaneSettings) -> Duration {
    let unset = if settings.host.to_canonical().is_loopback() { Duration::ZERO } else { LAME_DUCK };
    settings.lame_duck.map_or(unset, |set| set.0)
}

/// Lets load balancers turn away, then what runs finish, then the bytes and the events that it leaves behind.
async fn stop(lifecycle: &Lifecycle, journal: &Journal, lame_duck: Duration, limit: Duration) {
    if !lame_duck.is_zero() && lifecycle.phase() == Phase::Serving {
        tracing::info!(
            seconds = lame_duck.as_secs_f64(),
            "stopping soon: not ready any more, requests are still served"
        );
        lifecycle.enter_lameduck();
        sleep(lame_duck).await;
    }
    tracing::info!(
        requests = lifecycle.requests_in_flight(),
        deadline_seconds = limit.as_secs_f64(),
        "stopping: no new requests, what runs may finish"
    );
    lifecycle.shut_down();
    let is_idle = lifecycle.idle(limit).await;
    if !is_idle {
        tracing::warn!(requests = lifecycle.requests_in_flight(), "the drain deadline cuts what still runs");
        lifecycle.expire_shutdown();
    }
    let deadline = Instant::now() + LAST_BYTES;
    if !is_idle {
        lifecycle.idle(LAST_BYTES).await;
    }
    while lifecycle.connections() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
    if !journal.drained(LAST_EVENTS).await {
        tracing::warn!(events = journal.unacknowledged(), "usage stays in the journal until the next start");
    }
}

fn private_dir(path: &Path) -> Result<(), ProcessError> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| ProcessError::DataDir(path.to_owned(), error))
}

fn journal_options(settings: &DataPlaneSettings) -> JournalOptions {
    let directory = if settings.journal_dir.as_os_str().is_empty() {
        settings.data_dir.join("journal")
    } else {
        settings.journal_dir.clone()
    };
    JournalOptions {
        directory,
        max_bytes: settings.journal_max.0,
        segment_bytes: settings.journal_segment.0,
        fsync: settings.journal_fsync,
    }
}

/// The copy is encrypted under the join token; without one there is none.
fn disk_copy(settings: &DataPlaneSettings) -> Option<DiskCopy> {
    settings
        .join_token
        .is_set()
        .then(|| DiskCopy::new(settings.data_dir.join("snapshot.bin"), &JoinSecret::new(settings.join_token.expose())))
}
