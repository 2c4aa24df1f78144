//! Models that are known by name, from `data/models.jsonl`: what each takes, what it can, what it costs.
//!
//! The file has a line per model, in the order of providers and names, so that a change of prices is a short diff. `omniroute
//! catalog update` writes it. A provider's lines are found by bisection and read when somebody asks for that provider, and
//! never else: a process holds only what is configured.

mod price;

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use serde::{Deserialize, Serialize};

pub use self::price::{Class, Price, Rates, Service, Variant};

static BUILTIN: LazyLock<ModelTable> = LazyLock::new(|| ModelTable::read(include_str!("../../data/models.jsonl")));

/// All models that are known.
#[derive(Debug)]
pub struct ModelTable {
    header: Header,
    lines: &'static str,
    /// Of each provider, once somebody has asked.
    of_provider: HashMap<String, OnceLock<Vec<KnownModel>>>,
}

/// The file's first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Grows from one version to the next: the day of its last change, as `20261201`.
    pub edition: u64,
    /// Changes when any line does.
    pub version: String,
    /// Where the facts are from.
    pub source: String,
    /// Every provider that has lines.
    pub providers: Vec<String>,
}

/// A model at a provider. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownModel {
    pub provider: String,
    /// The provider's own id.
    pub model: String,
    /// `chat`, `embedding`, `image`, `rerank`, `moderation`, `transcription`, `speech`, `video`, `realtime`, `search`, `ocr`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// Of an embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u64>,
    /// Words of [`CAPABILITIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can: Vec<String>,
    /// The day on which the provider withdraws it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// What a model can: takes tools, several calls at once, pictures, sound, film, PDF; speaks; thinks; keeps to a schema; has
/// its prompts cached; searches the web; uses a computer.
pub const CAPABILITIES: [&str; 12] = [
    "tools",
    "parallel_tools",
    "vision",
    "audio_input",
    "video_input",
    "pdf_input",
    "audio_output",
    "reasoning",
    "structured_output",
    "prompt_caching",
    "web_search",
    "computer_use",
];

// === impl ModelTable ===

impl ModelTable {
    /// The models that this build carries.
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// A damaged table knows nothing; a test reads the one that is built in.
    fn read(text: &'static str) -> Self {
        let (header, lines) = text.split_once('\n').unwrap_or_default();
        let header: Header = serde_json::from_str(header).unwrap_or_default();
        let of_provider = header.providers.iter().map(|provider| (provider.clone(), OnceLock::new())).collect();
        Self { header, lines, of_provider }
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The models of a provider, by its id, in the order of their names.
    pub fn of(&self, provider: &str) -> &[KnownModel] {
        let Some(slot) = self.of_provider.get(provider) else { return &[] };
        slot.get_or_init(|| parse(lines_of(self.lines, provider)).collect())
    }

    pub fn get(&self, provider: &str, model: &str) -> Option<&KnownModel> {
        let models = self.of(provider);
        let index = models.binary_search_by(|known| known.model.as_str().cmp(model)).ok()?;
        models.get(index)
    }

    /// Every model, read one after the other and not kept.
    pub fn all(&self) -> impl Iterator<Item = KnownModel> + use<> {
        parse(self.lines)
    }
}

// === impl KnownModel ===

impl KnownModel {
    pub fn can(&self, capability: &str) -> bool {
        self.can.iter().any(|word| word == capability)
    }

    /// Tokens that an answer may have. Some tables say the window there, which is no limit of an answer.
    pub fn output_limit(&self) -> Option<u64> {
        self.max_output_tokens.filter(|limit| Some(*limit) != self.context_window)
    }

    /// Its place in the file.
    pub fn key(&self) -> (&str, &str) {
        (&self.provider, &self.model)
    }
}

fn parse(lines: &'static str) -> impl Iterator<Item = KnownModel> {
    lines.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// The lines of one provider, out of lines in the order of providers.
fn lines_of<'t>(lines: &'t str, provider: &str) -> &'t str {
    let start = first_line(lines, |other| other < provider);
    let end = first_line(lines, |other| other <= provider);
    lines.get(start..end).unwrap_or_default()
}

/// Where the first line begins whose provider is not `before`.
fn first_line(lines: &str, before: impl Fn(&str) -> bool) -> usize {
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = low.midpoint(high);
        let bytes = lines.as_bytes();
        let start = bytes[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        let length = bytes[start..].iter().position(|byte| *byte == b'\n').map_or(lines.len() - start, |at| at + 1);
        if before(provider_of(&lines[start..start + length])) {
            low = start + length;
        } else {
            high = start;
        }
    }
    low
}

