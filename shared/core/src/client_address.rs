//! Who is at the other end of a request that came through other machines.
//!
//! `Forwarded` and `X-Forwarded-For` are written by whoever wants to. What counts is who added an entry: the nearest one was
//! added by the peer, the one before by the machine that entry names, and so on. So the entries are read from the right, as
//! far as each was added by somebody who is trusted ([`TrustedProxies`]); the first that is not trusted is the client.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;

use crate::settings::SettingValue;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Ranges of addresses of the operator's own balancers and proxies. Nobody, unless they are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// The machines that a request says it came through, the nearest last. An entry that is no address is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hops(Vec<Option<IpAddr>>);

// === impl TrustedProxies ===

impl TrustedProxies {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }

    /// The address of the client. `peer` is the other end of the connection. This machine is always believed: whoever
    /// speaks from its loopback address could as well read our memory.
    pub fn client(&self, peer: IpAddr, hops: &Hops) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in hops.0.iter().rev() {
            if !(client.is_loopback() || self.contains(client)) {
                break;
            }
            // Behind an entry that nobody can read, nobody can be told.
            let Some(hop) = hop else { break };
            client = *hop;
        }
        client
    }
}

impl SettingValue for TrustedProxies {
    const KIND: &'static str = "addresses";

    fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        let range = |entry: &str| {
            let range = entry.parse::<IpNet>().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from));
            let range = range.ok_or_else(|| {
                format!("expected addresses or ranges such as 10.0.0.0/8, separated by commas; `{entry}` is none")
            })?;
            // `::ffff:10.0.0.0/104` is a way to write `10.0.0.0/8` that no address would be found in.
            match range {
                IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
                    Err(format!("write `{entry}` as a range of IPv4 addresses"))
                }
                range => Ok(range.trunc()),
            }
        };
        entries.map(range).collect::<Result<_, _>>().map(Self)
    }
}

// === impl Hops ===

impl Hops {
    /// What `Forwarded` (RFC 7239) and `X-Forwarded-For` say. A balancer writes one of the two and lets the other pass as the
    /// client wrote it: where both are there and do not say the same, nothing is known.
    pub fn of(headers: &HeaderMap) -> Self {
        let standard: Vec<_> =
            entries(headers, header::FORWARDED.as_str()).map(|entry| forwarded_for(&entry)).collect();
        let common: Vec<_> = entries(headers, X_FORWARDED_FOR).map(|entry| address(&entry)).collect();
        match (standard.is_empty(), common.is_empty()) {
            (_, true) => Self(standard),
            (true, _) => Self(common),
            _ if standard == common => Self(common),
            _ => Self(vec![None]),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the request never left this machine, as far as it says.
    pub fn are_local(&self) -> bool {
        self.0.iter().all(|hop| hop.is_some_and(|address| address.is_loopback()))
    }

    /// `X-Forwarded-For` for the next machine: these hops, and `peer`, from whom the request came here.
    pub fn and(&self, peer: IpAddr) -> String {
        let mut list = String::new();
        for hop in &self.0 {
            match hop {
                Some(address) => list.push_str(&address.to_string()),
                None => list.push_str("unknown"),
            }
            list.push_str(", ");
        }
        list + &peer.to_canonical().to_string()
    }
}

/// The entries of a list that may stand in several lines. An odd line is one odd entry.
fn entries<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = String> + 'h {
    let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_owned();
    headers.get_all(name).iter().map(text).flat_map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
}

/// `for=` of an entry of `Forwarded`.
fn forwarded_for(entry: &str) -> Option<IpAddr> {
    let pairs = entry.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value);
    address(named.next().filter(|_| named.next().is_none())?)
}

