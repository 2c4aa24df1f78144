//! An authorization server, and the API that its tokens are for. Codes count once and only with their verifier; every
//! refresh rotates the refresh token and voids the access token before it; a refresh token that is sent twice kills all that
//! came of the same sign-in.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::Semaphore};

pub(super) const CLIENT: &str = "operators-client-id";
pub(super) const SECRET: &str = "operators-client-secret";
pub(super) const LIFETIME: u64 = 3600;

#[derive(Clone)]
pub(super) struct AuthorizationServer {
    address: SocketAddr,
    pub(super) inner: Arc<Mutex<Inner>>,
    /// Answers to refreshes wait for a permit while `gated`.
    pub(super) gate: Arc<Semaphore>,
}

#[derive(Default)]
pub(super) struct Inner {
    issued: u64,
    codes: HashMap<String, Grant>,
    devices: HashMap<String, Device>,
    /// Sign-in of each refresh token that was ever given out.
    refresh_tokens: HashMap<String, u64>,
    /// The refresh token of each sign-in that counts.
    current: HashMap<u64, String>,
    /// The access token of each sign-in that counts.
    access: HashMap<u64, String>,
    dead: HashSet<u64>,
    pub(super) refreshes: u64,
    pub(super) reused: u64,
    pub(super) token_requests: u64,
    pub(super) gated: bool,
    /// Refreshes under way.
    pub(super) waiting: u64,
    /// Refreshes are answered so.
    pub(super) refuse_with: Option<(u16, Value)>,
    pub(super) omit_refresh_token: bool,
    pub(super) keep_refresh_token: bool,
    /// In ID tokens, instead of the one that was asked for.
    pub(super) wrong_nonce: bool,
    pub(super) polls: u64,
}

struct Grant {
    challenge: String,
    redirect_uri: String,
    nonce: Option<String>,
    account: String,
}

struct Device {
    account: Option<String>,
    denied: bool,
    slow_down: bool,
}

// === impl AuthorizationServer ===

