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
}

/// Seal every stored secret with the first master key.
///
/// The first key of `STORAGE_ENCRYPTION_KEY` seals, all of them open. Put a new key first, restart, call this; when
/// `failed` is empty, the old keys can leave the ring. Serving goes on meanwhile, and calling it again does no harm.
#[utoipa::path(
    post,
    path = "/api/settings/master-key/rotate",
    tag = "Settings",
    responses((status = 200, body = Rotation), (status = 401, body = ErrorBody))
)]
pub(super) async fn rotate(State(app): State<App>) -> Result<Json<Rotation>, ApiError> {
    let (key_id, Resealed { values, failed }) = app.rotate_master_key().await?;
    Ok(Json(Rotation { key_id, resealed: values, failed }))
}
