//! `/api/models/catalog`: every model by provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Json, extract::State};
use omniroute_providers::{Catalog, KnownModel, ModelTable};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::Providers,
    names::{MAX_PROVIDER, Named},
    rows::{CUSTOM, ModelRecord, Models},
    rules::FROM_API,
};
use crate::http::{ApiError, Body, ErrorBody, Fields, extract};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(super) struct ModelCatalog {
    /// By id of the provider or node.
    catalog: BTreeMap<String, ProviderModels>,
    /// Changes when the table of models that comes with the program does.
    catalog_version: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ProviderModels {
    provider: String,
    /// Whether it has a connection that is switched on.
    active: bool,
    models: Vec<CatalogModel>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct CatalogModel {
    /// As clients name it: `prefix/model`.
    id: String,
    name: String,
    /// `chat`, `embedding`, `image`…
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    /// Whether the operator added or changed it.
    custom: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    hidden: bool,
    /// What is known of it; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Capabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    /// The day on which the provider withdraws it.
    #[serde(skip_serializing_if = "Option::is_none")]
    retired: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Capabilities {
    tool_calling: bool,
    reasoning: bool,
    vision: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CatalogQuery {
    /// Id or alias of a provider, id or prefix of a node.
    provider: Option<String>,
    /// `chat`, `embedding`, `image`…
    #[param(rename = "type")]
    kind: Option<String>,
    /// Also providers without a connection.
    #[param(required = false)]
    all: bool,
}

// === impl CatalogQuery ===

impl Body for CatalogQuery {
    fn read(fields: &mut Fields) -> Self {
        let all = fields.choice("all", &["true", "false"]);
        Self {
            provider: fields.text("provider", 1..=MAX_PROVIDER),
            kind: fields.text("type", 1..=50),
            all: all.as_deref() == Some("true"),
        }
    }
}

// === impl Capabilities ===

impl From<&KnownModel> for Capabilities {
    fn from(known: &KnownModel) -> Self {
        Self { tool_calling: known.can("tools"), reasoning: known.can("reasoning"), vision: known.can("vision") }
    }
}

// === impl CatalogModel ===

impl CatalogModel {
    fn of(prefix: &str, record: ModelRecord) -> Self {
        let known = ModelTable::builtin().get(record.provider.as_str(), &record.model);
        let seen = record.extras.get("supportsVision").and_then(serde_json::Value::as_bool);
        let mut capabilities = known.map(Capabilities::from);
        if let (Some(capabilities), Some(seen)) = (&mut capabilities, seen) {
            capabilities.vision = seen;
        }
        Self {
            id: format!("{prefix}/{}", record.model),
            custom: record.source == CUSTOM,
            hidden: record.hidden,
            capabilities,
            context_length: record.context_window.or_else(|| known?.context_window),
            max_output_tokens: record.max_output_tokens.or_else(|| known?.output_limit()),
            retired: known.and_then(|known| known.retired.clone()),
            kind: record.kind,
            name: record.name.unwrap_or(record.model),
        }
    }

    fn of_catalog(provider: &str, facts: omniroute_providers::ModelFacts) -> Self {
        let known = ModelTable::builtin().get(provider, &facts.id);
        Self {
            id: format!("{provider}/{}", facts.id),
            kind: facts.kind,
            custom: false,
            hidden: false,
            capabilities: known.map(Capabilities::from),
            context_length: facts.context_window,
            max_output_tokens: facts.max_output_tokens,
            retired: known.and_then(|known| known.retired.clone()),
            name: facts.id,
        }
    }
}

/// Every model by provider.
///
/// What providers listed, what the operator added, and what is known of those that nobody has asked yet.
#[utoipa::path(
    get,
    path = "/api/models/catalog",
    tag = "Models",
    params(CatalogQuery),
    responses(
        (status = 200, body = ModelCatalog),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(providers): State<Arc<Providers>>,
    extract::Query(query): extract::Query<CatalogQuery>,
) -> Result<Json<ModelCatalog>, ApiError> {
    let only = match &query.provider {
        Some(name) => Some(providers.named("provider", name).await?.id),
        None => None,
    };
    let inventory = providers.inventory().await?;
    let connected: BTreeSet<&str> = inventory.connections.iter().map(|record| record.provider.as_str()).collect();
    let active: BTreeSet<&str> =
        inventory.connections.iter().filter(|record| record.is_active).map(|record| record.provider.as_str()).collect();
    let mut stored: BTreeMap<String, Vec<ModelRecord>> = BTreeMap::new();
    for model in Models::of(&providers.store).list().await? {
        stored.entry(model.provider.to_string()).or_default().push(model);
    }
    let mut ids: BTreeSet<String> = connected.iter().map(|id| (*id).to_owned()).chain(stored.keys().cloned()).collect();
    if query.all || only.is_some() {
        ids.extend(Catalog::builtin().providers().iter().map(|provider| provider.id.to_string()));
    }
    let mut catalog = BTreeMap::new();
    for id in ids.into_iter().filter(|id| only.as_ref().is_none_or(|only| only == id)) {
        let prefix = Named::of(&id, &inventory.nodes).prefix;
        let stored = stored.remove(&id).unwrap_or_default();
        let mut models = models_of(&id, &prefix, stored);
        models.retain(|model| query.kind.as_ref().is_none_or(|kind| *kind == model.kind));
        let is_active = active.contains(id.as_str());
        catalog.insert(id.clone(), ProviderModels { provider: id, active: is_active, models });
    }
    Ok(Json(ModelCatalog { catalog, catalog_version: &ModelTable::builtin().header().version }))
}

/// As proxies see it: what is stored, and, while the provider has listed nothing itself, what is known of it besides.
fn models_of(id: &str, prefix: &str, stored: Vec<ModelRecord>) -> Vec<CatalogModel> {
    let has_listed = stored.iter().any(|model| model.source == FROM_API);
    let mut models: Vec<_> = stored.into_iter().map(|record| CatalogModel::of(prefix, record)).collect();
    if let Some(provider) = Catalog::builtin().get(id).filter(|_| !has_listed) {
        let taken: BTreeSet<String> = models.iter().map(|model| model.id.clone()).collect();
        let known = provider.known_models().map(|facts| CatalogModel::of_catalog(id, facts));
        models.extend(known.filter(|model| !taken.contains(&model.id)));
    }
    models.sort_by(|one, two| one.id.cmp(&two.id));
    models
}
