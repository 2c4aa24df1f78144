//! `/api/providers/test-batch`: many connections tested at once.

use std::sync::Arc;

use axum::{Json, extract::State};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Providers,
        connections::{ConnectionRecord, canonical, rows::Connections},
    },
    routes::TestResult,
};
use crate::http::{ApiError, Body, ErrorBody, Fields, extract};

/// Tests that run at once.
const AT_ONCE: usize = 5;
/// Connections that one request tests.
const MOST: usize = 500;

const MODES: [&str; 5] = ["all", "provider", "apikey", "oauth", "compatible"];

/// Which connections. Those that are switched off are not tested.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct TestBatch {
    /// `all`, `provider` (those of `providerId`), `apikey`, `oauth` or `compatible` (those of nodes).
    mode: String,
    /// Id or alias of a provider, or id of a node.
    provider_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct BatchResult {
    mode: String,
    provider_id: Option<String>,
    results: Vec<BatchRow>,
    tested_at: String,
    summary: BatchSummary,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct BatchSummary {
    total: usize,
    passed: usize,
    failed: usize,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct BatchRow {
    provider: String,
    connection_id: String,
    connection_name: String,
    auth_type: String,
    #[serde(flatten)]
    result: TestResult,
}

// === impl TestBatch ===

impl Body for TestBatch {
    fn read(fields: &mut Fields) -> Self {
        let mode = fields.choice("mode", &MODES);
        let provider_id = fields.nullable_text("providerId", 0..=200).set().filter(|id| !id.trim().is_empty());
        let mode = mode.unwrap_or_else(|| if provider_id.is_some() { "provider" } else { "all" }.to_owned());
        if mode == "provider" && provider_id.is_none() {
            fields.refuse("providerId", "is required in the mode `provider`");
        }
        Self { mode, provider_id }
    }
}

impl TestBatch {
    fn has(&self, connection: &ConnectionRecord) -> bool {
        let provider = connection.provider.as_str();
        connection.is_active
            && match self.mode.as_str() {
                "provider" => self.provider_id.as_deref().is_some_and(|wanted| canonical(wanted) == provider),
                "apikey" | "oauth" => connection.auth_type == self.mode,
                "compatible" => {
                    provider.starts_with("openai-compatible") || provider.starts_with("anthropic-compatible")
                }
                _ => true,
            }
    }
}

/// Test many connections.
///
/// The first 500 of those that are meant, a few at a time. The results are kept with the connections.
#[utoipa::path(
    post,
    path = "/api/providers/test-batch",
    tag = "Providers",
    request_body = TestBatch,
    responses(
        (status = 200, description = "Also when tests failed; see each `valid`", body = BatchResult),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn test_batch(
    State(providers): State<Arc<Providers>>,
    extract::Json(batch): extract::Json<TestBatch>,
) -> Result<Json<BatchResult>, ApiError> {
    let all = Connections::of(&providers.store).list().await?;
    let meant: Vec<_> = all.into_iter().filter(|connection| batch.has(connection)).take(MOST).collect();
    let tests = meant.into_iter().map(|connection| {
        let providers = Arc::clone(&providers);
        async move {
            // One that is deleted meanwhile is not among the results.
            let result = providers.test_connection(connection.id.as_str(), None).await.ok()?;
            Some(BatchRow {
                provider: connection.provider.to_string(),
                connection_id: connection.id.to_string(),
                connection_name: connection.name,
                auth_type: connection.auth_type,
                result: result.into(),
            })
        }
    });
    let results: Vec<BatchRow> = stream::iter(tests).buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    let (total, passed) = (results.len(), results.iter().filter(|row| row.result.is_valid()).count());
    Ok(Json(BatchResult {
        mode: batch.mode,
        provider_id: batch.provider_id,
        results,
        tested_at: providers.clock.now().to_rfc3339(),
        summary: BatchSummary { total, passed, failed: total - passed },
    }))
}
