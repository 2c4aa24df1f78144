//! Starts the parts of a control plane in order, and stops them in the other. [`assemble`] builds the areas, [`cross_area`]
//! is what they want to know of one another.

mod assemble;
mod cross_area;

use std::{future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use omniroute_core::{
    handshake::JoinSecret,
    hash::Pepper,
    sealed::KeyRing,
    settings::{ControlPlaneSettings, Secret, SettingsTable as _},
    time::{Clock, SystemClock},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::assemble::{Areas, Foundations, KINDS, SEALED};
#[cfg(test)]
pub(crate) use self::assemble::{limits, renewals};
use crate::{
    areas::oauth::Variables,
    auth::token::Tokens,
    http::{ProxyProtocolTrust, serve},
    jobs::Jobs,
    ledger::Ledger,
    publish::{
        ProxyRegistry, Publisher,
        grpc::{self, GrpcListener, GrpcOptions, TlsMaterial},
    },
    store::{Store, StoreError, StoreOptions},
};

/// Shortest secret that is accepted.
const MIN_SECRET: usize = 16;

/// How long load balancers get to notice that this replica is not ready, unless a setting says otherwise.
const LAME_DUCK: Duration = Duration::from_secs(5);

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(15);

/// Serves until SIGTERM or Ctrl-C, then lets running calls finish.
///
/// # Errors
/// With a sentence that says what to do.
pub async fn run(settings: ControlPlaneSettings) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    // A file that may not grow any more is an error for whoever writes it; by default it ends the process.
    let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).context("SIGXFSZ")?;
    let _ = omniroute_telemetry::prometheus().with_build_info(ControlPlaneSettings::PROCESS);
    check_secrets(&settings)?;
    let ring = KeyRing::new(settings.storage_encryption_key.expose().split(',')).context("STORAGE_ENCRYPTION_KEY")?;
    if settings.redis_url.is_set() {
        omniroute_coordination::check_redis_url(settings.redis_url.expose()).context("REDIS_URL")?;
    }
    // Ports are taken before the database is touched: a second instance by mistake changes nothing.
    let rest = listen(SocketAddr::new(settings.control_plane_host, settings.control_plane_port)).await?;
    let grpc = GrpcListener::bind(grpc_options(&settings)?).await?;

    let stopping = CancellationToken::new();
    tokio::pin!(stop);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opening = open_store(&settings, ring, Arc::clone(&clock));
    let store = tokio::select! {
        store = opening => store?,
        () = &mut stop => return Ok(()),
    };
    let watch = tokio::spawn(store.clone().watch(stopping.clone()));
    let publisher = Publisher::start(store.clone(), KINDS, stopping.clone()).await?;
    let proxies = ProxyRegistry::start(store.clone(), stopping.clone());
    let ledger = Ledger::start(store.clone(), settings.usage_retention_days).await?;
    let jobs = Jobs::start(&store, assemble::jobs(&store, &ledger, settings.config_log_days), &stopping);
    let coordination = omniroute_coordination::connect(settings.redis_url.expose()).await;
    let drain = settings.control_plane_drain.0;
    let lame_duck = lame_duck(&settings);
    // Seen by `/readyz` before anything is refused.
    let leaving = stopping.child_token();
    let foundations = Foundations {
        tokens: Tokens::new(settings.jwt_secret.expose(), Arc::clone(&clock)),
        store: store.clone(),
        ledger: ledger.clone(),
        proxies: proxies.clone(),
        coordination,
        clock,
        environment: Variables::of_process(),
        background: TaskTracker::new(),
        stopping: leaving.clone(),
    };
    let areas = Areas::build(&settings, &foundations)?;
    areas.access.login.ensure_initial_password().await?;
    areas.start(&foundations);

    let services = grpc::Services { publisher, proxies, ledger };
    let mut grpc = tokio::spawn(grpc.serve(services, stopping.clone()));
    let trust =
        ProxyProtocolTrust { trusted: settings.trusted_proxies.clone(), proxy_protocol: settings.proxy_protocol };
    let service = areas.service(&settings, &foundations);
    let mut rest = tokio::spawn(serve(rest, service, trust, stopping.clone()));
    tracing::info!(
        version = omniroute_core::VERSION,
        rest = %SocketAddr::new(settings.control_plane_host, settings.control_plane_port),
        grpc = %SocketAddr::new(settings.grpc_host, settings.grpc_port),
        "the control plane is up"
    );

    let failed = tokio::select! {
        () = &mut stop => None,
        ended = &mut grpc => Some(ended.map_err(anyhow::Error::from).and_then(|ended| ended.map_err(Into::into))),
        ended = &mut rest => Some(ended.map_err(anyhow::Error::from).and_then(|ended| ended.map_err(Into::into))),
    };
    if failed.is_none() && !lame_duck.is_zero() {
        let seconds = lame_duck.as_secs_f64();
        tracing::info!(seconds, "stopping soon: not ready any more, calls are still answered");
        leaving.cancel();
        tokio::time::sleep(lame_duck).await;
    }
    tracing::info!(seconds = drain.as_secs_f64(), "stopping; running calls may take as long to finish");
    stopping.cancel();
    foundations.background.close();
    let finished = async {
        if !rest.is_finished() {
            let _ = (&mut rest).await;
        }
        if !grpc.is_finished() {
            let _ = (&mut grpc).await;
        }
        foundations.background.wait().await;
        jobs.finished().await;
        let _ = watch.await;
    };
    if timeout(drain, finished).await.is_err() {
        tracing::warn!("some calls did not finish in time");
        rest.abort();
        grpc.abort();
    }
    store.close().await;
    match failed {
        Some(Err(error)) => Err(error),
        Some(Ok(())) => bail!("a server ended on its own"),
        None => Ok(()),
    }
}

