//! Which network addresses a URL supplied by a user may lead to (the SSRF guard).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// What the operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Public addresses only.
    PublicOnly,
    /// Loopback and private networks as well. Link-local (where clouds keep their metadata service) stays closed.
    AllowPrivate,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    #[error("not a URL")]
    NotAUrl,
    #[error("the URL must start with http:// or https://")]
    Scheme,
    #[error("the URL must not carry a user name or password")]
    Credentials,
    #[error("the URL has no host")]
    NoHost,
    #[error("the address is link-local, multicast or otherwise reserved, which is never allowed")]
    Reserved,
    #[error("the address is loopback or private; set ALLOW_PRIVATE_UPSTREAMS=true to allow it")]
    Private,
}

// === impl AddressPolicy ===

impl AddressPolicy {
    pub const fn from_allow_private(allow: bool) -> Self {
        if allow { Self::AllowPrivate } else { Self::PublicOnly }
    }

    /// Whether a connection may be opened to this address. Call it on what a name resolved to, not on the name.
    ///
    /// # Errors
    /// With the reason, when it may not.
    pub fn check(self, address: IpAddr) -> Result<(), AddressError> {
        let address = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 => v4,
        };
        match reach(address) {
            Reach::Public => Ok(()),
            Reach::Private if self == Self::AllowPrivate => Ok(()),
            Reach::Private => Err(AddressError::Private),
            Reach::Reserved => Err(AddressError::Reserved),
        }
    }

    /// Parses a base URL and checks what can be checked without a look-up: scheme, credentials, literal addresses
    /// and `localhost`.
    ///
    /// # Errors
    /// With the reason, when it may not be used.
    pub fn check_url(self, text: &str) -> Result<Url, AddressError> {
        let url = Url::parse(text.trim()).map_err(|_| AddressError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials);
        }
        match url.host().ok_or(AddressError::NoHost)? {
            Host::Ipv4(address) => self.check(IpAddr::V4(address))?,
            Host::Ipv6(address) => self.check(IpAddr::V6(address))?,
            Host::Domain(name) if is_localhost(name) => self.check(IpAddr::V4(Ipv4Addr::LOCALHOST))?,
            Host::Domain(_) => {}
        }
        Ok(url)
    }
}

/// Whether a cloud's metadata service may answer at this address: link-local, or one of those that clouds have besides.
/// Narrower than what [`AddressPolicy`] never allows.
pub fn is_metadata(address: IpAddr) -> bool {
    let v4 = |v4: Ipv4Addr| v4.is_link_local() || INSIDE.contains(&v4.octets());
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == AWS_METADATA || carried_v4(v6).is_some_and(v4),
    }
}

/// Where Azure and Alibaba answer from inside.
const INSIDE: [[u8; 4]; 2] = [[168, 63, 129, 16], [100, 100, 100, 200]];
/// Where AWS keeps its metadata.
const AWS_METADATA: [u16; 8] = [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];

