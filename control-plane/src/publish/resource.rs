//! Rows of the database as resources of the protocol.

use omniroute_core::{hash::mac, sealed::SealError};
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use omniroute_providers::ChatApis;
use omniroute_telemetry::names;
use prost::Message as _;
use serde_json::Value;
use sqlx::{AnyConnection, any::AnyRow};
use zeroize::Zeroizing;

use crate::store::{Columns as _, FleetValues, Query, Store, StoreError, connection_secrets, sql};

/// Smallest protocol version that understands the resources of this build.
const MIN_VERSION: u32 = 1;

const MEBIBYTE: u64 = 1024 * 1024;
const DEFAULT_MAX_BODY_MB: u64 = 32;
/// Tries after the first.
const DEFAULT_RETRIES: u64 = 3;

/// The rows of a kind whose revision is above `$1` and at most `$2`.
pub(super) fn select(kind: Kind, above: i64, up_to: i64) -> Query {
    let statement = match kind {
        Kind::Settings => "SELECT id, revision, document FROM settings WHERE revision > $1 AND revision <= $2",
        Kind::ProviderNode => {
            "SELECT id, revision, kind, name, prefix, api_type, base_url, chat_path, models_path FROM nodes \
             WHERE revision > $1 AND revision <= $2"
        }
        Kind::Connection => {
            "SELECT id, revision, provider, name, auth_type, priority, is_active, secret, base_url, headers, \
             provider_data, connect_ms, first_byte_ms, idle_ms, total_ms, max_concurrent FROM connections \
             WHERE revision > $1 AND revision <= $2"
        }
        Kind::Model => {
            "SELECT provider, model, revision, kind, context_window, max_output_tokens, source, created FROM models \
             WHERE revision > $1 AND revision <= $2"
        }
        Kind::ApiKey => {
            "SELECT id, revision, name, hash, is_active, no_log, allowed_models, allowed_connections, scopes, \
             expires_at, revoked_at, max_body_bytes, previous_hash, previous_until FROM api_keys WHERE revision > $1 AND revision <= $2"
        }
    };
    sql(statement).bind(above).bind(up_to)
}

/// Out of which rows become resources: the same on every replica, whatever its own settings are.
pub(super) struct Source<'a> {
    store: &'a Store,
    values: FleetValues,
}

// === impl Source ===

impl<'a> Source<'a> {
    /// As the transaction sees it.
    ///
    /// # Errors
    /// `RingIncomplete` when this process cannot open what another one can.
    pub(super) async fn of(store: &'a Store, tx: &mut AnyConnection) -> Result<Self, StoreError> {
        Ok(Self { store, values: store.published_values(tx).await? })
    }

    /// The resource of a row of [`select`], with the hash of its contents.
    ///
    /// # Errors
    /// `RingIncomplete` as above; or the row is damaged.
    pub(super) fn resource(&self, kind: Kind, row: &AnyRow) -> Result<v1::Resource, StoreError> {
        let mut resource = resource(kind, row, self)?;
        resource.content = content(&self.values, &resource);
        Ok(resource)
    }
}

fn resource(kind: Kind, row: &AnyRow, source: &Source<'_>) -> Result<v1::Resource, StoreError> {
    let (id, body) = match kind {
        Kind::Settings => (row.text("id")?, Body::Settings(settings(row, &source.values)?)),
        Kind::ProviderNode => (row.text("id")?, Body::ProviderNode(node(row)?)),
        Kind::Connection => {
            let id = row.text("id")?;
            let connection = connection(row, &id, source.store)?;
            (id, Body::Connection(connection))
        }
        Kind::Model => {
            let model = model(row)?;
            (format!("{}/{}", model.provider, model.model), Body::Model(model))
        }
        Kind::ApiKey => (row.text("id")?, Body::ApiKey(api_key(row)?)),
    };
    Ok(v1::Resource {
        id,
        revision: row.u64("revision")?,
        min_version: MIN_VERSION,
        deleted: false,
        kind: kind.as_str().to_owned(),
        content: 0,
        body: Some(body),
    })
}

/// Keyed, so that it tells nobody what is in a resource; never 0, which says that it is not known.
fn content(values: &FleetValues, resource: &v1::Resource) -> u64 {
    let encoded = Zeroizing::new(resource.encode_to_vec());
    let mac = mac(values.digest_key.as_slice(), &[&encoded]);
    let (head, _) = mac.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*head).max(1)
}

/// The word that a resource is gone.
pub(super) fn deletion(kind: Kind, id: &str, revision: u64) -> v1::Resource {
    v1::Resource {
        id: id.to_owned(),
        revision,
        min_version: MIN_VERSION,
        deleted: true,
        kind: kind.as_str().to_owned(),
        content: 0,
        body: None,
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

fn node(row: &AnyRow) -> Result<v1::ProviderNode, StoreError> {
    Ok(v1::ProviderNode {
        name: row.text("name")?,
        prefix: row.text("prefix")?,
        r#type: row.text("kind")?,
        api_type: row.opt_text("api_type")?.unwrap_or_default(),
        base_url: row.text("base_url")?,
        chat_path: row.opt_text("chat_path")?.unwrap_or_default(),
        models_path: row.opt_text("models_path")?.unwrap_or_default(),
    })
}

/// A connection whose sealed values nobody can open goes out inactive: one damaged row must not hold back all the others.
/// Where another process has the key, this one must not say anything of it.
fn connection(row: &AnyRow, id: &str, store: &Store) -> Result<v1::Connection, StoreError> {
    let opened = connection_secrets(row, id, store.ring());
    if let Err(StoreError::Sealed { source: SealError::UnknownKey(key), .. }) = &opened
        && store.has_elsewhere(key)
    {
        return Err(StoreError::RingIncomplete(key.clone()));
    }
    if let Err(error) = &opened {
        tracing::error!(connection = id, %error, "a connection is published as inactive: enter its secret anew");
        metrics::counter!(names::CONFIG_UNREADABLE).increment(1);
    }
    let is_readable = opened.is_ok();
    let (secret, headers, specific) = opened.unwrap_or_else(|_| Default::default());
    Ok(v1::Connection {
        provider: row.text("provider")?,
        name: row.text("name")?,
        auth_type: row.text("auth_type")?,
        priority: row.i32("priority")?,
        is_active: row.flag("is_active")? && is_readable,
        secret: secret.expose().to_owned(),
        base_url: row.opt_text("base_url")?.unwrap_or_default(),
        headers: headers.into_iter().collect(),
        timeouts: Some(v1::Timeouts {
            connect_ms: row.u64("connect_ms")?,
            first_byte_ms: row.u64("first_byte_ms")?,
            idle_ms: row.u64("idle_ms")?,
            total_ms: row.u64("total_ms")?,
        }),
        region: specific.get("region").and_then(Value::as_str).unwrap_or_default().to_owned(),
        // Older versions kept whatever stood here.
        api_type: specific
            .get("apiType")
            .and_then(Value::as_str)
            .filter(|word| ChatApis::parse(word).is_some())
            .unwrap_or_default()
            .to_owned(),
        max_concurrent: row.opt_u64("max_concurrent")?.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX)),
    })
}

fn model(row: &AnyRow) -> Result<v1::Model, StoreError> {
    Ok(v1::Model {
        provider: row.text("provider")?,
        model: row.text("model")?,
        r#type: row.text("kind")?,
        context_window: row.opt_u64("context_window")?.unwrap_or_default(),
        max_output_tokens: row.opt_u64("max_output_tokens")?.unwrap_or_default(),
        source: row.text("source")?,
        created_at: row.u64("created")?,
    })
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
