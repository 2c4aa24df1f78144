//! What requests look things up in. Immutable; its maps are persistent, so the next index shares all that did not change.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU32},
};

use http::HeaderValue;
use imbl::{HashMap, HashSet, OrdMap};
use omniroute_core::{
    address::AddressPolicy,
    hash::{KeyHash, Pepper},
    id::{ApiKeyId, ConnectionId, ProviderId},
};
use omniroute_providers::{Catalog, ModelFacts, ModelTable, Provider, Timeouts, Upstream};

use super::Key;

/// Attempts per request when nobody said otherwise.
const DEFAULT_ATTEMPTS: u32 = 3;
/// Largest body when nobody said otherwise.
const DEFAULT_MAX_BODY: u64 = 32 * 1024 * 1024;

/// One version of the whole configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(super) revision: u64,
    pub(super) settings: Arc<Settings>,
    pub(super) keys: HashMap<ApiKeyId, Arc<Key>>,
    pub(super) hashes: HashMap<KeyHash, Arc<Key>>,
    /// Nodes by id.
    pub(super) nodes: HashMap<ProviderId, Arc<ProviderEntry>>,
    /// Nodes by prefix.
    pub(super) prefixes: HashMap<String, Arc<ProviderEntry>>,
    pub(super) connections: HashMap<ConnectionId, Arc<ConnectionEntry>>,
    /// The active connections of a provider, in the order in which they are tried.
    pub(super) by_provider: HashMap<ProviderId, Arc<Vec<Arc<ConnectionEntry>>>>,
    /// What a provider offers, by the provider's own model id.
    pub(super) models: HashMap<ProviderId, OrdMap<String, Arc<ModelEntry>>>,
    /// Who offers a model.
    pub(super) offers: HashMap<String, Arc<BTreeSet<ProviderId>>>,
    /// Other names for models, with the name that clients would write instead.
    pub(super) aliases: HashMap<String, Arc<str>>,
    /// What the operator has a price for: `provider/model`, and `connection/*`.
    pub(super) priced: HashSet<Arc<str>>,
}

/// What every request obeys.
#[derive(Clone, Debug)]
pub struct Settings {
    pub pepper: Pepper,
    pub max_body_bytes: u64,
    pub address_policy: AddressPolicy,
    /// The gateway's timeouts, where they are set.
    pub timeouts: Timeouts,
    /// Attempts per request, at least 1.
    pub max_attempts: u32,
}

/// A provider as model ids name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEntry {
    pub id: ProviderId,
    /// What stands in front of its model ids.
    pub prefix: String,
    pub name: String,
}

/// A connection, ready to be used.
#[derive(Clone, Debug)]
pub struct ConnectionEntry {
    pub id: ConnectionId,
    pub provider: ProviderId,
    /// The provider as clients know it: what stands in front of its model ids.
    pub shown: HeaderValue,
    pub name: String,
    pub upstream: Upstream,
    pub priority: i32,
    pub is_active: bool,
    /// It is not asked for a model that has no price.
    pub refuses_unpriced: bool,
    /// Requests that run on it now. Survives changes of the configuration.
    pub in_flight: Arc<AtomicU32>,
}

/// A model that a provider offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    pub provider: ProviderId,
    /// The provider's own id.
    pub model: String,
    /// "chat", "embedding"…
    pub kind: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// Unix seconds.
    pub created: u64,
    /// "api", "catalog" or "custom".
    pub source: String,
    /// It is not listed, and a bare name does not find it.
    pub hidden: bool,
}

/// Sources of models of which nobody has asked the provider.
const UNASKED: [&str; 2] = ["catalog", "custom"];

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            pepper: Pepper::new(Vec::new()),
            max_body_bytes: DEFAULT_MAX_BODY,
            address_policy: AddressPolicy::PublicOnly,
            timeouts: Timeouts::default(),
            max_attempts: DEFAULT_ATTEMPTS,
        }
    }
}

// === impl Index ===

impl Index {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The key with this hash. The map finds it by a part of the MAC; the comparison is in constant time.
    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<Key>> {
        self.hashes.get(hash)
    }

    pub fn key_by_id(&self, id: &str) -> Option<&Arc<Key>> {
        self.keys.get(id)
    }

    /// The provider that a model id's prefix names: a node's prefix, a node's id, a catalog id or alias.
    pub fn resolve_prefix(&self, prefix: &str) -> Option<Arc<ProviderEntry>> {
        if let Some(node) = self.prefixes.get(prefix).or_else(|| self.nodes.get(prefix)) {
            return Some(Arc::clone(node));
        }
        let provider = Catalog::builtin().get(prefix)?;
        Some(Arc::new(ProviderEntry {
            id: provider.id.into(),
            prefix: provider.id.to_owned(),
            name: provider.name.to_owned(),
        }))
    }