/// Every line begins with its provider, whose id has nothing to escape.
fn provider_of(line: &str) -> &str {
    let rest = line.strip_prefix("{\"provider\":\"").unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use omniroute_core::money::TokenPrice;

    use super::*;

    const FEW: &str = "{\"edition\":1,\"version\":\"v\",\"source\":\"s\",\"providers\":[\"a\",\"b\",\"bb\"]}\n\
        {\"provider\":\"a\",\"model\":\"1\",\"type\":\"chat\"}\n\
        {\"provider\":\"b\",\"model\":\"1\",\"type\":\"chat\"}\n\
        {\"provider\":\"b\",\"model\":\"2/\u{fc}\",\"type\":\"chat\"}\n\
        {\"provider\":\"bb\",\"model\":\"1\",\"type\":\"image\"}\n";

    #[test]
    fn the_lines_of_a_provider_are_found() {
        let table = ModelTable::read(FEW);
        let names = |provider| table.of(provider).iter().map(|known| known.model.as_str()).collect::<Vec<_>>();
        assert_eq!(names("a"), ["1"]);
        assert_eq!(names("b"), ["1", "2/\u{fc}"]);
        assert_eq!(names("bb"), ["1"]);
        assert!(names("").is_empty() && names("aa").is_empty() && names("c").is_empty());
        assert_eq!(table.get("b", "2/\u{fc}").map(KnownModel::key), Some(("b", "2/\u{fc}")));
        assert!(table.get("b", "3").is_none());
        assert!(ModelTable::read("").of("a").is_empty());
    }

    #[test]
    fn the_table_that_is_built_in_is_whole_and_in_order() {
        let table = ModelTable::builtin();
        let lines = table.lines.lines().count();
        let models: Vec<KnownModel> = table.all().collect();
        assert_eq!(models.len(), lines, "every line is a model");
        assert!(models.is_sorted_by(|one, two| one.key() < two.key()), "in order, each once");
        assert!(models.len() >= 1_500, "{}", models.len());
        let found: usize = table.header.providers.iter().map(|provider| table.of(provider).len()).sum();
        assert_eq!(found, lines, "every provider is in the header and found");
        for known in &models {
            assert!(known.can.iter().all(|word| CAPABILITIES.contains(&word.as_str())), "{:?}", known.key());
            let rates = known.price.iter().flat_map(|price| {
                price.rates.iter().chain(price.variants.iter().flat_map(|variant| variant.rates.iter()))
            });
            for (class, rate) in rates {
                assert!((0..=100_000_000_000_000).contains(&rate.0), "{:?} {class:?}", known.key());
            }
        }
    }

    #[test]
    fn well_known_models_have_what_their_vendors_say() {
        let table = ModelTable::builtin();
        let rate = |provider, model, class, service, prompt| {
            let price = table.get(provider, model).and_then(|known| known.price.as_ref());
            price.and_then(|price| price.rate(class, service, prompt)).map(|TokenPrice(rate)| rate)
        };
        assert_eq!(rate("openai", "gpt-4o-mini", Class::Input, None, 1), Some(150_000));
        assert_eq!(rate("openai", "gpt-4o-mini", Class::Output, None, 1), Some(600_000));
        assert_eq!(rate("openai", "gpt-4o-mini", Class::CacheRead, None, 1), Some(75_000));
        assert_eq!(rate("openai", "gpt-4o-mini", Class::Input, Some(Service::Batch), 1), Some(75_000));
        assert_eq!(rate("gemini", "gemini-2.5-pro", Class::Input, None, 1), Some(1_250_000));
        assert_eq!(rate("gemini", "gemini-2.5-pro", Class::Input, None, 200_001), Some(2_500_000));
        assert_eq!(rate("anthropic", "claude-opus-4-6", Class::CacheWrite1h, None, 1), Some(10_000_000));
        assert_eq!(rate("openai", "tts-1", Class::InputCharacter, None, 0), Some(15_000_000));
        assert_eq!(rate("cohere", "rerank-v3.5", Class::Query, None, 0), Some(2_000_000_000));
        let opus = table.get("anthropic", "claude-opus-4-6").expect("a well-known model");
        assert!(opus.can("tools") && opus.can("vision") && opus.can("reasoning"));
        assert_eq!((opus.context_window, opus.max_output_tokens), (Some(1_000_000), Some(128_000)));
    }
}
