//! What the control plane decides, between the handlers of [`crate::api`] that parse and answer and the repositories
//! of [`crate::store`] that read and write.
//!
//! [`Services`] holds what a running control plane has; each file adds the decisions of one subject to it: the
//! administrator and logins, settings, nodes, connections, model discovery, API keys, usage, health.

mod admin;
mod connections;
mod health;
mod keys;
mod models;
mod nodes;
mod probe;
mod settings;
mod upstream;
mod usage;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use omniroute_coordination::Coordination;
use omniroute_core::{
    address::AddressPolicy,
    hash,
    settings::ControlPlaneSettings,
    time::{Clock, UnixMillis},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    admin::{LoginState, RequireLoginChange, SignedIn},
    connections::{ConnectionChange, ConnectionView, MASK, NewConnection},
    health::{Health, Known, ProviderSummary, ProxyHealth, ProxyState, Status},
    keys::{KeyChange, NewKey, SecretKey},
    models::{Listing, ListingSource},
    nodes::{ANTHROPIC, NewNode, NodeChange, OPENAI},
    probe::{Candidate, Diagnosis, NodeCandidate, Probe},
    settings::{GatewaySettings, UpstreamTimeouts},
    upstream::{UpstreamClient, UpstreamError},
    usage::Selection,
};
use crate::{
    auth::{origin::AllowedOrigins, password::Passwords, token::Tokens},
    ledger::Ledger,
    publish::ProxyRegistry,
    store::{Resealed, Store, StoreError, records::Object},
};

/// What handlers share. Cheap to clone.
pub type App = Arc<Services>;

/// Model discoveries that run in the background at once.
const DISCOVERIES_AT_ONCE: usize = 4;

/// What a running control plane has.
pub struct Services {
    pub settings: ControlPlaneSettings,
    pub store: Store,
    pub ledger: Ledger,
    pub proxies: ProxyRegistry,
    pub coordination: Arc<dyn Coordination>,
    pub clock: Arc<dyn Clock>,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub upstream: UpstreamClient,
    pub allowed_origins: AllowedOrigins,
    /// Work that outlives the request that began it; waited for when the process stops.
    pub background: TaskTracker,
    /// Cancelled when the process stops.
    pub stopping: CancellationToken,
    login_blocks: admin::LoginBlocks,
    /// Whether a password was set when the database was last asked.
    has_password: AtomicBool,
    discoveries: Arc<Semaphore>,
    started: Instant,
    started_at: UnixMillis,
}

/// What [`Services::new`] puts together.
pub struct Parts {
    pub settings: ControlPlaneSettings,
    pub store: Store,
    pub ledger: Ledger,
    pub proxies: ProxyRegistry,
    pub coordination: Arc<dyn Coordination>,
    pub clock: Arc<dyn Clock>,
    pub stopping: CancellationToken,
}

// === impl Services ===

impl Services {
    /// # Errors
    /// When the HTTP client or argon2 cannot be set up.
    pub fn new(parts: Parts) -> anyhow::Result<App> {
        let Parts { settings, store, ledger, proxies, coordination, clock, stopping } = parts;
        let in_force = store.clone();
        let policy = move || AddressPolicy::from_allow_private(in_force.allow_private_upstreams());
        Ok(Arc::new(Self {
            passwords: Passwords::new()?,
            tokens: Tokens::new(settings.jwt_secret.expose(), Arc::clone(&clock)),
            upstream: UpstreamClient::new(policy, &settings.upstream_tls_ca)?,
            allowed_origins: AllowedOrigins::parse(&settings.cors_origins),
            background: TaskTracker::new(),
            login_blocks: admin::LoginBlocks::default(),
            has_password: AtomicBool::default(),
            discoveries: Arc::new(Semaphore::new(DISCOVERIES_AT_ONCE)),
            started: Instant::now(),
            started_at: clock.now(),
            settings,
            store,
            ledger,
            proxies,
            coordination,
            clock,
            stopping,
        }))
    }

    /// Seals every stored secret with the first master key of the ring; also tells that key's id.
    pub async fn rotate_master_key(&self) -> Result<(String, Resealed), StoreError> {
        let done = self.store.reseal().await?;
        let key_id = self.store.master_key_id();
        tracing::info!(key_id, values = done.values, failed = done.failed.len(), "stored secrets are sealed anew");
        Ok((key_id, done))
    }

    /// Where connections may point.
    pub fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::from_allow_private(self.store.allow_private_upstreams())
    }

    /// Tells this deployment from others and gives nothing away. It changes only with `API_KEY_SECRET`.
    pub fn deployment_id(&self) -> String {
        let mac = hash::mac(self.store.pepper().as_bytes(), &[b"deployment id"]);
        mac[..8].iter().fold(String::with_capacity(16), |mut text, byte| {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
            text
        })
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `edit` laid over `held`; `null` removes a field.
fn merged(mut held: Object, edit: Object) -> Object {
    for (name, value) in edit {
        if value.is_null() {
            held.remove(&name);
        } else {
            held.insert(name, value);
        }
    }
    held
}
