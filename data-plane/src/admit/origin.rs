//! Where a call comes from, in a browser.

use http::{HeaderMap, Uri, header};
use omniroute_core::client_address::Hops;

/// Whether a call comes from no page, or from a page that this machine serves. Where no key is required, any other
/// page would otherwise spend the user's money behind their back.
pub(super) fn is_local_origin(headers: &HeaderMap) -> bool {
    // A reverse proxy on this machine brings who knows whom.
    if !Hops::of(headers).are_local() {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return is_local_host(headers);
    };
    let Some(host) = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok()?.host().map(str::to_owned))
    else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the call names this machine as one that it finds without a public name. A page may have its own name resolve to
/// this machine, and then reads what it asks for without an origin.
fn is_local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok()) else {
        return false;
    };
    let host = authority.host().to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    !host.contains('.')
        || bare.parse::<std::net::IpAddr>().is_ok()
        || [".localhost", ".local", ".internal", ".lan", ".home.arpa"].iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_this_machines_pages_count_as_local() {
        let local = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a value"));
            is_local_origin(&headers)
        };
        assert!(is_local_origin(&HeaderMap::new()));
        let named = |host: &str| {
            is_local_origin(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).expect("a value"))]))
        };
        for host in ["localhost:20128", "127.0.0.1:20128", "[::1]:20128", "omniroute:20128", "host.docker.internal"] {
            assert!(named(host), "{host}");
        }
        for host in ["evil.example", "evil.example:20128", "localhost.evil.example", "127.0.0.1.nip.io", "a b"] {
            assert!(!named(host), "{host}");
        }
        for origin in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080"] {
            assert!(local(origin), "{origin}");
        }
        let forwarded = |by: &'static str, value: &'static str| {
            is_local_origin(&HeaderMap::from_iter([(
                http::HeaderName::from_static(by),
                HeaderValue::from_static(value),
            )]))
        };
        assert!(forwarded("x-forwarded-for", "127.0.0.1"));
        assert!(!forwarded("x-forwarded-for", "203.0.113.9, 127.0.0.1") && !forwarded("forwarded", "for=203.0.113.9"));
        for origin in ["null", "https://evil.example", "http://localhost.evil.example", "http://10.0.0.1"] {
            assert!(!local(origin), "{origin}");
        }
    }
}
