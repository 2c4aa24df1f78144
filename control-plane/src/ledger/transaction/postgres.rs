//! Statements of Postgres: each column is one array, so that one statement serves any number of rows.

use std::collections::HashSet;

use omniroute_core::id::EventId;
use sqlx::{
    PgConnection, Postgres, Row as _,
    postgres::{PgArguments, PgBindIterExt as _},
    query::Query,
};

use super::{add_to_rollup, event_columns, move_last_use, rollup_columns};
use crate::{
    ledger::{batch::Merged, pricing::Cost, rollup::Rollups},
    store::{StoreError, number},
};

type PgQuery = Query<'static, Postgres, PgArguments>;

/// Inserts whatever is not there yet.
macro_rules! insert_events {
    () => {
        concat!(
            "INSERT INTO usage_events (",
            event_columns!(),
            ") SELECT * FROM UNNEST($1::BIGINT[], $2::BYTEA[], $3::BIGINT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], \
             $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::TEXT[], $12::BIGINT[], $13::BIGINT[], $14::BIGINT[], \
             $15::TEXT[], $16::BIGINT[], $17::BIGINT[], $18::BIGINT[], $19::BIGINT[], $20::BIGINT[], $21::BIGINT[], \
             $22::BIGINT[], $23::BIGINT[], $24::BIGINT[], $25::BIGINT[], $26::BIGINT[], $27::BIGINT[], $28::TEXT[], \
             $29::BIGINT[], $30::BIGINT[], $31::BIGINT[], $32::BIGINT[], $33::BIGINT[], $34::TEXT[], $35::TEXT[], \
             $36::TEXT[], $37::BIGINT[], $38::TEXT[]) ON CONFLICT DO NOTHING"
        )
    };
}

const ADD_ROLLUPS: &str = concat!(
    "INSERT INTO usage_hourly (",
    rollup_columns!(),
    ") SELECT * FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::BIGINT[], \
     $8::BIGINT[], $9::BIGINT[], $10::BIGINT[], $11::BIGINT[], $12::BIGINT[], $13::BIGINT[], $14::BIGINT[], \
     $15::BIGINT[], $16::BIGINT[], $17::BIGINT[], $18::BIGINT[], $19::BIGINT[])",
    add_to_rollup!()
);

const MOVE_LAST_USES: &str = concat!(
    "INSERT INTO api_key_use (api_key_id, last_used_at) SELECT * FROM UNNEST($1::TEXT[], $2::BIGINT[])",
    move_last_use!()
);

pub(super) async fn is_stored(
    connection: &mut PgConnection,
    id: EventId,
    first_day: i64,
    last_day: i64,
) -> Result<bool, StoreError> {
    let statement = sqlx::query("SELECT 1 FROM usage_events WHERE day >= $1 AND day <= $2 AND id = $3");
    let statement = statement.bind(first_day).bind(last_day).bind(id.as_bytes().as_slice());
    Ok(statement.fetch_optional(connection).await?.is_some())
}

