//! What keys say of connections that go.

use std::collections::BTreeSet;

use super::{
    record::KeyPatch,
    rows::{self},
};
use crate::store::{StoreError, Write};

/// Takes connections that are being deleted out of the lists of keys that may use them. A key that may use no other one
/// keeps its list: an empty one would mean every connection, and it shall mean none.
///
/// # Errors
/// When the database fails.
pub async fn forget_connections(write: &mut Write, gone: &[String]) -> Result<(), StoreError> {
    let gone: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
    for key in rows::restricted(write).await? {
        let left: Vec<String> =
            key.allowed_connections.iter().filter(|id| !gone.contains(id.as_str())).cloned().collect();
        if left.is_empty() || left.len() == key.allowed_connections.len() {
            continue;
        }
        let patch = KeyPatch { allowed_connections: Some(left), ..KeyPatch::default() };
        rows::update(write, key.id.as_str(), patch).await?;
    }
    Ok(())
}
