//! The routes that ask providers: tests of connections, of credentials, of endpoints; lists of models.

use std::sync::Arc;

use axum::{Json, extract::State};
use omniroute_core::settings::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Providers,
        connections::api_key,
        models::{Listing, ListingSource},
        nodes::{API_TYPES, KINDS, MAX_URL, OPENAI, path},
    },
    Candidate, CheckResult, NodeCandidate,
};
use crate::{
    http::{
        ApiError, Body, ErrorBody, Fields,
        extract::{self, OptionalJson, Path},
    },
    store::records::{Actor, Object},
};

/// What a test found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct TestResult {
    valid: bool,
    error: Option<String>,
    warning: Option<String>,
    /// Whether a token was refreshed on the way. API keys have nothing to refresh.
    refreshed: bool,
    diagnosis: DiagnosisView,
    latency_ms: u64,
    /// Status of the provider's answer; null when there was none.
    status_code: Option<u16>,
    tested_at: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct DiagnosisView {
    /// `ok`, `upstream_auth_error`, `upstream_rate_limited`, `upstream_unavailable`, `upstream_error`,
    /// `network_error`, `blocked`, `unsupported` or `configuration`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: &'static str,
    /// `upstream` or `local`.
    source: &'static str,
    message: Option<String>,
    code: Option<String>,
}

/// What a check found.
#[derive(Serialize, ToSchema)]
pub(crate) struct Validation {
    valid: bool,
    error: Option<String>,
    warning: Option<String>,
    /// How the provider was asked: `models`, `chat`, or `check` by a call that it has for this; null when it was not.
    method: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct Models {
    provider: String,
    connection_id: String,
    models: Vec<Model>,
    /// `api` (the provider, just now), `stored` (from earlier) or `catalog`.
    source: &'static str,
    /// Why it is not the provider's own list.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    /// Unix seconds; 0 when unknown.
    created: u64,
    owned_by: String,
    /// `chat`, `embedding`, `image`…
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct TestOptions {
    /// Ask this model for a few tokens instead of asking for the list of models.
    validation_model_id: Option<String>,
}

/// A credential to try.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ValidateProvider {
    /// Id or alias of a provider of the catalog, or id of a node.
    provider: String,
    #[schema(value_type = Option<String>, format = "password")]
    api_key: Option<Secret>,
    /// Instead of the provider's own.
    base_url: Option<String>,
    /// Of providers that have regions: Amazon Bedrock.
    region: Option<String>,
    /// Of OpenAI's two chat APIs, those that the host has: `chat`, `responses` or `both`.
    api_type: Option<String>,
    /// `projectId`, `spaceId`, `apiVersion`, `roleArn`, `externalId`, `awsProfile`, `authUrl` and `identity`, as a connection has them.
    #[schema(value_type = Option<Object>)]
    provider_specific_data: Option<Object>,
    /// Ask this model for a few tokens instead of asking for the list of models.
    validation_model_id: Option<String>,
}

/// An endpoint to try.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ValidateNode {
    base_url: String,
    #[schema(value_type = Option<String>, format = "password")]
    api_key: Option<Secret>,
    /// `openai-compatible` (the default) or `anthropic-compatible`.
    #[schema(rename = "type")]
    kind: Option<String>,
    api_type: Option<String>,
    chat_path: Option<String>,
    models_path: Option<String>,
    /// Ask this model for a few tokens instead of asking for the list of models.
    model_id: Option<String>,
}

// === impl TestOptions ===

impl Body for TestOptions {
    fn read(fields: &mut Fields) -> Self {
        Self { validation_model_id: fields.text("validationModelId", 1..=500) }
    }
}

// === impl ValidateProvider ===

impl Body for ValidateProvider {
    fn read(fields: &mut Fields) -> Self {
        Self {
            provider: fields.required_text("provider", 1..=200).trim().to_owned(),
            api_key: api_key(fields),
            base_url: fields.text("baseUrl", 1..=MAX_URL),
            region: fields.text("region", 0..=64).map(|region| region.trim().to_owned()),
            api_type: fields.choice("apiType", &API_TYPES),
            provider_specific_data: fields.object("providerSpecificData"),
            validation_model_id: fields.text("validationModelId", 0..=500).filter(|model| !model.trim().is_empty()),
        }
    }
}

// === impl ValidateNode ===

impl Body for ValidateNode {
    fn read(fields: &mut Fields) -> Self {
        Self {
            base_url: fields.required_text("baseUrl", 1..=MAX_URL).trim().to_owned(),
            api_key: api_key(fields),
            kind: fields.choice("type", &KINDS),
            api_type: fields.choice("apiType", &API_TYPES),
            chat_path: path(fields, "chatPath").set(),
            models_path: path(fields, "modelsPath").set(),
            model_id: fields.text("modelId", 0..=200).filter(|model| !model.trim().is_empty()),
        }
    }
}

