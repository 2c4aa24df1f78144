//! A control plane to call.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::{Router, body::Body, extract::ConnectInfo};
use http_body_util::BodyExt as _;
use omniroute_coordination::LocalCoordination;
use omniroute_core::{
    settings::{ControlPlaneSettings, SettingsTable as _, Sources},
    time::{ManualClock, UnixMillis},
};
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::{
    areas::oauth::Variables,
    auth::token::Tokens,
    http,
    ledger::Ledger,
    publish::ProxyRegistry,
    run::{Areas, Foundations, limits},
    store::{
        Store,
        testing::{KEY, NOON, TestDatabase},
    },
};

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const LOCAL: &str = "127.0.0.1:40000";
pub(crate) const REMOTE: &str = "203.0.113.9:40000";

/// A control plane in this process.
pub(crate) struct Gateway {
    pub(crate) on: Foundations,
    pub(crate) areas: Areas,
    pub(crate) settings: ControlPlaneSettings,
    pub(crate) clock: ManualClock,
    router: Router,
    database: TestDatabase,
}

/// A request in the making. Unless told otherwise it comes from this machine, from a manager.
pub(crate) struct Call<'a> {
    gateway: &'a Gateway,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Body,
    peer: SocketAddr,
    as_manager: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

// === impl Gateway ===

impl Gateway {
    /// With an admin password and private upstreams allowed.
    pub(crate) async fn new() -> Self {
        Self::with(&[("INITIAL_PASSWORD", PASSWORD)]).await
    }

    /// With these variables besides the usual ones.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::with_database(TestDatabase::sqlite(), variables).await
    }

    /// With these variables, on a database that others may use too.
    pub(crate) async fn with_database(database: TestDatabase, variables: &[(&str, &str)]) -> Self {
        let usual = [
            ("JWT_SECRET", "jwt-secret-for-tests-0123456789"),
            ("API_KEY_SECRET", "pepper"),
            ("STORAGE_ENCRYPTION_KEY", KEY),
            ("OMNIROUTE_JOIN_TOKEN", "join-token-for-tests"),
            ("CONTROL_PLANE_HOST", "0.0.0.0"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
        ];
        let all = usual.iter().chain(variables).copied().filter(|(name, value)| {
            // Later ones win.
            variables.iter().rfind(|(other, _)| other == name).is_none_or(|(_, last)| last == value)
        });
        let settings = ControlPlaneSettings::from_sources(&Sources::of_values(all)).expect("settings");
        let clock = ManualClock::at(NOON);
        let (keys, allow_private) = (settings.storage_encryption_key.expose(), settings.allow_private_upstreams);
        let store = database.open_with(keys, "pepper", allow_private, Arc::new(clock.clone())).await.expect("a store");
        let stopping = CancellationToken::new();
        let on = Foundations {
            ledger: Ledger::start(store.clone(), 90).await.expect("a ledger"),
            proxies: ProxyRegistry::start(store.clone(), stopping.clone()),
            coordination: Arc::new(LocalCoordination::new(Arc::new(clock.clone()))),
            tokens: Tokens::new(settings.jwt_secret.expose(), Arc::new(clock.clone())),
            clock: Arc::new(clock.clone()),
            environment: Variables::of_values(variables),
            background: TaskTracker::new(),
            store,
            stopping,
        };
        let areas = Areas::build(&settings, &on).expect("areas");
        areas.access.login.ensure_initial_password().await.expect("a password");
        Self { router: areas.service(&settings, &on), on, areas, settings, clock, database }
    }

    /// Another control plane's place in the fleet, with these master keys.
    pub(crate) async fn replica(&self, keys: &str) -> Store {
        self.database.open_with(keys, "pepper", true, Arc::new(self.clock.clone())).await.expect("a store")
    }

    /// The same control plane with other routes behind the same door.
    pub(crate) fn through(mut self, routes: Router) -> Self {
        let (_, table) = self.areas.api();
        let guard = self.areas.guard(&self.settings, &self.on, table);
        self.router = http::layered(routes, &limits(&self.settings), |routes| guard.before(routes));
        self
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            gateway: self,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Body::empty(),
            peer: LOCAL.parse().expect("an address"),
            as_manager: true,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path).json(body).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path).json(body).send().await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path).json(body).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path).send().await
    }

    pub(crate) fn clock_now(&self) -> UnixMillis {
        self.on.clock.now()
    }

    /// Signs in and returns the cookie.
    pub(crate) async fn sign_in(&self) -> String {
        let answer = self.login(PASSWORD).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.cookie()
    }

    pub(crate) async fn login(&self, password: &str) -> Answer {
        let body = serde_json::json!({ "password": password });
        self.call(Method::POST, "/api/auth/login").anonymous().json(body).send().await
    }
}

// === impl Call ===

impl Call<'_> {
    /// Without any proof of who asks.
    pub(crate) fn anonymous(mut self) -> Self {
        self.as_manager = false;
        self
    }

    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.anonymous().header(header::COOKIE, cookie)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.anonymous().header(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    pub(crate) fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().expect("an address");
        self
    }

    pub(crate) fn header(mut self, name: impl ::http::header::IntoHeaderName, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header"));
        self
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub(crate) fn raw(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, content_type)
    }

    pub(crate) async fn send(self) -> Answer {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().expect("a path");
        *request.headers_mut() = self.headers;
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if self.as_manager {
            let token = self.gateway.on.tokens.cli(Duration::from_secs(60)).expect("a token");
            let value = format!("Bearer {token}").parse().expect("a header");
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = self.gateway.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).expect("a text"),
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The body, after a check of the status.
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// Code of the error, after a check of the status and of the envelope.
    pub(crate) fn code(&self, status: u16) -> String {
        let body = self.ok(status);
        let error = &body["error"];
        assert!(error["message"].is_string(), "{body}");
        assert_eq!(error["correlation_id"], self.headers["x-request-id"].to_str().expect("a text"), "{body}");
        error["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned()
    }

    /// Fields that a 400 names.
    pub(crate) fn fields(&self) -> Vec<String> {
        assert_eq!(self.code(400), "VALID_001");
        let body = self.json();
        assert_eq!(body["error"]["message"], "Invalid request");
        let details = body["error"]["details"].as_array().cloned().unwrap_or_default();
        details.iter().map(|detail| detail["field"].as_str().expect("a field").to_owned()).collect()
    }

    /// `name=value` of the cookie that is set.
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.headers[header::SET_COOKIE].to_str().expect("a text");
        cookie.split(';').next().expect("a value").to_owned()
    }
}
