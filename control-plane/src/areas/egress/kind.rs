//! Outbound proxies and their assignments, as the proxies of the fleet are sent them.

use omniroute_core::sealed::SealError;
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use omniroute_telemetry::names;
use sqlx::any::AnyRow;
use zeroize::Zeroize as _;

use super::{record::ACTIVE, rows::opened};
use crate::{
    publish::{ConfigKind, ResourceBuilder},
    store::{Columns as _, Store, StoreError},
};

/// Servers through which providers are called.
pub struct OutboundProxyKind;

/// What goes through which of them.
pub struct ProxyAssignmentKind;

// === impl OutboundProxyKind ===

impl ConfigKind for OutboundProxyKind {
    fn kind(&self) -> Kind {
        Kind::OutboundProxy
    }

    fn select(&self) -> &'static str {
        "SELECT id, revision, name, kind, host, port, username, password, status, family FROM outbound_proxies \
         WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, builder: &ResourceBuilder<'_>) -> Result<(String, Body), StoreError> {
        let id = row.text("id")?;
        let proxy = proxy(row, &id, builder.store())?;
        Ok((id, Body::OutboundProxy(proxy)))
    }

    fn wipe(&self, message: &mut Body) {
        if let Body::OutboundProxy(proxy) = message {
            proxy.username.zeroize();
            proxy.password.zeroize();
        }
    }
}

/// One whose credentials nobody can open goes out inactive: what is assigned to it is then not called.
fn proxy(row: &AnyRow, id: &str, store: &Store) -> Result<v1::OutboundProxy, StoreError> {
    let credentials = opened(row, id, store);
    if let Err(StoreError::Sealed { source: SealError::UnknownKey(key), .. }) = &credentials
        && store.has_elsewhere(key)
    {
        return Err(StoreError::RingIncomplete(key.clone()));
    }
    if let Err(error) = &credentials {
        tracing::error!(proxy = id, %error, "an outbound proxy is published as inactive: enter its credentials anew");
        metrics::counter!(names::CONFIG_UNREADABLE).increment(1);
    }
    let is_readable = credentials.is_ok();
    let credentials = credentials.unwrap_or_default();
    Ok(v1::OutboundProxy {
        name: row.text("name")?,
        r#type: row.text("kind")?,
        host: row.text("host")?,
        port: u32::try_from(row.u64("port")?).unwrap_or_default(),
        username: credentials.username.expose().to_owned(),
        password: credentials.password.expose().to_owned(),
        is_active: row.text("status")? == ACTIVE && is_readable,
        family: row.text("family")?,
    })
}

// === impl ProxyAssignmentKind ===

impl ConfigKind for ProxyAssignmentKind {
    fn kind(&self) -> Kind {
        Kind::ProxyAssignment
    }

    fn select(&self) -> &'static str {
        "SELECT id, revision, proxy_id, scope, scope_id FROM proxy_assignments WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, _: &ResourceBuilder<'_>) -> Result<(String, Body), StoreError> {
        let assignment = v1::ProxyAssignment {
            proxy: row.text("proxy_id")?,
            scope: row.text("scope")?,
            scope_id: row.text("scope_id")?,
        };
        Ok((row.text("id")?, Body::ProxyAssignment(assignment)))
    }
}
