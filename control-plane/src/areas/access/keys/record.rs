//! An API key as it is stored. A *record* is a row as it is, a *draft* is what a new row needs, a *patch* changes the
//! fields that are `Some` and leaves the others.

use omniroute_core::{
    hash::{KeyHash, Pepper},
    id::ApiKeyId,
    time::UnixMillis,
};

use crate::store::records::Object;

/// Characters of a key that are kept as its prefix.
const PREFIX_CHARACTERS: usize = 12;

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

impl RotatedSecret {
    /// For a key that was just made; `plain` is not kept.
    pub fn new(plain: &str, pepper: &Pepper) -> Self {
        let prefix = plain.chars().take(PREFIX_CHARACTERS).collect();
        Self { hash: pepper.hash(plain), masked: mask_key(plain), prefix }
    }
}

/// `sk-b1490****1ab4`: the first eight and the last four characters; short secrets show nothing.
fn mask_key(plain: &str) -> String {
    let characters: Vec<char> = plain.chars().collect();
    if characters.len() < 20 {
        return "****".to_owned();
    }
    let head: String = characters[..8].iter().collect();
    let tail: String = characters[characters.len() - 4..].iter().collect();
    format!("{head}****{tail}")
}