    /// The provider of that id.
    pub fn provider(&self, id: &str) -> Option<Arc<ProviderEntry>> {
        self.nodes.get(id).map(Arc::clone).or_else(|| self.resolve_prefix(id))
    }

    /// The active connections of a provider, in the order in which they are tried.
    pub fn connections(&self, provider: &str) -> &[Arc<ConnectionEntry>] {
        self.by_provider.get(provider).map_or(&[], |connections| connections.as_slice())
    }

    pub fn connection(&self, id: &str) -> Option<&Arc<ConnectionEntry>> {
        self.connections.get(id)
    }

    /// Providers that offer a model and have an active connection.
    pub fn providers_of_model(&self, model: &str) -> Vec<ProviderId> {
        let usable = |provider: &ProviderId| !self.connections(provider.as_str()).is_empty();
        let mut found: Vec<ProviderId> = match self.offers.get(model) {
            Some(offers) => offers.iter().filter(|provider| usable(provider)).cloned().collect(),
            None => Vec::new(),
        };
        if found.is_empty() {
            // Nobody has asked these providers for their list yet: what the catalog knows will do.
            found = self
                .by_provider
                .keys()
                .filter(|provider| !self.has_listed(provider.as_str()) && usable(provider))
                .filter(|provider| !self.models.get(*provider).is_some_and(|stored| stored.contains_key(model)))
                .filter(|provider| {
                    let known = Catalog::builtin().get(provider.as_str());
                    known.is_some_and(|known| known.has_model(model))
                })
                .cloned()
                .collect();
            found.sort();
        }
        found
    }

    /// Whether ids of this provider's models have slashes: others may have them too, listed or not.
    pub fn has_slashes(&self, provider: &str) -> bool {
        let stored = self.models.get(provider).is_some_and(|models| models.keys().any(|model| model.contains('/')));
        stored || (!self.has_listed(provider) && Catalog::builtin().get(provider).is_some_and(Provider::has_slashes))
    }

    /// The name that clients could write instead of this one, which is an alias.
    pub fn alias(&self, name: &str) -> Option<&Arc<str>> {
        self.aliases.get(name)
    }

    /// Whether it is known what a model costs at a connection.
    pub fn is_priced(&self, connection: &ConnectionEntry, model: &str) -> bool {
        let provider = connection.provider.as_str();
        let known = ModelTable::builtin().get(provider, model);
        known.is_some_and(|known| known.price.is_some())
            || self.priced.contains(format!("{provider}/{model}").as_str())
            || self.priced.contains(format!("{}/*", connection.id).as_str())
    }

    /// Whether the provider was asked for its list. Until then what the catalog knows will do, besides what the operator
    /// added.
    fn has_listed(&self, provider: &str) -> bool {
        let is_listed = |model: &Arc<ModelEntry>| !UNASKED.contains(&model.source.as_str());
        self.models.get(provider).is_some_and(|stored| stored.values().any(is_listed))
    }

    /// Every model that can be called now, with its provider, in a stable order.
    pub fn models(&self) -> Vec<(Arc<ProviderEntry>, Arc<ModelEntry>)> {
        let mut providers: Vec<&ProviderId> = self.by_provider.keys().collect();
        providers.sort();
        let mut all = Vec::new();
        for id in providers {
            if self.connections(id.as_str()).is_empty() {
                continue;
            }
            let Some(provider) = self.provider(id.as_str()) else { continue };
            let stored = self.models.get(id);
            let first = all.len();
            let shown = stored.into_iter().flat_map(OrdMap::values).filter(|model| !model.hidden);
            all.extend(shown.map(|model| (Arc::clone(&provider), Arc::clone(model))));
            if !self.has_listed(id.as_str()) {
                let others =
                    catalog_models(id).filter(|other| stored.is_none_or(|all| !all.contains_key(&other.model)));
                all.extend(others.map(|model| (Arc::clone(&provider), Arc::new(model))));
                if stored.is_some() {
                    all[first..].sort_by(|(_, one), (_, two)| one.model.cmp(&two.model));
                }
            }
        }
        all
    }
}

fn catalog_models(provider: &ProviderId) -> impl Iterator<Item = ModelEntry> {
    let known = Catalog::builtin().get(provider.as_str());
    known.into_iter().flat_map(Provider::known_models).map(|facts: ModelFacts| ModelEntry {
        provider: provider.clone(),
        model: facts.id,
        kind: facts.kind,
        context_window: facts.context_window,
        max_output_tokens: facts.max_output_tokens,
        created: 0,
        source: "catalog".to_owned(),
        hidden: false,
    })
}
