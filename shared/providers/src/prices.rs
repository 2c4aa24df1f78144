//! List prices of models, from `data/prices.json`. The ledger copies them at start; operators override them there.

use std::{collections::HashMap, sync::OnceLock};

use omniroute_core::money::TokenPrice;
use serde::Deserialize;

static PRICES: OnceLock<PriceBook> = OnceLock::new();

/// All list prices.
#[derive(Debug)]
pub struct PriceBook {
    edition: u64,
    version: String,
    prices: Vec<PriceFacts>,
    by_model: HashMap<(String, String), usize>,
}

/// What a model costs: micro-dollars per million tokens of each class. A class without a price of its own costs what its
/// parent costs (`cache_read`, `cache_write`, `audio_in`: input; `reasoning`, `audio_out`: output).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PriceFacts {
    pub provider: String,
    pub model: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub input: TokenPrice,
    pub output: TokenPrice,
    pub cache_read: Option<TokenPrice>,
    pub cache_write: Option<TokenPrice>,
    pub reasoning: Option<TokenPrice>,
    pub audio_in: Option<TokenPrice>,
    pub audio_out: Option<TokenPrice>,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    edition: u64,
    version: String,
    prices: Vec<PriceFacts>,
}

// === impl PriceBook ===

impl PriceBook {
    /// The prices that this build carries.
    pub fn builtin() -> &'static Self {
        PRICES.get_or_init(|| {
            let file: File = serde_json::from_str(include_str!("../data/prices.json")).unwrap_or_default();
            let by_model = file
                .prices
                .iter()
                .enumerate()
                .map(|(index, price)| ((price.provider.clone(), price.model.clone()), index))
                .collect();
            Self { edition: file.edition, version: file.version, prices: file.prices, by_model }
        })
    }

    /// Grows from one version to the next.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Changes when any price does.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn prices(&self) -> &[PriceFacts] {
        &self.prices
    }

    pub fn get(&self, provider: &str, model: &str) -> Option<&PriceFacts> {
        let index = self.by_model.get(&(provider.to_owned(), model.to_owned()))?;
        self.prices.get(*index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prices_that_are_built_in_are_whole() {
        let book = PriceBook::builtin();
        assert!(book.prices().len() > 500);
        let price = book.get("openai", "gpt-4o-mini").expect("a well-known model");
        assert_eq!((price.input, price.output), (TokenPrice(150_000), TokenPrice(600_000)));
        assert_eq!(price.cache_read, Some(TokenPrice(75_000)));
    }
}
