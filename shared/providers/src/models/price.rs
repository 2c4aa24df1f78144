//! What the use of a model costs: a rate for each class of tokens and for each other unit, and where they differ.

use std::collections::BTreeMap;

use omniroute_core::money::TokenPrice;
pub use omniroute_wire::usage::Service;
use serde::{Deserialize, Deserializer, Serialize};

/// Makes [`Class`] out of the list, each with its name in the data and in answers.
macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident => $name:literal),* $(,)?) => {
        /// What is counted. A rate is micro-dollars per million of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum Class {
            $($(#[$doc])* #[serde(rename = $name)] $class),*
        }

        impl Class {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$class),*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$class => $name),*
                }
            }
        }
    };
}

classes! {
    /// Prompt tokens that no cache served.
    Input => "input",
    /// Visible tokens of the answer.
    Output => "output",
    CacheRead => "cache_read",
    /// Kept for minutes.
    CacheWrite => "cache_write",
    /// Kept for an hour.
    CacheWrite1h => "cache_write_1h",
    Reasoning => "reasoning",
    /// Tokens of sound.
    AudioIn => "audio_in",
    AudioOut => "audio_out",
    /// Tokens of pictures.
    ImageIn => "image_in",
    ImageOut => "image_out",
    /// Seconds of sound or film that are sent, and that are made.
    InputSecond => "input_second",
    OutputSecond => "output_second",
    /// Whole pictures.
    InputImage => "input_image",
    OutputImage => "output_image",
    InputCharacter => "input_character",
    OutputCharacter => "output_character",
    /// Searches of a search engine, queries of a reranker.
    Query => "query",
    /// Pages of a document that is read.
    Page => "page",
    /// Searches of the web that a model makes while it answers; of a size in the middle, where the size matters.
    WebSearch => "web_search",
    FileSearch => "file_search",
    /// Sessions of a code interpreter.
    CodeSession => "code_session",
    MapsSearch => "maps_search",
}

/// Rates of classes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Rates(BTreeMap<Class, TokenPrice>);

/// The rates of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub rates: Rates,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
}

/// Rates that replace others of the same class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// For this service only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// For prompts of more tokens than this, cached ones included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub above: u64,
    pub rates: Rates,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

// === impl Class ===

impl Class {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Whose rate counts where this class has none of its own.
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::CacheRead | Self::CacheWrite | Self::AudioIn | Self::ImageIn => Some(Self::Input),
            Self::CacheWrite1h => Some(Self::CacheWrite),
            Self::Reasoning | Self::AudioOut | Self::ImageOut => Some(Self::Output),
            _ => None,
        }
    }
}

// === impl Rates ===

impl Rates {
    pub fn get(&self, class: Class) -> Option<TokenPrice> {
        self.0.get(&class).copied()
    }

    /// Sets a rate, or takes it away.
    pub fn set(&mut self, class: Class, rate: Option<TokenPrice>) {
        match rate {
            Some(rate) => drop(self.0.insert(class, rate)),
            None => drop(self.0.remove(&class)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Class, TokenPrice)> {
        self.0.iter().map(|(class, rate)| (*class, *rate))
    }
}

impl FromIterator<(Class, TokenPrice)> for Rates {
    fn from_iter<I: IntoIterator<Item = (Class, TokenPrice)>>(rates: I) -> Self {
        Self(rates.into_iter().collect())
    }
}

/// Skips classes that this build does not know: what a newer one has written is read by the older one beside it.
impl<'de> Deserialize<'de> for Rates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rates = BTreeMap::<String, TokenPrice>::deserialize(deserializer)?;
        Ok(rates.into_iter().filter_map(|(name, rate)| Some((Class::parse(&name)?, rate))).collect())
    }
}

// === impl Price ===

impl Price {
    /// The rate of a class for a request with a prompt of so many tokens: of the service, else of the size, else the usual
    /// one; where the class has none of those, that of the class from which it falls back.
    pub fn rate(&self, class: Class, service: Option<Service>, prompt: u64) -> Option<TokenPrice> {
        let mut wanted = Some(class);
        while let Some(class) = wanted {
            let own = self.own_rate(class, service, prompt);
            if own.is_some() {
                return own;
            }
            wanted = class.parent();
        }
        None
    }

    fn own_rate(&self, class: Class, service: Option<Service>, prompt: u64) -> Option<TokenPrice> {
        let applies = |variant: &&Variant| {
            variant.service.is_none_or(|its| Some(its) == service)
                && (variant.above == 0 || prompt > variant.above)
                && variant.rates.get(class).is_some()
        };
        let best =
            self.variants.iter().filter(applies).max_by_key(|variant| (variant.service.is_some(), variant.above));
        best.map_or(&self.rates, |variant| &variant.rates).get(class)
    }

    /// Whether every class costs nothing.
    pub fn is_free(&self) -> bool {
        let rates = self.rates.iter().chain(self.variants.iter().flat_map(|variant| variant.rates.iter()));
        rates.map(|(_, rate)| rate.0).all(|rate| rate == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        serde_json::from_str(text).expect("a price")
    }

    #[test]
    fn a_long_prompt_and_a_service_have_rates_of_their_own() {
        let price = price(
            r#"{"rates":{"input":100,"output":500,"cache_read":10},"variants":[
                {"above":200000,"rates":{"input":200,"output":750}},
                {"service":"batch","rates":{"input":50,"output":250}},
                {"service":"batch","above":200000,"rates":{"input":90}}]}"#,
        );
        let rate = |class, service, prompt| price.rate(class, service, prompt).map(|rate| rate.0);
        let batch = Some(Service::Batch);
        assert_eq!(rate(Class::Input, None, 200_000), Some(100), "the limit itself is not above it");
        assert_eq!(rate(Class::Input, None, 200_001), Some(200));
        assert_eq!(rate(Class::CacheRead, None, 200_001), Some(10), "what does not change stays");
        assert_eq!(rate(Class::Input, batch, 1), Some(50));
        assert_eq!(rate(Class::Input, batch, 200_001), Some(90));
        assert_eq!(rate(Class::Output, batch, 200_001), Some(250), "the service says more than the size");
        assert_eq!(rate(Class::Input, Some(Service::Flex), 1), Some(100), "a service without rates of its own");
        assert_eq!(rate(Class::Reasoning, batch, 1), Some(250));
        assert_eq!(rate(Class::CacheWrite1h, None, 1), Some(100));
        assert_eq!(rate(Class::Query, None, 1), None);
        assert!(!price.is_free());
    }

    #[test]
    fn a_class_of_a_newer_version_is_skipped() {
        let price = price(r#"{"rates":{"input":1,"smell_in":2},"later":true}"#);
        assert_eq!(price.rates.iter().collect::<Vec<_>>(), [(Class::Input, TokenPrice(1))]);
    }

    #[test]
    fn names_and_classes_are_one_to_one() {
        for class in Class::ALL {
            assert_eq!(Class::parse(class.as_str()), Some(class));
            assert_eq!(serde_json::to_value(class).expect("a name"), class.as_str());
        }
    }
}
