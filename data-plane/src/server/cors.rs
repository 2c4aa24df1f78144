//! Browsers may call `/v1` and Ollama's paths from any page: the API key travels in a header that only the page's own code can set, and
//! no cookie counts here. A call that needs no key at all is another matter: see
//! the origins of admission.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::route::is_ollamas;
use crate::reply::Reply;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
const ANY: HeaderValue = HeaderValue::from_static("*");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, x-api-key, x-goog-api-key, x-request-id, x-session-id, idempotency-key, \
         anthropic-version, anthropic-beta, x-omniroute-progress, x-omniroute-strict, x-omniroute-no-cache",
);
const A_DAY: HeaderValue = HeaderValue::from_static("86400");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-omniroute-provider, x-omniroute-model, x-omniroute-dropped, x-omniroute-progress, \
     x-omniroute-token-count, x-omniroute-cache, x-omniroute-idempotent, x-omniroute-session-id, retry-after, x-ratelimit-limit-requests, \
     x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, \
     x-ratelimit-reset-requests, x-ratelimit-reset-tokens",
);

/// Whether this is a page's call of a path that pages may call.
pub(super) fn applies<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    request.headers().contains_key(header::ORIGIN) && (path.starts_with("/v1") || is_ollamas(path))
}

/// The answer to a browser that asks whether a page may make a call.
pub(super) fn preflight<B>(request: &Request<B>) -> Option<Response<Reply>> {
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && applies(request);
    if !asks {
        return None;
    }
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    // SDKs send headers of their own, and `*` does not cover `Authorization`: allow what is asked for.
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(REQUEST_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, A_DAY);
    headers.insert(header::VARY, HeaderValue::from_static("access-control-request-headers"));
    Some(response)
}

/// Lets the page read the answer.
pub(super) fn allow(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::options(path);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).expect("fine")
    }

    #[test]
    fn a_preflight_is_told_what_it_asks_for() {
        let request = ask(
            "/v1/chat/completions",
            &[
                ("origin", "https://app.example"),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization,x-stainless-os"),
            ],
        );
        let answer = preflight(&request).expect("a preflight");
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-headers"], "authorization,x-stainless-os");
    }

    #[test]
    fn other_calls_are_no_preflight() {
        let method = ("access-control-request-method", "POST");
        assert!(preflight(&ask("/v1/models", &[method])).is_none(), "no origin");
        assert!(preflight(&ask("/api/keys", &[("origin", "https://a"), method])).is_none(), "not ours to allow");
        assert!(preflight(&ask("/api/tags/x", &[("origin", "https://a"), method])).is_none(), "not ours to allow");
        assert!(preflight(&ask("/v1/models", &[("origin", "https://a")])).is_none(), "a plain OPTIONS");
    }
}
