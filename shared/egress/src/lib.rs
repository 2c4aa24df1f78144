//! How a connection to a provider is opened through an outbound proxy, the same in both planes.
//!
//! An [`OutboundProxy`] is what an operator configured, compiled. Whoever wants a connection opens one to the proxy's own
//! address and hands it to [`connect_through`]: TLS with the proxy where it speaks HTTPS, `CONNECT` or SOCKS5
//! ([`mod@handshake`]), TLS with the provider where its URL says so. What comes out is a [`Tunnel`]. Names of providers are
//! resolved by the proxy; the [`TargetGuard`] says beforehand where a tunnel may not lead. [`Caller`] makes single calls, for
//! tests of connections and the like; the proxies of the fleet have pools of their own.
//!
//! Errors say who is at fault, the proxy or what lies behind it, and carry no address and no credential: their texts reach
//! clients.

mod call;
mod error;
mod guard;
mod handshake;
mod outbound_proxy;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod through;

#[cfg(test)]
mod tests;

pub use self::{
    call::{CallLimits, Caller},
    error::EgressError,
    guard::TargetGuard,
    outbound_proxy::{Family, OutboundProxy, ProxyKind, ProxySpec, ProxySpecError, ProxyUse, Used},
    through::{Target, TlsSettings, Tunnel, connect_through},
};
