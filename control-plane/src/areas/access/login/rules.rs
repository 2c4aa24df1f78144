//! What is decided about the administrator: the first password, signing in and out, turning login off.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use omniroute_coordination::Coordination;
use omniroute_core::{
    settings::{ControlPlaneSettings, Secret},
    time::{Clock, UnixMillis},
};
use omniroute_telemetry::names;
use parking_lot::Mutex;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::rows::{Admin, AdminRecord, SessionRecord, Sessions, set_password};
use crate::{
    auth::{
        AuthError, ClientOrigin, Principal, Scopes, origin,
        password::{self, PasswordError, Passwords},
        token::Tokens,
    },
    http::{AllowedOrigins, ApiError, Code, SESSION_COOKIE},
    store::{
        Store, StoreError,
        records::{Actor, Object},
    },
};

/// Addresses remembered as blocked; more than that and the oldest block is forgotten.
const MAX_BLOCKED_ADDRESSES: usize = 10_000;

/// What a caller may know about signing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginState {
    pub require_login: bool,
    pub has_password: bool,
}

/// A change to how one signs in.
#[derive(Debug, Default)]
pub struct RequireLoginChange {
    pub require_login: Option<bool>,
    pub password: Option<Secret>,
    /// Checked where it is given; needed with a new one.
    pub current_password: Option<Secret>,
}

/// A fresh session.
pub struct SignedIn {
    /// Value of the cookie.
    pub token: String,
    pub lifetime: Duration,
}

/// Addresses that have to wait before they may try again. Failures are counted by the coordination, for the fleet;
/// this remembers its verdicts, so that a blocked address costs neither a hash nor a call.
#[derive(Default)]
struct LoginBlocks(Mutex<HashMap<IpAddr, UnixMillis>>);

/// The header that gives a browser its session.
pub type SetCookie = (HeaderName, HeaderValue);

/// Settings of the process about signing in.
#[derive(Clone, Debug)]
pub struct LoginSettings {
    pub initial_password: Secret,
    /// Wrong passwords from one address…
    pub attempts: u32,
    /// …within this time.
    pub window: Duration,
    pub session_ttl: Duration,
    /// Whether browsers send the cookie over TLS only.
    pub cookie_secure: bool,
    /// Origins that may set the first password besides our own.
    pub allowed_origins: AllowedOrigins,
}

/// What [`Login`] needs.
pub struct LoginHandles {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub coordination: Arc<dyn Coordination>,
    pub tokens: Tokens,
}

/// The administrator's password and sessions.
pub struct Login {
    store: Store,
    clock: Arc<dyn Clock>,
    coordination: Arc<dyn Coordination>,
    tokens: Tokens,
    passwords: Passwords,
    settings: LoginSettings,
    blocks: LoginBlocks,
    /// Whether a password was set when the database was last asked.
    has_password: AtomicBool,
}

// === impl LoginSettings ===

impl LoginSettings {
    pub fn of(settings: &ControlPlaneSettings, allowed_origins: AllowedOrigins) -> Self {
        Self {
            initial_password: settings.initial_password.clone(),
            attempts: settings.login_attempts,
            window: settings.login_window.0,
            session_ttl: settings.session_ttl.0,
            cookie_secure: settings.cookie_secure,
            allowed_origins,
        }
    }
}

// === impl Login ===

impl Login {
    /// # Errors
    /// When argon2 cannot be set up.
    pub fn new(handles: LoginHandles, settings: LoginSettings) -> Result<Self, PasswordError> {
        let LoginHandles { store, clock, coordination, tokens } = handles;
        Ok(Self {
            store,
            clock,
            coordination,
            tokens,
            passwords: Passwords::new()?,
            settings,
            blocks: LoginBlocks::default(),
            has_password: AtomicBool::default(),
        })
    }