/// An address, with or without a port, brackets and quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"').trim();
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (port.is_empty() || port.starts_with(':')).then_some(address)?
        }
        // One colon: an IPv4 address with its port.
        None => text.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(text, |(address, _)| address),
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(headers: &[(&'static str, &'static str)]) -> Hops {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Hops::of(&map)
    }

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let trusted = TrustedProxies::parse("10.0.0.0/8, 2001:db8:1::/48,192.0.2.1").expect("ranges");
        trusted.client(peer.parse().expect("an address"), &hops(headers)).to_string()
    }

    #[test]
    fn entries_count_from_the_right_as_far_as_they_were_added_by_somebody_trusted() {
        for (peer, header, expected) in [
            ("10.0.0.5", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.5", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
            ("10.0.0.5", "198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
            ("::ffff:10.0.0.5", "203.0.113.9:51234", "203.0.113.9"),
            ("2001:db8:1::7", "[2001:db8:2::9]:443", "2001:db8:2::9"),
            ("192.0.2.1", "2001:db8:2::9", "2001:db8:2::9"),
            ("10.0.0.5", "10.0.0.9, 10.0.0.7", "10.0.0.9"),
            ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("127.0.0.1", "203.0.113.9, 127.0.0.1", "203.0.113.9"),
            // Nobody who is trusted said so.
            ("203.0.113.77", "198.51.100.1", "203.0.113.77"),
            ("192.0.2.2", "198.51.100.1", "192.0.2.2"),
            // Nobody can tell what that means.
            ("10.0.0.5", "203.0.113.9, unknown", "10.0.0.5"),
            ("10.0.0.5", "203.0.113.9, _hidden, 10.1.2.3", "10.1.2.3"),
            ("10.0.0.5", "203.0.113.9,", "10.0.0.5"),
        ] {
            assert_eq!(client(peer, &[("x-forwarded-for", header)]), expected, "{peer} {header}");
        }
        let lines = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client("10.0.0.5", &lines), "203.0.113.9", "lines are one list");
        assert_eq!(client("10.0.0.5", &[]), "10.0.0.5");
    }

    #[test]
    fn the_standard_header_says_the_same_in_its_own_way() {
        for (header, expected) in [
            ("for=203.0.113.9;proto=https;by=10.0.0.5", "203.0.113.9"),
            ("for=198.51.100.1, For=\"203.0.113.9:51234\"", "203.0.113.9"),
            ("for=\"[2001:db8:2::9]:443\"", "2001:db8:2::9"),
            ("for=unknown", "10.0.0.5"),
            ("proto=https", "10.0.0.5"),
            ("for=203.0.113.9;for=198.51.100.1", "10.0.0.5"),
        ] {
            assert_eq!(client("10.0.0.5", &[("forwarded", header)]), expected, "{header}");
        }
    }

    #[test]
    fn two_headers_that_do_not_agree_say_nothing() {
        let agreeing = [("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client("10.0.0.5", &agreeing), "203.0.113.9");
        let forged = [("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client("10.0.0.5", &forged), "10.0.0.5");
    }

    #[test]
    fn nobody_is_trusted_unless_named() {
        let nobody = TrustedProxies::parse("").expect("empty");
        assert!(nobody.is_empty());
        let peer = "10.0.0.5".parse().expect("an address");
        assert_eq!(nobody.client(peer, &hops(&[("x-forwarded-for", "203.0.113.9")])), peer);
        for odd in ["10.0.0.0/33", "balancer", "10.0.0.0-10.0.0.9", "::ffff:10.0.0.0/104"] {
            assert!(TrustedProxies::parse(odd).is_err(), "{odd}");
        }
        let loose = TrustedProxies::parse("10.1.2.3/8").expect("a range");
        assert!(loose.contains("10.9.9.9".parse().expect("an address")));
    }

    #[test]
    fn the_next_machine_is_told_all_of_it() {
        let peer = "10.0.0.5".parse().expect("an address");
        for (headers, expected) in [
            (&[][..], "10.0.0.5"),
            (&[("x-forwarded-for", "203.0.113.9")], "203.0.113.9, 10.0.0.5"),
            (&[("forwarded", "for=\"[2001:db8::9]\"")], "2001:db8::9, 10.0.0.5"),
            (&[("x-forwarded-for", "x, 203.0.113.9")], "unknown, 203.0.113.9, 10.0.0.5"),
            (&[("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=8.8.8.8")], "unknown, 10.0.0.5"),
        ] {
            assert_eq!(hops(headers).and(peer), expected);
        }
        assert!(hops(&[]).are_local() && hops(&[("x-forwarded-for", "127.0.0.1, ::1")]).are_local());
        assert!(!hops(&[("x-forwarded-for", "127.0.0.1, x")]).are_local());
    }
}
