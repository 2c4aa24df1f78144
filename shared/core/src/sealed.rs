//! Secrets at rest: AES-256-GCM in an envelope that names its key.
//!
//! `version (1) ‖ key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. The associated data is the place where the value
//! lives (table, column, row), so a value copied into another row does not open there.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Nonce, Payload},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 12;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// Identifies a key without giving it away: the head of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyId([u8; KEY_ID_LEN]);

/// Where a sealed value lives.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    pub table: &'a str,
    pub column: &'a str,
    pub row: &'a str,
}

/// The master keys: the first seals, all open.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<(KeyId, Aes256Gcm)>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    #[error("no master key is configured")]
    EmptyRing,
    #[error("a master key needs at least 16 characters")]
    WeakKey,
    #[error("the sealed value is damaged or not one of ours")]
    Malformed,
    #[error("the value was sealed with master key {0}, which is not in the ring")]
    UnknownKey(String),
    #[error("the sealed value does not open: it was altered, or it belongs to another row")]
    Refused,
}

// === impl SealContext ===

impl SealContext<'_> {
    fn associated_data(&self) -> Vec<u8> {
        [self.table, self.column, self.row].join("\u{1f}").into_bytes()
    }
}

// === impl KeyRing ===

impl KeyRing {
    /// From secrets of any form (at least 16 characters each); the 256-bit key is derived from each.
    ///
    /// # Errors
    /// When there is none, or one is too short.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, SealError> {
        let mut keys = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref().trim();
            if secret.len() < 16 {
                return Err(SealError::WeakKey);
            }
            keys.push(Self::derive(secret.as_bytes()));
        }
        if keys.is_empty() { Err(SealError::EmptyRing) } else { Ok(Self { keys }) }
    }

    fn derive(secret: &[u8]) -> (KeyId, Aes256Gcm) {
        let key = Zeroizing::new(crate::hash::derive_key(secret, "omniroute at-rest v1"));
        let digest = Sha256::digest(*key);
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&digest[..KEY_ID_LEN]);
        (KeyId(id), Aes256Gcm::new((&*key).into()))
    }

    /// Ids of all keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.iter().map(|(id, _)| *id)
    }

    /// Id of the key that seals.
    pub fn primary(&self) -> KeyId {
        self.keys[0].0
    }

    /// Seals `plain` for one place.
    ///
    /// # Errors
    /// Only when the value is too large for the cipher (64 GiB).
    pub fn seal(&self, context: SealContext<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, cipher) = &self.keys[0];
        let nonce_bytes: [u8; NONCE_LEN] = rand::random();
        let nonce = Nonce::<Aes256Gcm>::from(nonce_bytes);
        let aad = context.associated_data();
        let sealed = cipher.encrypt(&nonce, Payload { msg: plain, aad: &aad }).map_err(|_| SealError::Malformed)?;
        let mut envelope = Vec::with_capacity(HEADER_LEN + sealed.len());
        envelope.push(VERSION);
        envelope.extend_from_slice(&id.0);
        envelope.extend_from_slice(&nonce_bytes);
        envelope.extend_from_slice(&sealed);
        Ok(envelope)
    }

    /// Opens what [`Self::seal`] made for the same place.
    ///
    /// # Errors
    /// When the envelope is damaged, its key is not in the ring, or it belongs elsewhere.
    pub fn open(&self, context: SealContext<'_>, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let id = Self::key_id(envelope)?;
        let Some((_, cipher)) = self.keys.iter().find(|(key, _)| *key == id) else {
            return Err(SealError::UnknownKey(id.to_string()));
        };
        let nonce_bytes: [u8; NONCE_LEN] =
            envelope[1 + KEY_ID_LEN..HEADER_LEN].try_into().map_err(|_| SealError::Malformed)?;
        let nonce = Nonce::<Aes256Gcm>::from(nonce_bytes);
        let aad = context.associated_data();
        cipher
            .decrypt(&nonce, Payload { msg: &envelope[HEADER_LEN..], aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| SealError::Refused)
    }

    /// Which key sealed an envelope; how a rotation finds what is left to do.
    ///
    /// # Errors
    /// When it is no envelope.
    pub fn key_id(envelope: &[u8]) -> Result<KeyId, SealError> {
        if envelope.len() < HEADER_LEN + 16 || envelope[0] != VERSION {
            return Err(SealError::Malformed);
        }
        envelope[1..=KEY_ID_LEN].try_into().map(KeyId).map_err(|_| SealError::Malformed)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: SealContext<'_> = SealContext { table: "connections", column: "secret", row: "c1" };

    fn ring(secrets: &[&str]) -> KeyRing {
        KeyRing::new(secrets).expect("a ring")
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place() {
        let ring = ring(&["0123456789abcdef"]);
        let sealed = ring.seal(CONTEXT, b"sk-vendor").expect("sealed");
        assert_eq!(ring.open(CONTEXT, &sealed).expect("opened").as_slice(), b"sk-vendor");
        let elsewhere = SealContext { row: "c2", ..CONTEXT };
        assert_eq!(ring.open(elsewhere, &sealed).err(), Some(SealError::Refused));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let ring = ring(&["0123456789abcdef"]);
        let sealed = ring.seal(CONTEXT, b"sk-vendor").expect("sealed");
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(ring.open(CONTEXT, &damaged).is_err(), "byte {index}");
        }
        assert_eq!(ring.open(CONTEXT, b"").err(), Some(SealError::Malformed));
    }

    #[test]
    fn a_rotated_ring_opens_old_values_and_seals_with_the_new_key() {
        let old = ring(&["old-old-old-old-old"]);
        let sealed = old.seal(CONTEXT, b"secret").expect("sealed");
        let rotated = ring(&["new-new-new-new-new", "old-old-old-old-old"]);
        assert_eq!(rotated.open(CONTEXT, &sealed).expect("opened").as_slice(), b"secret");
        let resealed = rotated.seal(CONTEXT, b"secret").expect("sealed");
        assert_eq!(KeyRing::key_id(&resealed).expect("id"), rotated.primary());
        assert!(matches!(old.open(CONTEXT, &resealed), Err(SealError::UnknownKey(_))));
    }

    #[test]
    fn debug_shows_ids_only() {
        let shown = format!("{:?}", ring(&["0123456789abcdef"]));
        assert!(!shown.contains("0123456789abcdef"));
    }
}