    /// At start: takes `INITIAL_PASSWORD` as it is, unless a password is stored already.
    ///
    /// # Errors
    /// When the database or argon2 fails.
    pub async fn ensure_initial_password(&self) -> anyhow::Result<()> {
        let initial = &self.settings.initial_password;
        if self.record().await?.is_some() {
            return Ok(());
        }
        if !initial.is_set() {
            tracing::warn!(
                "no admin password is set: set INITIAL_PASSWORD, or choose one from this machine with PUT \
                 /api/settings/require-login"
            );
            return Ok(());
        }
        if let Some(why) = password::weakness(initial.expose()) {
            tracing::warn!("INITIAL_PASSWORD is weak ({why}); it is taken as given, change it soon");
        }
        let hash = self.passwords.hash(Zeroizing::new(initial.expose().to_owned())).await?;
        if Admin::of(&self.store).create_if_absent(&hash).await? {
            self.has_password.store(true, Ordering::Relaxed);
            tracing::info!("the first admin password is stored");
        }
        Ok(())
    }

    /// # Errors
    /// When the database fails.
    pub async fn state(&self) -> Result<LoginState, ApiError> {
        let has_password = self.record().await?.is_some();
        Ok(LoginState { require_login: self.is_required().await?, has_password })
    }

    /// # Errors
    /// When the database fails.
    pub async fn is_required(&self) -> Result<bool, StoreError> {
        self.store.expect_reachable()?;
        let settings = self.store.settings().get().await?;
        Ok(settings.document.get("requireLogin").and_then(Value::as_bool).unwrap_or(true))
    }

