//! `/api/init`.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use crate::service::App;

#[derive(Serialize, ToSchema)]
pub(super) struct Initialized {
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
pub(super) async fn init(State(app): State<App>) -> Result<Json<Initialized>, ApiError> {
    app.store.expect_answers()?;
    app.store.ping().await?;
    Ok(Json(Initialized { initialized: true }))
}
