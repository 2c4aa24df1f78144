//! Single events, for the request log.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use omniroute_core::{id::EventId, money::MicroUsd, time::UnixMillis};
use omniroute_proto::v1;
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use super::{Ledger, day_of, event::is_timeless};
use crate::store::{Columns as _, Query, StoreError, number, sql};

/// One request that reached an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRow {
    pub id: EventId,
    pub at: UnixMillis,
    /// The proxy's clock was wrong: `at` is when the event arrived.
    pub redated: bool,
    pub proxy_id: String,
    pub request_id: String,
    pub api_key_id: String,
    /// `None` when the key is gone.
    pub api_key_name: Option<String>,
    pub connection_id: String,
    /// `None` when the connection is gone.
    pub connection_name: Option<String>,
    pub provider: String,
    pub requested_model: String,
    pub model: String,
    pub operation: String,
    pub stream: bool,
    /// `Unspecified` also for outcomes that this build does not know.
    pub outcome: v1::Outcome,
    /// 0 when the client saw none.
    pub status: u32,
    pub error_code: String,
    pub usage: v1::Usage,
    pub estimated: bool,
    pub duration_us: u64,
    pub first_byte_us: u64,
    pub attempts: u32,
    pub finish_reason: String,
    /// What the client called. Empty, as the formats, in rows from older proxies.
    pub path: String,
    /// Format that the client spoke.
    pub source_format: String,
    /// Format that the provider spoke.
    pub target_format: String,
    /// The service for which the provider charged, in its own word; empty for the usual one.
    pub service_tier: String,
    pub price_revision: Option<u64>,
    /// `None` when no price is known.
    pub cost: Option<MicroUsd>,
    pub cost_input: Option<MicroUsd>,
    pub cost_cache: Option<MicroUsd>,
    pub cost_output: Option<MicroUsd>,
}

/// Which events. Empty texts and `None` do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub api_key_id: String,
    pub connection_id: String,
    pub provider: String,
    pub model: String,
    pub outcome: Option<v1::Outcome>,
    /// Inclusive.
    pub since: Option<UnixMillis>,
    /// Exclusive.
    pub until: Option<UnixMillis>,
}

/// Where a page ended. Its text form is for clients to send back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    at: UnixMillis,
    id: EventId,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    pub events: Vec<UsageRow>,
    /// `None` on the last page.
    pub next: Option<EventCursor>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.at, e.proxy_id, e.request_id, e.api_key_id, k.name AS api_key_name, e.connection_id, \
             c.name AS connection_name, e.provider, e.requested_model, e.model, e.operation, e.stream, e.outcome, \
             e.status, e.error_code, e.input, e.cache_read, e.cache_write_5m, e.cache_write_1h, e.output, \
             e.reasoning, e.audio_in, e.audio_out, e.estimated, e.duration_us, e.first_byte_us, e.attempts, \
             e.finish_reason, e.path, e.source_format, e.target_format, e.service_tier, e.redated, e.price_revision, e.cost, e.cost_input, e.cost_cache, e.cost_output \
             FROM usage_events e LEFT JOIN api_keys k ON k.id = e.api_key_id \
             LEFT JOIN connections c ON c.id = e.connection_id ",
            $rest
        )
    };
}

// === impl Ledger ===

impl Ledger {
    /// Events, newest first, after `cursor`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recent(
        &self,
        filter: &EventFilter,
        cursor: Option<EventCursor>,
        limit: u32,
    ) -> Result<EventPage, StoreError> {
        let rows = recent(filter, cursor, limit).fetch_all(self.0.store.reader()).await?;
        let mut events = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = events.len() > wanted;
        events.truncate(wanted);
        let next = events.last().filter(|_| has_more).map(|event| EventCursor { at: event.at, id: event.id });
        Ok(EventPage { events, next })
    }

    /// The event with this id, or every event (one per attempt that reached an upstream) of the request with this id,
    /// oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, id: &str) -> Result<Vec<UsageRow>, StoreError> {
        let event = Uuid::parse_str(id).ok().and_then(|uuid| EventId::from_bytes(uuid.as_bytes()));
        if let Some(event) = event {
            let day = day_of(UnixMillis(event.unix_ms()));
            let (first, last) = if is_timeless(event) { (self.oldest_day(), i64::MAX) } else { (day, day) };
            let found = sql(select!("WHERE e.day >= $1 AND e.day <= $2 AND e.id = $3"))
                .bind(first)
                .bind(last)
                .bind(event.as_bytes().to_vec())
                .fetch_optional(self.0.store.reader())
                .await?;
            if let Some(found) = found {
                return Ok(vec![row(&found)?]);
            }
        }
        let statement = sql(select!("WHERE e.request_id = $1 ORDER BY e.at, e.id LIMIT 100")).bind(id.to_owned());
        statement.fetch_all(self.0.store.reader()).await?.iter().map(row).collect()
    }
}

