//! What an event cost: the price in force at its time, applied to each class of tokens.

use std::collections::HashMap;

use omniroute_core::{
    money::{CostSum, MicroUsd},
    time::UnixMillis,
};
use omniroute_proto::v1;
use omniroute_providers::models::{Class, Service};

use crate::store::records::PriceRow;

/// Beyond this an amount is no bill but a fault; sums of many such still fit.
const MAX_COST: MicroUsd = MicroUsd(1 << 50);

/// Every price of all times, by provider and model.
#[derive(Debug, Default)]
pub(super) struct PriceTable {
    prices: HashMap<String, HashMap<String, Vec<PriceRow>>>,
    revision: u64,
}

/// What is to be priced.
#[derive(Clone, Copy)]
pub(super) struct Charge<'a> {
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
    pub(super) connection: &'a str,
    pub(super) at: UnixMillis,
    /// As the provider calls it; empty for the usual one.
    pub(super) service_tier: &'a str,
    pub(super) usage: &'a v1::Usage,
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
        rows.iter().filter(|row| row.is_in_force(at)).max_by_key(|row| row.rank())
    }

    /// `None` when no price is known: neither the model has one, nor the connection one for what has none.
    pub(super) fn cost(&self, charge: &Charge<'_>) -> Option<Cost> {
        let Charge { provider, model, connection, at, service_tier, usage } = *charge;
        let price = self.in_force(provider, model, at).or_else(|| self.in_force(connection, PriceRow::UNLISTED, at))?;
        Some(cost(price, Service::parse(service_tier), usage))
    }
}

/// A cache write that is kept for an hour costs as the shorter one when only that is known; what falls back on what is in
/// [`Class::parent`]. A class that nothing is known of costs nothing.
fn cost(row: &PriceRow, service: Option<Service>, usage: &v1::Usage) -> Cost {
    let classes = [
        (Side::Input, usage.input, Class::Input),
        (Side::Input, usage.audio_in, Class::AudioIn),
        (Side::Cache, usage.cache_read, Class::CacheRead),
        (Side::Cache, usage.cache_write_5m, Class::CacheWrite),
        (Side::Cache, usage.cache_write_1h, Class::CacheWrite1h),
        (Side::Output, usage.output, Class::Output),
        (Side::Output, usage.reasoning, Class::Reasoning),
        (Side::Output, usage.audio_out, Class::AudioOut),
    ];
    // Vendors tell a long prompt by all that went in, cached or not.
    let is_prompt = |side: Side| side != Side::Output;
    let prompt = classes
        .iter()
        .filter(|(side, ..)| is_prompt(*side))
        .fold(0_u64, |prompt, (_, tokens, _)| prompt.saturating_add(tokens.unwrap_or_default()));
    let sum = |wanted: Option<Side>| {
        let mut sum = CostSum::default();
        for (side, tokens, class) in classes {
            if wanted.is_none_or(|wanted| wanted == side) {
                sum.add(tokens.unwrap_or_default(), row.price.rate(class, service, prompt).unwrap_or_default());
            }
        }
        sum.total().min(MAX_COST)
    };
    Cost {
        price_revision: row.revision,
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
    use omniroute_core::money::TokenPrice;
    use omniroute_providers::models::Price;

    use super::*;

    fn row(source: &str, from: u64, until: Option<u64>, price: Price) -> PriceRow {
        PriceRow {
            provider: "openai".into(),
            model: "gpt".into(),
            valid_from: UnixMillis(from),
            valid_until: until.map(UnixMillis),
            price,
            source: source.into(),
            revision: from + 1,
        }
    }

    fn price(source: &str, from: u64, until: Option<u64>, input: i64) -> PriceRow {
        let rates = [(Class::Input, input), (Class::Output, 10_000_000), (Class::CacheRead, 250_000)];
        let rates = rates.into_iter().map(|(class, rate)| (class, TokenPrice(rate))).collect();
        row(source, from, until, Price { rates, variants: Vec::new() })
    }

    #[test]
    fn the_price_of_the_moment_counts_and_the_operators_wins() {
        let table = PriceTable::new(vec![
            price("builtin", 0, Some(100), 1),
            price("builtin", 100, None, 2),
            price("custom", 50, Some(60), 3),
        ]);
        let found = |at| {
            let row = table.in_force("openai", "gpt", UnixMillis(at));
            row.and_then(|row| row.price.rates.get(Class::Input)).map(|rate| rate.0)
        };
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
        let cost = cost(&price("builtin", 0, None, 2_500_000), None, &usage);
        assert_eq!(cost.input, MicroUsd(2_500_000));
        assert_eq!(cost.cache, MicroUsd(500_000 + 2_500_000), "no price for the write: as input");
        assert_eq!(cost.output, MicroUsd(2_000_000), "reasoning costs as output");
        assert_eq!(cost.total, MicroUsd(7_500_000));
    }

    #[test]
    fn a_long_prompt_and_the_service_change_the_price() {
        let text = r#"{"rates":{"input":1000000,"output":2000000,"cache_read":100000},"variants":[
            {"above":200000,"rates":{"input":2000000}},{"service":"batch","rates":{"input":500000,"output":1000000}}]}"#;
        let row = row("builtin", 0, None, serde_json::from_str(text).expect("a price"));
        let usage = |cached| v1::Usage {
            input: Some(100_000),
            cache_read: Some(cached),
            output: Some(1000),
            ..Default::default()
        };
        let total = |service, cached| cost(&row, service, &usage(cached)).total;
        assert_eq!(total(None, 100_000), MicroUsd(100_000 + 10_000 + 2000));
        assert_eq!(total(None, 100_001), MicroUsd(200_000 + 10_000 + 2000), "what was cached counts as prompt");
        assert_eq!(total(Some(Service::Batch), 100_000), MicroUsd(50_000 + 10_000 + 1000));
        assert_eq!(total(Some(Service::Flex), 100_000), total(None, 100_000), "no price of its own");
    }

    #[test]
    fn a_connection_may_have_a_price_for_what_has_none() {
        let own = price("custom", 0, None, 1_000_000);
        let unlisted = PriceRow {
            provider: "c-1".into(),
            model: PriceRow::UNLISTED.into(),
            ..price("custom", 0, None, 7_000_000)
        };
        let table = PriceTable::new(vec![own, unlisted]);
        let usage = v1::Usage { input: Some(1_000_000), ..Default::default() };
        let cost = |model, connection| {
            let at = UnixMillis(1);
            table.cost(&Charge { provider: "openai", model, connection, at, service_tier: "", usage: &usage })
        };
        assert_eq!(cost("gpt", "c-1").map(|cost| cost.total), Some(MicroUsd(1_000_000)));
        assert_eq!(cost("new", "c-1").map(|cost| cost.total), Some(MicroUsd(7_000_000)));
        assert_eq!(cost("new", "c-2"), None, "no price is not a price of nothing");
    }
}
