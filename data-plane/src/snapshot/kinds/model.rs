//! Models that providers offer.

use std::{collections::HashMap, sync::Arc};

use omniroute_core::id::ProviderId;
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use omniroute_providers::ModelTable;

use super::{ConfigKind, Draft, mismatched};
use crate::snapshot::index::ModelEntry;

#[derive(Debug, Default)]
pub(super) struct Models {
    /// Provider and model name behind a resource's id.
    names: HashMap<String, (ProviderId, String)>,
}

// === impl Models ===

impl ConfigKind for Models {
    fn kind(&self) -> Kind {
        Kind::Model
    }

    fn take(&mut self, id: &str, body: Body, draft: &mut Draft) -> Result<(), String> {
        let Body::Model(message) = body else { return Err(mismatched()) };
        let entry = entry(message)?;
        self.remove(id, draft);
        let (provider, model, is_hidden) = (entry.provider.clone(), entry.model.clone(), entry.hidden);
        let mut of_provider = draft.index.models.get(&provider).cloned().unwrap_or_default();
        of_provider.insert(model.clone(), Arc::new(entry));
        draft.index.models.insert(provider.clone(), of_provider);
        // A bare name does not find one that is hidden.
        if !is_hidden {
            let mut offers = draft.index.offers.get(&model).map(|all| (**all).clone()).unwrap_or_default();
            offers.insert(provider.clone());
            draft.index.offers.insert(model.clone(), Arc::new(offers));
        }
        self.names.insert(id.to_owned(), (provider, model));
        Ok(())
    }

    fn remove(&mut self, id: &str, draft: &mut Draft) {
        let Some((provider, model)) = self.names.remove(id) else { return };
        if let Some(all) = draft.index.models.get(&provider) {
            let all = all.without(&model);
            if all.is_empty() {
                draft.index.models.remove(&provider);
            } else {
                draft.index.models.insert(provider.clone(), all);
            }
        }
        if let Some(offers) = draft.index.offers.get(&model) {
            let mut offers = (**offers).clone();
            offers.remove(&provider);
            if offers.is_empty() {
                draft.index.offers.remove(&model);
            } else {
                draft.index.offers.insert(model, Arc::new(offers));
            }
        }
    }
}

fn entry(message: v1::Model) -> Result<ModelEntry, String> {
    if message.provider.is_empty() || message.model.is_empty() {
        return Err("it names no provider or no model".to_owned());
    }
    let some = |value: u64| (value > 0).then_some(value);
    // Few providers say with their lists how much a model takes.
    let known = ModelTable::builtin().get(&message.provider, &message.model);
    Ok(ModelEntry {
        provider: message.provider.as_str().into(),
        model: message.model,
        kind: if message.r#type.is_empty() { "chat".to_owned() } else { message.r#type },
        context_window: some(message.context_window).or_else(|| known?.context_window),
        max_output_tokens: some(message.max_output_tokens).or_else(|| known?.output_limit()),
        created: message.created_at,
        source: message.source,
        hidden: message.hidden,
    })
}