// === impl TestResult ===

impl TestResult {
    pub(super) const fn is_valid(&self) -> bool {
        self.valid
    }
}

impl From<CheckResult> for TestResult {
    fn from(result: CheckResult) -> Self {
        Self {
            valid: result.valid,
            diagnosis: DiagnosisView {
                kind: result.diagnosis.kind,
                source: result.diagnosis.source,
                message: result.error.clone(),
                code: result.diagnosis.code,
            },
            error: result.error,
            warning: result.warning,
            refreshed: false,
            latency_ms: result.latency_ms,
            status_code: result.status,
            tested_at: result.tested_at.to_rfc3339(),
        }
    }
}

// === impl Validation ===

impl From<CheckResult> for Validation {
    fn from(result: CheckResult) -> Self {
        Self { valid: result.valid, error: result.error, warning: result.warning, method: result.method }
    }
}

/// Test a connection.
///
/// Asks the provider for its list of models, or a model for a few tokens. The result is kept with the connection.
#[utoipa::path(
    post,
    path = "/api/providers/{id}/test",
    tag = "Providers",
    params(("id" = String, Path)),
    request_body(content = TestOptions),
    responses(
        (status = 200, description = "Also when the test failed; see `valid`", body = TestResult),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(crate) async fn test(
    State(providers): State<Arc<Providers>>,
    Path(id): Path<String>,
    OptionalJson(options): OptionalJson<TestOptions>,
) -> Result<Json<TestResult>, ApiError> {
    let result = providers.test_connection(&id, options.validation_model_id.as_deref()).await?;
    Ok(Json(result.into()))
}

/// The models of a connection.
///
/// Asks the provider and keeps its list, so that proxies offer the models. When it does not answer, what is known.
#[utoipa::path(
    get,
    path = "/api/providers/{id}/models",
    tag = "Providers",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Models),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 502, description = "The provider does not answer and nothing is known", body = ErrorBody),
    )
)]
pub(crate) async fn models(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<Models>, ApiError> {
    let Listing { provider, models, source, warning } = providers.list_models(&actor, &id).await?;
    let models = models
        .into_iter()
        .map(|model| Model {
            owned_by: model.owned_by.unwrap_or_else(|| provider.clone()),
            id: model.id,
            object: "model",
            created: model.created.unwrap_or(0),
            kind: model.kind,
            context_window: model.context_window,
            max_output_tokens: model.max_output_tokens,
        })
        .collect();
    let source = match source {
        ListingSource::Api => "api",
        ListingSource::Stored => "stored",
        ListingSource::Catalog => "catalog",
    };
    Ok(Json(Models { provider, connection_id: id, models, source, warning }))
}

/// Try a credential before it is stored.
#[utoipa::path(
    post,
    path = "/api/providers/validate",
    tag = "Providers",
    request_body = ValidateProvider,
    responses(
        (status = 200, description = "Also when the provider refused; see `valid`", body = Validation),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, description = "No such node", body = ErrorBody),
    )
)]
pub(crate) async fn validate(
    State(providers): State<Arc<Providers>>,
    extract::Json(body): extract::Json<ValidateProvider>,
) -> Result<Json<Validation>, ApiError> {
    let candidate = Candidate {
        provider: body.provider,
        secret: body.api_key.unwrap_or_default(),
        base_url: body.base_url,
        region: body.region,
        api_type: body.api_type,
        specific: body.provider_specific_data.unwrap_or_default(),
        model: body.validation_model_id,
    };
    Ok(Json(providers.validate(&candidate).await?.into()))
}

/// Try an endpoint before it becomes a node.
#[utoipa::path(
    post,
    path = "/api/provider-nodes/validate",
    tag = "Provider nodes",
    request_body = ValidateNode,
    responses(
        (status = 200, description = "Also when the endpoint refused; see `valid`", body = Validation),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(crate) async fn validate_node(
    State(providers): State<Arc<Providers>>,
    extract::Json(body): extract::Json<ValidateNode>,
) -> Result<Json<Validation>, ApiError> {
    let candidate = NodeCandidate {
        kind: body.kind.unwrap_or_else(|| OPENAI.to_owned()),
        api_type: body.api_type.unwrap_or_else(|| API_TYPES[0].to_owned()),
        base_url: body.base_url,
        secret: body.api_key.unwrap_or_default(),
        chat_path: body.chat_path,
        models_path: body.models_path,
        model: body.model_id,
    };
    Ok(Json(providers.validate_node(&candidate).await?.into()))
}
