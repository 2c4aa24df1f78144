//! `/api/auth/login` and `/api/auth/logout`.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use http::{HeaderMap, HeaderName, HeaderValue};
use omniroute_core::settings::Secret;
use utoipa::ToSchema;

use super::rules;
use crate::{
    auth::{ClientOrigin, password, session_cookie},
    http::{ApiError, ErrorBody, Fields, FromFields, extract, shapes::Success},
};

/// The password of the administrator.
#[derive(ToSchema)]
pub(crate) struct Login {
    #[schema(value_type = String, min_length = 1, max_length = 200, format = "password")]
    password: Secret,
}

/// An answer that may set a cookie.
type WithCookie<T> = (Option<[(HeaderName, HeaderValue); 1]>, Json<T>);

// === impl Login ===

impl FromFields for Login {
    fn read(fields: &mut Fields) -> Self {
        Self { password: Secret::new(fields.required_secret("password", 1..=password::MAX_LENGTH)) }
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
    State(login): State<Arc<rules::Login>>,
    client: ClientOrigin,
    extract::Json(body): extract::Json<Login>,
) -> Result<WithCookie<Success>, ApiError> {
    let session = login.sign_in(&client, &body.password).await?;
    Ok((Some([login.set_cookie(&session)?]), Success::yes()))
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
pub(super) async fn logout(
    State(login): State<Arc<rules::Login>>,
    headers: HeaderMap,
) -> Result<WithCookie<Success>, ApiError> {
    if let Some(token) = session_cookie(&headers) {
        login.sign_out(&token).await?;
    }
    let cookie = login.cookie(String::new(), Duration::ZERO)?;
    Ok((Some([cookie]), Success::yes()))
}