/// The statement of [`Ledger::recent`]. Only what restricts stands in it: an index serves no condition that may also
/// be none.
fn recent(filter: &EventFilter, cursor: Option<EventCursor>, limit: u32) -> Query {
    let mut statement = select!("WHERE e.at < $1").to_owned();
    let mut count = 1;
    let mut and = |condition: &str| {
        count += 1;
        let _ = write!(statement, " AND {condition} ${count}");
    };
    let texts = [
        ("e.api_key_id =", &filter.api_key_id),
        ("e.connection_id =", &filter.connection_id),
        ("e.provider =", &filter.provider),
        ("e.model =", &filter.model),
    ];
    let texts = texts.into_iter().filter(|(_, value)| !value.is_empty());
    filter.since.inspect(|_| and("e.at >="));
    texts.clone().for_each(|(condition, _)| and(condition));
    filter.outcome.inspect(|_| and("e.outcome ="));
    if cursor.is_some() {
        let _ = write!(statement, " AND (e.at, e.id) < (${}, ${})", count + 1, count + 2);
        count += 2;
    }
    let _ = write!(statement, " ORDER BY e.at DESC, e.id DESC LIMIT ${}", count + 1);

    let mut query = sqlx::query(AssertSqlSafe(statement)).bind(filter.until.map_or(i64::MAX, |until| number(until.0)));
    if let Some(since) = filter.since {
        query = query.bind(number(since.0));
    }
    for (_, value) in texts {
        query = query.bind(value.clone());
    }
    if let Some(outcome) = filter.outcome {
        query = query.bind(i64::from(i32::from(outcome)));
    }
    if let Some(cursor) = cursor {
        query = query.bind(number(cursor.at.0)).bind(cursor.id.as_bytes().to_vec());
    }
    query.bind(i64::from(limit) + 1)
}

fn row(row: &AnyRow) -> Result<UsageRow, StoreError> {
    let id = EventId::from_bytes(&row.blob("id")?);
    let amount = |column| row.opt_i64(column).map(|amount| amount.map(MicroUsd));
    Ok(UsageRow {
        id: id.ok_or_else(|| StoreError::Corrupt("id of a usage event".into()))?,
        at: row.millis("at")?,
        redated: row.flag("redated")?,
        proxy_id: row.text("proxy_id")?,
        request_id: row.text("request_id")?,
        api_key_id: row.text("api_key_id")?,
        api_key_name: row.opt_text("api_key_name")?,
        connection_id: row.text("connection_id")?,
        connection_name: row.opt_text("connection_name")?,
        provider: row.text("provider")?,
        requested_model: row.text("requested_model")?,
        model: row.text("model")?,
        operation: row.text("operation")?,
        stream: row.flag("stream")?,
        outcome: v1::Outcome::try_from(row.i32("outcome")?).unwrap_or(v1::Outcome::Unspecified),
        status: row.u32("status")?,
        error_code: row.text("error_code")?,
        usage: v1::Usage {
            input: row.opt_u64("input")?,
            cache_read: row.opt_u64("cache_read")?,
            cache_write_5m: row.opt_u64("cache_write_5m")?,
            cache_write_1h: row.opt_u64("cache_write_1h")?,
            output: row.opt_u64("output")?,
            reasoning: row.opt_u64("reasoning")?,
            audio_in: row.opt_u64("audio_in")?,
            audio_out: row.opt_u64("audio_out")?,
        },
        estimated: row.flag("estimated")?,
        duration_us: row.u64("duration_us")?,
        first_byte_us: row.u64("first_byte_us")?,
        attempts: row.u32("attempts")?,
        finish_reason: row.text("finish_reason")?,
        path: row.text("path")?,
        source_format: row.text("source_format")?,
        target_format: row.text("target_format")?,
        service_tier: row.text("service_tier")?,
        price_revision: row.opt_u64("price_revision")?,
        cost: amount("cost")?,
        cost_input: amount("cost_input")?,
        cost_cache: amount("cost_cache")?,
        cost_output: amount("cost_output")?,
    })
}

// === impl EventCursor ===

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.0, self.id)
    }
}

impl FromStr for EventCursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let parsed = text.split_once('.').and_then(|(at, id)| {
            let id = EventId::from_bytes(Uuid::parse_str(id).ok()?.as_bytes())?;
            Some(Self { at: UnixMillis(at.parse().ok()?), id })
        });
        parsed.ok_or_else(|| StoreError::Invalid { field: "cursor", reason: "is not one that a page gave".into() })
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Execute as _, Row as _};

    use super::*;
    use crate::store::testing::TestDatabase;

    #[tokio::test]
    async fn a_filter_by_key_or_connection_is_served_by_its_index() {
        let database = TestDatabase::sqlite();
        let store = database.store().await;
        let key = EventFilter { api_key_id: "key".into(), ..EventFilter::default() };
        let connection = EventFilter { connection_id: "connection".into(), ..EventFilter::default() };
        for (filter, index) in [(key, "usage_events_by_key"), (connection, "usage_events_by_connection")] {
            let statement = format!("EXPLAIN QUERY PLAN {}", recent(&filter, None, 50).sql().as_str());
            let plan = sqlx::query(AssertSqlSafe(statement)).fetch_all(store.reader()).await.expect("a plan");
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
        }
    }
}
