//! `/api/settings/require-login`: whether management needs a login, and the password.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::{HeaderMap, HeaderName, HeaderValue};
use omniroute_core::settings::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Login, RequireLoginChange};
use crate::{
    auth::{ClientOrigin, Principal, password},
    http::{ApiError, Code, ErrorBody, Fields, FromFields, RequestId, extract, shapes::Success},
    store::records::Actor,
};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct RequireLogin {
    require_login: bool,
    has_password: bool,
    /// Whether somebody can sign in. Until then, a password can be set from the gateway's own machine.
    setup_complete: bool,
}

/// What to change; at least one field.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangeLogin {
    /// Turned off, management is open to callers on the gateway's own machine.
    require_login: Option<bool>,
    /// A new password. Ends every session.
    #[schema(value_type = Option<String>, min_length = 8, max_length = 200, format = "password")]
    password: Option<Secret>,
    /// Needed with `password` where one is set; checked wherever it is given.
    #[schema(value_type = Option<String>, max_length = 200, format = "password")]
    current_password: Option<Secret>,
}

// === impl ChangeLogin ===

impl FromFields for ChangeLogin {
    fn read(fields: &mut Fields) -> Self {
        let change = Self {
            require_login: fields.flag("requireLogin"),
            password: fields.secret("password", password::MIN_LENGTH..=password::MAX_LENGTH).map(Secret::new),
            current_password: fields.secret("currentPassword", 1..=password::MAX_LENGTH).map(Secret::new),
        };
        fields.shown(&["hasPassword", "setupComplete"]);
        fields.require_any();
        change
    }
}

/// Whether management needs a login.
#[utoipa::path(
    get,
    path = "/api/settings/require-login",
    tag = "Authentication",
    security(()),
    responses((status = 200, body = RequireLogin), (status = 503, body = ErrorBody))
)]
pub(super) async fn show(State(login): State<Arc<Login>>) -> Result<Json<RequireLogin>, ApiError> {
    let state = login.state().await?;
    Ok(Json(RequireLogin {
        require_login: state.require_login,
        has_password: state.has_password,
        setup_complete: state.has_password,
    }))
}

/// Turn login on or off, or set the password.
///
/// While no password is set, a caller on the gateway's own machine may set the first one without signing in.
#[utoipa::path(
    method(put, post),
    path = "/api/settings/require-login",
    tag = "Authentication",
    request_body = ChangeLogin,
    responses(
        (status = 200, body = Success),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 429, description = "Too many wrong current passwords", body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(login): State<Arc<Login>>,
    client: ClientOrigin,
    principal: Option<axum::Extension<Principal>>,
    request_id: axum::Extension<RequestId>,
    headers: HeaderMap,
    body: Result<extract::Json<ChangeLogin>, ApiError>,
) -> Result<(Option<[(HeaderName, HeaderValue); 1]>, Json<Success>), ApiError> {
    let principal = principal.map(|axum::Extension(principal)| principal);
    if principal.is_none() {
        // Nobody learns what the body should look like before they may send it.
        if login.state().await?.has_password || !client.is_local {
            return Err(ApiError::unauthenticated());
        }
        if !login.trusts(&headers) {
            return Err(ApiError::new(Code::CrossOrigin, "Another website may not set the first password"));
        }
    }
    let extract::Json(change) = body?;
    let actor = Actor {
        name: principal.as_ref().map_or_else(|| "local".to_owned(), Principal::name),
        address: client.address.map(|address| address.to_string()),
        request_id: Some(request_id.0.0.to_string()),
    };
    let change = RequireLoginChange {
        require_login: change.require_login,
        password: change.password,
        current_password: change.current_password,
    };
    let session = login.change(actor, principal.as_ref(), &client, change).await?;
    let cookie = session.map(|session| login.set_cookie(&session)).transpose()?;
    Ok((cookie.map(|cookie| [cookie]), Success::yes()))
}
