//! What keys look like in REST.

use std::time::Duration;

use omniroute_core::time::UnixMillis;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{IssuedKey, KeyChange, KeyRecord, NewKey};
use crate::{
    http::{Edit, Fields, FromFields},
    store::records::Object,
};

const MODELS: usize = 1000;
const CONNECTIONS: usize = 100;
const SCOPES: usize = 32;
/// Largest body that a key can be allowed: what fits into a proxy's memory for bodies.
const MAX_BODY: u64 = 512 * 1024 * 1024;
const PAGE: u64 = 1000;
/// A month, in seconds.
const MAX_GRACE: u64 = 30 * 24 * 60 * 60;

/// Fields that are kept with a key and that no proxy acts on yet. An answer to an edit that names one says so.
const NOT_ENFORCED: [&str; 6] =
    ["rateLimits", "accessSchedule", "maxSessions", "ipAllowlist", "maxRequestsPerDay", "maxRequestsPerMinute"];

/// A key, without the secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct KeyView {
    id: String,
    name: String,
    /// For people to tell keys apart: the first and the last characters.
    #[schema(example = "sk-b1490****1ab4")]
    key: String,
    key_prefix: String,
    machine_id: String,
    /// Model ids as clients write them; a trailing `*` matches any suffix. Empty means every model.
    allowed_models: Vec<String>,
    /// Empty means every connection.
    allowed_connections: Vec<String>,
    /// `manage` or `admin` lets the key use this API, `<area>:read` or `<area>:write` a part of it.
    scopes: Vec<String>,
    is_active: bool,
    /// Keeps this key's requests out of logs.
    no_log: bool,
    /// Larger request bodies than the gateway's limit, in bytes.
    max_body_bytes: Option<u64>,
    created_at: String,
    updated_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// Until when the secret before this one is accepted; in the past: it no longer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_valid_until: Option<String>,
    last_used_at: Option<String>,
    auto_resolve: bool,
    /// Kept; not enforced by this version.
    ip_allowlist: Option<Vec<String>>,
    /// Kept; not enforced by this version.
    #[schema(value_type = Option<Object>)]
    access_schedule: Option<Value>,
    /// Kept; not enforced by this version.
    max_requests_per_day: Option<u64>,
    /// Kept; not enforced by this version.
    max_requests_per_minute: Option<u64>,
    /// Kept; not enforced by this version. 0 means no limit.
    max_sessions: u64,
    /// Kept; not enforced by this version.
    #[schema(value_type = Option<Vec<Object>>)]
    rate_limits: Option<Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct AllKeys {
    keys: Vec<KeyView>,
    total: u64,
    /// Always false: keys are stored as hashes and cannot be shown again.
    allow_key_reveal: bool,
}

/// A key that was just made: the only time that it is shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct CreatedKey {
    /// Copy it now; it cannot be shown again.
    #[schema(example = "sk-…")]
    key: String,
    id: String,
    name: String,
    machine_id: String,
    no_log: bool,
    is_active: bool,
    allowed_models: Vec<String>,
    allowed_connections: Vec<String>,
    scopes: Vec<String>,
    expires_at: Option<String>,
    /// Until when the secret before this one works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_valid_until: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_enforced: Vec<String>,
    /// What looks like a slip: entries of `allowedModels` that no model matches which is known now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// What was changed, as it now is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangedKey {
    message: &'static str,
    /// The fields that the edit named.
    #[serde(flatten)]
    changed: ChangeKey,
    /// Fields of the edit that are kept but that no proxy acts on yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_enforced: Vec<String>,
    /// What looks like a slip: entries of `allowedModels` that no model matches which is known now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct CreateKey {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[serde(flatten)]
    options: KeyOptions,
}

/// Fields to change; the others stay.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[serde(flatten)]
    options: KeyOptions,
}

/// What can be set on a key besides its name.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
    /// Keeps this key's requests out of logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_log: Option<bool>,
    /// Model ids as clients write them; a trailing `*` matches any suffix. Empty means every model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 1000)]
    allowed_models: Option<Vec<String>>,
    /// Empty means every connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    allowed_connections: Option<Vec<String>>,
    /// `manage` or `admin` lets the key use this API, `<area>:read` or `<area>:write` a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 32)]
    scopes: Option<Vec<String>>,
    /// RFC 3339; null means never.
    #[serde(skip_serializing_if = "Edit::is_keep", serialize_with = "as_rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Edit<UnixMillis>,
    /// Larger request bodies than the gateway's limit, in bytes; null means the gateway's limit.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<u64>, maximum = 536_870_912)]
    max_body_bytes: Edit<u64>,
    #[serde(flatten)]
    extras: KeyExtras,
}

