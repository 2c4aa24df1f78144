//! `/api/provider-models`: models that the operator adds, changes, hides and deletes.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::Providers,
    custom::{ModelChange, OwnModels, endpoints, kind_of},
    names::{MAX_MODEL, MAX_PROVIDER},
    rows::ModelRecord,
};
use crate::{
    http::{ApiError, Body, Edit, ErrorBody, Fields, extract},
    store::records::{Actor, Object},
};

const MAX_TOKENS: u64 = 1 << 40;
/// Models in one edit.
const MAX_MODELS: usize = 1_000;
const API_FORMATS: [&str; 2] = ["chat-completions", "responses"];
const MODEL_TYPES: [&str; 10] =
    ["chat", "embedding", "image", "rerank", "moderation", "transcription", "speech", "video", "realtime", "search"];

/// A model of the operator's own.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct CustomModel {
    id: String,
    name: String,
    /// Always `manual`.
    source: &'static str,
    api_format: String,
    #[schema(value_type = Vec<String>)]
    supported_endpoints: Value,
    /// `embedding`, `image`…; missing for `chat`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(rename = "type")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_limit: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    is_hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    supports_vision: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneCustomModel {
    model: CustomModel,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct CustomModels {
    /// Of one provider a list; of all of them an object of lists.
    #[schema(value_type = Object)]
    models: Value,
    /// Always empty: what a model takes is known or found out, not configured.
    #[schema(value_type = Vec<Object>)]
    model_compat_overrides: [(); 0],
    /// Names of the hidden models, by provider.
    hidden_models_by_provider: BTreeMap<String, Vec<String>>,
}

