//! `/api/v1/management/proxies/health`: how proxies have been.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use omniroute_core::time::UnixMillis;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Egress, record::ProxyRecord, rows::Proxies};
use crate::{
    http::{ApiError, ErrorBody, Fields, FromFields, extract::Query},
    jobs::Job,
    store::{EgressSums, Store},
};

const HOUR_MS: u64 = 60 * 60 * 1000;
/// What is older is forgotten.
const MOST_HOURS: u64 = 30 * 24;
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// How long back.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HealthQuery {
    #[param(minimum = 1, maximum = 720, required = false)]
    hours: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct OutboundHealthPage {
    items: Vec<OutboundHealth>,
    total: usize,
    window_hours: u64,
}

/// How one proxy has been. Proxies of the fleet report every few seconds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct OutboundHealth {
    proxy_id: String,
    name: String,
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    host: String,
    port: u16,
    status: String,
    /// Requests that went through it, tests of connections included.
    total_requests: u64,
    /// Those that were answered, whatever the provider said.
    success_count: u64,
    /// Those for which no connection came about, or broke off.
    error_count: u64,
    timeout_count: u64,
    /// Per cent; null when there were none.
    success_rate: Option<f64>,
    connection_tests: u64,
    connection_test_success: u64,
    /// How long it takes to open a connection through it, as far as the provider, and a test with its answer; null when
    /// there was neither.
    avg_latency_ms: Option<u64>,
    last_seen_at: Option<String>,
}

/// How proxies have been: requests, failures, latency.
#[utoipa::path(
    get,
    path = "/api/v1/management/proxies/health",
    tag = "Outbound proxies",
    params(HealthQuery),
    responses(
        (status = 200, body = OutboundHealthPage),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(egress): State<Arc<Egress>>,
    Query(query): Query<HealthQuery>,
) -> Result<Json<OutboundHealthPage>, ApiError> {
    let since = UnixMillis(egress.clock.now().0.saturating_sub(query.hours * HOUR_MS));
    let sums = egress.store.egress_health().since(since).await?;
    let proxies = Proxies::of(&egress.store).list().await?;
    let items: Vec<OutboundHealth> = proxies
        .into_iter()
        .map(|proxy| {
            let sums = sums.get(&proxy.id).copied().unwrap_or_default();
            OutboundHealth::new(proxy, &sums)
        })
        .collect();
    Ok(Json(OutboundHealthPage { total: items.len(), items, window_hours: query.hours }))
}

/// Forgets what is older than anybody can ask for.
pub fn jobs(store: &Store) -> Vec<Job> {
    let store = store.clone();
    vec![Job::new("egress-health", FORGET_EVERY, move |_| {
        let store = store.clone();
        async move {
            let before = UnixMillis(store.clock().now().0.saturating_sub(MOST_HOURS * HOUR_MS));
            store.egress_health().purge(before).await
        }
    })]
}

// === impl HealthQuery ===

impl FromFields for HealthQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { hours: fields.whole("hours", 1..=MOST_HOURS).unwrap_or(24) }
    }
}

// === impl OutboundHealth ===

impl OutboundHealth {
    fn new(proxy: ProxyRecord, sums: &EgressSums) -> Self {
        let total = sums.requests();
        // Two places behind the point.
        let rate = |part: u64| (part as f64 / total as f64 * 10_000.0).round() / 100.0;
        Self {
            proxy_id: proxy.id,
            name: proxy.name,
            kind: proxy.kind,
            host: proxy.host,
            port: proxy.port,
            status: proxy.status,
            total_requests: total,
            success_count: sums.succeeded,
            error_count: sums.failed,
            timeout_count: sums.timed_out,
            success_rate: (total > 0).then(|| rate(sums.succeeded)),
            connection_tests: sums.tests,
            connection_test_success: sums.tests_passed,
            avg_latency_ms: (sums.opening_us + 500 * sums.opened).checked_div(1000 * sums.opened),
            last_seen_at: (sums.last_at.0 > 0).then(|| sums.last_at.to_rfc3339()),
        }
    }
}
