//! `/api/settings`: the settings that the operator edits at run time.

use axum::{Json, extract::State};
use http::{HeaderName, HeaderValue};
use omniroute_core::settings::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    extract::{self, By},
    fields::{Body, Fields},
    login::set_cookie,
};
use crate::{
    auth::{Caller, Principal, password},
    service::{App, GatewaySettings, RequireLoginChange, Services},
};

/// The settings and what goes with them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct SettingsView {
    #[serde(flatten)]
    settings: GatewaySettings,
    setup_complete: bool,
    has_password: bool,
    runtime_ports: RuntimePorts,
    api_port: u16,
    dashboard_port: u16,
    /// Whether connections may point at loopback and private addresses (`ALLOW_PRIVATE_UPSTREAMS`).
    allow_private_upstreams: bool,
    /// Tells this deployment from others.
    machine_id: String,
}

/// Ports of the control plane.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct RuntimePorts {
    port: u16,
    api_port: u16,
    dashboard_port: u16,
    grpc_port: u16,
}

/// Fields to change; the others stay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ChangeSettings {
    #[serde(flatten)]
    settings: GatewaySettings,
    /// A new admin password, together with `currentPassword`.
    #[schema(value_type = Option<String>, min_length = 8, max_length = 200, format = "password")]
    new_password: Option<Secret>,
    #[schema(value_type = Option<String>, max_length = 200, format = "password")]
    current_password: Option<Secret>,
}

// === impl ChangeSettings ===

impl Body for ChangeSettings {
    fn read(fields: &mut Fields) -> Self {
        let change = Self {
            settings: GatewaySettings::read(fields),
            new_password: fields.text("newPassword", password::MIN_LENGTH..=password::MAX_LENGTH).map(Secret::new),
            current_password: fields.text("currentPassword", 1..=password::MAX_LENGTH).map(Secret::new),
        };
        fields.shown(&["setupComplete", "hasPassword", "runtimePorts", "apiPort", "dashboardPort", "machineId"]);
        if change.new_password.is_some() && change.current_password.is_none() {
            fields.refuse("currentPassword", "is needed to change the password");
        }
        change
    }
}

/// All settings.
#[utoipa::path(
    get,
    path = "/api/settings",
    tag = "Settings",
    responses((status = 200, body = SettingsView), (status = 401, body = ErrorBody))
)]
pub(super) async fn show(State(app): State<App>) -> Result<Json<SettingsView>, ApiError> {
    let settings = app.gateway_settings().await?;
    view(&app, settings).await.map(Json)
}

/// Change settings.
///
/// Both methods change the fields that the body names and leave the others.
#[utoipa::path(
    method(put, patch),
    path = "/api/settings",
    tag = "Settings",
    request_body = ChangeSettings,
    responses(
        (status = 200, body = SettingsView),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    By(actor): By,
    caller: Caller,
    axum::Extension(principal): axum::Extension<Principal>,
    extract::Json(change): extract::Json<ChangeSettings>,
) -> Result<(Option<[(HeaderName, HeaderValue); 1]>, Json<SettingsView>), ApiError> {
    let mut cookie = None;
    if change.new_password.is_some() {
        let change = RequireLoginChange {
            require_login: None,
            password: change.new_password,
            current_password: change.current_password,
        };
        let session = app.admin().change_login(actor.clone(), Some(&principal), &caller, change).await?;
        cookie = session.map(|session| set_cookie(&app, &session)).transpose()?;
    }
    let settings = app.merge_settings(&actor, change.settings).await?;
    Ok((cookie.map(|cookie| [cookie]), Json(view(&app, settings).await?)))
}

async fn view(app: &Services, settings: GatewaySettings) -> Result<SettingsView, ApiError> {
    let has_password = app.admin().state().await?.has_password;
    let port = app.settings.control_plane_port;
    Ok(SettingsView {
        settings,
        setup_complete: has_password,
        has_password,
        runtime_ports: RuntimePorts { port, api_port: port, dashboard_port: port, grpc_port: app.settings.grpc_port },
        api_port: port,
        dashboard_port: port,
        allow_private_upstreams: app.store.allow_private_upstreams(),
        machine_id: app.deployment_id(),
    })
}
