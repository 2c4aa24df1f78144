//! Connections, as proxies are sent them.

use omniroute_core::sealed::SealError;
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use omniroute_providers::ChatApis;
use omniroute_telemetry::names;
use serde_json::Value;
use sqlx::any::AnyRow;
use zeroize::Zeroize as _;

use super::{
    super::pricing::{REFUSE, UNPRICED},
    cloud::cloud_spec,
    rows::opened,
};
use crate::{
    publish::{ConfigKind, Source},
    store::{Columns as _, Store, StoreError},
};

/// Credentials at providers.
pub struct ConnectionKind;

impl ConfigKind for ConnectionKind {
    fn kind(&self) -> Kind {
        Kind::Connection
    }

    fn select(&self) -> &'static str {
        "SELECT id, revision, provider, name, auth_type, priority, is_active, secret, base_url, headers, \
         provider_data, connect_ms, first_byte_ms, idle_ms, total_ms, max_concurrent FROM connections \
         WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, source: &Source<'_>) -> Result<(String, Body), StoreError> {
        let id = row.text("id")?;
        let connection = connection(row, &id, source.store())?;
        Ok((id, Body::Connection(connection)))
    }

    fn wipe(&self, message: &mut Body) {
        if let Body::Connection(connection) = message {
            connection.secret.zeroize();
            connection.headers.values_mut().for_each(|value| value.zeroize());
        }
    }
}

/// A connection whose sealed values nobody can open goes out inactive: one damaged row must not hold back all the others.
/// Where another process has the key, this one must not say anything of it.
fn connection(row: &AnyRow, id: &str, store: &Store) -> Result<v1::Connection, StoreError> {
    let secrets = opened(row, id, store.ring());
    if let Err(StoreError::Sealed { source: SealError::UnknownKey(key), .. }) = &secrets
        && store.has_elsewhere(key)
    {
        return Err(StoreError::RingIncomplete(key.clone()));
    }
    if let Err(error) = &secrets {
        tracing::error!(connection = id, %error, "a connection is published as inactive: enter its secret anew");
        metrics::counter!(names::CONFIG_UNREADABLE).increment(1);
    }
    let is_readable = secrets.is_ok();
    let (secret, headers, specific) = secrets.unwrap_or_else(|_| Default::default());
    let cloud = cloud_spec(&specific);
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
        unpriced: specific
            .get(UNPRICED)
            .and_then(Value::as_str)
            .filter(|word| *word == REFUSE)
            .unwrap_or_default()
            .to_owned(),
        project: cloud.project.to_owned(),
        space: cloud.space.to_owned(),
        api_version: cloud.api_version.to_owned(),
        role_arn: cloud.role_arn.to_owned(),
        external_id: cloud.external_id.to_owned(),
        profile: cloud.profile.to_owned(),
        token_url: cloud.token_url.to_owned(),
        is_ambient: cloud.is_ambient,
        max_concurrent: row.opt_u64("max_concurrent")?.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX)),
    })
}
