//! `/api/init`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Operations;
use crate::http::{ApiError, ErrorBody};

#[derive(Serialize, ToSchema)]
pub(crate) struct Initialized {
    /// The database is migrated and answers.
    initialized: bool,
}

/// Whether the gateway has started.
#[utoipa::path(
    get,
    path = "/api/init",
    tag = "System",
    security(()),
    responses((status = 200, body = Initialized), (status = 503, body = ErrorBody))
)]
pub(super) async fn init(State(operations): State<Arc<Operations>>) -> Result<Json<Initialized>, ApiError> {
    operations.store.expect_reachable()?;
    operations.store.ping().await?;
    Ok(Json(Initialized { initialized: true }))
}
