//! What connections look like in REST.

use omniroute_core::{settings::Secret, time::UnixMillis};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{super::nodes::NodeRecord, ConnectionChange, ConnectionRecord, ConnectionView, MASK, NewConnection};
use crate::{
    http::{Edit, Fields, FromFields, shapes::UpstreamTimeouts},
    store::records::{Object, TimeoutsRecord},
};

/// Longest credential: a service account's JSON is a few KiB.
const MAX_SECRET: usize = 60_000;
pub(super) const MAX_PRIORITY: u64 = 100_000;
const MAX_CONCURRENT: u64 = 1_000_000;
const MAX_WEIGHT: u64 = 10_000;
const MAX_TAGS: usize = 32;
const PAGE: u64 = 10_000;

/// Fields that are kept with a connection and that no proxy acts on yet. An answer to an edit that sets one says so.
const NOT_ENFORCED: [&str; 4] = ["rateLimitOverrides", "quotaWindowThresholds", "weight", "tags"];

/// What an answer shows and an edit cannot change.
const SHOWN: [&str; 14] = [
    "id",
    "provider",
    "authType",
    "hasApiKey",
    "testStatus",
    "lastTested",
    "latencyMs",
    "lastError",
    "errorCode",
    "unreadable",
    "unreadableFields",
    "cooldown",
    "createdAt",
    "updatedAt",
];

/// A connection, without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct Connection {
    id: String,
    /// Id of a node, or of a provider of the catalog.
    provider: String,
    /// `apikey`, `oauth` or `none`.
    auth_type: String,
    /// Whether a secret is stored. It is never shown.
    has_api_key: bool,
    name: String,
    /// Lower goes first.
    priority: i32,
    is_active: bool,
    /// What the last test said: `active`, `error`, or `unknown` before the first.
    test_status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_tested: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    /// Something stored does not open with the master keys at hand, and no proxy uses the connection.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    unreadable: bool,
    /// What of it: the fields to enter anew, or to set to null.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unreadable_fields: Vec<&'static str>,
    /// Until when some proxy leaves it alone, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    cooldown: Option<CooldownView>,
    /// `baseUrl`, `customHeaders` (values masked) and whatever else was sent, but for secrets. For a node's connection
    /// also the node's `prefix`, `apiType`, `baseUrl` and `nodeName`.
    #[schema(value_type = Object)]
    provider_specific_data: Object,
    /// 0 means the gateway's value.
    timeouts: UpstreamTimeouts,
    /// Requests in flight at once; null means no limit.
    max_concurrent: Option<u32>,
    created_at: String,
    updated_at: String,
    /// `group`, `displayName`, `email`, `defaultModel`, `globalPriority`, `healthCheckInterval`, `rateLimitOverrides`,
    /// `quotaWindowThresholds`, `weight`, `tags`, where they were set.
    #[serde(flatten)]
    extras: Object,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CooldownView {
    until: String,
    reason: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AllConnections {
    connections: Vec<Connection>,
    /// Of all pages.
    total: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct OneConnection {
    connection: Connection,
    /// Fields of the edit that are kept but that no proxy acts on yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_enforced: Vec<String>,
}

/// Which connections.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Id or alias of a provider, or id of a node.
    pub(super) provider: Option<String>,
    /// Rows at most.
    #[param(minimum = 1, maximum = 10_000, required = false)]
    pub(super) limit: u64,
    /// Rows to skip.
    #[param(required = false)]
    pub(super) offset: u64,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct CreateConnection {
    /// Id or alias of a provider of the catalog, or id of a node.
    #[schema(min_length = 1, max_length = 200)]
    provider: String,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The secret. Required unless the provider wants none.
    #[schema(value_type = Option<String>, max_length = 60_000, format = "password")]
    api_key: Option<Secret>,
    #[serde(flatten)]
    options: ConnectionOptions,
}

/// Fields to change; the others stay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangeConnection {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// A new secret. Empty or missing keeps the stored one, but not when the base URL changes to another host: a stored
    /// secret is never sent there.
    #[schema(value_type = Option<String>, max_length = 60_000, format = "password")]
    api_key: Option<Secret>,
    /// Null ends the connection's cooldown, as the original has it; there is no other value, for cooldowns begin by
    /// themselves.
    #[schema(value_type = Option<String>)]
    rate_limited_until: Edit<Value>,
    #[serde(flatten)]
    options: ConnectionOptions,
}

/// What can be set on a connection besides its name and secret.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ConnectionOptions {
    /// Lower goes first. A new connection goes last.
    #[schema(minimum = 1, maximum = 100_000)]
    priority: Option<i32>,
    is_active: Option<bool>,
    /// Requests in flight at once; null or 0 means no limit.
    #[schema(value_type = Option<u32>)]
    max_concurrent: Edit<u32>,
    /// 0 means the gateway's value.
    timeouts: Option<UpstreamTimeouts>,
    /// `baseUrl` overrides the base URL of any provider; `customHeaders` are sent upstream; `apiType` says which of OpenAI's
    /// chat APIs the host of a provider that speaks them has: `chat`, `responses` or `both`. In an edit, fields that
    /// are missing stay and null removes one.
    #[schema(value_type = Option<Object>)]
    provider_specific_data: Option<Object>,
    #[serde(flatten)]
    extras: ConnectionExtras,
}

