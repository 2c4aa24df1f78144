//! The settings, as proxies are sent them: what the operator edits, and what the control planes have in common.

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use serde_json::Value;
use sqlx::any::AnyRow;
use zeroize::Zeroize as _;

use crate::{
    publish::{ConfigKind, ResourceBuilder},
    store::{Columns as _, FleetValues, StoreError},
};

const MEBIBYTE: u64 = 1024 * 1024;
const DEFAULT_MAX_BODY_MB: u64 = 32;
/// Tries after the first.
const DEFAULT_RETRIES: u64 = 3;

/// The settings; there is one such resource.
pub struct SettingsKind;

impl ConfigKind for SettingsKind {
    fn kind(&self) -> Kind {
        Kind::Settings
    }

    fn select(&self) -> &'static str {
        "SELECT id, revision, document FROM settings WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, builder: &ResourceBuilder<'_>) -> Result<(String, Body), StoreError> {
        Ok((row.text("id")?, Body::Settings(settings(row, builder.values())?)))
    }

    fn wipe(&self, message: &mut Body) {
        if let Body::Settings(settings) = message {
            settings.key_pepper.zeroize();
        }
    }
}

fn settings(row: &AnyRow, values: &FleetValues) -> Result<v1::GatewaySettings, StoreError> {
    let document: Value = row.json("document")?;
    let megabytes = positive(&document["maxBodySizeMb"]).unwrap_or(DEFAULT_MAX_BODY_MB);
    let retries = document["requestRetry"].as_u64().unwrap_or(DEFAULT_RETRIES);
    let timeouts = &document["timeouts"];
    Ok(v1::GatewaySettings {
        key_pepper: values.pepper.as_bytes().to_vec(),
        max_body_bytes: megabytes.saturating_mul(MEBIBYTE),
        allow_private_upstreams: values.allow_private_upstreams,
        timeouts: Some(v1::Timeouts {
            connect_ms: timeouts["connectMs"].as_u64().unwrap_or_default(),
            first_byte_ms: timeouts["firstByteMs"].as_u64().unwrap_or_default(),
            idle_ms: timeouts["idleMs"].as_u64().unwrap_or_default(),
            total_ms: timeouts["totalMs"].as_u64().unwrap_or_default(),
        }),
        max_attempts: u32::try_from(retries.saturating_add(1)).unwrap_or(u32::MAX),
    })
}

/// A whole number above zero; anything else counts as not set.
fn positive(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| *number > 0)
}
