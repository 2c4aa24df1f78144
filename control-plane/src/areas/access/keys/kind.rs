//! API keys, as proxies are sent them.

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use sqlx::any::AnyRow;

use crate::{
    publish::{ConfigKind, ResourceBuilder},
    store::{Columns as _, StoreError},
};

/// Clients' API keys.
pub struct ApiKeyKind;

impl ConfigKind for ApiKeyKind {
    fn kind(&self) -> Kind {
        Kind::ApiKey
    }

    fn select(&self) -> &'static str {
        "SELECT id, revision, name, hash, is_active, no_log, allowed_models, allowed_connections, scopes, expires_at, \
         revoked_at, max_body_bytes, previous_hash, previous_until FROM api_keys \
         WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, _: &ResourceBuilder<'_>) -> Result<(String, Body), StoreError> {
        Ok((row.text("id")?, Body::ApiKey(api_key(row)?)))
    }
}

fn api_key(row: &AnyRow) -> Result<v1::ApiKey, StoreError> {
    Ok(v1::ApiKey {
        name: row.text("name")?,
        key_hash: row.blob("hash")?,
        is_active: row.flag("is_active")?,
        expires_at_ms: row.opt_u64("expires_at")?.unwrap_or_default(),
        revoked_at_ms: row.opt_u64("revoked_at")?.unwrap_or_default(),
        allowed_models: row.json("allowed_models")?,
        allowed_connections: row.json("allowed_connections")?,
        scopes: row.json("scopes")?,
        no_log: row.flag("no_log")?,
        max_body_bytes: row.opt_u64("max_body_bytes")?.unwrap_or_default(),
        previous_key_hash: row.opt_blob("previous_hash")?.unwrap_or_default(),
        previous_until_ms: row.opt_u64("previous_until")?.unwrap_or_default(),
    })
}
