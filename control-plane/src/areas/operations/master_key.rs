//! `/api/settings/master-key/rotate`: the keys that secrets are sealed with at rest.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Operations;
use crate::{
    http::{ApiError, Code, ErrorBody},
    store::{Resealed, StoreError},
};

/// What a rotation did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct Rotation {
    /// Id of the key that seals now, which is no secret.
    key_id: String,
    /// Values that another key had sealed and that this one seals now.
    resealed: u64,
    /// Values that no key of the ring opens, as `table.column/row`. They stay as they are.
    failed: Vec<String>,
    /// Other control planes that seal with another key, and have not stopped as far as is known: what they write needs theirs.
    /// One that was killed is among them for a day.
    others: Vec<OtherKey>,
    /// Whether nothing needs the old keys any more, so that they can leave `STORAGE_ENCRYPTION_KEY` everywhere.
    old_keys_may_leave: bool,
}

/// A control plane that seals with another key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
struct OtherKey {
    /// Machine or container, and process.
    name: String,
    seals_with: String,
}

// === impl Operations ===

impl Operations {
    /// Seals every stored secret with the first master key of the ring; also tells that key's id.
    async fn rotate_master_key(&self) -> Result<(String, Resealed), StoreError> {
        let done = self.store.reseal(&self.sealed).await?;
        let key_id = self.store.master_key_id();
        tracing::info!(key_id, values = done.values, failed = done.failed.len(), "stored secrets are sealed anew");
        Ok((key_id, done))
    }
}

/// Seal every stored secret with the first master key.
///
/// The first key of `STORAGE_ENCRYPTION_KEY` seals, all of them open. Put a new key first, restart every
/// control plane, call this (409 while one that runs lacks the new key); when it says `oldKeysMayLeave`, the old keys can leave the ring. Serving goes on meanwhile, and calling it again does no harm.
#[utoipa::path(
    post,
    path = "/api/settings/master-key/rotate",
    tag = "Settings",
    responses((status = 200, body = Rotation), (status = 401, body = ErrorBody), (status = 409, body = ErrorBody))
)]
pub(super) async fn rotate(State(operations): State<Arc<Operations>>) -> Result<Json<Rotation>, ApiError> {
    let peers = operations.store.peers().await?;
    let key_id = operations.store.master_key_id();
    let lacking: Vec<&str> = peers
        .iter()
        .filter(|(other, counts)| *counts && !other.state.opens_with.contains(&key_id))
        .map(|(other, _)| other.name.as_str())
        .collect();
    if !lacking.is_empty() {
        return Err(ApiError::new(
            Code::Conflict,
            format!(
                "These control planes do not have the first master key and could not open what it seals: {}. Add it to \
                 STORAGE_ENCRYPTION_KEY there, restart them, and rotate then",
                lacking.join(", ")
            ),
        ));
    }
    // What is sealed with a key of theirs that this one lacks would be left as it is, and named as if nobody could open it.
    let held: BTreeSet<String> = operations.store.ring().ids().map(|id| id.to_string()).collect();
    let running = peers.iter().filter(|(_, counts)| *counts).flat_map(|(other, _)| &other.state.opens_with);
    let missing: BTreeSet<&str> = running.filter(|key| !held.contains(*key)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(ApiError::new(
            Code::Conflict,
            format!(
                "Control planes that run have master keys that this one lacks: {}. Rotate there, or add them to \
                 STORAGE_ENCRYPTION_KEY of this one",
                missing.into_iter().collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    let (key_id, Resealed { values, failed }) = operations.rotate_master_key().await?;
    // One that has been silent for long may still come back, and seal.
    let others: Vec<OtherKey> = peers
        .into_iter()
        .filter(|(other, _)| other.state.seals_with != key_id)
        .map(|(other, _)| OtherKey { name: other.name, seals_with: other.state.seals_with })
        .collect();
    let old_keys_may_leave = failed.is_empty() && others.is_empty();
    Ok(Json(Rotation { key_id, resealed: values, failed, others, old_keys_may_leave }))
}
