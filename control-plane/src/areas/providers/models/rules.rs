//! Which models a connection offers: asks the provider and keeps the answer, so that proxies list the models.

use std::{collections::BTreeSet, sync::Arc};

use omniroute_core::id::ConnectionId;
use omniroute_providers::{ModelPage, OfferedModel, Operation, Upstream};
use serde_json::json;

use super::{
    super::{
        Providers,
        checks::{advice, compile},
        connections::{self, ConnectionRecord, OAUTH, Provider, rows::Connections},
    },
    rows::{self, ModelDraft, ModelRecord, Models},
};
use crate::{
    http::{ApiError, Code},
    store::records::{Actor, Object},
};

/// Source of a model that the provider itself listed.
pub(in super::super) const FROM_API: &str = "api";

/// Models kept of one provider; the longest lists in use have a few hundred.
const MAX_MODELS: usize = 5_000;

/// Pages of a list that are asked for; a provider that has more never ends.
const MAX_PAGES: usize = 50;

/// Discoveries that may wait for their turn; more are skipped, for the next listing makes up for them.
const MAX_WAITING: usize = 1_000;

/// Where a list of models comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingSource {
    /// The provider, just now.
    Api,
    /// What was stored earlier.
    Stored,
    /// The catalog that comes with the program.
    Catalog,
}

/// The models of a connection.
pub struct Listing {
    pub provider: String,
    pub models: Vec<OfferedModel>,
    pub source: ListingSource,
    /// Why it is not the provider's own list.
    pub warning: Option<String>,
}

// === impl Providers ===

impl Providers {
    /// Asks the provider; what it lists is stored. When it does not answer, what is known from before.
    ///
    /// # Errors
    /// 404; 502 when the provider does not answer and nothing is known; 503 where another control plane can open what this one
    /// cannot.
    pub async fn list_models(&self, actor: &Actor, id: &str) -> Result<Listing, ApiError> {
        let (record, _) = Connections::of(&self.store).opened(id, false).await?;
        let provider = self.provider(record.provider.as_str()).await?;
        let name = provider.id().to_owned();
        let why = match self.ask_models(&record, &provider).await {
            Ok(models) => {
                self.keep_models(actor, &record, &models).await?;
                return Ok(Listing { provider: name, models, source: ListingSource::Api, warning: None });
            }
            Err(why) => why,
        };
        let stored = Models::of(&self.store).of_provider(&name).await?;
        let (models, source) = if stored.is_empty() {
            (catalogued(&provider), ListingSource::Catalog)
        } else {
            (stored.into_iter().map(offered).collect(), ListingSource::Stored)
        };
        if models.is_empty() {
            return Err(ApiError::new(Code::UpstreamUnreachable, format!("The models cannot be listed: {why}")));
        }
        Ok(Listing { provider: name, models, source, warning: Some(why) })
    }

    /// The list of models as the provider gives it now, from all its pages.
    async fn ask_models(&self, record: &ConnectionRecord, provider: &Provider) -> Result<Vec<OfferedModel>, String> {
        if record.auth_type == OAUTH {
            // What becomes of it shows in the answer.
            let _ = self.sign_ins.before_use(record.id.as_str()).await;
        }
        let opened = Connections::of(&self.store).opened(record.id.as_str(), false).await;
        let (record, secret) = opened.map_err(|error| error.to_string())?;
        if let Some(why) = record.unopened.complaint() {
            return Err(why);
        }
        let upstream = compile(&record, &secret, provider, self).map_err(|error| error.to_string())?;
        if !upstream.lists_models() && upstream.chat_format().is_none() {
            return Err("the provider has no list of models".to_owned());
        }
        let mut uri = upstream.uri(Operation::Models).clone();
        let mut models = Vec::new();
        let mut is_optional = false;
        for _ in 0..MAX_PAGES {
            let page = match self.page(&upstream, &uri).await {
                Ok(page) => page,
                // The list is whole without it.
                Err(why) if is_optional => {
                    tracing::debug!(connection = %record.id, why, "a further list of models is not to be had");
                    break;
                }
                Err(why) => return Err(why),
            };
            models.extend(page.models);
            let Some(next) = page.next.filter(|_| models.len() < MAX_MODELS) else { break };
            is_optional = next.is_optional;
            let following = upstream.next_page(&uri, &next).map_err(|error| error.to_string())?;
            if following == uri {
                break;
            }
            uri = following;
        }
        let before = models.len();
        models.retain(has_usable_name);
        if models.len() < before {
            let left_out = before - models.len();
            tracing::warn!(connection = %record.id, left_out, "models whose names hold control characters are left out");
        }
        if models.len() > MAX_MODELS {
            let listed = models.len();
            tracing::warn!(connection = %record.id, listed, kept = MAX_MODELS, "a list of models is too long to be kept whole");
            models.truncate(MAX_MODELS);
        }
        Ok(models)
    }

    async fn page(&self, upstream: &Upstream, uri: &http::Uri) -> Result<ModelPage, String> {
        let answer = self.list_page(upstream, uri).await.map_err(|error| error.to_string())?;
        if let Some(advice) = advice(upstream, answer.status, &answer.body) {
            return Err(advice);
        }
        if !answer.status.is_success() {
            let failure = upstream.adapter().classify(answer.status, &answer.headers, &answer.body);
            return Err(failure.to_gateway_error(upstream.hidden()).message);
        }
        upstream.adapter().parse_models(&answer.body).map_err(|error| error.to_string())
    }

