//! The administrator: the first password, signing in and out, turning login off.

mod login_settings;
mod routes;
mod rows;
mod rules;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use self::{login_settings::ChangeLogin, routes::Login as LoginBody};
pub use self::{
    rows::{Admin, AdminRecord, SessionRecord, Sessions, set_password},
    rules::{Login, LoginHandles, LoginSettings, LoginState, RequireLoginChange, SetCookie, SignedIn},
};

pub(super) fn router() -> OpenApiRouter<Arc<Login>> {
    OpenApiRouter::new()
        .routes(routes!(routes::login))
        .routes(routes!(routes::logout))
        .routes(routes!(login_settings::show, login_settings::change))
}
