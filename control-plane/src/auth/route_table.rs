//! What each route requires. Whatever an area does not list as open requires a manager, unknown paths included, so that a
//! caller who is nobody cannot tell which routes exist.

use std::collections::HashMap;

use http::Method;

/// What a route requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing: anybody, unseen.
    Open,
    /// Nothing; a manager sees more.
    Optional,
    /// A manager.
    Manager,
}

/// A route that is not for managers only. `HEAD` counts as `GET`.
pub type OpenRoute = (Method, &'static str, Requirement);

/// The routes of all areas.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    areas: HashMap<String, &'static str>,
    open: Vec<OpenRoute>,
}

/// Pages and files, which belong to no area.
const PAGES: [OpenRoute; 8] = [
    (Method::GET, "/", Requirement::Open),
    (Method::GET, "/dashboard", Requirement::Open),
    (Method::GET, "/dashboard/", Requirement::Open),
    (Method::GET, "/dashboard/{file}", Requirement::Open),
    (Method::GET, "/api/docs", Requirement::Open),
    (Method::GET, "/api/docs/", Requirement::Open),
    (Method::GET, "/api/docs/{*rest}", Requirement::Open),
    (Method::GET, "/api/openapi.json", Requirement::Open),
];

// === impl RouteTable ===

impl RouteTable {
    pub fn new() -> Self {
        Self { areas: HashMap::new(), open: PAGES.to_vec() }
    }

    /// Takes the routes of an area in, by their templates (`/api/keys/{id}`), and those of them that are open.
    pub fn add(&mut self, area: &'static str, routes: impl IntoIterator<Item = String>, open: &[OpenRoute]) {
        self.areas.extend(routes.into_iter().map(|route| (route, area)));
        self.open.extend_from_slice(open);
    }

    /// The area of a route. `None`: a page, or a path that no route has.
    pub fn area(&self, matched: Option<&str>) -> Option<&'static str> {
        self.areas.get(matched?).copied()
    }

    /// What the route requires that a request was matched to; `None` is a path that no route has.
    pub fn requirement(&self, method: &Method, matched: Option<&str>, path: &str) -> Requirement {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let Some(route) = matched else {
            return if is_api(path) { Requirement::Manager } else { Requirement::Open };
        };
        self.open
            .iter()
            .find(|(open, template, _)| open == method && *template == route)
            .map_or(Requirement::Manager, |(_, _, requirement)| *requirement)
    }
}

fn is_api(path: &str) -> bool {
    path.split('/').find(|segment| !segment.is_empty()).is_some_and(|first| first.eq_ignore_ascii_case("api"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> RouteTable {
        let mut table = RouteTable::new();
        let routes = ["/api/keys", "/api/init", "/healthz"].map(str::to_owned);
        let open = [(Method::GET, "/api/init", Requirement::Open), (Method::GET, "/healthz", Requirement::Open)];
        table.add("access", routes, &open);
        table
    }

    #[test]
    fn what_is_not_listed_requires_a_manager() {
        let table = table();
        assert_eq!(table.requirement(&Method::GET, Some("/api/keys"), "/api/keys"), Requirement::Manager);
        assert_eq!(table.requirement(&Method::POST, Some("/api/init"), "/api/init"), Requirement::Manager);
        assert_eq!(table.requirement(&Method::DELETE, Some("/dashboard"), "/dashboard"), Requirement::Manager);
        for path in ["/api", "/api/", "/api/nothing", "//api/keys", "/API/keys"] {
            assert_eq!(table.requirement(&Method::GET, None, path), Requirement::Manager, "{path}");
        }
        assert_eq!(table.requirement(&Method::GET, None, "/favicon.ico"), Requirement::Open);
        assert_eq!((table.area(Some("/api/keys")), table.area(Some("/dashboard"))), (Some("access"), None));
    }

    #[test]
    fn head_is_treated_as_get() {
        let table = table();
        assert_eq!(table.requirement(&Method::HEAD, Some("/healthz"), "/healthz"), Requirement::Open);
        assert_eq!(table.requirement(&Method::HEAD, Some("/api/keys"), "/api/keys"), Requirement::Manager);
    }
}
