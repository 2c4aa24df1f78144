//! Finds out who asks.

use std::sync::Arc;

use async_trait::async_trait;
use cookie::Cookie;
use http::{HeaderMap, header, request::Parts};
use omniroute_core::{
    hash::KeyHash,
    id::ApiKeyId,
    time::{Clock, UnixMillis},
};

use super::{AuthError, Principal, Scopes, token::Tokens};
use crate::{
    http::SESSION_COOKIE,
    store::{Store, StoreError},
};

/// Who keeps sessions and API keys answers this.
#[async_trait]
pub trait Identities: Send + Sync + 'static {
    /// Whether the session still counts.
    ///
    /// # Errors
    /// When the database fails.
    async fn has_session(&self, id: &str) -> Result<bool, StoreError>;

    /// The API key with this hash.
    ///
    /// # Errors
    /// When the database fails.
    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyIdentity>, StoreError>;

    /// Whether management needs a login.
    ///
    /// # Errors
    /// When the database fails.
    async fn login_required(&self) -> Result<bool, StoreError>;
}

/// What counts of an API key that somebody shows.
#[derive(Clone, Debug)]
pub struct KeyIdentity {
    pub id: ApiKeyId,
    /// Neither switched off nor revoked.
    pub is_active: bool,
    pub expires_at: Option<UnixMillis>,
    pub scopes: Vec<String>,
}

/// Finds out who asks.
#[derive(Clone)]
pub struct Authenticator {
    pub store: Store,
    pub tokens: Tokens,
    pub clock: Arc<dyn Clock>,
    pub identities: Arc<dyn Identities>,
}

// === impl Authenticator ===

impl Authenticator {
    /// Who asks: a Bearer token when there is one, else the session cookie, else, with login turned off, whoever sits at
    /// this machine (`is_local`).
    ///
    /// # Errors
    /// When it is nobody, or somebody who may not manage the gateway at all.
    pub async fn authenticate(&self, parts: &Parts, is_local: bool) -> Result<Principal, AuthError> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(&parts.headers).ok_or(AuthError::Unauthenticated)?;
            return self.of_bearer(token).await;
        }
        let refused = match session_cookie(&parts.headers) {
            Some(token) => match self.session(&token).await? {
                Some(id) => return Ok(Principal::Session { id }),
                None => AuthError::SessionExpired,
            },
            None => AuthError::Unauthenticated,
        };
        if is_local && !self.identities.login_required().await? {
            return Ok(Principal::Local);
        }
        Err(refused)
    }

    /// Id of the session behind a cookie, when it still counts.
    async fn session(&self, token: &str) -> Result<Option<String>, AuthError> {
        let Ok(id) = self.tokens.session_id(token) else { return Ok(None) };
        Ok(self.identities.has_session(&id).await?.then_some(id))
    }

    async fn of_bearer(&self, token: &str) -> Result<Principal, AuthError> {
        // API keys have no dots; signed tokens have two.
        if token.matches('.').count() == 2 {
            return self.tokens.check_cli(token).map(|()| Principal::Cli).map_err(|_| AuthError::Unauthenticated);
        }
        self.store.expect_reachable()?;
        let hash = self.store.pepper().hash(token);
        let key = self.identities.api_key(&hash).await?.filter(|key| key.is_active).ok_or(AuthError::InvalidApiKey)?;
        if key.expires_at.is_some_and(|at| at <= self.clock.now()) {
            return Err(AuthError::ApiKeyExpired);
        }
        let scopes = Scopes::of_key(&key.scopes);
        if scopes.is_empty() {
            return Err(AuthError::NoManagementScope);
        }
        Ok(Principal::ApiKey { id: key.id, scopes })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The token in the session cookie.
pub fn session_cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == SESSION_COOKIE && !cookie.value().is_empty())
        .map(|cookie| cookie.value().to_owned())
}
