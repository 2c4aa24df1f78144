//! What is decided about models that the operator adds, changes and hides.

use std::collections::BTreeMap;

use omniroute_providers::{Catalog, ModelTable};
use serde_json::{Value, json};

use super::{
    super::Providers,
    names::Named,
    rows::{self, CUSTOM, ModelDraft, ModelRecord, Models},
};
use crate::{
    http::{ApiError, Edit},
    store::{
        StoreError,
        records::{Actor, Object},
    },
};

/// What of a model an endpoint in `supportedEndpoints` says.
const ENDPOINTS: [(&str, &str); 8] = [
    ("chat", "chat"),
    ("embeddings", "embedding"),
    ("images", "image"),
    ("audio", "transcription"),
    ("speech", "speech"),
    ("rerank", "rerank"),
    ("moderations", "moderation"),
    ("video", "video"),
];

/// Fields of a model to set. What is not named stays.
#[derive(Debug, Default)]
pub(super) struct ModelChange {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) context_window: Edit<u64>,
    pub(super) max_output_tokens: Edit<u64>,
    /// Kept and shown.
    pub(super) extras: Object,
}

/// What the operator did to models, by provider.
#[derive(Debug, Default)]
pub(super) struct OwnModels {
    pub(super) custom: BTreeMap<String, Vec<ModelRecord>>,
    /// Names of the hidden ones.
    pub(super) hidden: BTreeMap<String, Vec<String>>,
}

/// The kind of a model with such endpoints.
pub(super) fn kind_of(endpoints: &[String]) -> Option<&'static str> {
    let of_first = |first: &String| ENDPOINTS.iter().find(|(endpoint, _)| endpoint == first).map(|(_, kind)| *kind);
    endpoints.first().and_then(of_first)
}

/// Names of the endpoints.
pub(super) fn endpoints() -> impl Iterator<Item = &'static str> {
    ENDPOINTS.iter().map(|(endpoint, _)| *endpoint)
}

/// The endpoint of a model of that kind.
pub(super) fn endpoint_of(kind: &str) -> &'static str {
    ENDPOINTS.iter().find(|(_, of)| *of == kind).map_or("chat", |(endpoint, _)| *endpoint)
}

// === impl Providers ===

impl Providers {
    /// Adds a model that the provider does not list, or makes one that it lists the operator's own: what is found later does
    /// not replace it.
    ///
    /// # Errors
    /// 400 for a field; 404 when it `must_exist` and does not.
    pub(super) async fn put_custom_model(
        &self,
        actor: &Actor,
        provider: &Named,
        model: &str,
        change: ModelChange,
        must_exist: bool,
    ) -> Result<ModelRecord, ApiError> {
        let mut write = self.store.write(actor).await?;
        let old = rows::of_provider(&mut write, &provider.id).await?.remove(model);
        let is_known = old.is_some() || known(&provider.id, model).is_some();
        if must_exist && !is_known {
            return Err(ApiError::not_found("Model"));
        }
        let mut draft = old.map_or_else(|| draft_of(&provider.id, model), ModelDraft::from);
        draft.source = CUSTOM.to_owned();
        draft.name = change.name.or(draft.name);
        draft.kind = change.kind.unwrap_or(draft.kind);
        for (field, edit) in [
            (&mut draft.context_window, change.context_window),
            (&mut draft.max_output_tokens, change.max_output_tokens),
        ] {
            if let Some(value) = edit.into_patch() {
                *field = value;
            }
        }
        draft.extras.extend(change.extras);
        draft.extras.retain(|_, value| !value.is_null());
        let record = rows::put(&mut write, &provider.id, draft).await?;
        write.commit().await?;
        Ok(record)
    }

    /// Hides models or shows them again. Returns how many changed.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn hide_models(
        &self,
        actor: &Actor,
        provider: &Named,
        models: &[String],
        hidden: bool,
    ) -> Result<usize, ApiError> {
        let drafts = models.iter().map(|model| draft_of(&provider.id, model)).collect();
        let mut write = self.store.write(actor).await?;
        let changed = rows::set_hidden(&mut write, &provider.id, drafts, hidden).await?;
        write.commit().await?;
        Ok(changed)
    }

    /// Deletes a model. One that the provider lists comes back with its next list. False when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn delete_model(&self, actor: &Actor, provider: &Named, model: &str) -> Result<bool, ApiError> {
        let mut write = self.store.write(actor).await?;
        match rows::delete(&mut write, &provider.id, model).await {
            Ok(()) => {}
            Err(StoreError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        write.commit().await?;
        Ok(true)
    }

    /// Deletes every model of a provider, hidden ones included. Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn delete_models(&self, actor: &Actor, provider: &Named) -> Result<usize, ApiError> {
        let mut write = self.store.write(actor).await?;
        let gone = rows::delete_of_provider(&mut write, &provider.id).await?;
        write.commit().await?;
        Ok(gone)
    }

    /// The operator's own models, and the names of those that are hidden, by provider; of one provider, or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn custom_models(&self, provider: Option<&Named>) -> Result<OwnModels, ApiError> {
        let models = match provider {
            Some(provider) => Models::of(&self.store).of_provider(&provider.id).await?,
            None => Models::of(&self.store).list().await?,
        };
        let mut own = OwnModels::default();
        for model in models {
            if model.hidden {
                own.hidden.entry(model.provider.to_string()).or_default().push(model.model.clone());
            }
            if model.source == CUSTOM {
                own.custom.entry(model.provider.to_string()).or_default().push(model);
            }
        }
        Ok(own)
    }
}

/// A model that nobody has listed, with what is known of it.
fn draft_of(provider: &str, model: &str) -> ModelDraft {
    let known = known(provider, model);
    ModelDraft {
        model: model.to_owned(),
        name: None,
        kind: known.as_ref().map_or_else(|| "chat".to_owned(), |facts| facts.kind.clone()),
        context_window: known.as_ref().and_then(|facts| facts.context_window),
        max_output_tokens: known.as_ref().and_then(|facts| facts.max_output_tokens),
        source: "catalog".to_owned(),
        created: 0,
        extras: Object::new(),
    }
}

fn known(provider: &str, model: &str) -> Option<omniroute_providers::ModelFacts> {
    let of_entry = Catalog::builtin().get(provider)?.known_models().find(|facts| facts.id == model);
    of_entry.or_else(|| ModelTable::builtin().get(provider, model).map(omniroute_providers::ModelFacts::of))
}

// === impl ModelDraft ===

impl From<ModelRecord> for ModelDraft {
    fn from(held: ModelRecord) -> Self {
        Self {
            model: held.model,
            name: held.name,
            kind: held.kind,
            context_window: held.context_window,
            max_output_tokens: held.max_output_tokens,
            source: held.source,
            created: held.created,
            extras: held.extras,
        }
    }
}

// === impl ModelRecord ===

impl ModelRecord {
    /// Endpoints that it has: those that the operator named, else the one of its kind.
    pub(super) fn endpoints(&self) -> Value {
        let named = self.extras.get("supportedEndpoints").filter(|named| named.is_array());
        named.cloned().unwrap_or_else(|| json!([endpoint_of(&self.kind)]))
    }
}
