//! The lists of models, as each client's dialect shows them.
//!
//! [`usable`] is what a caller may use, in a stable order; the folder's other files write it in one dialect each.

pub(crate) mod anthropic;
pub(crate) mod gemini;
pub(crate) mod ollama;
pub(crate) mod openai;
mod page;

use std::sync::Arc;

use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_providers::{KnownModel, ModelTable};

use crate::{
    request::Caller,
    snapshot::{Index, ModelEntry, ProviderEntry},
};

/// A model that a caller may use.
pub(crate) struct Listed {
    /// As requests name it: `prefix/model`.
    pub(crate) id: String,
    pub(crate) provider: Arc<ProviderEntry>,
    pub(crate) model: Arc<ModelEntry>,
}

/// Every model that the caller may use.
pub(crate) fn usable(index: &Index, caller: &Caller) -> Vec<Listed> {
    index
        .models()
        .into_iter()
        .map(|(provider, model)| Listed { id: format!("{}/{}", provider.prefix, model.model), provider, model })
        .filter(|listed| listed.may_be_used(index, caller))
        .collect()
}

/// One model, named with its prefix or without.
///
/// # Errors
/// When there is none of that name that the caller may use.
pub(crate) fn find(index: &Index, caller: &Caller, id: &str) -> Result<Listed, GatewayError> {
    index
        .models()
        .into_iter()
        .filter(|(_, model)| id.ends_with(&model.model))
        .map(|(provider, model)| Listed { id: format!("{}/{}", provider.prefix, model.model), provider, model })
        .find(|listed| (listed.id == id || listed.model.model == id) && listed.may_be_used(index, caller))
        .ok_or_else(|| {
            GatewayError::new(ErrorClass::NotFound, "model_not_found", "there is no model of that name")
                .with_param("model")
                .with_hint("GET /v1/models lists the models")
        })
}

// === impl Listed ===

impl Listed {
    fn may_be_used(&self, index: &Index, caller: &Caller) -> bool {
        let connections = index.connections(self.provider.id.as_str());
        (caller.allows_model(&self.id) || caller.allows_model(&self.model.model))
            && connections.iter().any(|connection| caller.allows_connection(connection.id.as_str()))
    }

    /// What the table of models knows of it.
    pub(crate) fn known(&self) -> Option<&'static KnownModel> {
        ModelTable::builtin().get(self.provider.id.as_str(), &self.model.model)
    }

    pub(crate) fn is_embedding(&self) -> bool {
        self.model.kind == "embedding"
    }

    pub(crate) fn makes_images(&self) -> bool {
        self.model.kind == "image"
    }
}
