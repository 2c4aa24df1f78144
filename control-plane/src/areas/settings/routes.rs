//! `/api/settings`: the settings that the operator edits at run time.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::{HeaderName, HeaderValue};
use omniroute_core::settings::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::{GatewaySettings, PasswordChange, Settings};
use crate::{
    auth::{ClientOrigin, Principal, password},
    http::{ApiError, ErrorBody, Fields, FromFields, extract},
    store::records::Actor,
};

/// The settings and what goes with them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct SettingsView {
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
pub(crate) struct RuntimePorts {
    port: u16,
    api_port: u16,
    dashboard_port: u16,
    grpc_port: u16,
}

/// Fields to change; the others stay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangeSettings {
    #[serde(flatten)]
    settings: GatewaySettings,
    /// A new admin password, together with `currentPassword`.
    #[schema(value_type = Option<String>, min_length = 8, max_length = 200, format = "password")]
    new_password: Option<Secret>,
    #[schema(value_type = Option<String>, max_length = 200, format = "password")]
    current_password: Option<Secret>,
}

// === impl ChangeSettings ===

impl FromFields for ChangeSettings {
    fn read(fields: &mut Fields) -> Self {
        let change = Self {
            settings: GatewaySettings::read(fields),
            new_password: fields.secret("newPassword", password::MIN_LENGTH..=password::MAX_LENGTH).map(Secret::new),
            current_password: fields.secret("currentPassword", 1..=password::MAX_LENGTH).map(Secret::new),
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
pub(super) async fn show(State(settings): State<Arc<Settings>>) -> Result<Json<SettingsView>, ApiError> {
    let document = settings.get().await?;
    view(&settings, document).await.map(Json)
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
    State(settings): State<Arc<Settings>>,
    actor: Actor,
    client: ClientOrigin,
    principal: Principal,
    extract::Json(change): extract::Json<ChangeSettings>,
) -> Result<(Option<[(HeaderName, HeaderValue); 1]>, Json<SettingsView>), ApiError> {
    let mut cookie = None;
    if let (Some(new), Some(current)) = (change.new_password, change.current_password) {
        let change = PasswordChange { new, current };
        cookie = settings.password.change(actor.clone(), &principal, &client, change).await?;
    }
    let document = settings.merge(&actor, change.settings).await?;
    Ok((cookie.map(|cookie| [cookie]), Json(view(&settings, document).await?)))
}

async fn view(area: &Settings, settings: GatewaySettings) -> Result<SettingsView, ApiError> {
    let has_password = area.password.is_set().await?;
    let port = area.ports.rest;
    Ok(SettingsView {
        settings,
        setup_complete: has_password,
        has_password,
        runtime_ports: RuntimePorts { port, api_port: port, dashboard_port: port, grpc_port: area.ports.grpc },
        api_port: port,
        dashboard_port: port,
        allow_private_upstreams: area.store.allow_private_upstreams(),
        machine_id: area.store.deployment_id(),
    })
}