/// Nobody balances what only this machine can reach.
fn lame_duck(settings: &ControlPlaneSettings) -> Duration {
    let unset = if settings.control_plane_host.is_loopback() { Duration::ZERO } else { LAME_DUCK };
    settings.lame_duck.map_or(unset, |set| set.0)
}

/// Nothing is invented here: a secret that every start made anew would lock out what the last start let in.
fn check_secrets(settings: &ControlPlaneSettings) -> anyhow::Result<()> {
    let secrets: [(&str, &Secret, &str); 3] = [
        ("STORAGE_ENCRYPTION_KEY", &settings.storage_encryption_key, "it seals the secrets in the database"),
        ("JWT_SECRET", &settings.jwt_secret, "it signs sessions"),
        ("API_KEY_SECRET", &settings.api_key_secret, "it is the pepper of the API-key hash"),
    ];
    for (name, secret, purpose) in secrets {
        if !secret.is_set() {
            bail!(
                "{name} is not set: {purpose}. Set it to a random text (`openssl rand -hex 32`) and keep it; \
                 `omniroute up` makes one on its own"
            );
        }
        if secret.expose().trim().len() < MIN_SECRET {
            bail!("{name} is too short: it needs at least {MIN_SECRET} characters");
        }
    }
    let by_certificate = !settings.grpc_tls_client_ca.as_os_str().is_empty();
    if !settings.join_token.is_set() && !by_certificate {
        bail!(
            "OMNIROUTE_JOIN_TOKEN is not set: proxies prove with it that they belong to the fleet. Set it to a random \
             text, the same for every process, or configure mutual TLS with GRPC_TLS_CERT, GRPC_TLS_KEY and \
             GRPC_TLS_CLIENT_CA"
        );
    }
    Ok(())
}

fn grpc_options(settings: &ControlPlaneSettings) -> anyhow::Result<GrpcOptions> {
    let is_set = |path: &Path| !path.as_os_str().is_empty();
    let read = |name: &str, path: &Path| {
        std::fs::read(path).with_context(|| format!("{name}: {} cannot be read", path.display()))
    };
    let tls = match (is_set(&settings.grpc_tls_cert), is_set(&settings.grpc_tls_key)) {
        (true, true) => Some(TlsMaterial {
            certificate: read("GRPC_TLS_CERT", &settings.grpc_tls_cert)?,
            key: read("GRPC_TLS_KEY", &settings.grpc_tls_key)?,
            client_ca: is_set(&settings.grpc_tls_client_ca)
                .then(|| read("GRPC_TLS_CLIENT_CA", &settings.grpc_tls_client_ca))
                .transpose()?,
        }),
        (false, false) if is_set(&settings.grpc_tls_client_ca) => {
            bail!("GRPC_TLS_CLIENT_CA is set, but GRPC_TLS_CERT and GRPC_TLS_KEY are not: mutual TLS needs all three")
        }
        (false, false) => None,
        _ => bail!("GRPC_TLS_CERT and GRPC_TLS_KEY belong together: set both, or neither"),
    };
    Ok(GrpcOptions {
        address: SocketAddr::new(settings.grpc_host, settings.grpc_port),
        tls,
        allow_plaintext: settings.grpc_allow_plaintext,
        join: settings.join_token.is_set().then(|| JoinSecret::new(settings.join_token.expose())),
    })
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("the REST address {address} cannot be opened (CONTROL_PLANE_HOST, CONTROL_PLANE_PORT)")
    })
}

/// Opens the database; one that does not answer yet is waited for.
async fn open_store(settings: &ControlPlaneSettings, ring: KeyRing, clock: Arc<dyn Clock>) -> anyhow::Result<Store> {
    let url = if settings.database_url.is_set() {
        settings.database_url.clone()
    } else {
        let file = settings.data_dir.join("storage.sqlite");
        Secret::new(format!("sqlite:{}", file.to_str().context("DATA_DIR is not UTF-8")?))
    };
    let mut wait = FIRST_RETRY;
    loop {
        let options = StoreOptions {
            url: url.clone(),
            max_connections: settings.database_connections,
            ring: ring.clone(),
            pepper: Pepper::new(settings.api_key_secret.expose()),
            allow_private_upstreams: settings.allow_private_upstreams,
            clock: Arc::clone(&clock),
        };
        match Store::open(options).await {
            Ok(store) => return Ok(store),
            Err(StoreError::Unavailable(cause)) => {
                let again_in_seconds = wait.as_secs_f64();
                tracing::warn!(%cause, again_in_seconds, "{}", unanswering(&url));
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LAST_RETRY);
    }
}

/// What is said while a database is waited for. A file is not away: something is the matter with its disk.
fn unanswering(url: &Secret) -> &'static str {
    if url.expose().trim().starts_with("sqlite:") {
        "the database file cannot be used yet: is its disk full, or read-only?"
    } else {
        "the database of DATABASE_URL does not answer yet"
    }
}

/// Ends at the first SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_looked_for_behind_a_url() {
        let said = |url: &str| unanswering(&Secret::new(url));
        assert!(said("sqlite:/data/storage.sqlite").contains("disk") && !said("sqlite:/x").contains("DATABASE_URL"));
        assert!(said("postgres://user@host/name").contains("DATABASE_URL"));
    }
}
