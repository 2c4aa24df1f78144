//! What the repositories give and take. Plain data: a *record* is a row as it is, a *draft* is what a new row needs,
//! a *patch* changes the fields that are `Some` and leaves the others.
//!
//! Times are Unix milliseconds. A double `Option` in a patch tells "leave it" (`None`) from "clear it" (`Some(None)`).

use std::collections::BTreeMap;

use omniroute_core::{
    hash::{KeyHash, Pepper},
    id::{ApiKeyId, ConnectionId, ProviderId},
    settings::Secret,
    time::UnixMillis,
};
use serde_json::{Map, Value};

/// Characters of a key that are kept as its prefix.
const PREFIX_CHARACTERS: usize = 12;

/// A JSON object.
pub type Object = Map<String, Value>;

/// Who changes the configuration; ends up in the configuration log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `admin`, `key:<id>` or `system:<job>`.
    pub name: String,
    /// Address of the caller, when there is one.
    pub address: Option<String>,
    pub request_id: Option<String>,
}

/// Upstream timeouts in milliseconds; 0 means the gateway's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutsRecord {
    pub connect_ms: u64,
    pub first_byte_ms: u64,
    pub idle_ms: u64,
    pub total_ms: u64,
}

/// A credential at a provider, without the secret itself (see `Connections::secret`).
#[derive(Clone, PartialEq)]
pub struct ConnectionRecord {
    pub id: ConnectionId,
    /// Id of a node or of a provider of the catalog.
    pub provider: ProviderId,
    pub name: String,
    /// `apikey`, `oauth` or `none`.
    pub auth_type: String,
    /// Lower goes first.
    pub priority: i32,
    pub is_active: bool,
    pub has_secret: bool,
    /// Overrides the base URL of any provider (`providerSpecificData.baseUrl`).
    pub base_url: Option<String>,
    /// Extra headers sent upstream. Sealed at rest, for they often carry credentials: mask them in answers.
    pub headers: BTreeMap<String, String>,
    /// The rest of `providerSpecificData`, as the client sent it. Sealed at rest.
    pub provider_data: Object,
    /// Fields that REST keeps for its clients and no proxy reads: `email`, `displayName`, `group`, `defaultModel`…
    pub extras: Object,
    pub timeouts: TimeoutsRecord,
    /// Requests in flight at once; `None` means no limit.
    pub max_concurrent: Option<u32>,
    /// A sealed value of it does not open (altered, moved, or its master key is gone): the secret has to be entered
    /// anew, and proxies hold the connection as inactive until then.
    pub unreadable: bool,
    /// Result of the last test; not part of the configuration.
    pub test: TestRecord,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

/// What the last test of a connection said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRecord {
    /// `active`, `error`, `unknown`…; empty when it was never tested.
    pub status: String,
    pub tested_at: Option<UnixMillis>,
    pub latency_ms: Option<u64>,
    pub error: Option<String>,
    pub error_code: Option<String>,
}

#[derive(Clone)]
pub struct ConnectionDraft {
    /// `None`: a new UUID.
    pub id: Option<ConnectionId>,
    pub provider: ProviderId,
    pub name: String,
    pub auth_type: String,
    /// `None`: after the last of this provider.
    pub priority: Option<i32>,
    pub is_active: bool,
    /// Empty when there is none.
    pub secret: Secret,
    pub base_url: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub provider_data: Object,
    pub extras: Object,
    pub timeouts: TimeoutsRecord,
    pub max_concurrent: Option<u32>,
}

#[derive(Clone, Default)]
pub struct ConnectionPatch {
    /// Refuse with `Conflict` when the row is at another revision.
    pub expected_revision: Option<u64>,
    pub name: Option<String>,
    pub auth_type: Option<String>,
    pub priority: Option<i32>,
    pub is_active: Option<bool>,
    /// An empty secret removes it.
    pub secret: Option<Secret>,
    pub base_url: Option<Option<String>>,
    pub headers: Option<BTreeMap<String, String>>,
    pub provider_data: Option<Object>,
    pub extras: Option<Object>,
    pub timeouts: Option<TimeoutsRecord>,
    pub max_concurrent: Option<Option<u32>>,
}

/// An OpenAI- or Anthropic-compatible endpoint that the operator added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub id: ProviderId,
    /// `openai-compatible` or `anthropic-compatible`.
    pub kind: String,
    pub name: String,
    /// Unique.
    pub prefix: String,
    /// `chat` or `responses` for openai-compatible nodes.
    pub api_type: Option<String>,
    pub base_url: String,
    pub chat_path: Option<String>,
    pub models_path: Option<String>,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

