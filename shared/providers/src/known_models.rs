//! The models of a provider before anybody has asked it for its list: those of its entry in the catalog, with what the table of
//! models knows of each.

use crate::{Auth, KnownModel, ModelFacts, ModelTable, Provider};

// === impl Provider ===

impl Provider {
    /// Those of its entry, else those of the table that it has not announced to withdraw.
    pub fn known_models(&self) -> impl Iterator<Item = ModelFacts> {
        let table = ModelTable::builtin();
        let own = self.models.iter().map(move |facts| facts.completed(table.get(self.id, &facts.id)));
        own.chain(self.others().map(ModelFacts::of))
    }

    /// Whether it is known to have a model of this name.
    pub fn has_model(&self, model: &str) -> bool {
        self.models.iter().any(|facts| facts.id == model) || self.others().any(|known| known.model == model)
    }

    /// Whether ids of its known models have slashes.
    pub fn has_slashes(&self) -> bool {
        self.models.iter().any(|facts| facts.id.contains('/')) || self.others().any(|known| known.model.contains('/'))
    }

    /// Nobody knows what a server of one's own has.
    fn others(&self) -> impl Iterator<Item = &'static KnownModel> {
        let is_listed_there = self.models.is_empty() && self.auth != Auth::None;
        let others = if is_listed_there { ModelTable::builtin().of(self.id) } else { &[] };
        others.iter().filter(|known| known.retired.is_none())
    }
}

// === impl ModelFacts ===

impl ModelFacts {
    pub fn of(known: &KnownModel) -> Self {
        Self {
            id: known.model.clone(),
            kind: known.kind.clone(),
            context_window: known.context_window,
            max_output_tokens: known.output_limit(),
            dimensions: known.dimensions,
        }
    }

    /// With what the table knows and the entry does not say.
    fn completed(&self, known: Option<&KnownModel>) -> Self {
        Self {
            context_window: self.context_window.or_else(|| known?.context_window),
            max_output_tokens: self.max_output_tokens.or_else(|| known?.output_limit()),
            dimensions: self.dimensions.or_else(|| known?.dimensions),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Catalog, ModelTable};

    #[test]
    fn every_provider_of_the_table_is_in_the_catalog_by_its_id() {
        for id in &ModelTable::builtin().header().providers {
            assert!(Catalog::builtin().get(id).is_some_and(|provider| provider.id == id.as_str()), "{id}");
        }
    }

    #[test]
    fn an_entry_is_completed_by_the_table() {
        let openai = Catalog::builtin().get("openai").expect("a provider");
        let own: Vec<_> = openai.known_models().collect();
        assert_eq!(own.len(), openai.models.len(), "its own list is the list");
        assert!(openai.has_model(&own[0].id) && !openai.has_model("never-heard-of"));
        let ollama = Catalog::builtin().get("ollama").expect("a provider");
        assert_eq!(ollama.known_models().count(), 0, "nobody knows what stands on one's own machine");
        let anthropic = Catalog::builtin().get("anthropic").expect("a provider");
        assert!(anthropic.known_models().all(|facts| facts.context_window.is_some()));
    }
}
