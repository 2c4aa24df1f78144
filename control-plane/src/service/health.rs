//! How the gateway is: this process, the database, the shared state, every proxy.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use omniroute_coordination::Place;
use omniroute_core::time::UnixMillis;
use omniroute_providers::Catalog;

use super::Services;
use crate::{
    api::ApiError,
    publish::SECOND_OF,
    store::{
        Command, ControlPlaneRow, Delivery, Engine, StoreError, Trouble,
        records::{ConnectionRecord, NodeRecord, ProxyRow},
    },
};

/// A proxy that was lost longer ago than this is history, not trouble.
const RECENT: Duration = Duration::from_hours(1);

/// Everything that there is to say.
pub struct Health {
    pub at: UnixMillis,
    pub uptime: Duration,
    /// `Err` while the database does not answer; then nothing below is known.
    pub database: Result<Known, StoreError>,
    /// What is wrong with the database, where the last look at it found something.
    pub trouble: Option<Trouble>,
    /// Whether a password is set, as far as this process knows.
    pub has_password: bool,
    pub engine: Engine,
    pub coordination: omniroute_coordination::Health,
}

/// What the database knows.
pub struct Known {
    pub revision: u64,
    pub proxies: Vec<ProxyHealth>,
    /// The control planes that run, or did within the last hour.
    pub control_planes: Vec<ControlPlaneRow>,
    pub connections: Vec<ConnectionRecord>,
    pub nodes: Vec<NodeRecord>,
    pub providers: ProviderSummary,
}

/// A proxy and what follows from what it said.
pub struct ProxyHealth {
    pub row: ProxyRow,
    pub state: ProxyState,
    /// Revisions that it is behind.
    pub lag: u64,
    /// Another proxy that runs has the same `OMNIROUTE_PROXY_ID`, and had it first.
    pub shares_id_with: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyState {
    Serving,
    /// Serves from its copy on disk, which nobody has confirmed yet.
    Stale,
    Draining,
    /// Not heard of.
    Lost,
}

/// How many providers there are, of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderSummary {
    /// In the catalog.
    pub catalog: usize,
    /// With a connection.
    pub configured: usize,
    /// With an active connection.
    pub active: usize,
    /// With a connection that was tested.
    pub monitored: usize,
}

/// How long the database may take to answer at all before it counts as away.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Healthy,
    /// It works, but somebody should look.
    Degraded,
    /// The database is away or cannot be written: proxies go on serving, nothing can be configured.
    Unhealthy,
}

// === impl Services ===

impl Services {
    /// How everything is. Never fails: what cannot be read is part of the answer. `with_configuration`: looks at
    /// connections and nodes too, which takes longer the more there are of them.
    pub async fn health(&self, with_configuration: bool) -> Health {
        // A pool waits long for a connection; whoever asks how things are does not.
        let answers = tokio::time::timeout(PROBE_PATIENCE, self.store.ping());
        let database = match answers.await {
            Ok(Ok(())) => tokio::select! {
                biased;
                () = self.store.away() => self.store.expect_answers().and(Ok(Known::nothing())),
                known = self.known(with_configuration) => known,
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        };
        Health {
            at: self.clock.now(),
            uptime: self.started.elapsed(),
            database,
            trouble: self.store.condition().trouble,
            has_password: self.has_password.load(Ordering::Relaxed),
            engine: self.store.engine(),
            coordination: self.coordination.health(),
        }
    }

    async fn known(&self, with_configuration: bool) -> Result<Known, StoreError> {
        self.admin().record().await?;
        let revision = self.store.revision().await?;
        let proxies = self.store.proxies().list().await?;
        let now = self.clock.now();
        let mut control_planes = self.store.control_planes().await?;
        control_planes.retain(|row| now.saturating_since(row.last_seen_at) < RECENT);
        let (connections, nodes) = if with_configuration {
            (self.store.connections().list().await?, self.store.nodes().list().await?)
        } else {
            (Vec::new(), Vec::new())
        };
        Ok(Known {
            revision,
            proxies: ProxyHealth::of(proxies, revision),
            control_planes,
            providers: ProviderSummary::of(&connections),
            connections,
            nodes,
        })
    }

    /// When this process started.
    pub fn started_at(&self) -> UnixMillis {
        self.started_at
    }

    /// Tells a proxy to do something, and says whether it was reached.
    ///
    /// # Errors
    /// 404 when no such proxy has ever connected.
    pub async fn order(&self, proxy_id: &str, command: Command) -> Result<Delivery, ApiError> {
        let known = self.store.proxies().list().await?.iter().any(|proxy| proxy.id == proxy_id);
        if !known {
            return Err(ApiError::not_found("Proxy"));
        }
        Ok(self.proxies.order(proxy_id, command).await?)
    }
}

// === impl Health ===

impl Health {
    pub fn status(&self) -> Status {
        let Ok(known) = &self.database else { return Status::Unhealthy };
        if self.trouble.is_some() {
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
        let is_alone = self.coordination.place == Place::Redis && !self.coordination.connected;
        let unreadable = known.connections.iter().any(|connection| connection.unreadable);
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
    pub fn nothing() -> Self {
        Self {
            revision: 0,
            proxies: Vec::new(),
            control_planes: Vec::new(),
            connections: Vec::new(),
            nodes: Vec::new(),
            providers: ProviderSummary::of(&[]),
        }
    }
}

// === impl ProxyHealth ===

impl ProxyHealth {
    fn of(rows: Vec<ProxyRow>, head: u64) -> Vec<Self> {
        let live: Vec<String> = rows.iter().filter(|row| !row.lost).map(|row| row.id.clone()).collect();
        let shares = |row: &ProxyRow| {
            let (own, _) = row.id.rsplit_once(SECOND_OF)?;
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
    pub const fn as_str(self) -> &'static str {
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

// === impl ProviderSummary ===

impl ProviderSummary {
    fn of(connections: &[ConnectionRecord]) -> Self {
        let count = |fits: fn(&ConnectionRecord) -> bool| {
            connections.iter().filter(|c| fits(c)).map(|c| c.provider.as_str()).collect::<BTreeSet<_>>().len()
        };
        Self {
            catalog: Catalog::builtin().len(),
            configured: count(|_| true),
            active: count(|connection| connection.is_active),
            monitored: count(|connection| connection.test.tested_at.is_some()),
        }
    }
}
