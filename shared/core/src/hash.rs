//! The one-way form of an API key, and derived keys.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// HMAC-SHA256(pepper, key). API keys carry enough entropy that no slow hash is needed; the pepper makes a stolen
/// database useless for guessing.
#[derive(Clone, Copy, Eq)]
pub struct KeyHash([u8; 32]);

/// Secret of the API-key hash.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Pepper(Vec<u8>);

/// HMAC-SHA256 of `parts`, each preceded by its length, so that no two lists of parts collide.
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = new_mac(key);
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HKDF-SHA256: a key for one purpose out of a secret that serves several.
pub fn derive_key(secret: &[u8], purpose: &str) -> [u8; 32] {
    let mut key = [0; 32];
    // Expanding to 32 bytes cannot fail: the limit is 255 × 32.
    let _ = hkdf::Hkdf::<Sha256>::new(None, secret).expand(purpose.as_bytes(), &mut key);
    key
}

/// Tells two access tokens apart without saying either: both planes compute the same.
pub fn token_fingerprint(token: &str) -> [u8; 16] {
    let hash = mac(b"omniroute token fingerprint", &[token.as_bytes()]);
    let (head, _) = hash.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    *head
}

fn new_mac(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    }
}

// === impl Pepper ===

impl Pepper {
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self(secret.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The form in which an API key is stored and looked up.
    pub fn hash(&self, api_key: &str) -> KeyHash {
        let mut mac = new_mac(&self.0);
        mac.update(api_key.as_bytes());
        KeyHash(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper([redacted])")
    }
}

// === impl KeyHash ===

impl KeyHash {
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for KeyHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // It is a MAC already: eight of its bytes spread as well as all of them.
        state.write(&self.0[..8]);
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({}…)", hex::encode(&self.0[..4]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_key_and_pepper() {
        let pepper = Pepper::new("pepper");
        assert_eq!(pepper.hash("sk-a"), pepper.hash("sk-a"));
        assert_ne!(pepper.hash("sk-a"), pepper.hash("sk-b"));
        assert_ne!(pepper.hash("sk-a"), Pepper::new("salt").hash("sk-a"));
    }

    #[test]
    fn parts_of_a_mac_cannot_be_shifted() {
        assert_ne!(mac(b"k", &[b"ab", b"c"]), mac(b"k", &[b"a", b"bc"]));
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        assert_ne!(derive_key(b"secret", "snapshot"), derive_key(b"secret", "join"));
    }
}