enum Reach {
    Public,
    Private,
    Reserved,
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(v4: Ipv4Addr) -> Reach {
    let [a, b, c, _] = v4.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocol = a == 192 && b == 0 && c == 0;
    let relays = (a, b, c) == (192, 88, 99);
    if relays || INSIDE.contains(&v4.octets()) {
        Reach::Reserved
    } else if v4.is_loopback() || v4.is_private() || shared {
        Reach::Private
    } else if v4.is_link_local()
        || v4.is_unspecified()
        || v4.is_broadcast()
        || v4.is_multicast()
        || v4.is_documentation()
        || benchmark
        || protocol
        || a == 0
        || a >= 240
    {
        Reach::Reserved
    } else {
        Reach::Public
    }
}

fn reach_v6(v6: Ipv6Addr) -> Reach {
    let segments = v6.segments();
    let documentation = segments[0] == 0x2001 && segments[1] == 0xdb8;
    // Teredo; site-local addresses of old.
    let aws = segments == AWS_METADATA;
    let teredo = segments[..2] == [0x2001, 0];
    let site_local = segments[0] & 0xffc0 == 0xfec0;
    if let Some(carried) = carried_v4(v6) {
        return reach_v4(carried);
    }
    if aws || teredo || site_local {
        Reach::Reserved
    } else if v6.is_loopback() || v6.is_unique_local() {
        Reach::Private
    } else if v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || documentation {
        Reach::Reserved
    } else {
        Reach::Public
    }
}

/// The IPv4 address that an IPv6 address carries inside: mapped, NAT64, 6to4, or compatible with or translated to IPv4. That
/// one is judged.
fn carried_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = v6.segments();
    let nat64 = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] || segments[..3] == [0x64, 0xff9b, 1];
    let translated = segments[..6] == [0, 0, 0, 0, 0xffff, 0];
    let compatible = segments[..6] == [0; 6] && segments[6..] != [0, 0] && segments[6..] != [0, 1];
    if nat64 || translated || compatible {
        return Some(embedded_v4(segments[6], segments[7]));
    }
    if segments[0] == 0x2002 {
        return Some(embedded_v4(segments[1], segments[2]));
    }
    v6.to_ipv4_mapped()
}

fn embedded_v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_inside_by_a_detour_is_closed() {
        for address in [
            "168.63.129.16",
            "100.100.100.200",
            "192.88.99.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b:1::7f00:1",
            "fec0::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "fd00:ec2::254",
        ] {
            assert!(check(AddressPolicy::PublicOnly, address).is_err(), "{address}");
        }
        for metadata in ["168.63.129.16", "100.100.100.200", "fd00:ec2::254"] {
            assert!(check(AddressPolicy::from_allow_private(true), metadata).is_err(), "{metadata}");
        }
    }

    #[test]
    fn metadata_services_are_told_from_all_else_that_is_reserved() {
        let metadata = |address: &str| is_metadata(address.parse().expect("an address"));
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(metadata(address), "{address}");
        }
        for address in ["0.0.0.0", "127.0.0.1", "10.0.0.1", "192.0.2.1", "8.8.8.8", "::", "::1", "fd00::1", "2606::1"] {
            assert!(!metadata(address), "{address}");
        }
    }

    fn check(policy: AddressPolicy, address: &str) -> Result<(), AddressError> {
        policy.check(address.parse().expect("an address"))
    }

    #[test]
    fn the_metadata_service_is_closed_whatever_the_policy() {
        for policy in [AddressPolicy::PublicOnly, AddressPolicy::AllowPrivate] {
            for address in ["169.254.169.254", "fe80::1", "0.0.0.0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"] {
                assert_eq!(check(policy, address), Err(AddressError::Reserved), "{address}");
            }
        }
    }

    #[test]
    fn private_addresses_need_the_operator() {
        for address in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1"] {
            assert_eq!(check(AddressPolicy::PublicOnly, address), Err(AddressError::Private), "{address}");
            assert_eq!(check(AddressPolicy::AllowPrivate, address), Ok(()), "{address}");
        }
        assert_eq!(check(AddressPolicy::PublicOnly, "1.1.1.1"), Ok(()));
        assert_eq!(check(AddressPolicy::PublicOnly, "2606:4700::1111"), Ok(()));
    }

    #[test]
    fn urls_are_judged_before_any_look_up() {
        let policy = AddressPolicy::PublicOnly;
        assert!(policy.check_url("https://api.openai.com/v1").is_ok());
        for (url, reason) in [
            ("ftp://x", AddressError::Scheme),
            ("https://user:pw@host", AddressError::Credentials),
            ("nonsense", AddressError::NotAUrl),
            ("http://localhost:11434", AddressError::Private),
            ("http://2130706433/", AddressError::Private),
            ("http://[::1]:80/", AddressError::Private),
        ] {
            assert_eq!(policy.check_url(url).err(), Some(reason), "{url}");
        }
    }
}
