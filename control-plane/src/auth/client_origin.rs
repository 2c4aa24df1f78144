//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{HeaderMap, header, request::Parts};
use omniroute_core::client_address::{Hops, TrustedProxies};

use crate::http::ApiError;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOrigin {
    /// The other end of the TCP connection.
    pub peer: Option<IpAddr>,
    /// Whom to count and to log: the peer, or the client that machines on the way named, as far as they are trusted.
    pub address: Option<IpAddr>,
    /// Whether the request was made on this machine, for this machine.
    pub is_local: bool,
}

/// How the machines between a caller and this process are judged.
#[derive(Clone, Debug)]
pub struct ClientOriginRules {
    pub trusted_proxies: TrustedProxies,
    /// Nobody else can reach the listener at all.
    pub listens_on_loopback: bool,
}

// === impl ClientOriginRules ===

impl ClientOriginRules {
    /// Where a request with this head comes from.
    pub fn client(&self, parts: &Parts) -> ClientOrigin {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        ClientOrigin::of(peer, &parts.headers, &self.trusted_proxies, self.listens_on_loopback)
    }
}

// === impl ClientOrigin ===

impl ClientOrigin {
    fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &TrustedProxies, listens_on_loopback: bool) -> Self {
        let behind_loopback = listens_on_loopback || peer.is_some_and(|peer| peer.is_loopback());
        let hops = Hops::of(headers);
        let address = peer.map(|peer| trusted.client(peer, &hops));
        let is_local = behind_loopback && hops.are_local() && names_loopback(headers);
        Self { peer, address, is_local }
    }
}

/// The guard has found it out.
impl<S: Send + Sync> FromRequestParts<S> for ClientOrigin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let known = parts.extensions.get::<Self>().copied();
        known.ok_or_else(|| ApiError::internal(&"a route is served without the guard"))
    }
}

/// A page of another site can make its own name resolve to this machine; the `Host` it then sends gives it away.
fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(authority) = host.to_str().unwrap_or("?").parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use omniroute_core::settings::SettingValue as _;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> ClientOrigin {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).expect("a value"))
        });
        let trusted = TrustedProxies::parse("10.0.0.0/8").expect("a range");
        ClientOrigin::of(Some(peer.parse().expect("an address")), &headers.collect(), &trusted, false)
    }

    #[test]
    fn only_a_request_made_here_for_here_is_local() {
        assert!(client("127.0.0.1", &[("host", "localhost:20129")]).is_local);
        assert!(client("::1", &[("host", "[::1]:20129")]).is_local);
        assert!(client("127.0.0.1", &[("host", "localhost"), ("x-forwarded-for", "127.0.0.1")]).is_local);
        for (peer, headers) in [
            ("192.168.1.5", &[("host", "localhost")][..]),
            ("127.0.0.1", &[("host", "evil.example")][..]),
            ("127.0.0.1", &[("host", "localhost"), ("x-forwarded-for", "203.0.113.9")][..]),
            ("127.0.0.1", &[("host", "localhost"), ("x-forwarded-for", "203.0.113.9, 127.0.0.1")][..]),
            ("127.0.0.1", &[("host", "localhost"), ("x-forwarded-for", "unknown")][..]),
            ("127.0.0.1", &[("host", "localhost"), ("forwarded", "for=203.0.113.9")][..]),
        ] {
            assert!(!client(peer, headers).is_local, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_address_of_a_forwarded_caller_is_believed_only_from_this_machine_and_who_is_trusted() {
        let forwarded = [("x-forwarded-for", "198.51.100.1, 203.0.113.9")];
        for peer in ["127.0.0.1", "10.0.0.5"] {
            assert_eq!(client(peer, &forwarded).address, "203.0.113.9".parse().ok(), "{peer}");
        }
        assert_eq!(client("192.0.2.7", &forwarded).address, "192.0.2.7".parse().ok());
        // A proxy of ours on this machine, behind a balancer.
        let twice = [("x-forwarded-for", "203.0.113.9, 10.0.0.5")];
        assert_eq!(client("127.0.0.1", &twice).address, "203.0.113.9".parse().ok());
    }

    #[test]
    fn a_balancer_makes_nobody_local() {
        let headers = [("host", "localhost"), ("x-forwarded-for", "127.0.0.1")];
        assert!(!client("10.0.0.5", &headers).is_local);
    }
}
