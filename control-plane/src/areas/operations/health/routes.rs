//! `/api/monitoring/health`.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};

use super::{super::Operations, shapes::HealthView};
use crate::auth::Principal;

/// How the gateway is.
///
/// Answers 200 whatever the status, and without a session with a summary only; `/readyz` is for load balancers.
#[utoipa::path(
    get,
    path = "/api/monitoring/health",
    tag = "Monitoring",
    security((), ("session" = []), ("bearer" = [])),
    responses((status = 200, body = HealthView))
)]
pub(in super::super) async fn health(
    State(operations): State<Arc<Operations>>,
    principal: Option<Extension<Principal>>,
) -> Json<HealthView> {
    let health = operations.health(principal.is_some()).await;
    if let Err(error) = &health.database {
        tracing::warn!(%error, "health: the database does not answer");
    }
    Json(HealthView::new(health, operations.started_at(), principal.is_some()))
}
