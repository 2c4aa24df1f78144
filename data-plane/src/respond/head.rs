//! The head of an upstream's answer, as the client may see it.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{reply::headers::X_OMNIROUTE_DROPPED, translate::Translation};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Room for what is let through and what is added.
const CAPACITY: usize = 12;

/// What a client may see of an upstream's headers. Everything else tells about the upstream's machines, its cookies or
/// the account that is used there.
pub(super) fn pass(upstream: HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(CAPACITY);
    let mut last = None;
    for (name, value) in upstream {
        // A repeated header comes without its name.
        if let Some(name) = name {
            last = may_pass(&name).then_some(name);
        }
        if let Some(name) = &last {
            passed.append(name.clone(), value);
        }
    }
    passed
}

fn may_pass(name: &HeaderName) -> bool {
    let text = name.as_str();
    match text.as_bytes()[0] {
        b'c' => *name == header::CONTENT_TYPE || *name == header::CONTENT_LANGUAGE,
        b'o' => text.starts_with("openai-") && text != "openai-organization" && text != "openai-project",
        b'r' => *name == header::RETRY_AFTER,
        b'x' => text.starts_with("x-ratelimit-") || text == "x-should-retry",
        _ => false,
    }
}

/// The head of an answer in another format: its media type is the client's, the upstream's own words about itself mean
/// nothing to the client, and what could not cross is listed.
pub(super) fn translate(headers: &mut HeaderMap, translation: &Translation) {
    let media_type = if translation.stream { translation.dialect.stream_type() } else { "application/json" };
    rewrite(headers, media_type, translation.dropped.as_deref());
}

/// See [`translate`].
pub(super) fn rewrite(headers: &mut HeaderMap, media_type: &'static str, dropped: Option<&str>) {
    let foreign: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("openai-")).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Some(dropped) = dropped.and_then(|names| HeaderValue::from_str(names).ok()) {
        headers.insert(X_OMNIROUTE_DROPPED, dropped);
    }
}

/// Tells caches and reverse proxies to pass every event at once.
pub(super) fn mark_stream(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_client_needs_passes() {
        let mut upstream = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("retry-after", "3"),
            ("x-ratelimit-remaining-tokens", "10"),
            ("openai-processing-ms", "12"),
            ("openai-organization", "org-secret"),
            ("set-cookie", "session=1"),
            ("server", "vendor/1.2"),
            ("cf-ray", "abc"),
            ("x-request-id", "theirs"),
            ("via", "1.1 inner.vendor.internal"),
            ("location", "http://10.0.0.1/"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("access-control-allow-origin", "https://vendor"),
        ] {
            upstream.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        upstream.append("set-cookie", HeaderValue::from_static("second=2"));
        upstream.append("openai-processing-ms", HeaderValue::from_static("13"));
        let passed = pass(upstream);
        let mut names: Vec<_> = passed.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                ("content-type", &b"application/json"[..]),
                ("openai-processing-ms", b"12"),
                ("openai-processing-ms", b"13"),
                ("retry-after", b"3"),
                ("x-ratelimit-remaining-tokens", b"10"),
            ]
        );
    }
}
