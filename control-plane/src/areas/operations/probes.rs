//! `/healthz`, `/readyz`, `/metrics`: for orchestrators and Prometheus.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use omniroute_telemetry::MetricsReport;
use serde::Serialize;
use utoipa::ToSchema;

use super::Operations;

#[derive(Serialize, ToSchema)]
pub(crate) struct Probe {
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "System", security(()), responses((status = 200, body = Probe)))]
pub(super) async fn healthz() -> Json<Probe> {
    Json(Probe { status: "alive" })
}

/// Whether the process can do its work: the database answers and can be written, no master key is missing that another
/// control plane has, and it is not stopping. Answers at once, from what the last look at the database found.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "System",
    security(()),
    responses((status = 200, body = Probe), (status = 503, body = Probe))
)]
pub(super) async fn readyz(State(operations): State<Arc<Operations>>) -> (StatusCode, Json<Probe>) {
    if operations.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "stopping" }));
    }
    if operations.store.missing_key().is_some() {
        // Another replica can do what this one cannot.
        return (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "a master key is missing" }));
    }
    match operations.store.health().outage {
        None => (StatusCode::OK, Json(Probe { status: "ready" })),
        Some(outage) => (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: outage.sentence() })),
    }
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "System",
    security(()),
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics() -> Response {
    let content_type = HeaderValue::from_static(MetricsReport::CONTENT_TYPE);
    ([(header::CONTENT_TYPE, content_type)], omniroute_telemetry::prometheus().render()).into_response()
}
