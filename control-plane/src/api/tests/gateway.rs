//! A control plane to call.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use omniroute_coordination::LocalCoordination;
use omniroute_core::{
    settings::{ControlPlaneSettings, SettingsTable as _, Sources},
    time::ManualClock,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    ledger::Ledger,
    publish::ProxyRegistry,
    service::{App, Parts, Services},
    store::{
        Store,
        testing::{KEY, NOON, TestDatabase},
    },
};

pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const LOCAL: &str = "127.0.0.1:40000";
pub(super) const REMOTE: &str = "203.0.113.9:40000";

/// A control plane in this process.
pub(super) struct Gateway {
    pub(super) app: App,
    pub(super) clock: ManualClock,
    router: Router,
    database: TestDatabase,
}

/// A request in the making. Unless told otherwise it comes from this machine, from a manager.
pub(super) struct Call<'a> {
    gateway: &'a Gateway,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Body,
    peer: SocketAddr,
    as_manager: bool,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

// === impl Gateway ===

impl Gateway {
    /// With an admin password and private upstreams allowed.
    pub(super) async fn new() -> Self {
        Self::with(&[("INITIAL_PASSWORD", PASSWORD)]).await
    }

    /// With these variables besides the usual ones.
    pub(super) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::on(TestDatabase::sqlite(), variables).await
    }

    /// With these variables, on a database that others may use too.
    pub(super) async fn on(database: TestDatabase, variables: &[(&str, &str)]) -> Self {
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
        let app = Services::new(Parts {
            settings,
            ledger: Ledger::start(store.clone(), 90).await.expect("a ledger"),
            proxies: ProxyRegistry::start(store.clone(), stopping.clone()),
            coordination: Arc::new(LocalCoordination::new(Arc::new(clock.clone()))),
            clock: Arc::new(clock.clone()),
            store,
            stopping,
        })
        .expect("services");
        app.admin().ensure_initial_password().await.expect("a password");
        Self { router: crate::api::router(App::clone(&app)), app, clock, database }
    }

    /// Another control plane's place in the fleet, with these master keys.
    pub(super) async fn replica(&self, keys: &str) -> Store {
        self.database.open_with(keys, "pepper", true, Arc::new(self.clock.clone())).await.expect("a store")
    }

    /// The same control plane with other routes behind the same door.
    pub(super) fn through(mut self, routes: Router<App>) -> Self {
        self.router = crate::api::layered(routes, App::clone(&self.app));
        self
    }

    pub(super) fn call(&self, method: Method, path: &str) -> Call<'_> {
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

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path).json(body).send().await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path).json(body).send().await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path).json(body).send().await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path).send().await
    }

    /// Signs in and returns the cookie.
    pub(super) async fn sign_in(&self) -> String {
        let answer = self.login(PASSWORD).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.cookie()
    }

    pub(super) async fn login(&self, password: &str) -> Answer {
        let body = serde_json::json!({ "password": password });
        self.call(Method::POST, "/api/auth/login").anonymous().json(body).send().await
    }
}

// === impl Call ===

impl Call<'_> {
    /// Without any proof of who asks.
    pub(super) fn anonymous(mut self) -> Self {
        self.as_manager = false;
        self
    }

    pub(super) fn cookie(self, cookie: &str) -> Self {
        self.anonymous().header(header::COOKIE, cookie)
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.anonymous().header(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    pub(super) fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().expect("an address");
        self
    }

    pub(super) fn header(mut self, name: impl http::header::IntoHeaderName, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header"));
        self
    }

    pub(super) fn json(self, body: Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub(super) fn raw(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, content_type)
    }

    pub(super) async fn send(self) -> Answer {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().expect("a path");
        *request.headers_mut() = self.headers;
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if self.as_manager {
            let token = self.gateway.app.tokens.cli(Duration::from_secs(60)).expect("a token");
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
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The body, after a check of the status.
    pub(super) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// Code of the error, after a check of the status and of the envelope.
    pub(super) fn code(&self, status: u16) -> String {
        let body = self.ok(status);
        let error = &body["error"];
        assert!(error["message"].is_string(), "{body}");
        assert_eq!(error["correlation_id"], self.headers["x-request-id"].to_str().expect("a text"), "{body}");
        error["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned()
    }

    /// Fields that a 400 names.
    pub(super) fn fields(&self) -> Vec<String> {
        assert_eq!(self.code(400), "VALID_001");
        let body = self.json();
        assert_eq!(body["error"]["message"], "Invalid request");
        let details = body["error"]["details"].as_array().cloned().unwrap_or_default();
        details.iter().map(|detail| detail["field"].as_str().expect("a field").to_owned()).collect()
    }

    /// `name=value` of the cookie that is set.
    pub(super) fn cookie(&self) -> String {
        let cookie = self.headers[header::SET_COOKIE].to_str().expect("a text");
        cookie.split(';').next().expect("a value").to_owned()
    }
}
