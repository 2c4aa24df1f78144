//! Hourly sums, from the events that were really inserted.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, AssertSqlSafe};

use super::{event::Event, hour_of, pricing::Cost};
use crate::store::{StoreError, batches, number, placeholders, sql};

const COLUMNS: usize = 19;

/// Which sum an event belongs to. Ordered: every transaction touches the sums in this order, so that none waits for
/// another in a circle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RollupKey {
    pub(super) hour: u64,
    pub(super) api_key_id: String,
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) connection_id: String,
    pub(super) outcome: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rollup {
    requests: u64,
    estimated: u64,
    unpriced: u64,
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    reasoning: u64,
    audio_in: u64,
    audio_out: u64,
    cost: i64,
    duration_us: u64,
    last_at: u64,
}

#[derive(Default)]
pub(super) struct Rollups {
    sums: BTreeMap<RollupKey, Rollup>,
    keys: BTreeMap<String, u64>,
}

// === impl Rollups ===

impl Rollups {
    pub(super) fn add(&mut self, event: &Event, cost: Option<&Cost>) {
        let key = RollupKey {
            hour: hour_of(event.at).0,
            api_key_id: event.api_key_id.clone(),
            provider: event.provider.clone(),
            model: event.model.clone(),
            connection_id: event.connection_id.clone(),
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
            let last = self.keys.entry(event.api_key_id.clone()).or_default();
            *last = (*last).max(event.at.0);
        }
    }

    pub(super) async fn store(&self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        let sums: Vec<_> = self.sums.iter().collect();
        for batch in batches(&sums) {
            insert(tx, batch).await?;
        }
        for (key, at) in &self.keys {
            sql("INSERT INTO api_key_use (api_key_id, last_used_at) VALUES ($1, $2) \
                 ON CONFLICT (api_key_id) DO UPDATE SET last_used_at = excluded.last_used_at \
                 WHERE excluded.last_used_at > api_key_use.last_used_at")
            .bind(key.clone())
            .bind(number(*at))
            .execute(&mut *tx)
            .await?;
        }
        Ok(())
    }
}

async fn insert(tx: &mut AnyConnection, batch: &[(&RollupKey, &Rollup)]) -> Result<(), StoreError> {
    let statement = format!(
        "INSERT INTO usage_hourly (hour, api_key_id, provider, model, connection_id, outcome, requests, estimated, \
         unpriced, input, cache_read, cache_write, output, reasoning, audio_in, audio_out, cost, duration_us, last_at) \
         VALUES {} ON CONFLICT (hour, api_key_id, provider, model, connection_id, outcome) DO UPDATE SET \
         requests = usage_hourly.requests + excluded.requests, \
         estimated = usage_hourly.estimated + excluded.estimated, \
         unpriced = usage_hourly.unpriced + excluded.unpriced, \
         input = usage_hourly.input + excluded.input, \
         cache_read = usage_hourly.cache_read + excluded.cache_read, \
         cache_write = usage_hourly.cache_write + excluded.cache_write, \
         output = usage_hourly.output + excluded.output, \
         reasoning = usage_hourly.reasoning + excluded.reasoning, \
         audio_in = usage_hourly.audio_in + excluded.audio_in, \
         audio_out = usage_hourly.audio_out + excluded.audio_out, \
         cost = usage_hourly.cost + excluded.cost, \
         duration_us = usage_hourly.duration_us + excluded.duration_us, \
         last_at = CASE WHEN excluded.last_at > usage_hourly.last_at THEN excluded.last_at \
         ELSE usage_hourly.last_at END",
        placeholders(batch.len(), COLUMNS)
    );
    let mut statement = sqlx::query(AssertSqlSafe(statement));
    for (key, sum) in batch {
        statement = statement
            .bind(number(key.hour))
            .bind(key.api_key_id.clone())
            .bind(key.provider.clone())
            .bind(key.model.clone())
            .bind(key.connection_id.clone())
            .bind(i64::from(key.outcome));
        let counts = [
            sum.requests,
            sum.estimated,
            sum.unpriced,
            sum.input,
            sum.cache_read,
            sum.cache_write,
            sum.output,
            sum.reasoning,
            sum.audio_in,
            sum.audio_out,
        ];
        for count in counts {
            statement = statement.bind(number(count));
        }
        statement = statement.bind(sum.cost).bind(number(sum.duration_us)).bind(number(sum.last_at));
    }
    statement.execute(tx).await?;
    Ok(())
}
