//! Statements of SQLite: lists of rows whose sizes are powers of two, so that each statement is prepared once.

use std::{collections::HashSet, sync::LazyLock};

use omniroute_core::id::EventId;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::{add_to_rollup, event_columns, move_last_use, rollup_columns};
use crate::{
    ledger::{
        batch::{Merged, Row},
        rollup::{Rollup, RollupKey, Rollups},
    },
    store::{Columns as _, MAX_BATCH, Query, StoreError, batches, nameless_placeholders, number, sql},
};

const EVENT_COLUMNS: usize = 38;
const ROLLUP_COLUMNS: usize = 19;

/// One statement of each size that [`batches`] makes.
type Statements = LazyLock<[String; MAX_BATCH.ilog2() as usize + 1]>;

static INSERT_EVENTS: Statements = LazyLock::new(|| {
    statements(concat!("INSERT INTO usage_events (", event_columns!(), ")"), EVENT_COLUMNS, " ON CONFLICT DO NOTHING")
});

static ADD_ROLLUPS: Statements = LazyLock::new(|| {
    statements(concat!("INSERT INTO usage_hourly (", rollup_columns!(), ")"), ROLLUP_COLUMNS, add_to_rollup!())
});

fn statements<const N: usize>(insert: &str, columns: usize, on_conflict: &str) -> [String; N] {
    std::array::from_fn(|size| format!("{insert} VALUES {}{on_conflict}", nameless_placeholders(1 << size, columns)))
}

/// The statement for so many rows, which are a power of two.
fn of_size(statements: &'static Statements, rows: usize) -> &'static str {
    &statements[rows.trailing_zeros() as usize]
}

pub(super) async fn is_stored(
    connection: &mut AnyConnection,
    id: EventId,
    first_day: i64,
    last_day: i64,
) -> Result<bool, StoreError> {
    let statement = sql("SELECT 1 AS one FROM usage_events WHERE day >= $1 AND day <= $2 AND id = $3");
    let statement = statement.bind(first_day).bind(last_day).bind(id.as_bytes().to_vec());
    Ok(statement.fetch_optional(connection).await?.is_some())
}

pub(super) async fn insert(connection: &mut AnyConnection, rows: &[Merged<'_>]) -> Result<bool, StoreError> {
    for batch in batches(rows) {
        let statement = bind_events(sql(of_size(&INSERT_EVENTS, batch.len())), batch);
        let inserted = statement.execute(&mut *connection).await?.rows_affected();
        if inserted < batch.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn insert_returning(
    connection: &mut AnyConnection,
    rows: &[Merged<'_>],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let mut inserted = HashSet::new();
    for batch in batches(rows) {
        let statement = format!("{} RETURNING id", of_size(&INSERT_EVENTS, batch.len()));
        let statement = bind_events(sqlx::query(AssertSqlSafe(statement)), batch);
        for row in statement.fetch_all(&mut *connection).await? {
            inserted.insert(row.blob("id")?);
        }
    }
    Ok(inserted)
}

pub(super) async fn add(connection: &mut AnyConnection, rollups: &Rollups<'_>) -> Result<(), StoreError> {
    let sums: Vec<_> = rollups.sums().collect();
    for batch in batches(&sums) {
        let statement = sql(of_size(&ADD_ROLLUPS, batch.len()));
        batch
            .iter()
            .fold(statement, |statement, (key, sum)| bind_rollup(statement, key, sum))
            .execute(&mut *connection)
            .await?;
    }
    for (key, at) in rollups.last_uses() {
        let statement =
            sql(concat!("INSERT INTO api_key_use (api_key_id, last_used_at) VALUES ($1, $2)", move_last_use!()));
        statement.bind(key.to_owned()).bind(number(at)).execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind_events(statement: Query, rows: &[Merged<'_>]) -> Query {
    rows.iter().fold(statement, |statement, merged| bind_event(statement, merged.row))
}

fn bind_event(statement: Query, Row { event, cost, proxy_id }: &Row) -> Query {
    let usage = &event.usage;
    let mut statement = statement
        .bind(event.day)
        .bind(event.id.as_bytes().to_vec())
        .bind(number(event.at.0))
        .bind(proxy_id.to_string())
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
    statement
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
        .bind(i64::from(event.redated))
        .bind(event.service_tier.clone())
}

fn bind_rollup(statement: Query, key: &RollupKey<'_>, sum: &Rollup) -> Query {
    let mut statement = statement
        .bind(number(key.hour))
        .bind(key.api_key_id.to_owned())
        .bind(key.provider.to_owned())
        .bind(key.model.to_owned())
        .bind(key.connection_id.to_owned())
        .bind(i64::from(key.outcome));
    for count in [
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
    ] {
        statement = statement.bind(number(count));
    }
    statement.bind(sum.cost).bind(number(sum.duration_us)).bind(number(sum.last_at))
}
