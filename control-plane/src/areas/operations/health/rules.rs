//! What follows from how everything is.

use std::time::Duration;

use omniroute_coordination::Backend;
use omniroute_core::time::UnixMillis;

use super::super::Operations;
use crate::{
    publish::DUPLICATE_SEPARATOR,
    store::{ControlPlaneRow, Engine, Outage, StoreError, records::ProxyRow},
};

/// A proxy that was lost longer ago than this is history, not trouble.
const RECENT: Duration = Duration::from_hours(1);

/// Everything that there is to say.
pub(in super::super) struct Health {
    pub at: UnixMillis,
    pub uptime: Duration,
    /// `Err` while the database does not answer; then nothing below is known.
    pub database: Result<Known, StoreError>,
    /// What is wrong with the database, where the last look at it found something.
    pub outage: Option<Outage>,
    /// Whether a password is set, as far as this process knows.
    pub has_password: bool,
    pub engine: Engine,
    pub coordination: omniroute_coordination::BackendStatus,
}

/// What the database knows.
pub(in super::super) struct Known {
    pub revision: u64,
    pub proxies: Vec<ProxyHealth>,
    /// The control planes that run, or did within the last hour.
    pub control_planes: Vec<ControlPlaneRow>,
    pub providers: ProviderReport,
}

/// A proxy and what follows from what it said.
pub(in super::super) struct ProxyHealth {
    pub row: ProxyRow,
    pub state: ProxyState,
    /// Revisions that it is behind.
    pub lag: u64,
    /// Another proxy that runs has the same `OMNIROUTE_PROXY_ID`, and had it first.
    pub shares_id_with: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ProxyState {
    Serving,
    /// Serves from its copy on disk, which nobody has confirmed yet.
    Stale,
    Draining,
    /// Not heard of.
    Lost,
}

/// How many providers there are, of which kind, and how their connections are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderReport {
    /// In the catalog.
    pub catalog: usize,
    /// With a connection.
    pub configured: usize,
    /// With an active connection.
    pub active: usize,
    /// With a connection that was tested.
    pub monitored: usize,
    /// Connections that are switched on.
    pub active_connections: usize,
    /// A stored secret does not open with the master keys at hand.
    pub unreadable: bool,
    pub nodes: Vec<CustomProviderHealth>,
}

/// A node, and what the last test of its connections said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomProviderHealth {
    pub id: String,
    pub prefix: String,
    /// `None` before the first test.
    pub is_healthy: Option<bool>,
    pub tested_at: Option<UnixMillis>,
    pub latency_ms: Option<u64>,
}

/// How long the database may take to answer at all before it counts as away.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Status {
    Healthy,
    /// It works, but somebody should look.
    Degraded,
    /// The database is away or cannot be written: proxies go on serving, nothing can be configured.
    Unhealthy,
}

// === impl Operations ===

impl Operations {
    /// How everything is. Never fails: what cannot be read is part of the answer. `with_configuration`: looks at
    /// connections and nodes too, which takes longer the more there are of them.
    pub(super) async fn health(&self, with_configuration: bool) -> Health {
        // A pool waits long for a connection; whoever asks how things are does not.
        let answers = tokio::time::timeout(PROBE_TIMEOUT, self.store.ping());
        let database = match answers.await {
            Ok(Ok(())) => tokio::select! {
                biased;
                () = self.store.unreachable() => self.store.expect_reachable().and(Ok(Known::nothing(self.providers.none()))),
                known = self.known(with_configuration) => known,
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        };
        Health {
            at: self.clock.now(),
            uptime: self.started.elapsed(),
            database,
            outage: self.store.health().outage,
            has_password: self.setup.was_complete(),
            engine: self.store.engine(),
            coordination: self.coordination.health(),
        }
    }

    async fn known(&self, with_configuration: bool) -> Result<Known, StoreError> {
        self.setup.is_complete().await?;
        let revision = self.store.revision().await?;
        let proxies = self.store.proxies().list().await?;
        let now = self.clock.now();
        let mut control_planes = self.store.control_planes().await?;
        // Of one that runs, its own clock does not matter.
        control_planes.retain(|row| !row.lost || now.saturating_since(row.last_seen_at) < RECENT);
        let providers = if with_configuration { self.providers.report().await? } else { self.providers.none() };
        Ok(Known { revision, proxies: ProxyHealth::of(proxies, revision), control_planes, providers })
    }

    /// When this process started.
    pub(super) fn started_at(&self) -> UnixMillis {
        self.started_at
    }
}

// === impl Health ===

impl Health {
    pub(super) fn status(&self) -> Status {
        let Ok(known) = &self.database else { return Status::Unhealthy };
        if self.outage.is_some() {
            return Status::Unhealthy;
        }
        let now = self.at;
        let troubled = |proxy: &ProxyHealth| {
            let recent = now.saturating_since(proxy.row.last_seen_at) < RECENT;
            recent
                && (proxy.state == ProxyState::Lost
                    || !proxy.row.rejections.is_empty()
                    || proxy.row.journal_lost > 0
                    || proxy.shares_id_with.is_some())
        };
        let is_odd =
            |row: &ControlPlaneRow| !row.lost && (!row.state.differs.is_empty() || row.state.missing_key.is_some());
        let is_alone = self.coordination.backend == Backend::Redis && !self.coordination.connected;
        let unreadable = known.providers.unreadable;
        let odd = known.control_planes.iter().any(is_odd);
        if is_alone || unreadable || odd || known.proxies.iter().any(troubled) {
            Status::Degraded
        } else {
            Status::Healthy
        }
    }
}

// === impl Known ===

impl Known {
    /// What is known while the database is away.
    pub(super) fn nothing(providers: ProviderReport) -> Self {
        Self { revision: 0, proxies: Vec::new(), control_planes: Vec::new(), providers }
    }
}

// === impl ProxyHealth ===

impl ProxyHealth {
    fn of(rows: Vec<ProxyRow>, head: u64) -> Vec<Self> {
        let live: Vec<String> = rows.iter().filter(|row| !row.lost).map(|row| row.id.clone()).collect();
        let shares = |row: &ProxyRow| {
            let (own, _) = row.id.rsplit_once(DUPLICATE_SEPARATOR)?;
            (!row.lost && live.iter().any(|id| id == own)).then(|| own.to_owned())
        };
        rows.into_iter()
            .map(|row| {
                let shared = shares(&row);
                Self { shares_id_with: shared, ..Self::new(row, head) }
            })
            .collect()
    }

    fn new(row: ProxyRow, head: u64) -> Self {
        let state = if row.lost {
            ProxyState::Lost
        } else if row.draining {
            ProxyState::Draining
        } else if row.stale {
            ProxyState::Stale
        } else {
            ProxyState::Serving
        };
        Self { state, lag: head.saturating_sub(row.revision), row, shares_id_with: None }
    }
}

// === impl ProxyState ===

impl ProxyState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Stale => "stale",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

// === impl Status ===

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}
