//! Whether a browser sent a request on behalf of our own page, or another website made it.

use http::{HeaderMap, header, uri::Uri};

use crate::http::AllowedOrigins;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whether a request that a browser's session authenticates was made by our own page, by an allowed one, or by no
/// page at all. Browsers send `Sec-Fetch-Site` or `Origin` with every unsafe request, and no script can forge them; a
/// program that sends neither is no browser.
pub fn is_trusted(headers: &HeaderMap, allowed: &AllowedOrigins) -> bool {
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| allowed.allows(origin)) {
        return true;
    }
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = origin else { return true };
    let Some(host) = headers.get(header::HOST) else { return false };
    let Ok(Ok(origin)) = origin.to_str().map(str::parse::<Uri>) else { return false };
    origin.authority().is_some_and(|authority| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn trusted(headers: &[(&'static str, &'static str)], allowed: &str) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        is_trusted(&headers, &AllowedOrigins::parse(allowed))
    }

    #[test]
    fn our_own_page_and_programs_are_trusted() {
        assert!(trusted(&[("host", "a:1")], ""));
        assert!(trusted(&[("host", "a:1"), ("origin", "http://a:1")], ""));
        assert!(trusted(&[("host", "a:1"), ("origin", "https://b"), ("sec-fetch-site", "same-origin")], ""));
    }

    #[test]
    fn other_websites_are_not() {
        for headers in [
            &[("host", "a:1"), ("origin", "http://b:1")][..],
            &[("host", "a:1"), ("origin", "http://a:2")][..],
            &[("host", "a:1"), ("origin", "null")][..],
            &[("host", "a:1"), ("sec-fetch-site", "cross-site")][..],
            &[("host", "a:1"), ("sec-fetch-site", "same-site"), ("origin", "http://x.a:1")][..],
            &[("origin", "http://a:1")][..],
        ] {
            assert!(!trusted(headers, ""), "{headers:?}");
            assert!(!trusted(headers, "*"), "a star never opens the session: {headers:?}");
        }
        assert!(trusted(&[("host", "a:1"), ("sec-fetch-site", "cross-site"), ("origin", "https://b")], "https://B/"));
    }
}