/// Kept for clients of the original. But for `autoResolve` these are limits that no proxy acts on yet; the answer to
/// an edit that sets one says so in `notEnforced`.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyExtras {
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_resolve: Option<bool>,
    /// Not enforced yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 10_000)]
    max_sessions: Option<u64>,
    /// Not enforced yet.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<u64>)]
    max_requests_per_day: Edit<u64>,
    /// Not enforced yet.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<u64>)]
    max_requests_per_minute: Edit<u64>,
    /// Objects `{limit, window}`, both at least 1. Not enforced yet.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<Vec<Object>>)]
    rate_limits: Edit<Value>,
    /// Not enforced yet.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<Object>)]
    access_schedule: Edit<Value>,
    /// Not enforced yet.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<Vec<String>>)]
    ip_allowlist: Edit<Value>,
}

/// How to make a key anew.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RegenerateKey {
    /// For so many seconds the old secret works on beside the new one, on every proxy; 0 or missing: it stops working
    /// at once. A secret that an earlier call left working stops in any case.
    #[schema(maximum = 2_592_000)]
    grace_seconds: Option<u64>,
}

/// Which part of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000, required = false)]
    pub(super) limit: u64,
    /// Rows to skip.
    #[param(required = false)]
    pub(super) offset: u64,
}

// === impl RegenerateKey ===

impl FromFields for RegenerateKey {
    fn read(fields: &mut Fields) -> Self {
        Self { grace_seconds: fields.whole("graceSeconds", 0..=MAX_GRACE) }
    }
}

impl RegenerateKey {
    pub(super) fn grace(&self) -> Option<Duration> {
        self.grace_seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

// === impl Page ===

impl FromFields for Page {
    fn read(fields: &mut Fields) -> Self {
        Self {
            limit: fields.whole("limit", 1..=PAGE).unwrap_or(PAGE),
            offset: fields.whole("offset", 0..=u64::from(u32::MAX)).unwrap_or(0),
        }
    }
}

// === impl CreateKey ===

impl FromFields for CreateKey {
    fn read(fields: &mut Fields) -> Self {
        Self { name: fields.required_text("name", 1..=200), options: KeyOptions::read(fields) }
    }
}

impl CreateKey {
    pub(super) fn not_enforced(&self) -> Vec<String> {
        not_enforced(&self.options.extras.to_object())
    }

    pub(super) fn into_new(self) -> NewKey {
        let Self { name, options } = self;
        let mut extras = options.extras.to_object();
        extras.retain(|_, value| !value.is_null());
        NewKey {
            name,
            is_active: options.is_active.unwrap_or(true),
            no_log: options.no_log.unwrap_or(false),
            allowed_models: options.allowed_models.unwrap_or_default(),
            allowed_connections: options.allowed_connections.unwrap_or_default(),
            scopes: options.scopes.unwrap_or_default(),
            expires_at: options.expires_at.set(),
            max_body_bytes: options.max_body_bytes.set(),
            extras,
        }
    }
}

// === impl ChangeKey ===

impl FromFields for ChangeKey {
    fn read(fields: &mut Fields) -> Self {
        let change = Self { name: fields.text("name", 1..=200), options: KeyOptions::read(fields) };
        fields.shown(&[
            "id",
            "key",
            "keyPrefix",
            "machineId",
            "createdAt",
            "updatedAt",
            "lastUsedAt",
            "previousValidUntil",
        ]);
        if fields.is_null("revokedAt") {
            fields.shown(&["revokedAt"]);
        }
        fields.require_any();
        change
    }
}

impl ChangeKey {
    /// Those that the edit names.
    pub(super) fn allowed_models(&self) -> &[String] {
        self.options.allowed_models.as_deref().unwrap_or_default()
    }

    pub(super) fn into_change(self) -> KeyChange {
        let Self { name, options } = self;
        KeyChange {
            name,
            is_active: options.is_active,
            no_log: options.no_log,
            allowed_models: options.allowed_models,
            allowed_connections: options.allowed_connections,
            scopes: options.scopes,
            expires_at: options.expires_at,
            max_body_bytes: options.max_body_bytes,
            extras: options.extras.to_object(),
        }
    }
}

// === impl KeyOptions ===

impl FromFields for KeyOptions {
    fn read(fields: &mut Fields) -> Self {
        Self {
            is_active: fields.flag("isActive"),
            no_log: fields.flag("noLog"),
            allowed_models: fields.texts("allowedModels", 0..=MODELS, 400),
            allowed_connections: fields.texts("allowedConnections", 0..=CONNECTIONS, 100),
            scopes: fields.texts("scopes", 0..=SCOPES, 64),
            expires_at: fields.nullable_time("expiresAt"),
            max_body_bytes: fields.nullable_whole("maxBodyBytes", 1..=MAX_BODY),
            extras: KeyExtras::read(fields),
        }
    }
}

// === impl KeyExtras ===

impl FromFields for KeyExtras {
    fn read(fields: &mut Fields) -> Self {
        Self {
            auto_resolve: fields.flag("autoResolve"),
            max_sessions: fields.whole("maxSessions", 0..=10_000),
            max_requests_per_day: fields.nullable_whole("maxRequestsPerDay", 0..=1_000_000_000),
            max_requests_per_minute: fields.nullable_whole("maxRequestsPerMinute", 0..=1_000_000_000),
            rate_limits: fields.nullable_value("rateLimits", is_list_of_limits),
            access_schedule: fields.nullable_value("accessSchedule", Value::is_object),
            ip_allowlist: fields.nullable_value("ipAllowlist", is_list_of_texts),
        }
    }
}

impl KeyExtras {
    /// As the store keeps it: by name, null for what goes.
    fn to_object(&self) -> Object {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            _ => Object::new(),
        }
    }
}

fn as_rfc3339<S: Serializer>(at: &Edit<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
    at.clone().map(UnixMillis::to_rfc3339).serialize(serializer)
}

fn is_list_of_limits(value: &Value) -> bool {
    let positive = |limit: &Value, name: &str| limit.get(name).and_then(Value::as_u64).is_some_and(|n| n > 0);
    value.as_array().is_some_and(|limits| {
        limits.len() <= 50 && limits.iter().all(|l| positive(l, "limit") && positive(l, "window"))
    })
}

fn is_list_of_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|texts| texts.len() <= 200 && texts.iter().all(Value::is_string))
}

