//! Facts about providers, from `data/catalog.json`.

use std::{borrow::Cow, collections::HashMap, sync::OnceLock};

use serde::Deserialize;

use crate::aws::{DEFAULT_REGION, domain_of};

static CATALOG: OnceLock<Catalog> = OnceLock::new();

/// Every provider that works by name.
#[derive(Debug)]
pub struct Catalog {
    providers: Vec<Provider>,
    /// Ids and aliases.
    by_name: HashMap<String, usize>,
    /// Hosts in the public network.
    by_host: HashMap<String, usize>,
}

/// One provider.
#[derive(Clone, Debug, Deserialize)]
pub struct Provider {
    pub id: String,
    /// Short names, good as model prefixes too.
    pub aliases: Vec<String>,
    pub name: String,
    pub website: String,
    /// Which adapter speaks to it.
    pub format: String,
    /// May hold `{region}` and `{domain}`, where every region has a host of its own.
    pub base_url: String,
    /// Where its models are listed, when not below the base URL.
    pub models_url: Option<String>,
    pub auth: Auth,
    /// Of a provider that speaks OpenAI's API: which of its two chat APIs it has.
    #[serde(default)]
    pub apis: ChatApis,
    pub models: Vec<ModelFacts>,
}

/// Which of OpenAI's two chat APIs a host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChatApis {
    #[default]
    Chat,
    Responses,
    Both,
}

/// How a request proves who it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `Authorization: Bearer …`.
    Bearer,
    /// `api-key: …`.
    ApiKey,
    /// `x-api-key: …`.
    XApiKey,
    /// `x-goog-api-key: …`.
    XGoogApiKey,
    /// An API key as a bearer, or a pair of keys that signs every request.
    Aws,
    /// A local server: a secret is sent as a bearer when there is one.
    None,
}

/// A model that the provider is known to have.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelFacts {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub dimensions: Option<u64>,
}

// === impl ChatApis ===

impl ChatApis {
    /// Their names in settings.
    pub const WORDS: [&str; 3] = ["chat", "responses", "both"];

    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "chat" => Some(Self::Chat),
            "responses" => Some(Self::Responses),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

// === impl Provider ===

impl Provider {
    /// Its base URL in a region; empty means the region that is its usual one.
    pub fn base_url_in(&self, region: &str) -> Cow<'_, str> {
        in_region(&self.base_url, region)
    }

    /// Where its models are listed in a region, when not below the base URL.
    pub fn models_url_in(&self, region: &str) -> Option<Cow<'_, str>> {
        self.models_url.as_deref().map(|url| in_region(url, region))
    }

    pub fn has_regions(&self) -> bool {
        self.base_url.contains("{region}")
    }
}

fn in_region<'u>(url: &'u str, region: &str) -> Cow<'u, str> {
    if !url.contains('{') {
        return Cow::Borrowed(url);
    }
    let region = if region.is_empty() { DEFAULT_REGION } else { region };
    Cow::Owned(url.replace("{region}", region).replace("{domain}", domain_of(region)))
}

/// The host of a URL; hosts that have a region in their name make none.
fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

#[derive(Deserialize)]
struct File {
    providers: Vec<Provider>,
}

// === impl Catalog ===

impl Catalog {
    /// The catalog that this build carries.
    pub fn builtin() -> &'static Self {
        CATALOG.get_or_init(|| {
            // The file is part of the build and a test reads it; an empty catalog is what a damaged build amounts to.
            let file = serde_json::from_str(include_str!("../data/catalog.json"));
            Self::new(file.map_or_else(|_| Vec::new(), |file: File| file.providers))
        })
    }

    fn new(providers: Vec<Provider>) -> Self {
        let mut by_name = HashMap::new();
        for (index, provider) in providers.iter().enumerate() {
            by_name.insert(provider.id.clone(), index);
        }
        for (index, provider) in providers.iter().enumerate() {
            for alias in &provider.aliases {
                by_name.entry(alias.clone()).or_insert(index);
            }
        }
        let mut by_host = HashMap::new();
        for (index, provider) in providers.iter().enumerate().filter(|(_, provider)| provider.auth != Auth::None) {
            if let Some(host) = host_of(&provider.base_url) {
                by_host.entry(host).or_insert(index);
            }
        }
        Self { providers, by_name, by_host }
    }

    /// Whose host this URL is of, where that is one provider's own.
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
    use omniroute_core::address::AddressPolicy;

    use super::*;

    #[test]
    fn the_catalog_that_is_built_in_is_whole() {
        let catalog = Catalog::builtin();
        assert!(catalog.len() >= 25);
        for provider in catalog.providers() {
            let policy = AddressPolicy::from_allow_private(provider.auth == Auth::None);
            assert!(policy.check_url(&provider.base_url_in("")).is_ok(), "{}", provider.id);
            assert!(crate::adapter_of(&provider.format).is_some(), "{}", provider.id);
            assert!(!provider.base_url.ends_with('/'), "{}", provider.id);
        }
    }

    #[test]
    fn a_host_is_its_providers() {
        let at = |url| Catalog::builtin().at(url).map(|provider| provider.id.as_str());
        assert_eq!(at("https://openrouter.ai/api/v1/"), Some("openrouter"));
        assert_eq!(at("https://OpenRouter.ai/other"), Some("openrouter"));
        assert_eq!(at("https://api.deepseek.com/anthropic"), Some("deepseek"));
        for strangers in
            ["https://openrouter.ai.evil.example/v1", "http://localhost:8000/v1", "http://127.0.0.1:8080/v1", "x"]
        {
            assert_eq!(at(strangers), None, "{strangers}");
        }
    }

    #[test]
    fn aliases_find_their_provider() {
        assert_eq!(Catalog::builtin().get("ds").map(|provider| provider.id.as_str()), Some("deepseek"));
        assert!(Catalog::builtin().get("nobody").is_none());
    }
}