    /// Asks for a new connection's models while its creator goes on.
    pub fn discover_in_background(self: &Arc<Self>, id: ConnectionId) {
        if self.background.len() >= MAX_WAITING {
            tracing::warn!(connection = %id, "too many model discoveries wait; this one is skipped");
            return;
        }
        let providers = Arc::clone(self);
        self.background.spawn(async move {
            let stopping = providers.stopping.clone();
            tokio::select! {
                () = stopping.cancelled() => {}
                () = providers.discover(&id) => {}
            }
        });
    }

    async fn discover(&self, id: &ConnectionId) {
        let Ok(_permit) = self.discoveries.acquire().await else { return };
        let actor = Actor::system("model discovery");
        match self.list_models(&actor, id.as_str()).await {
            Ok(Listing { models, source: ListingSource::Api, .. }) => {
                tracing::info!(connection = %id, models = models.len(), "models discovered");
            }
            Ok(Listing { warning, .. }) => {
                let why = warning.unwrap_or_default();
                tracing::info!(connection = %id, why, "the provider does not list its models");
            }
            Err(error) => tracing::info!(connection = %id, %error, "the models of a new connection are not known"),
        }
    }

    /// Stores what one connection lists as the models of its provider. Another connection of that provider may see
    /// others: those stay. What is there is read in the transaction that writes: of two connections that answer at
    /// once, the second must see what the first one listed.
    pub(crate) async fn keep_models(
        &self,
        actor: &Actor,
        record: &ConnectionRecord,
        models: &[OfferedModel],
    ) -> Result<(), ApiError> {
        let provider = record.provider.as_str();
        let mut drafts: Vec<ModelDraft> = models.iter().take(MAX_MODELS).map(draft).collect();
        drafts.sort_by(|one, two| one.model.cmp(&two.model));
        drafts.dedup_by(|one, two| one.model == two.model);
        let mut write = self.store.write(actor).await?;
        let connections = connections::rows::of_provider(&mut write, provider).await?;
        if connections.iter().all(|connection| connection.id != record.id) {
            // Deleted while the provider was asked: its models went with it.
            return Ok(());
        }
        if connections.iter().any(|sibling| sibling.id != record.id && sibling.is_active) {
            let listed: BTreeSet<String> = drafts.iter().map(|draft| draft.model.clone()).collect();
            let held = rows::of_provider(&mut write, provider).await?.into_values();
            let others = held.filter(|held| held.source == FROM_API && !listed.contains(&held.model));
            drafts.extend(others.map(ModelDraft::from));
        }
        rows::replace(&mut write, provider, FROM_API, drafts).await?;
        write.commit().await?;
        Ok(())
    }
}

/// A name is shown to people and sent in URLs and headers.
fn has_usable_name(model: &OfferedModel) -> bool {
    let texts = std::iter::once(&model.id).chain(&model.owned_by);
    !texts.flat_map(|text| text.chars()).any(char::is_control)
}

fn draft(model: &OfferedModel) -> ModelDraft {
    let mut extras = Object::new();
    if let Some(owner) = &model.owned_by {
        extras.insert("ownedBy".into(), json!(owner));
    }
    ModelDraft {
        model: model.id.replace('\0', ""),
        name: None,
        kind: model.kind.clone(),
        context_window: model.context_window,
        max_output_tokens: model.max_output_tokens,
        source: FROM_API.to_owned(),
        created: model.created.unwrap_or(0),
        extras,
    }
}

fn offered(held: ModelRecord) -> OfferedModel {
    OfferedModel {
        owned_by: held.extras.get("ownedBy").and_then(|owner| owner.as_str()).map(str::to_owned),
        id: held.model,
        kind: held.kind,
        context_window: held.context_window,
        max_output_tokens: held.max_output_tokens,
        created: Some(held.created).filter(|created| *created > 0),
    }
}

fn catalogued(provider: &Provider) -> Vec<OfferedModel> {
    let Provider::Catalog(provider) = provider else { return Vec::new() };
    let offered = |model: omniroute_providers::ModelFacts| OfferedModel {
        id: model.id,
        kind: model.kind,
        context_window: model.context_window,
        max_output_tokens: model.max_output_tokens,
        created: None,
        owned_by: Some(provider.id.to_owned()),
    };
    provider.known_models().map(offered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_whose_name_steers_a_terminal_is_left_out() {
        let model = |id: &str, owner: &str| OfferedModel {
            id: id.to_owned(),
            kind: "chat".into(),
            context_window: None,
            max_output_tokens: None,
            created: None,
            owned_by: Some(owner.to_owned()),
        };
        assert!(has_usable_name(&model("org/模型-7b:latest", "org")));
        for (id, owner) in [("a\u{1b}[2J", "org"), ("a\nb", "org"), ("a\0", "org"), ("a", "\u{9b}1m")] {
            assert!(!has_usable_name(&model(id, owner)), "{id:?} {owner:?}");
        }
    }
}
