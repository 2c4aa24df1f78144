//! The prices that come with the program, as rows of the ledger's table.

use omniroute_core::{money::TokenPrice, time::UnixMillis};
use omniroute_providers::prices::{PriceBook, PriceFacts};

use crate::store::records::PriceRow;

pub(super) fn edition() -> u64 {
    PriceBook::builtin().edition()
}

pub(super) fn version() -> &'static str {
    PriceBook::builtin().version()
}

pub(super) fn prices() -> impl Iterator<Item = PriceRow> {
    PriceBook::builtin().prices().iter().map(row)
}

/// The book knows one price for cache writes: that of the short-lived cache, from which the other one falls back.
fn row(facts: &PriceFacts) -> PriceRow {
    let amount = |price: Option<TokenPrice>| price.map(|price| price.0);
    PriceRow {
        provider: facts.provider.clone(),
        model: facts.model.clone(),
        valid_from: UnixMillis(0),
        valid_until: None,
        input: facts.input.0,
        output: facts.output.0,
        cache_read: amount(facts.cache_read),
        cache_write_5m: amount(facts.cache_write),
        cache_write_1h: None,
        reasoning: amount(facts.reasoning),
        audio_in: amount(facts.audio_in),
        audio_out: amount(facts.audio_out),
        source: String::new(),
        revision: 0,
    }
}