#[derive(Clone, Debug)]
pub struct NodeDraft {
    /// `None`: `<kind>[-<api type>]-<uuid>`.
    pub id: Option<ProviderId>,
    pub kind: String,
    pub name: String,
    pub prefix: String,
    pub api_type: Option<String>,
    pub base_url: String,
    pub chat_path: Option<String>,
    pub models_path: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct NodePatch {
    pub expected_revision: Option<u64>,
    pub name: Option<String>,
    pub prefix: Option<String>,
    pub api_type: Option<Option<String>>,
    pub base_url: Option<String>,
    pub chat_path: Option<Option<String>>,
    pub models_path: Option<Option<String>>,
}

/// A client's API key. The key itself is stored nowhere.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRecord {
    pub id: ApiKeyId,
    pub name: String,
    pub hash: KeyHash,
    /// The secret before this one, while it still counts.
    pub previous: Option<PreviousSecret>,
    /// `sk-b1490****1ab4`: for people to tell keys apart.
    pub masked: String,
    /// The first characters (`sk-b14908526`).
    pub prefix: String,
    pub is_active: bool,
    pub no_log: bool,
    /// Empty means every model.
    pub allowed_models: Vec<String>,
    /// Empty means every connection.
    pub allowed_connections: Vec<String>,
    pub scopes: Vec<String>,
    pub expires_at: Option<UnixMillis>,
    pub revoked_at: Option<UnixMillis>,
    /// Larger bodies than the gateway's limit; `None` means the gateway's limit.
    pub max_body_bytes: Option<u64>,
    /// Fields that REST keeps for its clients and no proxy reads.
    pub extras: Object,
    /// From the ledger; not part of the configuration.
    pub last_used_at: Option<UnixMillis>,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

#[derive(Clone, Debug)]
pub struct KeyDraft {
    pub id: Option<ApiKeyId>,
    pub name: String,
    pub hash: KeyHash,
    pub masked: String,
    pub prefix: String,
    pub is_active: bool,
    pub no_log: bool,
    pub allowed_models: Vec<String>,
    pub allowed_connections: Vec<String>,
    pub scopes: Vec<String>,
    pub expires_at: Option<UnixMillis>,
    pub max_body_bytes: Option<u64>,
    pub extras: Object,
}

#[derive(Clone, Debug, Default)]
pub struct KeyPatch {
    pub expected_revision: Option<u64>,
    /// Another key in the place of this one. The old one is refused from then on, or from `overlap_until`; one that was
    /// before the old one is refused in any case.
    pub secret: Option<RotatedSecret>,
    pub overlap_until: Option<UnixMillis>,
    pub name: Option<String>,
    pub is_active: Option<bool>,
    pub no_log: Option<bool>,
    pub allowed_models: Option<Vec<String>>,
    pub allowed_connections: Option<Vec<String>>,
    pub scopes: Option<Vec<String>>,
    pub expires_at: Option<Option<UnixMillis>>,
    pub revoked_at: Option<Option<UnixMillis>>,
    pub max_body_bytes: Option<Option<u64>>,
    pub extras: Option<Object>,
}

/// A secret that a key had before, and until when it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousSecret {
    pub hash: KeyHash,
    pub until: UnixMillis,
}

/// What is kept of a key that was made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedSecret {
    pub hash: KeyHash,
    pub masked: String,
    pub prefix: String,
}

/// A model that a provider offers.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRecord {
    pub provider: ProviderId,
    /// The provider's own id of the model, slashes included.
    pub model: String,
    pub name: Option<String>,
    /// `chat`, `embedding`, `image`…
    pub kind: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// `api`, `catalog` or `custom`.
    pub source: String,
    /// Unix seconds, as the provider says.
    pub created: u64,
    pub extras: Object,
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ModelDraft {
    pub model: String,
    pub name: Option<String>,
    pub kind: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub source: String,
    pub created: u64,
    pub extras: Object,
}

/// The settings that the operator edits, as one JSON object of whatever REST accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsDocument {
    pub document: Object,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

/// The administrator.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminRecord {
    /// PHC string (argon2id).
    pub password_hash: String,
    /// Grows when the password changes; sessions of an older epoch are over.
    pub session_epoch: u64,
    pub updated_at: UnixMillis,
}

