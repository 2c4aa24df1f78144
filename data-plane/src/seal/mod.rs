//! What only the proxies of this fleet can read.
//!
//! Both halves derive a key of their own from the fleet's secret: a [`Cipher`] seals values that lie in shared state, a
//! [`SignatureSealer`] signatures that travel through clients.

mod cipher;
mod signature_sealer;

pub(crate) use self::{
    cipher::Cipher,
    signature_sealer::{NoSealer, SignatureSealer, has_sealed_signature},
};
