//! What both planes agree on and neither owns: ids, money, time, hashing, sealed secrets, errors, settings.
//!
//! Nothing here does I/O, but for [`settings`], which reads the environment and one file at start.

pub mod address;
pub mod client_address;
pub mod error;
pub mod handshake;
pub mod hash;
pub mod id;
pub mod money;
pub mod sealed;
pub mod settings;
pub mod time;

/// Version of the product, the same in every crate of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