pub(super) async fn insert(connection: &mut PgConnection, rows: &[Merged<'_>]) -> Result<bool, StoreError> {
    let statement = bind_events(sqlx::query(insert_events!()), rows);
    Ok(statement.execute(connection).await?.rows_affected() == rows.len() as u64)
}

pub(super) async fn insert_returning(
    connection: &mut PgConnection,
    rows: &[Merged<'_>],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let statement = bind_events(sqlx::query(concat!(insert_events!(), " RETURNING id")), rows);
    let inserted = statement.fetch_all(connection).await?;
    inserted.iter().map(|row| Ok(row.try_get::<Vec<u8>, _>(0)?)).collect()
}

/// The values of one column.
macro_rules! column {
    ($rows:ident, $row:pat => $value:expr) => {
        $rows.iter().map(|$row| $value).bind_iter()
    };
}

fn bind_events(statement: PgQuery, rows: &[Merged<'_>]) -> PgQuery {
    let rows: Vec<_> = rows.iter().map(|Merged { row, .. }| (&row.event, &row.event.usage, row)).collect();
    let cost = |amount: fn(&Cost) -> i64| rows.iter().map(move |(_, _, row)| row.cost.as_ref().map(amount)).bind_iter();
    statement
        .bind(column!(rows, (event, ..) => event.day))
        .bind(column!(rows, (event, ..) => event.id.as_bytes().as_slice()))
        .bind(column!(rows, (event, ..) => number(event.at.0)))
        .bind(column!(rows, (.., row) => &*row.proxy_id))
        .bind(column!(rows, (event, ..) => event.request_id.as_str()))
        .bind(column!(rows, (event, ..) => event.api_key_id.as_str()))
        .bind(column!(rows, (event, ..) => event.connection_id.as_str()))
        .bind(column!(rows, (event, ..) => event.provider.as_str()))
        .bind(column!(rows, (event, ..) => event.requested_model.as_str()))
        .bind(column!(rows, (event, ..) => event.model.as_str()))
        .bind(column!(rows, (event, ..) => event.operation.as_str()))
        .bind(column!(rows, (event, ..) => i64::from(event.stream)))
        .bind(column!(rows, (event, ..) => i64::from(event.outcome)))
        .bind(column!(rows, (event, ..) => i64::from(event.status)))
        .bind(column!(rows, (event, ..) => event.error_code.as_str()))
        .bind(column!(rows, (_, usage, _) => usage.input.map(number)))
        .bind(column!(rows, (_, usage, _) => usage.cache_read.map(number)))
        .bind(column!(rows, (_, usage, _) => usage.cache_write_5m.map(number)))
        .bind(column!(rows, (_, usage, _) => usage.cache_write_1h.map(number)))
        .bind(column!(rows, (_, usage, _) => usage.output.map(number)))
        .bind(column!(rows, (_, usage, _) => usage.reasoning.map(number)))
        .bind(column!(rows, (_, usage, _) => usage.audio_in.map(number)))
        .bind(column!(rows, (_, usage, _) => usage.audio_out.map(number)))
        .bind(column!(rows, (event, ..) => i64::from(event.estimated)))
        .bind(column!(rows, (event, ..) => number(event.duration_us)))
        .bind(column!(rows, (event, ..) => number(event.first_byte_us)))
        .bind(column!(rows, (event, ..) => i64::from(event.attempts)))
        .bind(column!(rows, (event, ..) => event.finish_reason.as_str()))
        .bind(cost(|cost| number(cost.price_revision)))
        .bind(cost(|cost| cost.total.0))
        .bind(cost(|cost| cost.input.0))
        .bind(cost(|cost| cost.cache.0))
        .bind(cost(|cost| cost.output.0))
        .bind(column!(rows, (event, ..) => event.path.as_str()))
        .bind(column!(rows, (event, ..) => event.source_format.as_str()))
        .bind(column!(rows, (event, ..) => event.target_format.as_str()))
        .bind(column!(rows, (event, ..) => i64::from(event.redated)))
        .bind(column!(rows, (event, ..) => event.service_tier.as_str()))
}

pub(super) async fn add(connection: &mut PgConnection, rollups: &Rollups<'_>) -> Result<(), StoreError> {
    let sums: Vec<_> = rollups.sums().collect();
    sqlx::query(ADD_ROLLUPS)
        .bind(column!(sums, (key, _) => number(key.hour)))
        .bind(column!(sums, (key, _) => key.api_key_id))
        .bind(column!(sums, (key, _) => key.provider))
        .bind(column!(sums, (key, _) => key.model))
        .bind(column!(sums, (key, _) => key.connection_id))
        .bind(column!(sums, (key, _) => i64::from(key.outcome)))
        .bind(column!(sums, (_, sum) => number(sum.requests)))
        .bind(column!(sums, (_, sum) => number(sum.estimated)))
        .bind(column!(sums, (_, sum) => number(sum.unpriced)))
        .bind(column!(sums, (_, sum) => number(sum.input)))
        .bind(column!(sums, (_, sum) => number(sum.cache_read)))
        .bind(column!(sums, (_, sum) => number(sum.cache_write)))
        .bind(column!(sums, (_, sum) => number(sum.output)))
        .bind(column!(sums, (_, sum) => number(sum.reasoning)))
        .bind(column!(sums, (_, sum) => number(sum.audio_in)))
        .bind(column!(sums, (_, sum) => number(sum.audio_out)))
        .bind(column!(sums, (_, sum) => sum.cost))
        .bind(column!(sums, (_, sum) => number(sum.duration_us)))
        .bind(column!(sums, (_, sum) => number(sum.last_at)))
        .execute(&mut *connection)
        .await?;
    let uses: Vec<_> = rollups.last_uses().collect();
    if uses.is_empty() {
        return Ok(());
    }
    sqlx::query(MOVE_LAST_USES)
        .bind(column!(uses, (key, _) => *key))
        .bind(column!(uses, (_, at) => number(*at)))
        .execute(connection)
        .await?;
    Ok(())
}
