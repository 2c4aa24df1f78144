//! What all control planes of a fleet publish alike, and how it is stored.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omniroute_core::hash::{Pepper, mac};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// Names of the settings whose values are the fleet's.
pub(super) const PEPPER: &str = "API_KEY_SECRET";
pub(super) const POLICY: &str = "ALLOW_PRIVATE_UPSTREAMS";

/// The values that all control planes of a fleet publish.
#[derive(Clone)]
pub(crate) struct FleetValues {
    pub(crate) pepper: Arc<Pepper>,
    pub(crate) allow_private_upstreams: bool,
    /// Key of the hash of published contents.
    pub(crate) digest_key: Zeroizing<[u8; 32]>,
}

/// As they lie in the database, sealed.
#[derive(Serialize, Deserialize)]
struct Stored {
    key_pepper: String,
    allow_private_upstreams: bool,
    digest_key: String,
}

/// What the settings row holds.
pub(super) enum StoredValues {
    Values(FleetValues),
    /// Nothing: a new database, or one of an earlier version.
    Nothing,
    /// Something that was sealed with a key which is not in the ring.
    Locked(String),
    Damaged,
}

// === impl FleetValues ===

impl FleetValues {
    pub(super) fn new(pepper: Pepper, allow_private_upstreams: bool) -> Self {
        Self { pepper: Arc::new(pepper), allow_private_upstreams, digest_key: Zeroizing::new(rand::random()) }
    }

    /// Tells one set of values from another and gives none away. The earlier form, which earlier versions read.
    pub(in super::super) fn process_fingerprint(&self) -> Vec<u8> {
        let policy = [u8::from(self.allow_private_upstreams)];
        mac(self.pepper.as_bytes(), &[b"published settings", &policy]).to_vec()
    }

    pub(super) fn fingerprints(&self) -> BTreeMap<String, String> {
        let pepper = mac(self.pepper.as_bytes(), &[b"fleet fingerprint"]);
        BTreeMap::from([
            (PEPPER.to_owned(), STANDARD.encode(&pepper[..12])),
            (POLICY.to_owned(), self.allow_private_upstreams.to_string()),
        ])
    }

    /// The settings in which `self` is not `other`.
    pub(super) fn differs(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (self.fingerprints(), other.fingerprints());
        [PEPPER, POLICY].into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).collect()
    }

    pub(super) fn take(&mut self, name: &str, from: &Self) {
        match name {
            PEPPER => self.pepper = Arc::clone(&from.pepper),
            _ => self.allow_private_upstreams = from.allow_private_upstreams,
        }
    }

    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut stored = Stored {
            key_pepper: STANDARD.encode(self.pepper.as_bytes()),
            allow_private_upstreams: self.allow_private_upstreams,
            digest_key: STANDARD.encode(*self.digest_key),
        };
        let json = Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default());
        stored.key_pepper.zeroize();
        json
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let mut stored: Stored = serde_json::from_slice(json).ok()?;
        let pepper = STANDARD.decode(&stored.key_pepper);
        stored.key_pepper.zeroize();
        let digest_key: [u8; 32] = STANDARD.decode(stored.digest_key).ok()?.try_into().ok()?;
        Some(Self {
            pepper: Arc::new(Pepper::new(pepper.ok()?)),
            allow_private_upstreams: stored.allow_private_upstreams,
            digest_key: Zeroizing::new(digest_key),
        })
    }
}
