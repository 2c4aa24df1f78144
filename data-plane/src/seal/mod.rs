//! What only the proxies of this fleet can read.
//!
//! Both halves derive a key of their own from the fleet's secret: a [`Cipher`] seals values that lie in shared state, a
//! [`FleetSealer`] signatures that travel through clients.

mod cipher;
mod token;

pub(crate) use self::{
    cipher::Cipher,
    token::{FleetSealer, NoSealer, has_token},
};
