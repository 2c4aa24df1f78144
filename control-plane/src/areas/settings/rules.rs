//! The settings that the operator edits at run time, as one typed document.
//!
//! What a process needs to start (addresses, secrets, the database) is not here: that is
//! [`omniroute_core::settings`].

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Settings;
use crate::{
    http::{ApiError, Fields, FromFields, shapes::UpstreamTimeouts},
    store::records::{Actor, Object, SettingsDocument},
};

/// Settings as REST takes and gives them. In an edit, a field that is missing stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub struct GatewaySettings {
    /// Whether management needs a login. Turned off, it is open to callers on the gateway's own machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = true)]
    pub require_login: Option<bool>,
    /// Largest request body that proxies accept, in MiB; an API key can be allowed more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 32, minimum = 1, maximum = 512)]
    pub max_body_size_mb: Option<u64>,
    /// How often a request is tried again on another connection of the same provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 3, minimum = 0, maximum = 10)]
    pub request_retry: Option<u64>,
    /// Timeouts towards providers; 0 or missing means the proxy's own setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<UpstreamTimeouts>,
    /// Kept for the retry policy of combos; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 30, minimum = 0, maximum = 300)]
    pub max_retry_interval_sec: Option<u64>,
    /// Kept for the round-robin strategy; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 3, minimum = 0, maximum = 1000)]
    pub sticky_round_robin_limit: Option<u64>,
    /// Kept for deduplication by `Idempotency-Key`; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = 5000, minimum = 0, maximum = 3_600_000)]
    pub idempotency_window_ms: Option<u64>,
    /// `auto`, `always` or `never`. Kept for request translation; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = "auto")]
    pub always_preserve_client_cache: Option<String>,
    /// Kept for the MCP endpoints; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = false)]
    pub mcp_enabled: Option<bool>,
    /// Kept for the A2A endpoint; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = false)]
    pub a2a_enabled: Option<bool>,
    /// Kept for WebSocket clients; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = false)]
    pub ws_auth: Option<bool>,
    /// A dashboard's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = "guided")]
    pub combo_config_mode: Option<String>,
    /// A dashboard's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_sidebar_items: Option<Vec<String>>,
    /// A dashboard's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(default = "")]
    pub instance_name: Option<String>,
    /// A dashboard's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<String>,
    /// A dashboard's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

// === impl GatewaySettings ===

impl GatewaySettings {
    /// What a stored document says, with the default of everything that it does not say.
    pub fn of(document: &SettingsDocument) -> Self {
        let stored = Self::read(&mut Fields::new(document.document.clone()));
        Self {
            require_login: Some(stored.require_login.unwrap_or(true)),
            max_body_size_mb: Some(stored.max_body_size_mb.unwrap_or(32)),
            request_retry: Some(stored.request_retry.unwrap_or(3)),
            timeouts: Some(stored.timeouts.unwrap_or_default().or_zero()),
            max_retry_interval_sec: Some(stored.max_retry_interval_sec.unwrap_or(30)),
            sticky_round_robin_limit: Some(stored.sticky_round_robin_limit.unwrap_or(3)),
            idempotency_window_ms: Some(stored.idempotency_window_ms.unwrap_or(5000)),
            always_preserve_client_cache: stored.always_preserve_client_cache.or_else(|| Some("auto".into())),
            mcp_enabled: Some(stored.mcp_enabled.unwrap_or(false)),
            a2a_enabled: Some(stored.a2a_enabled.unwrap_or(false)),
            ws_auth: Some(stored.ws_auth.unwrap_or(false)),
            combo_config_mode: stored.combo_config_mode.or_else(|| Some("guided".into())),
            hidden_sidebar_items: Some(stored.hidden_sidebar_items.unwrap_or_default()),
            instance_name: Some(stored.instance_name.unwrap_or_default()),
            theme: stored.theme,
            language: stored.language,
        }
    }

    fn into_patch(self) -> Object {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            _ => Object::new(),
        }
    }
}

impl FromFields for GatewaySettings {
    fn read(fields: &mut Fields) -> Self {
        Self {
            require_login: fields.flag("requireLogin"),
            max_body_size_mb: fields.whole("maxBodySizeMb", 1..=512),
            request_retry: fields.whole("requestRetry", 0..=10),
            timeouts: fields.nested("timeouts", UpstreamTimeouts::read),
            max_retry_interval_sec: fields.whole("maxRetryIntervalSec", 0..=300),
            sticky_round_robin_limit: fields.whole("stickyRoundRobinLimit", 0..=1000),
            idempotency_window_ms: fields.whole("idempotencyWindowMs", 0..=3_600_000),
            always_preserve_client_cache: fields.choice("alwaysPreserveClientCache", &["auto", "always", "never"]),
            mcp_enabled: fields.flag("mcpEnabled"),
            a2a_enabled: fields.flag("a2aEnabled"),
            ws_auth: fields.flag("wsAuth"),
            combo_config_mode: fields.choice("comboConfigMode", &["guided", "expert"]),
            hidden_sidebar_items: fields.texts("hiddenSidebarItems", 0..=200, 100),
            instance_name: fields.text("instanceName", 0..=100),
            theme: fields.text("theme", 0..=50),
            language: fields.text("language", 0..=10),
        }
    }
}

// === impl Settings ===

impl Settings {
    /// # Errors
    /// When the database fails.
    pub async fn get(&self) -> Result<GatewaySettings, ApiError> {
        Ok(GatewaySettings::of(&self.store.settings().get().await?))
    }

    /// Changes the fields that the edit names, and leaves the others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merge(&self, actor: &Actor, edit: GatewaySettings) -> Result<GatewaySettings, ApiError> {
        let patch = edit.into_patch();
        if patch.is_empty() {
            return self.get().await;
        }
        let mut write = self.store.write(actor).await?;
        let document = write.merge_settings(patch, None).await?;
        write.commit().await?;
        Ok(GatewaySettings::of(&document))
    }
}
