//! The contract between the planes, generated from `proto/omniroute/v1`.
//!
//! [`ConfigStream`](v1::config_stream_server::ConfigStream) carries resources down,
//! [`UsageStream`](v1::usage_stream_server::UsageStream) carries usage events up, and
//! [`ProxyControl`](v1::proxy_control_server::ProxyControl) carries a proxy's status and its commands.
//! The rules for changing any of it are in `proto/README.md`.

use std::fmt;

#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    unreachable_pub,
    missing_docs,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("omniroute.v1");
}

mod digest;
mod kind;

pub use digest::{DigestSet, resource_digest};
pub use kind::Kind;

/// Minor version of the protocol that this build speaks. Peers may differ by one.
pub const PROTOCOL_MINOR: u32 = 1;

/// Largest `Resources` message that a sender builds, in bytes.
pub const MAX_CHUNK_BYTES: usize = 1024 * 1024;

// Secrets must not reach a log through `{:?}`.
impl fmt::Debug for v1::Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("provider", &self.provider)
            .field("name", &self.name)
            .field("is_active", &self.is_active)
            .field("secret", &"[redacted]")
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::OutboundProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundProxy")
            .field("name", &self.name)
            .field("type", &self.r#type)
            .field("is_active", &self.is_active)
            .field("username", &"[redacted]")
            .field("password", &"[redacted]")
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::GatewaySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewaySettings")
            .field("key_pepper", &"[redacted]")
            .field("max_body_bytes", &self.max_body_bytes)
            .finish_non_exhaustive()
    }
}
