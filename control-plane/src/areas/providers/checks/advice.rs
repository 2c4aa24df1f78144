//! What to do about an answer that is none: where the base URL is to blame, its form mostly tells.

use http::StatusCode;
use omniroute_providers::Upstream;

/// When the base URL tells nothing.
pub(super) const NO_LIST: &str = "no list of models at this URL; check it, or name a model to test with";

/// Whether a body is a web page.
pub(in super::super) fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// What the operator should look at; `None` when the base URL is not to blame.
pub(in super::super) fn advice(upstream: &Upstream, status: StatusCode, body: &[u8]) -> Option<String> {
    let version = upstream.base_with_version().map(|url| format!("; most have a version: try {url}"));
    let is_missing =
        matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
    match (is_page(body) && (status.is_success() || is_missing), version) {
        (true, version) => {
            Some(format!("a web page is there, not an API: check the base URL{}", version.unwrap_or_default()))
        }
        (false, Some(version)) if is_missing => Some(format!("there is no such API at the base URL{version}")),
        (false, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use omniroute_core::address::AddressPolicy;
    use omniroute_providers::ConnectionSpec;

    use super::{super::rules::blank, *};

    fn at(base_url: &str) -> Upstream {
        let spec = ConnectionSpec { provider: "openai", secret: "k", base_url, ..blank() };
        Upstream::compile(&spec, AddressPolicy::PublicOnly).expect("compiled")
    }

    #[test]
    fn a_base_url_that_is_wrong_is_told_what_it_lacks() {
        let (bare, whole) = (at("https://h.example/api"), at("https://h.example/v1"));
        let said = |upstream: &Upstream, status, body: &str| {
            advice(upstream, StatusCode::from_u16(status).expect("a status"), body.as_bytes())
        };
        let missing = "there is no such API at the base URL; most have a version: try https://h.example/api/v1";
        assert_eq!(said(&bare, 404, "{}").as_deref(), Some(missing));
        let page =
            "a web page is there, not an API: check the base URL; most have a version: try https://h.example/api/v1";
        assert_eq!(said(&bare, 200, "<!doctype html>").as_deref(), Some(page));
        assert_eq!(
            said(&whole, 200, " \n<html>").as_deref(),
            Some("a web page is there, not an API: check the base URL")
        );
        for (upstream, status, body) in
            [(&whole, 404, "{}"), (&bare, 200, "{}"), (&bare, 401, "{}"), (&bare, 502, "<html>")]
        {
            assert_eq!(said(upstream, status, body), None, "{status} {body}");
        }
    }
}
