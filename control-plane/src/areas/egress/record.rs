//! Outbound proxies and their assignments as they are stored. A *record* is a row as it is, a *draft* is what a new row
//! needs, a *patch* changes the fields that are `Some` and leaves the others.

use omniroute_core::{settings::Secret, time::UnixMillis};
use omniroute_egress::ProxySpec;

/// States in which a proxy is used, and in which it is not.
pub(super) const STATUSES: [&str; 3] = [ACTIVE, "inactive", "dead"];
pub(super) const ACTIVE: &str = "active";

/// Where proxies come from. One that was made by a setting of a level goes with it.
pub(super) const SOURCES: [&str; 3] = ["manual", "oneproxy", OF_LEVEL];
pub(super) const OF_LEVEL: &str = "dashboard-custom";

/// A proxy, without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRecord {
    pub id: String,
    pub name: String,
    /// `http`, `https` or `socks5`.
    pub kind: String,
    pub host: String,
    pub port: u16,
    pub has_username: bool,
    pub has_password: bool,
    pub region: Option<String>,
    pub notes: Option<String>,
    /// `active`, `inactive` or `dead`.
    pub status: String,
    pub source: String,
    /// `auto`, `ipv4` or `ipv6`.
    pub family: String,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

/// User name and password; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: Secret,
    pub password: Secret,
}

#[derive(Clone, Debug)]
pub struct ProxyDraft {
    pub name: String,
    pub kind: String,
    pub host: String,
    pub port: u16,
    pub credentials: Credentials,
    pub region: Option<String>,
    pub notes: Option<String>,
    pub status: String,
    pub source: String,
    pub family: String,
}

#[derive(Clone, Debug, Default)]
pub struct ProxyPatch {
    pub name: Option<String>,
    pub kind: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// An empty one removes it.
    pub username: Option<Secret>,
    pub password: Option<Secret>,
    pub region: Option<Option<String>>,
    pub notes: Option<Option<String>>,
    pub status: Option<String>,
    pub source: Option<String>,
    pub family: Option<String>,
}

/// What an assignment is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Global,
    /// A provider of the catalog or a node, by id.
    Provider(String),
    /// A connection, by id.
    Account(String),
    Combo(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRecord {
    pub proxy_id: String,
    pub scope: Scope,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

// === impl ProxyRecord ===

impl ProxyRecord {
    pub fn is_active(&self) -> bool {
        self.status == ACTIVE
    }

    /// Whether credentials for the one may be shown to the other.
    pub(super) fn is_at(&self, kind: &str, host: &str, port: u16) -> bool {
        (self.kind.as_str(), self.port) == (kind, port) && self.host.eq_ignore_ascii_case(host)
    }

    pub(super) fn spec<'a>(&'a self, credentials: &'a Credentials) -> ProxySpec<'a> {
        ProxySpec {
            kind: &self.kind,
            host: &self.host,
            port: self.port.into(),
            username: credentials.username.expose(),
            password: credentials.password.expose(),
            family: &self.family,
        }
    }
}

// === impl Scope ===

impl Scope {
    /// As REST names them; `key` is another word for `account`.
    pub(super) const WORDS: [&'static str; 5] = ["global", "provider", "account", "combo", "key"];

    /// `None` for an unknown word.
    pub(super) fn of(word: &str, id: &str) -> Option<Self> {
        match word {
            "global" => Some(Self::Global),
            "provider" => Some(Self::Provider(id.to_owned())),
            "account" | "key" => Some(Self::Account(id.to_owned())),
            "combo" => Some(Self::Combo(id.to_owned())),
            _ => None,
        }
    }

    pub const fn word(&self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Provider(_) => "provider",
            Self::Account(_) => "account",
            Self::Combo(_) => "combo",
        }
    }

    /// Of what; `None` for all.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Global => None,
            Self::Provider(id) | Self::Account(id) | Self::Combo(id) => Some(id),
        }
    }

    /// The id of its assignment: a scope has one.
    pub fn assignment_id(&self) -> String {
        self.id().map_or_else(|| self.word().to_owned(), |id| format!("{}:{id}", self.word()))
    }
}