/// A login. The cookie names it, so that a logout ends it everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub id: String,
    pub subject: String,
    pub epoch: u64,
    pub address: Option<String>,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
}

/// A price in force from a moment on. Micro-dollars per million tokens; `None` falls back as `ledger::pricing` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    pub provider: String,
    pub model: String,
    pub valid_from: UnixMillis,
    /// Exclusive; `None` while it is in force.
    pub valid_until: Option<UnixMillis>,
    pub input: i64,
    pub output: i64,
    pub cache_read: Option<i64>,
    pub cache_write_5m: Option<i64>,
    pub cache_write_1h: Option<i64>,
    pub reasoning: Option<i64>,
    pub audio_in: Option<i64>,
    pub audio_out: Option<i64>,
    /// `builtin` or `custom`; custom wins.
    pub source: String,
    pub revision: u64,
}

/// One entry of the configuration log.
#[derive(Clone, PartialEq)]
pub struct ConfigLogRow {
    pub revision: u64,
    pub kind: String,
    pub id: String,
    /// `create`, `update` or `delete`.
    pub op: String,
    pub actor: Actor,
    pub at: UnixMillis,
    /// State before and after, opened. Holds secrets: mask before it leaves.
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// A proxy as the database last heard of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyRow {
    pub id: String,
    pub boot_id: String,
    pub version: String,
    pub protocol: u32,
    pub address: String,
    pub started_at: UnixMillis,
    pub last_seen_at: UnixMillis,
    /// Not heard of for 15 s.
    pub lost: bool,
    pub revision: u64,
    pub stale: bool,
    pub draining: bool,
    pub requests_in_flight: u64,
    pub streams_in_flight: u64,
    pub requests_total: u64,
    pub memory_rss_bytes: u64,
    pub journal_pending: u64,
    pub journal_lost: u64,
    pub last_error: String,
    pub last_error_at: Option<UnixMillis>,
    pub cooling: Vec<CoolingRow>,
    /// Resources that it could not take, from its last answer.
    pub rejections: Vec<RejectionRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CoolingRow {
    pub connection_id: String,
    pub until: UnixMillis,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RejectionRow {
    pub kind: String,
    pub id: String,
    pub reason: String,
}

// === impl Actor ===

impl Actor {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), address: None, request_id: None }
    }

    /// A part of the control plane that acts on its own.
    pub fn system(job: &str) -> Self {
        Self::new(format!("system:{job}"))
    }
}

// === impl ConnectionDraft ===

impl ConnectionDraft {
    pub fn new(provider: impl Into<ProviderId>, name: impl Into<String>, secret: Secret) -> Self {
        Self {
            id: None,
            provider: provider.into(),
            name: name.into(),
            auth_type: if secret.is_set() { "apikey" } else { "none" }.to_owned(),
            priority: None,
            is_active: true,
            secret,
            base_url: None,
            headers: BTreeMap::new(),
            provider_data: Object::new(),
            extras: Object::new(),
            timeouts: TimeoutsRecord::default(),
            max_concurrent: None,
        }
    }
}

// === impl KeyDraft ===

impl KeyDraft {
    /// For a key that was just made; `plain` is not kept.
    pub fn new(name: impl Into<String>, plain: &str, pepper: &Pepper) -> Self {
        let RotatedSecret { hash, masked, prefix } = RotatedSecret::new(plain, pepper);
        Self {
            id: None,
            name: name.into(),
            hash,
            masked,
            prefix,
            is_active: true,
            no_log: false,
            allowed_models: Vec::new(),
            allowed_connections: Vec::new(),
            scopes: Vec::new(),
            expires_at: None,
            max_body_bytes: None,
            extras: Object::new(),
        }
    }
}

// === impl RotatedSecret ===

impl RotatedSecret {
    /// For a key that was just made; `plain` is not kept.
    pub fn new(plain: &str, pepper: &Pepper) -> Self {
        let prefix = plain.chars().take(PREFIX_CHARACTERS).collect();
        Self { hash: pepper.hash(plain), masked: mask_key(plain), prefix }
    }
}

/// `sk-b1490****1ab4`: the first eight and the last four characters; short secrets show nothing.
pub fn mask_key(plain: &str) -> String {
    let characters: Vec<char> = plain.chars().collect();
    if characters.len() < 20 {
        return "****".to_owned();
    }
    let head: String = characters[..8].iter().collect();
    let tail: String = characters[characters.len() - 4..].iter().collect();
    format!("{head}****{tail}")
}
