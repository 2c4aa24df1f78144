//! The API key of a request.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    time::UnixMillis,
};

use super::origin::is_local_origin;
use crate::{request::Caller, snapshot::Snapshot};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// What this proxy asks of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiKeyPolicy {
    Required,
    /// Whoever reaches this machine's loopback address may come in without a key.
    LoopbackExempt,
}

/// Finds out who sent a request.
///
/// # Errors
/// When the key is missing, unknown, or no good any more.
pub(super) fn identify(
    snapshot: &Snapshot,
    policy: ApiKeyPolicy,
    headers: &HeaderMap,
    query: Option<&str>,
    now: UnixMillis,
) -> Result<Caller, GatewayError> {
    let refused = |code, message: &str| Err(GatewayError::new(ErrorClass::Unauthenticated, code, message));
    let open = policy == ApiKeyPolicy::LoopbackExempt && is_local_origin(headers);
    let found = presented(headers, query).map(|key| {
        let hash = snapshot.settings().pepper.hash(key);
        snapshot.key(&hash).filter(|key| key.accepts(&hash, now))
    });
    match found {
        Some(Some(key)) => {
            key.check(now)?;
            Ok(Caller::Key(Arc::clone(key)))
        }
        // SDKs insist on sending some key; where none is required, any will do.
        Some(None) | None if open => Ok(Caller::Local),
        Some(None) => refused("invalid_api_key", "the API key is not known here"),
        None => Err(GatewayError::new(ErrorClass::Unauthenticated, "missing_api_key", "an API key is required")
            .with_hint("send it as `Authorization: Bearer …` or `x-api-key`")),
    }
}

/// The key that a request presents: a bearer token, else `x-api-key`, else Google's header or its `key` in the query.
fn presented<'r>(headers: &'r HeaderMap, query: Option<&'r str>) -> Option<&'r str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let named = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    // Keys are of letters, digits and dashes, so they stand in a query as they are.
    let in_query = || query?.split('&').find_map(|pair| pair.strip_prefix("key="));
    let found = bearer.or_else(|| named(X_API_KEY)).or_else(|| named(X_GOOG_API_KEY)).or_else(in_query);
    found.filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::server::testing::{KEY, snapshot_with};

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn try_with(policy: ApiKeyPolicy, headers: &[(&'static str, &str)]) -> Result<Caller, &'static str> {
        let snapshot = snapshot_with(|_| {});
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        identify(&snapshot, policy, &map, None, NOW).map_err(|error| error.code)
    }

    #[test]
    fn a_key_is_taken_from_either_header_and_bearer_goes_first() {
        for headers in [
            &[("authorization", format!("Bearer {KEY}"))][..],
            &[("authorization", format!("bearer  {KEY} "))],
            &[("x-api-key", KEY.to_owned())],
            &[("authorization", "Basic Zm9vOmJhcg==".to_owned()), ("x-api-key", KEY.to_owned())],
            &[("authorization", format!("Bearer {KEY}")), ("x-api-key", "sk-other".to_owned())],
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert!(matches!(try_with(ApiKeyPolicy::Required, &headers), Ok(Caller::Key(_))), "{headers:?}");
        }
    }

    #[test]
    fn the_secret_before_counts_until_its_time_is_over() {
        let snapshot = snapshot_with(|resources| {
            resources.key("k2", "sk-new", |key| {
                key.previous_key_hash = snapshot_with(|_| {}).settings().pepper.hash("sk-old").as_bytes().to_vec();
                key.previous_until_ms = NOW.0 + 1;
            });
        });
        let try_at = |secret: &'static str, now| {
            let headers = [(X_API_KEY, HeaderValue::from_static(secret))].into_iter().collect();
            identify(&snapshot, ApiKeyPolicy::Required, &headers, None, UnixMillis(now)).map_err(|error| error.code)
        };
        assert!(matches!(try_at("sk-old", NOW.0), Ok(Caller::Key(key)) if key.id.as_str() == "k2"));
        assert_eq!(try_at("sk-old", NOW.0 + 1).err(), Some("invalid_api_key"));
        assert!(try_at("sk-new", NOW.0 + 1).is_ok());
    }

    #[test]
    fn no_key_and_a_wrong_key_are_told_apart() {
        for (headers, code) in [
            (&[][..], "missing_api_key"),
            (&[("authorization", "Bearer ")], "missing_api_key"),
            (&[("authorization", "Basic Zm9vOmJhcg==")], "missing_api_key"),
            (&[("authorization", "Bearer sk-wrong")], "invalid_api_key"),
        ] {
            assert_eq!(try_with(ApiKeyPolicy::Required, headers).err(), Some(code), "{headers:?}");
        }
    }

    #[test]
    fn where_no_key_is_required_this_machine_may_come_in_and_foreign_pages_may_not() {
        assert!(matches!(try_with(ApiKeyPolicy::LoopbackExempt, &[]), Ok(Caller::Local)));
        assert!(matches!(try_with(ApiKeyPolicy::LoopbackExempt, &[("x-api-key", "sk-dummy")]), Ok(Caller::Local)));
        assert!(matches!(try_with(ApiKeyPolicy::LoopbackExempt, &[("x-api-key", KEY)]), Ok(Caller::Key(_))));
        let page = ("origin", "https://evil.example");
        assert_eq!(try_with(ApiKeyPolicy::LoopbackExempt, &[page]).err(), Some("missing_api_key"));
        assert!(try_with(ApiKeyPolicy::LoopbackExempt, &[page, ("x-api-key", KEY)]).is_ok());
    }
}