/// What became of aliases that the program keeps; it keeps none.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct AliasChanges {
    #[schema(value_type = Vec<String>)]
    removed: [(); 0],
    #[schema(value_type = Vec<String>)]
    assigned: [(); 0],
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct HiddenModels {
    ok: bool,
    /// Models that were named.
    updated: usize,
    alias_changes: AliasChanges,
    models: Vec<CustomModel>,
    #[schema(value_type = Vec<Object>)]
    model_compat_overrides: [(); 0],
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct DeletedModels {
    /// Whether there was such a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<bool>,
    /// Set when all were to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    cleared: Option<bool>,
    alias_changes: AliasChanges,
}

/// A model. Fields that are missing stay as they are.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct SetModel {
    /// Id or alias of a provider, id or prefix of a node.
    #[schema(min_length = 1, max_length = 200)]
    provider: String,
    /// The provider's own id of the model.
    #[schema(min_length = 1, max_length = 500)]
    model_id: String,
    /// For people.
    model_name: Option<String>,
    /// `chat-completions` or `responses`.
    api_format: Option<String>,
    /// `chat`, `embeddings`, `images`, `audio`, `speech`, `rerank`, `moderations`, `video`.
    supported_endpoints: Option<Vec<String>>,
    /// `chat`, `embedding`, `image`…; else what the first endpoint says.
    model_type: Option<String>,
    /// Context window in tokens; null forgets it.
    #[schema(rename = "max_input_tokens", value_type = Option<u64>)]
    max_input_tokens: Edit<u64>,
    /// Longest answer in tokens; null forgets it.
    #[schema(rename = "max_output_tokens", value_type = Option<u64>)]
    max_output_tokens: Edit<u64>,
    /// The context window, by another name.
    #[schema(value_type = Option<u64>)]
    context_window_override: Edit<u64>,
    supports_vision: Option<bool>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfProvider {
    /// Id or alias of a provider, id or prefix of a node.
    provider: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichModel {
    /// Id or alias of a provider, id or prefix of a node.
    provider: String,
    /// The provider's own id of the model.
    model: Option<String>,
    /// The same.
    #[param(rename = "modelId")]
    model_id: Option<String>,
    /// Delete all models of the provider.
    #[param(required = false)]
    all: bool,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct HideModels {
    is_hidden: bool,
    /// Besides the model of the query.
    #[schema(max_items = 1000)]
    model_ids: Option<Vec<String>>,
}

// === impl SetModel ===

impl Body for SetModel {
    fn read(fields: &mut Fields) -> Self {
        let supported_endpoints = fields.texts("supportedEndpoints", 1..=8, 50);
        for endpoint in supported_endpoints.iter().flatten() {
            if endpoints().all(|known| known != endpoint) {
                let known = endpoints().collect::<Vec<_>>().join(", ");
                fields.refuse("supportedEndpoints", format!("must be of {known}"));
            }
        }
        // Clients send back what they were shown.
        fields.shown(&["source"]);
        Self {
            provider: fields.required_text("provider", 1..=MAX_PROVIDER),
            model_id: fields.required_text("modelId", 1..=MAX_MODEL).trim().to_owned(),
            model_name: fields.text("modelName", 1..=200).map(|name| name.trim().to_owned()),
            api_format: fields.choice("apiFormat", &API_FORMATS),
            model_type: fields.choice("modelType", &MODEL_TYPES),
            max_input_tokens: fields.nullable_whole("max_input_tokens", 1..=MAX_TOKENS),
            max_output_tokens: fields.nullable_whole("max_output_tokens", 1..=MAX_TOKENS),
            context_window_override: fields.nullable_whole("contextWindowOverride", 1..=MAX_TOKENS),
            supports_vision: fields.flag("supportsVision"),
            supported_endpoints,
        }
    }
}

impl SetModel {
    fn into_change(self) -> ModelChange {
        let mut extras = Object::new();
        if let Some(format) = self.api_format {
            extras.insert("apiFormat".into(), json!(format));
        }
        if let Some(sees) = self.supports_vision {
            extras.insert("supportsVision".into(), json!(sees));
        }
        let of_endpoints = self.supported_endpoints.as_deref().and_then(kind_of).map(str::to_owned);
        if let Some(endpoints) = self.supported_endpoints {
            extras.insert("supportedEndpoints".into(), json!(endpoints));
        }
        let window = self.max_input_tokens;
        ModelChange {
            name: self.model_name,
            kind: self.model_type.or(of_endpoints),
            context_window: if window.is_keep() { self.context_window_override } else { window },
            max_output_tokens: self.max_output_tokens,
            extras,
        }
    }
}

// === impl OfProvider ===

impl Body for OfProvider {
    fn read(fields: &mut Fields) -> Self {
        Self { provider: fields.text("provider", 1..=MAX_PROVIDER) }
    }
}

// === impl WhichModel ===

impl Body for WhichModel {
    fn read(fields: &mut Fields) -> Self {
        let all = fields.choice("all", &["true", "false"]);
        Self {
            provider: fields.required_text("provider", 1..=MAX_PROVIDER),
            model: fields.text("model", 1..=MAX_MODEL),
            model_id: fields.text("modelId", 1..=MAX_MODEL),
            all: all.as_deref() == Some("true"),
        }
    }
}

impl WhichModel {
    fn model(&self) -> Option<String> {
        self.model.as_ref().or(self.model_id.as_ref()).map(|model| model.trim().to_owned())
    }
}

// === impl HideModels ===

impl Body for HideModels {
    fn read(fields: &mut Fields) -> Self {
        let is_hidden = fields.flag("isHidden");
        if is_hidden.is_none() {
            fields.refuse_unless_noted("isHidden", "expected boolean, received undefined");
        }
        Self {
            is_hidden: is_hidden.unwrap_or_default(),
            model_ids: fields.texts("modelIds", 0..=MAX_MODELS, MAX_MODEL),
        }
    }
}

// === impl CustomModel ===

impl From<ModelRecord> for CustomModel {
    fn from(record: ModelRecord) -> Self {
        let format = record.extras.get("apiFormat").and_then(Value::as_str).unwrap_or(API_FORMATS[0]);
        Self {
            api_format: format.to_owned(),
            supported_endpoints: record.endpoints(),
            supports_vision: record.extras.get("supportsVision").and_then(Value::as_bool),
            name: record.name.unwrap_or_else(|| record.model.clone()),
            id: record.model,
            source: "manual",
            kind: Some(record.kind).filter(|kind| kind != "chat"),
            input_token_limit: record.context_window,
            output_token_limit: record.max_output_tokens,
            is_hidden: record.hidden,
        }
    }
}

/// The operator's own models.
#[utoipa::path(
    get,
    path = "/api/provider-models",
    tag = "Models",
    params(OfProvider),
    responses(
        (status = 200, body = CustomModels),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(providers): State<Arc<Providers>>,
    extract::Query(query): extract::Query<OfProvider>,
) -> Result<Json<CustomModels>, ApiError> {
    let provider = match &query.provider {
        Some(name) => Some(providers.named("provider", name).await?),
        None => None,
    };
    let OwnModels { custom, hidden } = providers.custom_models(provider.as_ref()).await?;
    let views = |models: Vec<ModelRecord>| models.into_iter().map(CustomModel::from).collect::<Vec<_>>();
    let models: BTreeMap<String, Vec<CustomModel>> =
        custom.into_iter().map(|(provider, models)| (provider, views(models))).collect();
    let models = match provider {
        Some(provider) => json!(models.get(&provider.id).map_or(&[][..], Vec::as_slice)),
        None => json!(models),
    };
    Ok(Json(CustomModels { models, model_compat_overrides: [], hidden_models_by_provider: hidden }))
}

/// Add a model.
#[utoipa::path(
    post,
    path = "/api/provider-models",
    tag = "Models",
    request_body = SetModel,
    responses((status = 200, body = OneCustomModel), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn add(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(body): extract::Json<SetModel>,
) -> Result<Json<OneCustomModel>, ApiError> {
    set(&providers, &actor, body, false).await
}

/// Change a model.
///
/// One that the provider lists becomes the operator's own: later lists do not change it.
#[utoipa::path(
    put,
    path = "/api/provider-models",
    tag = "Models",
    request_body = SetModel,
    responses(
        (status = 200, body = OneCustomModel),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Json(body): extract::Json<SetModel>,
) -> Result<Json<OneCustomModel>, ApiError> {
    set(&providers, &actor, body, true).await
}

async fn set(
    providers: &Providers,
    actor: &Actor,
    body: SetModel,
    must_exist: bool,
) -> Result<Json<OneCustomModel>, ApiError> {
    let provider = providers.named("provider", &body.provider).await?;
    let model = body.model_id.clone();
    let record = providers.put_custom_model(actor, &provider, &model, body.into_change(), must_exist).await?;
    Ok(Json(OneCustomModel { model: record.into() }))
}

/// Hide models, or show them again.
///
/// A hidden model is not listed, and a bare name does not find it; who names it with its provider gets it all the same.
#[utoipa::path(
    patch,
    path = "/api/provider-models",
    tag = "Models",
    params(WhichModel),
    request_body = HideModels,
    responses((status = 200, body = HiddenModels), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn hide(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Query(which): extract::Query<WhichModel>,
    extract::Json(body): extract::Json<HideModels>,
) -> Result<Json<HiddenModels>, ApiError> {
    let provider = providers.named("provider", &which.provider).await?;
    let mut models = body.model_ids.unwrap_or_default();
    models.extend(which.model());
    models.sort();
    models.dedup();
    if models.is_empty() {
        return Err(ApiError::invalid_field("modelIds", "name a model here, or as modelId in the query"));
    }
    providers.hide_models(&actor, &provider, &models, body.is_hidden).await?;
    let custom = providers.custom_models(Some(&provider)).await?.custom.remove(&provider.id).unwrap_or_default();
    Ok(Json(HiddenModels {
        ok: true,
        updated: models.len(),
        alias_changes: AliasChanges::default(),
        models: custom.into_iter().map(CustomModel::from).collect(),
        model_compat_overrides: [],
    }))
}

/// Delete a model, or all of a provider.
///
/// What the provider lists comes back with its next list; hide it instead.
#[utoipa::path(
    delete,
    path = "/api/provider-models",
    tag = "Models",
    params(WhichModel),
    responses((status = 200, body = DeletedModels), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody))
)]
pub(super) async fn delete(
    State(providers): State<Arc<Providers>>,
    actor: Actor,
    extract::Query(which): extract::Query<WhichModel>,
) -> Result<Json<DeletedModels>, ApiError> {
    let provider = providers.named("provider", &which.provider).await?;
    let alias_changes = AliasChanges::default();
    if which.all {
        providers.delete_models(&actor, &provider).await?;
        return Ok(Json(DeletedModels { removed: None, cleared: Some(true), alias_changes }));
    }
    let Some(model) = which.model() else {
        return Err(ApiError::invalid_field("model", "name a model, or all=true"));
    };
    let removed = providers.delete_model(&actor, &provider, &model).await?;
    Ok(Json(DeletedModels { removed: Some(removed), cleared: None, alias_changes }))
}
