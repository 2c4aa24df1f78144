//! What assignments say of connections and nodes that go.

use super::{
    record::{OF_LEVEL, Scope},
    rows,
};
use crate::store::{StoreError, Write};

/// Connections are being deleted: their assignments go with them.
///
/// # Errors
/// When the database fails.
pub async fn forget_connections(write: &mut Write, gone: &[String]) -> Result<(), StoreError> {
    for id in gone {
        release(write, &Scope::Account(id.clone())).await?;
    }
    Ok(())
}

/// A node is being deleted: its assignment goes with it.
///
/// # Errors
/// When the database fails.
pub async fn forget_provider(write: &mut Write, gone: &str) -> Result<(), StoreError> {
    release(write, &Scope::Provider(gone.to_owned())).await
}

/// Takes an assignment away, and with it the proxy that was made for it alone.
pub(super) async fn release(write: &mut Write, scope: &Scope) -> Result<(), StoreError> {
    let Some(old) = rows::unassign(write, scope).await? else { return Ok(()) };
    let proxy = rows::find(write, &old.proxy_id).await?;
    if proxy.is_some_and(|proxy| proxy.source == OF_LEVEL)
        && rows::assignments_of(write, &old.proxy_id).await?.is_empty()
    {
        rows::delete(write, &old.proxy_id).await?;
    }
    Ok(())
}
