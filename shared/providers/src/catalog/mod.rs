//! Facts about providers, from `data/providers/`: a file for each kind of provider, a line for each provider.
//!
//! The files are part of the program and read once, when somebody first asks; their texts are not copied. A proxy builds
//! [`crate::Upstream`]s of the connections that it has, of nothing else.

mod document;
mod provider;
mod quirks;

use std::{collections::HashMap, sync::OnceLock};

use serde::Deserialize;

pub use self::{
    document::document,
    provider::{Auth, Category, ChatApis, Check, Group, ModelFacts, Provider, Service},
    quirks::{Lack, Quirks},
};

static CATALOG: OnceLock<Catalog> = OnceLock::new();

/// Who makes models, who serves those of others, who resells; then what does not chat, and servers of one's own.
const FILES: [(Group, &str); 6] = [
    (Group::Maker, include_str!("../../data/providers/makers.json")),
    (Group::Host, include_str!("../../data/providers/hosts.json")),
    (Group::Gateway, include_str!("../../data/providers/gateways.json")),
    (Group::Media, include_str!("../../data/providers/media.json")),
    (Group::Search, include_str!("../../data/providers/search.json")),
    (Group::Local, include_str!("../../data/providers/local.json")),
];

/// Every provider that works by name.
#[derive(Debug)]
pub struct Catalog {
    providers: Vec<Provider>,
    /// Ids and aliases.
    by_name: HashMap<&'static str, usize>,
    /// Hosts in the public network.
    by_host: HashMap<String, usize>,
}

/// The models that a provider is known to have.
#[derive(Deserialize)]
struct KnownModels {
    provider: String,
    models: Vec<ModelFacts>,
}

/// The host of a URL; hosts that have a region or a customer in their name make none.
fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

// === impl Catalog ===