/// Kept for clients of the original; no proxy acts on them yet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ConnectionExtras {
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<u64>)]
    global_priority: Edit<u64>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<String>)]
    default_model: Edit<String>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<String>)]
    group: Edit<String>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<String>)]
    display_name: Edit<String>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<String>)]
    email: Edit<String>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<u64>)]
    health_check_interval: Edit<u64>,
    /// Its share among connections of the same priority.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<u64>)]
    weight: Edit<u64>,
    /// Words to choose connections by.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<Vec<String>>)]
    tags: Edit<Value>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<Object>)]
    rate_limit_overrides: Edit<Value>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    #[schema(value_type = Option<Object>)]
    quota_window_thresholds: Edit<Value>,
}

// === impl ListQuery ===

impl FromFields for ListQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            provider: fields.text("provider", 1..=200),
            limit: fields.whole("limit", 1..=PAGE).unwrap_or(PAGE),
            offset: fields.whole("offset", 0..=u64::from(u32::MAX)).unwrap_or(0),
        }
    }
}

// === impl CreateConnection ===

impl FromFields for CreateConnection {
    fn read(fields: &mut Fields) -> Self {
        Self {
            provider: fields.required_text("provider", 1..=200).trim().to_owned(),
            name: fields.required_text("name", 1..=200),
            api_key: api_key(fields),
            options: ConnectionOptions::read(fields),
        }
    }
}

impl CreateConnection {
    pub(super) fn not_enforced(&self) -> Vec<String> {
        not_enforced(&self.options.extras.to_object())
    }

    pub(super) fn into_new(self) -> NewConnection {
        let options = self.options;
        let mut extras = options.extras.to_object();
        extras.retain(|_, value| !value.is_null());
        NewConnection {
            provider: self.provider,
            name: self.name,
            secret: self.api_key.unwrap_or_default(),
            priority: options.priority,
            is_active: options.is_active.unwrap_or(true),
            max_concurrent: options.max_concurrent.set(),
            timeouts: options.timeouts.unwrap_or_default().over(TimeoutsRecord::default()),
            specific: options.provider_specific_data.unwrap_or_default(),
            extras,
        }
    }
}

// === impl ChangeConnection ===

impl FromFields for ChangeConnection {
    fn read(fields: &mut Fields) -> Self {
        let change = Self {
            name: fields.text("name", 1..=200),
            api_key: api_key(fields).filter(Secret::is_set),
            rate_limited_until: fields.nullable_value("rateLimitedUntil", |_| false),
            options: ConnectionOptions::read(fields),
        };
        fields.shown(&SHOWN);
        fields.require_any();
        change
    }
}

impl ChangeConnection {
    pub(super) fn not_enforced(&self) -> Vec<String> {
        not_enforced(&self.options.extras.to_object())
    }

    pub(super) fn into_change(self) -> ConnectionChange {
        let options = self.options;
        ConnectionChange {
            name: self.name,
            secret: self.api_key,
            priority: options.priority,
            is_active: options.is_active,
            max_concurrent: options.max_concurrent,
            timeouts: options.timeouts,
            specific: options.provider_specific_data,
            extras: options.extras.to_object(),
            ends_cooldown: self.rate_limited_until == Edit::Clear,
        }
    }
}

pub(in super::super) fn api_key(fields: &mut Fields) -> Option<Secret> {
    let key = fields.nullable_secret("apiKey", 0..=MAX_SECRET).set()?;
    if key.contains(MASK) {
        fields.refuse("apiKey", "is masked; send the whole key, or leave it out to keep the stored one");
    }
    Some(Secret::new(key.trim()))
}

// === impl ConnectionOptions ===

impl FromFields for ConnectionOptions {
    fn read(fields: &mut Fields) -> Self {
        let priority = fields.whole("priority", 1..=MAX_PRIORITY);
        let max_concurrent = fields.nullable_whole("maxConcurrent", 0..=MAX_CONCURRENT);
        Self {
            priority: priority.and_then(|priority| i32::try_from(priority).ok()),
            is_active: fields.flag("isActive"),
            max_concurrent: match max_concurrent {
                Edit::Set(0) => Edit::Clear,
                other => other.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            },
            timeouts: fields.nested("timeouts", UpstreamTimeouts::read),
            provider_specific_data: fields.object("providerSpecificData"),
            extras: ConnectionExtras::read(fields),
        }
    }
}

// === impl ConnectionExtras ===

