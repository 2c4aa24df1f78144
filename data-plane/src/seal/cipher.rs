//! Values as they lie in shared state: only proxies of the fleet can read them.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Nonce, Payload},
};
use bytes::Bytes;
use omniroute_core::hash::{Pepper, derive_key};

const NONCE: usize = 12;

/// Seals with a key that every proxy derives from the fleet's own secret.
#[derive(Clone)]
pub(crate) struct Cipher(Aes256Gcm);

// === impl Cipher ===

impl Cipher {
    pub(crate) fn new(pepper: &Pepper) -> Self {
        let key = derive_key(pepper.as_bytes(), "omniroute shared values v1");
        Self(Aes256Gcm::new(&key.into()))
    }

    /// `name` is where the value will stand: elsewhere it does not open.
    pub(crate) fn seal(&self, name: &[u8], plain: &[u8]) -> Option<Bytes> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: plain, aad: name };
        let sealed = self.0.encrypt(&Nonce::<Aes256Gcm>::from(nonce), payload).ok()?;
        Some([&nonce[..], &sealed].concat().into())
    }

    /// `None` for anything that was not sealed under this name by this fleet.
    pub(crate) fn open(&self, name: &[u8], sealed: &[u8]) -> Option<Bytes> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce = Nonce::<Aes256Gcm>::try_from(nonce).ok()?;
        self.0.decrypt(&nonce, Payload { msg: sealed, aad: name }).ok().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_where_it_belongs_and_nowhere_else() {
        let cipher = Cipher::new(&Pepper::new("fleet"));
        let sealed = cipher.seal(b"k1/resp_1", b"a secret").expect("sealed");
        assert!(memchr::memmem::find(&sealed, b"secret").is_none());
        assert_eq!(Cipher::new(&Pepper::new("fleet")).open(b"k1/resp_1", &sealed).expect("opened"), "a secret");
        assert_eq!(cipher.open(b"k1/resp_2", &sealed), None);
        assert_eq!(Cipher::new(&Pepper::new("other")).open(b"k1/resp_1", &sealed), None);
        assert_eq!(cipher.open(b"k1/resp_1", &sealed[..5]), None);
    }
}
