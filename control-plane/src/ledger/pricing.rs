//! What an event cost: the price in force at its time, applied to each class of tokens.

use std::collections::HashMap;

use omniroute_core::{
    money::{CostSum, MicroUsd, TokenPrice},
    time::UnixMillis,
};
use omniroute_proto::v1;

use crate::store::records::PriceRow;

/// Beyond this an amount is no bill but a fault; sums of many such still fit.
const MAX_COST: MicroUsd = MicroUsd(1 << 50);

/// Every price of all times, by provider and model.
#[derive(Debug, Default)]
pub(super) struct PriceTable {
    prices: HashMap<String, HashMap<String, Vec<PriceRow>>>,
    revision: u64,
}

/// An amount and its parts. Each is rounded once, so the parts may differ from the total by a micro-dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// Revision of the price.
    pub(super) price_revision: u64,
    pub(super) total: MicroUsd,
    pub(super) input: MicroUsd,
    pub(super) cache: MicroUsd,
    pub(super) output: MicroUsd,
}

// === impl PriceTable ===

impl PriceTable {
    pub(super) fn new(rows: Vec<PriceRow>) -> Self {
        let mut table = Self::default();
        for row in rows {
            table.revision = table.revision.max(row.revision);
            table.prices.entry(row.provider.clone()).or_default().entry(row.model.clone()).or_default().push(row);
        }
        table
    }

    /// Highest revision of a price in it.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The operator's price wins over the built-in one; of each the one that came last.
    fn in_force(&self, provider: &str, model: &str, at: UnixMillis) -> Option<&PriceRow> {
        let rows = self.prices.get(provider)?.get(model)?;
        let valid = rows.iter().filter(|row| row.valid_from <= at && row.valid_until.is_none_or(|until| at < until));
        valid.max_by_key(|row| (row.source == "custom", row.valid_from))
    }

    /// `None` when no price is known.
    pub(super) fn cost(&self, provider: &str, model: &str, at: UnixMillis, usage: &v1::Usage) -> Option<Cost> {
        self.in_force(provider, model, at).map(|price| cost(price, usage))
    }
}

/// Classes without a price of their own cost what their side costs: cached and audio input as input, reasoning and
/// audio output as output. A cache write that is kept for an hour costs as the shorter one when only that is known.
fn cost(price: &PriceRow, usage: &v1::Usage) -> Cost {
    let cache_write_5m = price.cache_write_5m.unwrap_or(price.input);
    let classes = [
        (Side::Input, usage.input, price.input),
        (Side::Input, usage.audio_in, price.audio_in.unwrap_or(price.input)),
        (Side::Cache, usage.cache_read, price.cache_read.unwrap_or(price.input)),
        (Side::Cache, usage.cache_write_5m, cache_write_5m),
        (Side::Cache, usage.cache_write_1h, price.cache_write_1h.unwrap_or(cache_write_5m)),
        (Side::Output, usage.output, price.output),
        (Side::Output, usage.reasoning, price.reasoning.unwrap_or(price.output)),
        (Side::Output, usage.audio_out, price.audio_out.unwrap_or(price.output)),
    ];
    let sum = |wanted: Option<Side>| {
        let mut sum = CostSum::default();
        for (side, tokens, price) in classes {
            if wanted.is_none_or(|wanted| wanted == side) {
                sum.add(tokens.unwrap_or_default(), TokenPrice(price));
            }
        }
        sum.total().min(MAX_COST)
    };
    Cost {
        price_revision: price.revision,
        total: sum(None),
        input: sum(Some(Side::Input)),
        cache: sum(Some(Side::Cache)),
        output: sum(Some(Side::Output)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Cache,
    Output,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(source: &str, from: u64, until: Option<u64>, input: i64) -> PriceRow {
        PriceRow {
            provider: "openai".into(),
            model: "gpt".into(),
            valid_from: UnixMillis(from),
            valid_until: until.map(UnixMillis),
            input,
            output: 10_000_000,
            cache_read: Some(250_000),
            cache_write_5m: None,
            cache_write_1h: None,
            reasoning: None,
            audio_in: None,
            audio_out: None,
            source: source.into(),
            revision: from + 1,
        }
    }

    #[test]
    fn the_price_of_the_moment_counts_and_the_operators_wins() {
        let table = PriceTable::new(vec![
            price("builtin", 0, Some(100), 1),
            price("builtin", 100, None, 2),
            price("custom", 50, Some(60), 3),
        ]);
        let found = |at| table.in_force("openai", "gpt", UnixMillis(at)).map(|row| row.input);
        assert_eq!([0, 49, 50, 59, 60, 99, 100, 500].map(found), [1, 1, 3, 3, 1, 1, 2, 2].map(Some));
        assert_eq!(table.in_force("openai", "other", UnixMillis(0)), None);
        assert_eq!(table.revision(), 101);
    }

    #[test]
    fn each_class_has_its_price_or_that_of_its_side() {
        let usage = v1::Usage {
            input: Some(1_000_000),
            cache_read: Some(2_000_000),
            cache_write_1h: Some(1_000_000),
            output: Some(100_000),
            reasoning: Some(100_000),
            ..Default::default()
        };
        let cost = cost(&price("builtin", 0, None, 2_500_000), &usage);
        assert_eq!(cost.input, MicroUsd(2_500_000));
        assert_eq!(cost.cache, MicroUsd(500_000 + 2_500_000), "no price for the write: as input");
        assert_eq!(cost.output, MicroUsd(2_000_000), "reasoning costs as output");
        assert_eq!(cost.total, MicroUsd(7_500_000));
    }
}