impl FromFields for ConnectionExtras {
    fn read(fields: &mut Fields) -> Self {
        Self {
            global_priority: fields.nullable_whole("globalPriority", 1..=MAX_PRIORITY),
            default_model: fields.nullable_text("defaultModel", 0..=200),
            group: fields.nullable_text("group", 0..=100),
            display_name: fields.nullable_text("displayName", 0..=200),
            email: fields.nullable_text("email", 0..=320),
            health_check_interval: fields.nullable_whole("healthCheckInterval", 0..=1440),
            weight: fields.nullable_whole("weight", 1..=MAX_WEIGHT),
            tags: fields.nullable_value("tags", are_tags),
            rate_limit_overrides: fields.nullable_value("rateLimitOverrides", Value::is_object),
            quota_window_thresholds: fields.nullable_value("quotaWindowThresholds", Value::is_object),
        }
    }
}

impl ConnectionExtras {
    fn to_object(&self) -> Object {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            _ => Object::new(),
        }
    }
}

// === impl AllConnections ===

impl AllConnections {
    pub(super) fn new(page: Vec<ConnectionView>, total: u64) -> Self {
        Self { connections: page.into_iter().map(Connection::from).collect(), total }
    }
}

// === impl OneConnection ===

impl OneConnection {
    pub(super) fn new(view: ConnectionView, not_enforced: Vec<String>) -> Self {
        Self { connection: view.into(), not_enforced }
    }
}

// === impl Connection ===

impl From<ConnectionView> for Connection {
    fn from(view: ConnectionView) -> Self {
        let ConnectionView { record, node, cooling } = view;
        let specific = specific(&record, node.as_ref());
        Self {
            id: record.id.to_string(),
            provider: record.provider.to_string(),
            auth_type: record.auth_type,
            has_api_key: record.has_secret,
            name: record.name,
            priority: record.priority,
            is_active: record.is_active,
            test_status: if record.test.status.is_empty() { "unknown".into() } else { record.test.status },
            last_tested: record.test.tested_at.map(UnixMillis::to_rfc3339),
            latency_ms: record.test.latency_ms,
            last_error: record.test.error,
            error_code: record.test.error_code,
            unreadable: record.unopened.is_any(),
            unreadable_fields: record.unopened.fields(),
            cooldown: cooling.map(|row| CooldownView { until: row.until.to_rfc3339(), reason: row.reason }),
            provider_specific_data: specific,
            timeouts: UpstreamTimeouts::of(&record.timeouts),
            max_concurrent: record.max_concurrent,
            created_at: record.created_at.to_rfc3339(),
            updated_at: record.updated_at.to_rfc3339(),
            extras: record.extras,
        }
    }
}

fn specific(record: &ConnectionRecord, node: Option<&NodeRecord>) -> Object {
    let mut shown = without_secrets(record.provider_data.clone());
    if let Some(node) = node {
        shown.insert("prefix".into(), json!(node.prefix));
        if let Some(api_type) = &node.api_type {
            shown.insert("apiType".into(), json!(api_type));
        }
        shown.insert("nodeName".into(), json!(node.name));
    }
    if let Some(url) = record.base_url.as_ref().or_else(|| node.map(|node| &node.base_url)) {
        shown.insert("baseUrl".into(), json!(url));
    }
    if !record.headers.is_empty() {
        let masked: Object = record.headers.keys().map(|name| (name.clone(), json!(MASK))).collect();
        shown.insert("customHeaders".into(), Value::Object(masked));
    }
    shown
}

/// Leaves out whatever is called like a secret and is a text. What is left out of an edit stays as it is, so nothing
/// is lost by sending the rest back.
fn without_secrets(object: Object) -> Object {
    object
        .into_iter()
        .filter(|(name, value)| !(is_secret_name(name) && (value.is_string() || value.is_array())))
        .map(|(name, value)| match value {
            Value::Object(inner) => (name, Value::Object(without_secrets(inner))),
            other => (name, other),
        })
        .collect()
}

fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 12] = [
        "secret",
        "token",
        "password",
        "passwd",
        "cookie",
        "apikey",
        "credential",
        "privatekey",
        "accesskey",
        "sessionkey",
        "authorization",
        "runtimekey",
    ];
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    PARTS.iter().any(|part| plain.contains(part))
}

/// A few words.
fn are_tags(value: &Value) -> bool {
    const LONGEST: usize = 100;
    let is_tag = |tag: &Value| tag.as_str().is_some_and(|tag| !tag.trim().is_empty() && tag.len() <= LONGEST);
    value.as_array().is_some_and(|tags| tags.len() <= MAX_TAGS && tags.iter().all(is_tag))
}

fn not_enforced(extras: &Object) -> Vec<String> {
    let restricts = |name: &&&str| extras.get(**name).is_some_and(|value| !value.is_null());
    NOT_ENFORCED.iter().filter(restricts).map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_like_a_secret_is_not_shown_at_any_depth() {
        let Value::Object(object) = json!({
            "consoleApiKey": "x", "authCookie": "x", "region": "eu", "tokenLimit": 5,
            "inner": { "client_secret": "x", "id": "kept" },
        }) else {
            panic!("an object")
        };
        let shown = Value::Object(without_secrets(object));
        assert_eq!(shown, json!({ "region": "eu", "tokenLimit": 5, "inner": { "id": "kept" } }));
    }
}