impl Catalog {
    /// The catalog that this build carries.
    pub fn builtin() -> &'static Self {
        CATALOG.get_or_init(|| {
            // The files are part of the build and a test reads them; a damaged build knows fewer providers.
            let read = |(group, file)| {
                let providers: Vec<Provider> = serde_json::from_str(file).unwrap_or_default();
                providers.into_iter().map(move |provider| Provider { group, ..provider })
            };
            let mut providers: Vec<Provider> = FILES.into_iter().flat_map(read).collect();
            let known: Vec<KnownModels> =
                serde_json::from_str(include_str!("../../data/known_models.json")).unwrap_or_default();
            let mut known: HashMap<_, _> = known.into_iter().map(|known| (known.provider, known.models)).collect();
            for provider in &mut providers {
                provider.models = known.remove(provider.id).unwrap_or_default();
            }
            Self::new(providers)
        })
    }

    fn new(providers: Vec<Provider>) -> Self {
        let mut by_name = HashMap::new();
        for (index, provider) in providers.iter().enumerate() {
            by_name.insert(provider.id, index);
        }
        for (index, provider) in providers.iter().enumerate() {
            for alias in &provider.aliases {
                by_name.entry(*alias).or_insert(index);
            }
        }
        let mut by_host = HashMap::new();
        for (index, provider) in providers.iter().enumerate() {
            if provider.auth == Auth::None || provider.own_host {
                continue;
            }
            if let Some(host) = host_of(provider.base_url) {
                by_host.entry(host).or_insert(index);
            }
        }
        Self { providers, by_name, by_host }
    }

    /// Whose host this URL is of, where that is one provider's own. Of several with one host it is the first.
    pub fn at(&self, url: &str) -> Option<&Provider> {
        self.by_host.get(&host_of(url)?).map(|index| &self.providers[*index])
    }

    /// By id or alias.
    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.by_name.get(name).map(|index| &self.providers[*index])
    }

    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    pub fn len(&self) -> usize {
        self.providers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use omniroute_core::address::AddressPolicy;

    use super::*;
    use crate::Operation;

    #[test]
    fn every_file_is_read_and_no_name_is_given_twice() {
        let mut names = HashSet::new();
        let mut count = 0;
        for (_, file) in FILES {
            let providers: Vec<Provider> = serde_json::from_str(file).expect("a file of the catalog");
            for provider in &providers {
                for name in std::iter::once(&provider.id).chain(&provider.aliases) {
                    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
                    assert!(names.insert(*name), "`{name}` is named twice");
                    assert!(name.chars().all(is_name), "{name}");
                }
            }
            count += providers.len();
        }
        assert_eq!(Catalog::builtin().len(), count);
        assert!(count >= 200, "{count}");
        let known: Vec<KnownModels> =
            serde_json::from_str(include_str!("../../data/known_models.json")).expect("models");
        for known in known {
            assert!(Catalog::builtin().get(&known.provider).is_some(), "{}", known.provider);
        }
    }

    #[test]
    fn every_entry_is_whole() {
        for provider in Catalog::builtin().providers() {
            let id = provider.id;
            assert!(!provider.categories.is_empty(), "{id}");
            let is_local = provider.serves(Category::Local);
            assert_eq!(is_local, provider.auth == Auth::None, "{id}");
            let policy = AddressPolicy::from_allow_private(is_local);
            let filled = provider.base_url_in("").replace(['{', '}'], "");
            assert!(policy.check_url(&filled).is_ok(), "{id}");
            assert!(!provider.base_url.ends_with('/'), "{id}");
            let adapter = crate::adapter_of(provider.format).expect(id);
            let chats = adapter.format(Operation::Chat).is_some();
            assert!(chats || !provider.serves(Category::Chat), "{id} chats in a format that does not");
            for url in [provider.website].into_iter().chain(provider.docs) {
                assert!(url.starts_with("https://"), "{id}: {url}");
            }
            for url in provider.endpoints.values().copied().chain(provider.models_url) {
                assert!(
                    policy
                        .check_url(
                            &url.replace("{region}", provider.usual_region()).replace("{domain}", "amazonaws.com")
                        )
                        .is_ok(),
                    "{id}: {url}"
                );
            }
            // A connection that points elsewhere is tested there.
            if let Some(check) = provider.check {
                assert!(provider.below_base(check.url).is_some(), "{id}: {}", check.url);
            }
            for name in provider.headers.keys() {
                assert!(
                    http::HeaderName::from_bytes(name.as_bytes()).is_ok_and(|parsed| parsed == *name),
                    "{id}: {name}"
                );
            }
        }
    }

    #[test]
    fn a_host_is_its_providers() {
        let at = |url| Catalog::builtin().at(url).map(|provider| provider.id);
        assert_eq!(at("https://openrouter.ai/api/v1/"), Some("openrouter"));
        assert_eq!(at("https://OpenRouter.ai/other"), Some("openrouter"));
        assert_eq!(at("https://api.deepseek.com/anthropic"), Some("deepseek"));
        assert_eq!(at("https://api.perplexity.ai/search"), Some("perplexity"), "the first of several");
        for strangers in
            ["https://openrouter.ai.evil.example/v1", "http://localhost:8000/v1", "http://127.0.0.1:8080/v1", "x"]
        {
            assert_eq!(at(strangers), None, "{strangers}");
        }
    }

    #[test]
    fn aliases_find_their_provider() {
        for (name, id) in [
            ("ds", "deepseek"),
            ("cc", "anthropic"),
            ("cx", "openai"),
            ("gc", "xai"),
            ("nebius", "nebius"),
            ("deepgram", "deepgram"),
            ("assemblyai", "assemblyai"),
            ("cohere", "cohere"),
            ("runway", "runwayml"),
            ("suno", "suno"),
        ] {
            assert_eq!(Catalog::builtin().get(name).map(|provider| provider.id), Some(id), "{name}");
        }
        assert!(Catalog::builtin().get("nobody").is_none());
    }
}
