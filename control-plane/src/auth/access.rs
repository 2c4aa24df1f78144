//! What each route demands. Whatever is not listed here demands a manager, unknown paths included, so that a caller
//! who is nobody cannot tell which routes exist.

use http::Method;

/// What a route demands of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, unseen.
    Open,
    /// Anybody; a manager sees more.
    Either,
    /// A manager.
    Manager,
}

/// Routes that are not for managers only. `HEAD` counts as `GET`.
const OPEN: &[(&Method, &str, Access)] = &[
    (&Method::GET, "/", Access::Open),
    (&Method::GET, "/healthz", Access::Open),
    (&Method::GET, "/readyz", Access::Open),
    (&Method::GET, "/metrics", Access::Open),
    (&Method::GET, "/dashboard", Access::Open),
    (&Method::GET, "/dashboard/", Access::Open),
    (&Method::GET, "/dashboard/{file}", Access::Open),
    (&Method::GET, "/api/docs", Access::Open),
    (&Method::GET, "/api/docs/", Access::Open),
    (&Method::GET, "/api/docs/{*rest}", Access::Open),
    (&Method::GET, "/api/openapi.json", Access::Open),
    (&Method::GET, "/api/init", Access::Open),
    (&Method::POST, "/api/auth/login", Access::Open),
    (&Method::POST, "/api/auth/logout", Access::Open),
    (&Method::GET, "/api/settings/require-login", Access::Open),
    // Without a password there is nobody who could sign in; the handler then wants a caller on this machine.
    (&Method::PUT, "/api/settings/require-login", Access::Either),
    (&Method::POST, "/api/settings/require-login", Access::Either),
    (&Method::GET, "/api/monitoring/health", Access::Either),
];

/// What the route demands that a request was matched to; `None` is a path that no route has.
pub fn access(method: &Method, matched: Option<&str>, path: &str) -> Access {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let Some(route) = matched else {
        return if is_api(path) { Access::Manager } else { Access::Open };
    };
    OPEN.iter()
        .find(|(open, template, _)| *open == method && *template == route)
        .map_or(Access::Manager, |(_, _, access)| *access)
}

fn is_api(path: &str) -> bool {
    path.split('/').find(|segment| !segment.is_empty()).is_some_and(|first| first.eq_ignore_ascii_case("api"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_demands_a_manager() {
        assert_eq!(access(&Method::GET, Some("/api/keys"), "/api/keys"), Access::Manager);
        assert_eq!(access(&Method::POST, Some("/api/init"), "/api/init"), Access::Manager);
        assert_eq!(access(&Method::DELETE, Some("/dashboard"), "/dashboard"), Access::Manager);
        for path in ["/api", "/api/", "/api/nothing", "//api/keys", "/API/keys"] {
            assert_eq!(access(&Method::GET, None, path), Access::Manager, "{path}");
        }
        assert_eq!(access(&Method::GET, None, "/favicon.ico"), Access::Open);
    }

    #[test]
    fn head_is_treated_as_get() {
        assert_eq!(access(&Method::HEAD, Some("/healthz"), "/healthz"), Access::Open);
        assert_eq!(access(&Method::HEAD, Some("/api/keys"), "/api/keys"), Access::Manager);
    }
}
