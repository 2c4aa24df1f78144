//! One provider of the catalog: what its file says.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Quirks;
use crate::aws::{DEFAULT_REGION, domain_of};

/// One provider. Its texts are those of the program's own data: the catalog takes next to no memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    pub id: &'static str,
    /// Short names, good as model prefixes too.
    #[serde(borrow)]
    pub aliases: Vec<&'static str>,
    pub name: &'static str,
    pub website: &'static str,
    /// The vendor's own description of its API.
    #[serde(borrow)]
    pub docs: Option<&'static str>,
    pub categories: Vec<Category>,
    /// Which adapter speaks to it.
    pub format: &'static str,
    /// May hold `{region}` and `{domain}`, where every region has a host of its own, and `{account}`
    /// for the customer's.
    pub base_url: &'static str,
    /// The usual one, of a provider that has regions.
    #[serde(borrow)]
    pub region: Option<&'static str>,
    /// Where a kind of call goes, when not to the adapter's usual path below the base URL.
    #[serde(borrow, default)]
    pub endpoints: BTreeMap<Service, &'static str>,
    /// Where its models are listed, when not below the base URL.
    #[serde(borrow)]
    pub models_url: Option<&'static str>,
    /// Whether it lists its models at all.
    #[serde(default = "yes")]
    pub lists_models: bool,
    pub auth: Auth,
    /// Every customer has a host: a connection has to name it, and `base_url` is an example.
    #[serde(default)]
    pub own_host: bool,
    /// Of a provider that speaks OpenAI's API: which of its two chat APIs it has.
    #[serde(default)]
    pub apis: ChatApis,
    /// Headers that every request needs.
    #[serde(borrow, default)]
    pub headers: BTreeMap<&'static str, &'static str>,
    #[serde(default)]
    pub quirks: Quirks,
    /// The call that tests a credential, when that is not the list of models.
    pub check: Option<Check>,
    /// Whether something can be had without paying.
    #[serde(default)]
    pub free_tier: bool,
    /// That of its file.
    #[serde(skip)]
    pub group: Group,
    /// Known beforehand; the provider's own list says more.
    #[serde(skip)]
    pub models: Vec<ModelFacts>,
}

/// What a provider is to the models that it offers; a file of the catalog each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Group {
    /// It makes them.
    #[default]
    Maker,
    /// It serves others' open models on machines of its own.
    Host,
    /// It hands requests on.
    Gateway,
    /// They make sounds and pictures, or work by themselves for hours.
    Media,
    /// They find and compare.
    Search,
    /// They run on machines of one's own.
    Local,
}

/// What a provider is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    Chat,
    Embeddings,
    Images,
    Audio,
    Video,
    Music,
    Rerank,
    Moderation,
    Search,
    CloudAgent,
    /// A server of one's own.
    Local,
}

/// A kind of call that has a URL of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    Embeddings,
    Images,
    Speech,
    Transcriptions,
    Translations,
    Video,
    Music,
    Rerank,
    Moderations,
    Search,
    /// Reading a page.
    Fetch,
    Ocr,
}

/// A call that tests a credential: a GET, or a POST when it has a body.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub url: &'static str,
    #[serde(borrow)]
    pub body: Option<&'static RawValue>,
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
    /// A header of this name.
    Header(&'static str),
    /// `Authorization: <this word> …`.
    Scheme(&'static str),
    /// An API key as a bearer, or a pair of keys that signs every request.
    Aws,
    /// `x-goog-api-key` for an API key, a token for a service account or a sign-in.
    Google,
    /// `api-key` for a key, a token for an application of Entra ID.
    Azure,
    /// A token for an API key of IBM Cloud.
    Ibm,
    /// A personal token as a bearer, or one for a service principal.
    Databricks,
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

const fn yes() -> bool {
    true
}

// === impl Provider ===

impl Provider {
    /// Its base URL in a region; empty means the region that is its usual one.
    pub fn base_url_in(&self, region: &str) -> Cow<'static, str> {
        self.in_region(self.base_url, region)
    }

    /// Where its models are listed in a region, when not below the base URL.
    pub fn models_url_in(&self, region: &str) -> Option<Cow<'static, str>> {
        self.models_url.map(|url| self.in_region(url, region))
    }

    pub fn has_regions(&self) -> bool {
        self.base_url.contains("{region}")
    }

    /// The region that counts where nobody names one.
    pub fn usual_region(&self) -> &'static str {
        self.region.unwrap_or(DEFAULT_REGION)
    }

    pub fn serves(&self, category: Category) -> bool {
        self.categories.contains(&category)
    }

    /// What follows the base URL in one of the provider's URLs; `None` where that is elsewhere.
    pub fn below_base(&self, url: &'static str) -> Option<&'static str> {
        let rest = url.strip_prefix(self.base_url)?;
        (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
    }

    fn in_region(&self, url: &'static str, region: &str) -> Cow<'static, str> {
        if !url.contains("{region}") {
            return Cow::Borrowed(url);
        }
        let region = if region.is_empty() { self.usual_region() } else { region };
        Cow::Owned(url.replace("{region}", region).replace("{domain}", domain_of(region)))
    }
}

// === impl Category ===

impl Category {
    /// Its name in the catalog's files and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Music => "music",
            Self::Rerank => "rerank",
            Self::Moderation => "moderation",
            Self::Search => "search",
            Self::CloudAgent => "cloud agent",
            Self::Local => "local",
        }
    }
}

// === impl Service ===

impl Service {
    pub const ALL: [Self; 12] = [
        Self::Embeddings,
        Self::Images,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
        Self::Video,
        Self::Music,
        Self::Rerank,
        Self::Moderations,
        Self::Search,
        Self::Fetch,
        Self::Ocr,
    ];
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
