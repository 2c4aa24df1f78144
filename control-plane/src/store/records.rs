//! What the repositories give and take. Plain data: a *record* is a row as it is, a *draft* is what a new row needs,
//! a *patch* changes the fields that are `Some` and leaves the others.
//!
//! Times are Unix milliseconds. A double `Option` in a patch tells "leave it" (`None`) from "clear it" (`Some(None)`).

use std::fmt;

use omniroute_core::time::UnixMillis;
use omniroute_providers::models::Price;
use serde_json::{Map, Value};

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

/// The settings that the operator edits, as one JSON object of whatever REST accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsDocument {
    pub document: Object,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

/// A price in force from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// Or a connection, whose price for [`Self::UNLISTED`] is that of whatever has none of its own.
    pub provider: String,
    pub model: String,
    pub valid_from: UnixMillis,
    /// Exclusive; `None` while it is in force.
    pub valid_until: Option<UnixMillis>,
    pub price: Price,
    /// `builtin` or `custom`; custom wins.
    pub source: String,
    pub revision: u64,
}

// === impl PriceRow ===

impl PriceRow {
    /// The model of a connection's price for what has none of its own.
    pub const UNLISTED: &str = "*";

    pub fn is_in_force(&self, at: UnixMillis) -> bool {
        self.valid_from <= at && self.valid_until.is_none_or(|until| at < until)
    }

    /// Of several that are in force the highest counts: the operator's, and of those the one that came last.
    pub fn rank(&self) -> (bool, UnixMillis) {
        (self.source == "custom", self.valid_from)
    }
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

// === impl ConfigLogRow ===

/// Its states may hold secrets.
impl fmt::Debug for ConfigLogRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigLogRow")
            .field("revision", &self.revision)
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("op", &self.op)
            .field("actor", &self.actor)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
