//! Finds out who asks.

use cookie::Cookie;
use http::{HeaderMap, header, request::Parts};

use super::{Caller, MANAGEMENT_SCOPES, Principal, SESSION_COOKIE};
use crate::{
    api::{ApiError, Code},
    service::App,
};

/// Who asks: a Bearer token when there is one, else the session cookie, else, with login turned off, whoever sits at
/// this machine.
///
/// # Errors
/// 401 when it is nobody, 403 when it is somebody who may not manage the gateway.
pub async fn authenticate(app: &App, parts: &Parts) -> Result<Principal, ApiError> {
    if parts.headers.contains_key(header::AUTHORIZATION) {
        let token = bearer(&parts.headers).ok_or_else(ApiError::unauthenticated)?;
        return of_bearer(app, token).await;
    }
    let refused = match session_cookie(&parts.headers) {
        Some(token) => match app.admin().session(&token).await? {
            Some(id) => return Ok(Principal::Session { id }),
            None => ApiError::new(Code::SessionExpired, "Session expired; sign in again"),
        },
        None => ApiError::unauthenticated(),
    };
    if Caller::of_parts(parts, app).is_local && !app.admin().login_required().await? {
        return Ok(Principal::Local);
    }
    Err(refused)
}

async fn of_bearer(app: &App, token: &str) -> Result<Principal, ApiError> {
    // API keys have no dots; signed tokens have two.
    if token.matches('.').count() == 2 {
        return app.tokens.check_cli(token).map(|()| Principal::Cli).map_err(|_| ApiError::unauthenticated());
    }
    app.store.expect_answers()?;
    let hash = app.store.pepper().hash(token);
    let Some(key) = app.store.keys().by_hash(&hash).await? else {
        return Err(ApiError::new(Code::InvalidApiKey, "Invalid API key"));
    };
    if !key.is_active || key.revoked_at.is_some() {
        return Err(ApiError::new(Code::InvalidApiKey, "Invalid API key"));
    }
    if key.expires_at.is_some_and(|at| at <= app.clock.now()) {
        return Err(ApiError::new(Code::ApiKeyExpired, "API key expired"));
    }
    if !key.scopes.iter().any(|scope| MANAGEMENT_SCOPES.contains(&scope.as_str())) {
        return Err(ApiError::new(
            Code::NotAllowed,
            "This API key may not manage the gateway: it lacks the scope `manage`",
        ));
    }
    Ok(Principal::ApiKey(key.id))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The token in the session cookie.
pub(crate) fn session_cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == SESSION_COOKIE && !cookie.value().is_empty())
        .map(|cookie| cookie.value().to_owned())
}
