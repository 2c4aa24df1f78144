//! Which pages of other origins a browser lets in.

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::extract::REQUEST_ID;

/// Origins that may use a browser's session besides our own.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins {
    origins: Vec<String>,
    any: bool,
}

// === impl AllowedOrigins ===

impl AllowedOrigins {
    /// From a comma-separated list. `*` lets any origin read with a Bearer token, none with the session.
    pub fn parse(list: &str) -> Self {
        let entries = || list.split(',').map(|origin| origin.trim().trim_end_matches('/')).filter(|o| !o.is_empty());
        Self {
            origins: entries().filter(|origin| *origin != "*").map(str::to_ascii_lowercase).collect(),
            any: entries().any(|origin| origin == "*"),
        }
    }

    pub fn allows(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)))
    }

    /// `None`: browsers let only our own pages in.
    pub(super) fn cors(&self) -> Option<CorsLayer> {
        if self.origins.is_empty() && !self.any {
            return None;
        }
        let layer = CorsLayer::new()
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static(REQUEST_ID)])
            .expose_headers([HeaderName::from_static(REQUEST_ID), header::RETRY_AFTER]);
        if self.any {
            return Some(layer.allow_origin(Any));
        }
        let allowed = self.clone();
        let predicate = move |origin: &HeaderValue, _: &http::request::Parts| allowed.allows(origin);
        Some(layer.allow_origin(AllowOrigin::predicate(predicate)).allow_credentials(true))
    }
}
