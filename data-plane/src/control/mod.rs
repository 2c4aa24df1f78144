//! The proxy's side of the control plane: how it connects ([`link`]) and what it says about itself ([`attach`]).
//!
//! Nothing here is on the path of a request.

pub mod attach;
mod backoff;
pub mod link;
#[cfg(test)]
pub(crate) mod testing;

pub use self::{backoff::Backoff, link::ControlPlane};