impl AuthorizationServer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            inner: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        let router = Router::new()
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/device", post(device))
            .route("/v1/models", get(models))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn base_url(&self) -> String {
        self.url("/v1")
    }

    /// What a person's browser does who says yes: a code, and the state.
    pub(super) fn approve(&self, url: &str, account: &str) -> (String, String) {
        let url: url::Url = url.parse().expect("a URL");
        assert_eq!((url.path(), url.port()), ("/authorize", Some(self.address.port())));
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let one = |name: &str| {
            let mut found = pairs.iter().filter(|(one, _)| one == name).map(|(_, value)| value.clone());
            let value = found.next();
            assert!(found.next().is_none(), "{name} stands twice in {url}");
            value
        };
        assert_eq!(one("response_type").as_deref(), Some("code"));
        assert_eq!(one("client_id").as_deref(), Some(CLIENT));
        assert_eq!(one("code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(one("scope").as_deref(), Some("openid inference"));
        assert_eq!(one("prompt").as_deref(), Some("consent"));
        let grant = Grant {
            challenge: one("code_challenge").expect("a challenge"),
            redirect_uri: one("redirect_uri").expect("a redirect"),
            nonce: one("nonce"),
            account: account.to_owned(),
        };
        let mut inner = self.inner.lock();
        let code = inner.secret("code");
        inner.codes.insert(code.clone(), grant);
        (code, one("state").expect("a state"))
    }

    /// Somebody types the code of the only device that waits.
    pub(super) fn approve_device(&self, account: &str) {
        let mut inner = self.inner.lock();
        let device = inner.devices.values_mut().next().expect("a device");
        device.account = Some(account.to_owned());
    }

    pub(super) fn change_device(&self, denied: bool, slow_down: bool) {
        let mut inner = self.inner.lock();
        let device = inner.devices.values_mut().next().expect("a device");
        (device.denied, device.slow_down) = (denied, slow_down);
    }

    /// Whether the API takes this token.
    pub(super) fn takes(&self, token: &str) -> bool {
        self.inner.lock().access.values().any(|current| current == token)
    }

    /// Takes an access token back, as providers do now and then.
    pub(super) fn revoke_access(&self, token: &str) {
        self.inner.lock().access.retain(|_, current| current != token);
    }

    /// Every secret that was given out.
    pub(super) fn refresh_tokens(&self) -> Vec<String> {
        self.inner.lock().refresh_tokens.keys().cloned().collect()
    }
}

// === impl Inner ===

impl Inner {
    fn secret(&mut self, kind: &str) -> String {
        self.issued += 1;
        format!("{kind}-{}-0123456789abcdef", self.issued)
    }

    fn tokens(&mut self, sign_in: u64, id_token: Option<String>) -> Value {
        let access = self.secret("access-token");
        self.access.insert(sign_in, access.clone());
        let mut answer =
            json!({ "access_token": access, "token_type": "Bearer", "expires_in": LIFETIME, "scope": "inference" });
        if let Some(token) = id_token {
            answer["id_token"] = json!(token);
        }
        if self.omit_refresh_token {
            return answer;
        }
        let held = self.current.get(&sign_in).cloned();
        if held.is_some() && self.keep_refresh_token {
            return answer;
        }
        let refresh = self.secret("refresh-token");
        self.refresh_tokens.insert(refresh.clone(), sign_in);
        self.current.insert(sign_in, refresh.clone());
        answer["refresh_token"] = json!(refresh);
        answer
    }

    fn begin(&mut self, account: &str, nonce: Option<&str>) -> Value {
        self.issued += 1;
        let sign_in = self.issued;
        let nonce = if self.wrong_nonce { Some("another") } else { nonce };
        let claims =
            json!({ "aud": CLIENT, "nonce": nonce, "email": format!("{account}@example.com"), "name": account });
        let id_token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        self.tokens(sign_in, Some(id_token))
    }
}

fn refused(error: &str) -> Response {
    let body = json!({ "error": error, "error_description": format!("{error} it is") });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

async fn authorize(State(server): State<AuthorizationServer>, RawQuery(query): RawQuery) -> Redirect {
    let url = format!("{}?{}", server.url("/authorize"), query.unwrap_or_default());
    let (code, state) = server.approve(&url, "browser");
    let parsed: url::Url = url.parse().expect("a URL");
    let redirect = parsed.query_pairs().find(|(name, _)| name == "redirect_uri").expect("a redirect").1.into_owned();
    Redirect::to(&format!("{redirect}?code={code}&state={state}"))
}

async fn token(State(server): State<AuthorizationServer>, headers: HeaderMap, body: String) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let is_ours = form.get("client_id").is_some_and(|id| id == CLIENT)
        && form.get("client_secret").is_some_and(|secret| secret == SECRET);
    let grant = form.get("grant_type").cloned().unwrap_or_default();
    let wait = {
        let mut inner = server.inner.lock();
        inner.token_requests += 1;
        if !is_ours {
            return refused("invalid_client");
        }
        inner.gated && grant == "refresh_token"
    };
    let text = |name: &str| form.get(name).cloned().unwrap_or_default();
    match grant.as_str() {
        "authorization_code" => code_grant(&server, &text("code"), &text("redirect_uri"), &text("code_verifier")),
        "refresh_token" => {
            let answer = refresh_grant(&server, &text("refresh_token"));
            if wait {
                // The tokens are rotated by now, and the answer is on its way.
                server.inner.lock().waiting += 1;
                server.gate.acquire().await.expect("open").forget();
            }
            answer
        }
        "urn:ietf:params:oauth:grant-type:device_code" => device_grant(&server, &text("device_code")),
        _ => refused("unsupported_grant_type"),
    }
}

fn code_grant(server: &AuthorizationServer, code: &str, redirect_uri: &str, verifier: &str) -> Response {
    let mut inner = server.inner.lock();
    let Some(grant) = inner.codes.remove(code) else { return refused("invalid_grant") };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    if grant.challenge != challenge || grant.redirect_uri != redirect_uri {
        return refused("invalid_grant");
    }
    Json(inner.begin(&grant.account, grant.nonce.as_deref())).into_response()
}

fn refresh_grant(server: &AuthorizationServer, token: &str) -> Response {
    let mut inner = server.inner.lock();
    if let Some((status, body)) = inner.refuse_with.clone() {
        return (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response();
    }
    let Some(sign_in) = inner.refresh_tokens.get(token).copied() else { return refused("invalid_grant") };
    if inner.dead.contains(&sign_in) {
        return refused("invalid_grant");
    }
    if inner.current.get(&sign_in).is_none_or(|current| current != token) {
        inner.reused += 1;
        inner.dead.insert(sign_in);
        inner.access.remove(&sign_in);
        return refused("invalid_grant");
    }
    inner.refreshes += 1;
    Json(inner.tokens(sign_in, None)).into_response()
}

async fn device(State(server): State<AuthorizationServer>, body: String) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    if form.get("client_id").is_none_or(|id| id != CLIENT) {
        return refused("invalid_client");
    }
    let mut inner = server.inner.lock();
    let code = inner.secret("device-code");
    inner.devices.insert(code.clone(), Device { account: None, denied: false, slow_down: false });
    Json(json!({
        "device_code": code, "user_code": "ABCD-EFGH", "verification_uri": server.url("/activate"),
        "expires_in": 600, "interval": 5,
    }))
    .into_response()
}

fn device_grant(server: &AuthorizationServer, code: &str) -> Response {
    let mut inner = server.inner.lock();
    inner.polls += 1;
    let Some(device) = inner.devices.get(code) else { return refused("expired_token") };
    if device.denied {
        return refused("access_denied");
    }
    if device.slow_down {
        return refused("slow_down");
    }
    let Some(account) = device.account.clone() else { return refused("authorization_pending") };
    inner.devices.remove(code);
    Json(inner.begin(&account, None)).into_response()
}

async fn models(State(server): State<AuthorizationServer>, headers: HeaderMap) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.strip_prefix("Bearer ").is_some_and(|token| server.takes(token)) {
        return Json(json!({ "object": "list", "data": [{ "id": "m", "object": "model" }] })).into_response();
    }
    let body = json!({ "error": { "message": "this token does not count" } });
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}
