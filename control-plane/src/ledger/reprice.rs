//! Pricing events again, after a price was entered late or was wrong.

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1;
use sqlx::{AnyConnection, any::AnyRow};

use super::{
    Ledger, hour_of,
    pricing::{Charge, Cost, PriceTable},
};
use crate::store::{Columns as _, StoreError, number, sql};

/// Events of one transaction.
const BATCH: i64 = 500;

/// What a re-pricing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repriced {
    pub looked_at: u64,
    pub changed: u64,
}

// === impl Ledger ===

impl Ledger {
    /// Prices the events of `[from, to)` with the prices that were in force at their times, as they are known now, and
    /// corrects the hourly sums by the difference. May be interrupted and repeated: an event that is right already is
    /// left alone. Events older than the retention are gone and keep their part of the sums.
    ///
    /// # Errors
    /// When the database fails; the batches before stay done.
    pub async fn reprice(&self, from: UnixMillis, to: UnixMillis) -> Result<Repriced, StoreError> {
        let prices = self.prices().await?;
        let mut done = Repriced::default();
        let mut after = Some((number(from.0), Vec::new()));
        while let Some((at, id)) = after.take() {
            let mut tx = self.0.store.write_data().await?;
            let rows = sql("SELECT day, id, at, provider, model, api_key_id, connection_id, outcome, input, \
                 cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_in, audio_out, service_tier, \
                 price_revision, cost FROM usage_events WHERE (at, id) > ($1, $2) AND at < $3 ORDER BY at, id LIMIT $4")
            .bind(at)
            .bind(id)
            .bind(number(to.0))
            .bind(BATCH)
            .fetch_all(&mut *tx)
            .await?;
            for row in &rows {
                done.looked_at += 1;
                done.changed += u64::from(reprice_event(&mut tx, row, &prices).await?);
            }
            if let Some(last) = rows.last() {
                after = Some((last.i64("at")?, last.blob("id")?));
            }
            tx.commit().await?;
        }
        Ok(done)
    }
}

async fn reprice_event(tx: &mut AnyConnection, row: &AnyRow, prices: &PriceTable) -> Result<bool, StoreError> {
    let at = row.millis("at")?;
    let (provider, model, connection) = (row.text("provider")?, row.text("model")?, row.text("connection_id")?);
    let (service_tier, usage) = (row.text("service_tier")?, usage(row)?);
    let charge = Charge {
        provider: &provider,
        model: &model,
        connection: &connection,
        at,
        service_tier: &service_tier,
        usage: &usage,
    };
    let cost = prices.cost(&charge);
    let old = row.opt_i64("cost")?;
    if cost.map(|cost| cost.total.0) == old && cost.map(|cost| cost.price_revision) == row.opt_u64("price_revision")? {
        return Ok(false);
    }
    if !update_event(tx, row, cost, old).await? {
        // Somebody else re-priced it in this moment.
        return Ok(false);
    }
    let difference = cost.map_or(0, |cost| cost.total.0) - old.unwrap_or(0);
    let unpriced = i64::from(cost.is_none()) - i64::from(old.is_none());
    if difference != 0 || unpriced != 0 {
        sql("UPDATE usage_hourly SET cost = cost + $1, unpriced = unpriced + $2 WHERE hour = $3 AND api_key_id = $4 \
             AND provider = $5 AND model = $6 AND connection_id = $7 AND outcome = $8")
        .bind(difference)
        .bind(unpriced)
        .bind(number(hour_of(at).0))
        .bind(row.text("api_key_id")?)
        .bind(row.text("provider")?)
        .bind(row.text("model")?)
        .bind(row.text("connection_id")?)
        .bind(row.i64("outcome")?)
        .execute(tx)
        .await?;
    }
    Ok(true)
}

/// Only when the event still costs what was read: otherwise the sums would be corrected twice.
async fn update_event(
    tx: &mut AnyConnection,
    row: &AnyRow,
    cost: Option<Cost>,
    old: Option<i64>,
) -> Result<bool, StoreError> {
    let done = sql("UPDATE usage_events SET price_revision = $1, cost = $2, cost_input = $3, cost_cache = $4, \
         cost_output = $5 WHERE day = $6 AND id = $7 AND cost IS NOT DISTINCT FROM $8 \
         AND price_revision IS NOT DISTINCT FROM $9")
    .bind(cost.map(|cost| number(cost.price_revision)))
    .bind(cost.map(|cost| cost.total.0))
    .bind(cost.map(|cost| cost.input.0))
    .bind(cost.map(|cost| cost.cache.0))
    .bind(cost.map(|cost| cost.output.0))
    .bind(row.i64("day")?)
    .bind(row.blob("id")?)
    .bind(old)
    .bind(row.opt_i64("price_revision")?)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn usage(row: &AnyRow) -> Result<v1::Usage, StoreError> {
    Ok(v1::Usage {
        input: row.opt_u64("input")?,
        cache_read: row.opt_u64("cache_read")?,
        cache_write_5m: row.opt_u64("cache_write_5m")?,
        cache_write_1h: row.opt_u64("cache_write_1h")?,
        output: row.opt_u64("output")?,
        reasoning: row.opt_u64("reasoning")?,
        audio_in: row.opt_u64("audio_in")?,
        audio_out: row.opt_u64("audio_out")?,
    })
}
