//! `/api/settings/master-key/rotate`: the keys that secrets are sealed with at rest.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use crate::{service::App, store::Resealed};

/// What a rotation did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct Rotation {
    /// Id of the key that seals now, which is no secret.
    key_id: String,
    /// Values that another key had sealed and that this one seals now.
    resealed: u64,
    /// Values that no key of the ring opens, as `table.column/row`. They stay as they are.
    failed: Vec<String>,
    /// Other control planes that run and seal with another key: what they write needs theirs.
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

/// Seal every stored secret with the first master key.
///
/// The first key of `STORAGE_ENCRYPTION_KEY` seals, all of them open. Put a new key first, restart every
/// control plane, call this; when it says `oldKeysMayLeave`, the old keys can leave the ring. Serving goes on meanwhile, and calling it again does no harm.
#[utoipa::path(
    post,
    path = "/api/settings/master-key/rotate",
    tag = "Settings",
    responses((status = 200, body = Rotation), (status = 401, body = ErrorBody))
)]
pub(super) async fn rotate(State(app): State<App>) -> Result<Json<Rotation>, ApiError> {
    let (key_id, Resealed { values, failed }) = app.rotate_master_key().await?;
    let running = app.store.control_planes().await?.into_iter().filter(|other| !other.lost && !other.is_this);
    let others: Vec<OtherKey> = running
        .filter(|other| other.state.seals_with != key_id)
        .map(|other| OtherKey { name: other.name, seals_with: other.state.seals_with })
        .collect();
    let old_keys_may_leave = failed.is_empty() && others.is_empty();
    Ok(Json(Rotation { key_id, resealed: values, failed, others, old_keys_may_leave }))
}
