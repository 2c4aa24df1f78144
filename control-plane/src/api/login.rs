//! `/api/auth/login` and `/api/auth/logout`.

use std::time::Duration;

use axum::{Json, extract::State};
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use omniroute_core::settings::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    extract,
    fields::{Body, Fields},
};
use crate::{
    auth::{Caller, SESSION_COOKIE, password, session_cookie},
    service::{App, Services, SignedIn},
};

/// The password of the administrator.
#[derive(ToSchema)]
pub(super) struct Login {
    #[schema(value_type = String, min_length = 1, max_length = 200, format = "password")]
    password: Secret,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Success {
    success: bool,
}

/// An answer that may set a cookie.
type WithCookie<T> = (Option<[(HeaderName, HeaderValue); 1]>, Json<T>);

// === impl Login ===

impl Body for Login {
    fn read(fields: &mut Fields) -> Self {
        Self { password: Secret::new(fields.required_text("password", 1..=password::MAX_LENGTH)) }
    }
}

// === impl Success ===

impl Success {
    pub(super) fn yes() -> Json<Self> {
        Json(Self { success: true })
    }
}

/// Sign in.
///
/// The session is in the cookie `auth_token`. Too many wrong passwords from one address make it wait.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "Authentication",
    security(()),
    request_body = Login,
    responses(
        (status = 200, body = Success, headers(("set-cookie" = String))),
        (status = 400, body = ErrorBody),
        (status = 401, description = "Wrong password", body = ErrorBody),
        (status = 403, description = "No password is set yet", body = ErrorBody),
        (status = 429, description = "Too many wrong passwords; see Retry-After", body = ErrorBody),
    )
)]
pub(super) async fn login(
    State(app): State<App>,
    caller: Caller,
    extract::Json(login): extract::Json<Login>,
) -> Result<WithCookie<Success>, ApiError> {
    let session = app.admin().login(&caller, &login.password).await?;
    Ok((Some([set_cookie(&app, &session)?]), Success::yes()))
}

/// Sign out.
///
/// Ends the session everywhere, not only in this browser.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "Authentication",
    security(()),
    responses((status = 200, body = Success, headers(("set-cookie" = String))))
)]
pub(super) async fn logout(State(app): State<App>, headers: HeaderMap) -> Result<WithCookie<Success>, ApiError> {
    if let Some(token) = session_cookie(&headers) {
        app.admin().logout(&token).await?;
    }
    let cookie = cookie(&app, String::new(), Duration::ZERO)?;
    Ok((Some([cookie]), Success::yes()))
}

/// The header that gives a browser its session.
pub(super) fn set_cookie(app: &Services, session: &SignedIn) -> Result<(HeaderName, HeaderValue), ApiError> {
    cookie(app, session.token.clone(), session.lifetime)
}

fn cookie(app: &Services, value: String, lifetime: Duration) -> Result<(HeaderName, HeaderValue), ApiError> {
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let cookie = Cookie::build((SESSION_COOKIE, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(app.settings.cookie_secure)
        .max_age(cookie::time::Duration::seconds(seconds))
        .build();
    let value = HeaderValue::from_str(&cookie.to_string()).map_err(|error| ApiError::internal(&error))?;
    Ok((header::SET_COOKIE, value))
}