    /// Whether the session still counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_session(&self, id: &str) -> Result<bool, StoreError> {
        self.store.expect_reachable()?;
        let Some(session) = Sessions::of(&self.store).get(id).await? else { return Ok(false) };
        let epoch = self.record().await?.map(|admin| admin.session_epoch);
        Ok(Some(session.epoch) == epoch && session.expires_at > self.clock.now())
    }

    /// Checks the password and opens a session.
    ///
    /// # Errors
    /// 401 for a wrong password, 403 when none is set yet, 429 after too many wrong ones.
    pub async fn sign_in(&self, client: &ClientOrigin, password: &Secret) -> Result<SignedIn, ApiError> {
        let Some(admin) = self.record().await? else {
            return Err(ApiError::new(
                Code::SetupRequired,
                "No password is configured. Set INITIAL_PASSWORD and restart, or choose one from the gateway's own \
                 machine with PUT /api/settings/require-login",
            ));
        };
        let address = client.address.map(network_of);
        let now = self.clock.now();
        if let Some(until) = address.and_then(|address| self.blocks.until(address, now)) {
            metrics::counter!(names::LOGIN_FAILURES, "result" => "throttled").increment(1);
            return Err(too_many(until.saturating_since(now)));
        }
        let right = self.verify(password, admin.password_hash).await?;
        // Others from there may have failed while this one waited for its turn.
        let now = self.clock.now();
        if let Some(until) = address.and_then(|address| self.blocks.until(address, now)) {
            metrics::counter!(names::LOGIN_FAILURES, "result" => "throttled").increment(1);
            return Err(too_many(until.saturating_since(now)));
        }
        if right {
            return self.open_session(client, admin.session_epoch).await;
        }
        let wrong = ApiError::new(Code::WrongPassword, "Invalid password");
        Err(match address {
            Some(address) => self.count_failure(address).await.map_or(wrong, too_many),
            None => wrong,
        })
    }

    /// Counts a wrong password. `Some` when this was one too many, with how long to wait.
    async fn count_failure(&self, address: IpAddr) -> Option<Duration> {
        let window = self.settings.window;
        let limit = self.settings.attempts.max(1);
        let verdict = self.coordination.hit(&format!("login:{address}"), u64::from(limit), window).await;
        metrics::counter!(names::LOGIN_FAILURES, "result" => "wrong").increment(1);
        tracing::warn!(%address, remaining = verdict.remaining, "a login failed");
        if verdict.allowed && verdict.remaining > 0 {
            return None;
        }
        // The last failure that was allowed begins the wait; its answer is still the plain one.
        self.blocks.block(address, self.clock.now().saturating_add(window));
        (!verdict.allowed).then_some(window)
    }

    async fn open_session(&self, client: &ClientOrigin, epoch: u64) -> Result<SignedIn, ApiError> {
        let now = self.clock.now();
        let lifetime = self.settings.session_ttl;
        let id: [u8; 24] = rand::random();
        let session = SessionRecord {
            id: BASE64_URL_SAFE_NO_PAD.encode(id),
            subject: "admin".into(),
            epoch,
            address: client.address.map(|address| address.to_string()),
            created_at: now,
            expires_at: now.saturating_add(lifetime),
        };
        let token = self.tokens.session(&session.id, session.expires_at).map_err(|e| ApiError::internal(&e))?;
        Sessions::of(&self.store).insert(&session).await?;
        Ok(SignedIn { token, lifetime })
    }

    /// Ends the session behind a cookie, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sign_out(&self, token: &str) -> Result<(), ApiError> {
        let Ok(id) = self.tokens.session_id(token) else { return Ok(()) };
        Ok(Sessions::of(&self.store).delete(&id).await?)
    }

    /// Turns login on or off, and sets the password. A new password ends every session; whoever changed it from a
    /// session gets a new one.
    ///
    /// Without a stored password nobody can sign in: then a caller on this machine may set one. Where one is stored, a
    /// new one needs it: a key that may manage, or a session that was left open, must not take the gateway over. The
    /// command line on a machine that holds the signing secret needs none: it is the way back in for whoever has lost
    /// the password, and whoever holds that secret can sign sessions anyway.
    ///
    /// # Errors
    /// 401 and 403 for who may not, 400 for a password that is too weak or without the current one.
    pub async fn change(
        &self,
        actor: Actor,
        principal: Option<&Principal>,
        client: &ClientOrigin,
        change: RequireLoginChange,
    ) -> Result<Option<SignedIn>, ApiError> {
        let admin = self.record().await?;
        if principal.is_none() && !(admin.is_none() && client.is_local) {
            return Err(ApiError::unauthenticated());
        }
        // Whoever may do everything once they have changed this must be allowed to do everything before.
        if principal.is_some_and(|principal| *principal.scopes() != Scopes::Everything) {
            return Err(AuthError::MissingScope("manage".to_owned()).into());
        }
        if change.require_login.is_none() && change.password.is_none() {
            return Err(ApiError::invalid_field("body", "No valid fields to update"));
        }
        if let Some(new) = &change.password
            && let Some(why) = password::weakness(new.expose())
        {
            return Err(ApiError::invalid_field("password", format!("choose another: {why}")));
        }
        match (&change.current_password, &admin) {
            (Some(current), Some(admin)) => self.check_current(client, current, admin).await?,
            (None, Some(_)) if change.password.is_some() && principal != Some(&Principal::Cli) => {
                return Err(ApiError::invalid_field("currentPassword", "is needed to change the password"));
            }
            _ => {}
        }
        if let Some(require_login) = change.require_login {
            let mut patch = Object::new();
            patch.insert("requireLogin".into(), json!(require_login));
            let mut write = self.store.write(&actor).await?;
            write.merge_settings(patch, None).await?;
            write.commit().await?;
        }
        let Some(new) = change.password else { return Ok(None) };
        let hash = self.hash(&new).await?;
        if admin.is_none() && principal.is_none() {
            // Of two callers who set the first password at once, one is late.
            if !Admin::of(&self.store).create_if_absent(&hash).await? {
                return Err(ApiError::unauthenticated());
            }
            return Ok(None);
        }
        let mut write = self.store.write(&actor).await?;
        set_password(&mut write, &hash).await?;
        write.commit().await?;
        tracing::info!(actor = actor.name, "the admin password was changed; every session has ended");
        match (principal, self.record().await?) {
            (Some(Principal::Session { .. }), Some(admin)) => {
                self.open_session(client, admin.session_epoch).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A wrong current password counts like a failed login: else a stolen session could guess it.
    async fn check_current(
        &self,
        client: &ClientOrigin,
        current: &Secret,
        admin: &AdminRecord,
    ) -> Result<(), ApiError> {
        let address = client.address.map(network_of);
        let now = self.clock.now();
        if let Some(until) = address.and_then(|address| self.blocks.until(address, now)) {
            return Err(too_many(until.saturating_since(now)));
        }
        if self.verify(current, admin.password_hash.clone()).await? {
            return Ok(());
        }
        if let Some(address) = address
            && let Some(wait) = self.count_failure(address).await
        {
            return Err(too_many(wait));
        }
        Err(ApiError::new(Code::WrongPassword, "Invalid password"))
    }

    /// The stored password. Whether there is one is remembered, for when the database cannot be asked.
    async fn record(&self) -> Result<Option<AdminRecord>, StoreError> {
        self.store.expect_reachable()?;
        let record = Admin::of(&self.store).get().await?;
        self.has_password.store(record.is_some(), Ordering::Relaxed);
        Ok(record)
    }

    /// Whether a password is set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_password(&self) -> Result<bool, StoreError> {
        Ok(self.record().await?.is_some())
    }

    /// Whether one was set when the database was last asked.
    pub fn had_password(&self) -> bool {
        self.has_password.load(Ordering::Relaxed)
    }

    /// Whether a browser may act on behalf of nobody yet: see [`origin::is_trusted`].
    pub(super) fn trusts(&self, headers: &HeaderMap) -> bool {
        origin::is_trusted(headers, &self.settings.allowed_origins)
    }

    /// The header that gives a browser its session.
    ///
    /// # Errors
    /// When the token is no text for a header.
    pub fn set_cookie(&self, session: &SignedIn) -> Result<SetCookie, ApiError> {
        self.cookie(session.token.clone(), session.lifetime)
    }

    pub(super) fn cookie(&self, value: String, lifetime: Duration) -> Result<SetCookie, ApiError> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let cookie = Cookie::build((SESSION_COOKIE, value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Strict)
            .secure(self.settings.cookie_secure)
            .max_age(cookie::time::Duration::seconds(seconds))
            .build();
        let value = HeaderValue::from_str(&cookie.to_string()).map_err(|error| ApiError::internal(&error))?;
        Ok((header::SET_COOKIE, value))
    }

    async fn verify(&self, password: &Secret, phc: String) -> Result<bool, ApiError> {
        let password = Zeroizing::new(password.expose().to_owned());
        self.passwords.verify(password, phc).await.map_err(|error: PasswordError| ApiError::internal(&error))
    }

    async fn hash(&self, password: &Secret) -> Result<String, ApiError> {
        let password = Zeroizing::new(password.expose().to_owned());
        self.passwords.hash(password).await.map_err(|error| ApiError::internal(&error))
    }
}

// === impl LoginBlocks ===

impl LoginBlocks {
    fn until(&self, address: IpAddr, now: UnixMillis) -> Option<UnixMillis> {
        let mut blocks = self.0.lock();
        let until = *blocks.get(&address)?;
        if until > now {
            return Some(until);
        }
        blocks.remove(&address);
        None
    }

    fn block(&self, address: IpAddr, until: UnixMillis) {
        let mut blocks = self.0.lock();
        if blocks.len() >= MAX_BLOCKED_ADDRESSES
            && !blocks.contains_key(&address)
            && let Some(oldest) = blocks.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address)
        {
            blocks.remove(&oldest);
        }
        blocks.insert(address, until);
    }
}

fn too_many(wait: Duration) -> ApiError {
    ApiError::new(Code::RateLimited, "Too many failed attempts. Try again later.").with_retry_after(wait)
}

/// An IPv6 host has a whole /64 to itself: count that.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || {
                let s = v6.segments();
                if v6.is_loopback() { address } else { IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0)) }
            },
            IpAddr::V4,
        ),
    }
}
