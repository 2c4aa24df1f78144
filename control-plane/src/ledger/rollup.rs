//! Hourly sums, from the events that were really inserted.

use std::collections::BTreeMap;

use super::{hour_of, pricing::Cost, validate::Event};

/// Which sum an event belongs to. Ordered: every transaction touches the sums in this order, so that none waits for
/// another in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RollupKey<'a> {
    pub(super) hour: u64,
    pub(super) api_key_id: &'a str,
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
    pub(super) connection_id: &'a str,
    pub(super) outcome: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rollup {
    pub(super) requests: u64,
    pub(super) estimated: u64,
    pub(super) unpriced: u64,
    pub(super) input: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
    pub(super) audio_in: u64,
    pub(super) audio_out: u64,
    pub(super) cost: i64,
    pub(super) duration_us: u64,
    pub(super) last_at: u64,
}

/// What the events of one transaction add to the sums, and when each key was last used.
#[derive(Default)]
pub(super) struct Rollups<'a> {
    sums: BTreeMap<RollupKey<'a>, Rollup>,
    last_uses: BTreeMap<&'a str, u64>,
}

// === impl Rollups ===

impl<'a> Rollups<'a> {
    pub(super) fn add(&mut self, event: &'a Event, cost: Option<&Cost>) {
        let key = RollupKey {
            hour: hour_of(event.at).0,
            api_key_id: &event.api_key_id,
            provider: &event.provider,
            model: &event.model,
            connection_id: &event.connection_id,
            outcome: event.outcome,
        };
        let usage = &event.usage;
        let tokens = |class: Option<u64>| class.unwrap_or_default();
        let sum = self.sums.entry(key).or_default();
        sum.requests += 1;
        sum.estimated += u64::from(event.estimated);
        sum.unpriced += u64::from(cost.is_none());
        sum.input += tokens(usage.input);
        sum.cache_read += tokens(usage.cache_read);
        sum.cache_write += tokens(usage.cache_write_5m) + tokens(usage.cache_write_1h);
        sum.output += tokens(usage.output);
        sum.reasoning += tokens(usage.reasoning);
        sum.audio_in += tokens(usage.audio_in);
        sum.audio_out += tokens(usage.audio_out);
        sum.cost = sum.cost.saturating_add(cost.map_or(0, |cost| cost.total.0));
        sum.duration_us = sum.duration_us.saturating_add(event.duration_us);
        sum.last_at = sum.last_at.max(event.at.0);
        if !event.api_key_id.is_empty() {
            let last = self.last_uses.entry(&event.api_key_id).or_default();
            *last = (*last).max(event.at.0);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    pub(super) fn sums(&self) -> impl Iterator<Item = (RollupKey<'a>, &Rollup)> {
        self.sums.iter().map(|(key, sum)| (*key, sum))
    }

    /// Each key, with the time of its last use.
    pub(super) fn last_uses(&self) -> impl Iterator<Item = (&'a str, u64)> {
        self.last_uses.iter().map(|(key, at)| (*key, *at))
    }
}