// === impl AllKeys ===

impl AllKeys {
    pub(super) fn new(keys: Vec<KeyRecord>, total: u64, machine_id: &str) -> Self {
        let keys = keys.into_iter().map(|key| KeyView::new(key, machine_id.to_owned())).collect();
        Self { keys, total, allow_key_reveal: false }
    }
}

// === impl ChangedKey ===

impl ChangedKey {
    pub(super) fn new(changed: ChangeKey, unmatched: &[String]) -> Self {
        let not_enforced = not_enforced(&changed.options.extras.to_object());
        let warnings = warnings(unmatched);
        Self { message: "API key settings updated successfully", changed, not_enforced, warnings }
    }
}

// === impl KeyView ===

impl KeyView {
    pub(super) fn new(key: KeyRecord, machine_id: String) -> Self {
        let kept = |name: &str| key.extras.get(name).filter(|value| !value.is_null());
        Self {
            auto_resolve: kept("autoResolve").and_then(Value::as_bool).unwrap_or(false),
            ip_allowlist: kept("ipAllowlist")
                .and_then(Value::as_array)
                .map(|entries| entries.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()),
            access_schedule: kept("accessSchedule").cloned(),
            max_requests_per_day: kept("maxRequestsPerDay").and_then(Value::as_u64),
            max_requests_per_minute: kept("maxRequestsPerMinute").and_then(Value::as_u64),
            max_sessions: kept("maxSessions").and_then(Value::as_u64).unwrap_or(0),
            rate_limits: kept("rateLimits").cloned(),
            id: key.id.to_string(),
            name: key.name,
            key: key.masked,
            key_prefix: key.prefix,
            machine_id,
            allowed_models: key.allowed_models,
            allowed_connections: key.allowed_connections,
            scopes: key.scopes,
            is_active: key.is_active,
            no_log: key.no_log,
            max_body_bytes: key.max_body_bytes,
            created_at: key.created_at.to_rfc3339(),
            updated_at: key.updated_at.to_rfc3339(),
            expires_at: key.expires_at.map(UnixMillis::to_rfc3339),
            revoked_at: key.revoked_at.map(UnixMillis::to_rfc3339),
            previous_valid_until: key.previous.map(|previous| previous.until.to_rfc3339()),
            last_used_at: key.last_used_at.map(UnixMillis::to_rfc3339),
        }
    }
}

// === impl CreatedKey ===

impl CreatedKey {
    pub(super) fn new(IssuedKey { record, secret }: IssuedKey, machine_id: String, not_enforced: Vec<String>) -> Self {
        Self {
            key: String::clone(&secret),
            id: record.id.to_string(),
            name: record.name,
            machine_id,
            no_log: record.no_log,
            is_active: record.is_active,
            allowed_models: record.allowed_models,
            allowed_connections: record.allowed_connections,
            scopes: record.scopes,
            expires_at: record.expires_at.map(UnixMillis::to_rfc3339),
            previous_valid_until: record.previous.map(|previous| previous.until.to_rfc3339()),
            not_enforced,
            warnings: Vec::new(),
        }
    }

    /// Says which of its models are none.
    pub(super) fn with_unmatched(self, unmatched: &[String]) -> Self {
        Self { warnings: warnings(unmatched), ..self }
    }
}

fn warnings(unmatched: &[String]) -> Vec<String> {
    unmatched.iter().map(|pattern| format!("no model that is known now matches `{pattern}`")).collect()
}

fn not_enforced(extras: &Object) -> Vec<String> {
    let restricts = |name: &&str| extras.get(*name).is_some_and(|v| !v.is_null() && v.as_u64() != Some(0));
    NOT_ENFORCED.iter().copied().filter(|name| restricts(name)).map(str::to_owned).collect()
}
