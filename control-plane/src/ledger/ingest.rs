//! A batch into the ledger, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use omniroute_core::id::EventId;
use omniroute_proto::v1;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::{
    Ledger,
    event::{Event, is_timeless},
    pricing::{Cost, PriceTable},
    rollup::Rollups,
};
use crate::store::{Columns as _, StoreError, batches, clean, number, placeholders, sql};

const COLUMNS: usize = 37;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ingested {
    /// Events that were new; the rest were in the ledger already.
    pub inserted: u32,
    /// Events that can never be stored.
    pub refused: Vec<v1::RefusedEvent>,
}

struct Priced {
    event: Event,
    cost: Option<Cost>,
}

// === impl Ledger ===

impl Ledger {
    /// Stores the events that are not stored yet. When it returns, they are committed; when it fails, none is.
    ///
    /// # Errors
    /// When the database fails: send the batch again.
    pub async fn ingest(&self, proxy_id: &str, events: &[v1::UsageEvent]) -> Result<Ingested, StoreError> {
        let stored = self.store_batch(proxy_id, events).await;
        if stored.is_err() {
            self.0.partitions.forget_known();
        }
        stored
    }

    async fn store_batch(&self, proxy_id: &str, events: &[v1::UsageEvent]) -> Result<Ingested, StoreError> {
        let mut ingested = Ingested::default();
        let prices = self.prices().await?;
        let mut rows = self.check(events, &prices, &mut ingested);
        if rows.is_empty() {
            return Ok(ingested);
        }
        let proxy_id = clean(proxy_id);
        let days: BTreeSet<i64> = rows.iter().map(|row| row.event.day).collect();
        self.0.partitions.ensure(&self.0.store, &days.into_iter().collect::<Vec<_>>()).await?;

        let mut tx = self.0.store.begin().await?;
        self.drop_known(&mut tx, &mut rows).await?;
        let mut inserted = HashSet::new();
        for batch in batches(&rows) {
            insert(&mut tx, &proxy_id, batch, &mut inserted).await?;
        }
        let mut rollups = Rollups::default();
        for row in rows.iter().filter(|row| inserted.contains(row.event.id.as_bytes().as_slice())) {
            rollups.add(&row.event, row.cost.as_ref());
        }
        rollups.store(&mut tx).await?;
        tx.commit().await?;
        ingested.inserted = u32::try_from(inserted.len()).unwrap_or(u32::MAX);
        Ok(ingested)
    }

    /// Drops those that are stored already under the day of an earlier arrival.
    async fn drop_known(&self, tx: &mut AnyConnection, rows: &mut Vec<Priced>) -> Result<(), StoreError> {
        let mut known = HashSet::new();
        for row in rows.iter().filter(|row| is_timeless(row.event.id)) {
            let statement = sql("SELECT 1 AS one FROM usage_events WHERE day >= $1 AND day <= $2 AND id = $3");
            let statement = statement.bind(self.oldest_day()).bind(row.event.day);
            if statement.bind(row.event.id.as_bytes().to_vec()).fetch_optional(&mut *tx).await?.is_some() {
                known.insert(row.event.id);
            }
        }
        rows.retain(|row| !known.contains(&row.event.id));
        Ok(())
    }

    /// The events that can be stored, each once, in the order of their ids: every transaction inserts in that order,
    /// so that two replicas that got the same batch do not wait for each other in a circle.
    fn check(&self, events: &[v1::UsageEvent], prices: &PriceTable, ingested: &mut Ingested) -> Vec<Priced> {
        let now = self.clock().now();
        let oldest_day = self.oldest_day();
        let mut checked: BTreeMap<EventId, Priced> = BTreeMap::new();
        for event in events {
            match Event::check(event, now, oldest_day) {
                Ok(event) => {
                    if event.redated {
                        tracing::warn!(
                            request_id = event.request_id,
                            says = event.id.unix_ms(),
                            "a proxy's clock is wrong: a usage event is dated by its arrival"
                        );
                    }
                    let cost = prices.cost(&event.provider, &event.model, event.at, &event.usage);
                    checked.insert(event.id, Priced { event, cost });
                }
                Err(reason) => {
                    tracing::warn!(request_id = event.request_id, reason, "a usage event was refused");
                    let refused = v1::RefusedEvent { id: event.id.to_vec(), reason: reason.to_owned() };
                    ingested.refused.push(refused);
                }
            }
        }
        checked.into_values().collect()
    }
}

async fn insert(
    tx: &mut AnyConnection,
    proxy_id: &str,
    batch: &[Priced],
    inserted: &mut HashSet<Vec<u8>>,
) -> Result<(), StoreError> {
    let statement = format!(
        "INSERT INTO usage_events (day, id, at, proxy_id, request_id, api_key_id, connection_id, provider, \
         requested_model, model, operation, stream, outcome, status, error_code, input, cache_read, cache_write_5m, \
         cache_write_1h, output, reasoning, audio_in, audio_out, estimated, duration_us, first_byte_us, attempts, \
         finish_reason, price_revision, cost, cost_input, cost_cache, cost_output, path, source_format, target_format, \
         redated) VALUES {} \
         ON CONFLICT DO NOTHING RETURNING id",
        placeholders(batch.len(), COLUMNS)
    );
    let mut statement = sqlx::query(AssertSqlSafe(statement));
    for Priced { event, cost } in batch {
        let usage = &event.usage;
        statement = statement
            .bind(event.day)
            .bind(event.id.as_bytes().to_vec())
            .bind(number(event.at.0))
            .bind(proxy_id.to_owned())
            .bind(event.request_id.clone())
            .bind(event.api_key_id.clone())
            .bind(event.connection_id.clone())
            .bind(event.provider.clone())
            .bind(event.requested_model.clone())
            .bind(event.model.clone())
            .bind(event.operation.clone())
            .bind(i64::from(event.stream))
            .bind(i64::from(event.outcome))
            .bind(i64::from(event.status))
            .bind(event.error_code.clone());
        for class in [
            usage.input,
            usage.cache_read,
            usage.cache_write_5m,
            usage.cache_write_1h,
            usage.output,
            usage.reasoning,
            usage.audio_in,
            usage.audio_out,
        ] {
            statement = statement.bind(class.map(number));
        }
        statement = statement
            .bind(i64::from(event.estimated))
            .bind(number(event.duration_us))
            .bind(number(event.first_byte_us))
            .bind(i64::from(event.attempts))
            .bind(event.finish_reason.clone())
            .bind(cost.map(|cost| number(cost.price_revision)))
            .bind(cost.map(|cost| cost.total.0))
            .bind(cost.map(|cost| cost.input.0))
            .bind(cost.map(|cost| cost.cache.0))
            .bind(cost.map(|cost| cost.output.0))
            .bind(event.path.clone())
            .bind(event.source_format.clone())
            .bind(event.target_format.clone())
            .bind(i64::from(event.redated));
    }
    for row in statement.fetch_all(tx).await? {
        inserted.insert(row.blob("id")?);
    }
    Ok(())
}
