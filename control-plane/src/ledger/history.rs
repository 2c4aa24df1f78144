//! Sums over time, for the usage pages.

use omniroute_core::{money::MicroUsd, time::UnixMillis};
use omniroute_proto::v1;
use sqlx::{AnyConnection, any::AnyRow};

use super::{Ledger, hour_of};
use crate::store::{Columns as _, StoreError, number, sql};

const MINUTE_MS: u64 = 60_000;
const MINUTES: u64 = 10;

/// Rows of one breakdown at most, those with the most requests.
const MAX_ROWS: i64 = 10_000;

/// Sums of some requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub requests: u64,
    /// Every token that went in: uncached, cached, written to a cache, audio.
    pub prompt_tokens: u64,
    /// Every token that came out: visible, reasoning, audio.
    pub completion_tokens: u64,
    pub cost: MicroUsd,
    /// Requests whose price is not known; `cost` is without them.
    pub unpriced: u64,
    pub last_used_at: UnixMillis,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSums {
    pub provider: String,
    pub model: String,
    pub sums: Sums,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSums {
    pub provider: String,
    pub model: String,
    pub connection_id: String,
    /// `None` when the connection is gone.
    pub connection_name: Option<String>,
    pub sums: Sums,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySums {
    pub api_key_id: String,
    /// `None` when the key is gone.
    pub api_key_name: Option<String>,
    pub sums: Sums,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinuteSums {
    /// Start of the minute.
    pub minute: UnixMillis,
    pub sums: Sums,
}

/// What `/api/usage/history` shows. The breakdowns are those of whole hours; the largest come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub total: Sums,
    pub by_provider: Vec<(String, Sums)>,
    pub by_model: Vec<ModelSums>,
    pub by_account: Vec<AccountSums>,
    pub by_key: Vec<KeySums>,
    /// Oldest first, the current minute last.
    pub last_ten_minutes: Vec<MinuteSums>,
}

/// What `/api/usage/{connectionId}` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionTotals {
    pub total: Sums,
    pub by_outcome: Vec<(v1::Outcome, Sums)>,
    pub by_model: Vec<(String, Sums)>,
}

macro_rules! sums {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " CAST(COALESCE(SUM(h.requests), 0) AS BIGINT) AS requests, \
             CAST(COALESCE(SUM(h.input + h.cache_read + h.cache_write + h.audio_in), 0) AS BIGINT) AS prompt, \
             CAST(COALESCE(SUM(h.output + h.reasoning + h.audio_out), 0) AS BIGINT) AS completion, \
             CAST(COALESCE(SUM(h.cost), 0) AS BIGINT) AS cost, \
             CAST(COALESCE(SUM(h.unpriced), 0) AS BIGINT) AS unpriced, \
             COALESCE(MAX(h.last_at), 0) AS last_at FROM usage_hourly h ",
            $rest
        )
    };
}

// === impl Ledger ===

impl Ledger {
    /// Sums of the hours that begin in `[since, until)`; `since` is rounded down to its hour. `None`: no bound.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(&self, since: Option<UnixMillis>, until: Option<UnixMillis>) -> Result<History, StoreError> {
        let bounds = Bounds::new(since, until);
        let mut tx = self.0.store.read().await?;
        let total = bounds.bind(sums!("", "WHERE h.hour >= $1 AND h.hour < $2")).fetch_one(&mut *tx).await?;
        Ok(History {
            total: sums(&total)?,
            by_provider: by_provider(&mut tx, bounds).await?,
            by_model: by_model(&mut tx, bounds).await?,
            by_account: by_account(&mut tx, bounds).await?,
            by_key: by_key(&mut tx, bounds).await?,
            last_ten_minutes: last_ten_minutes(&mut tx, self.clock().now()).await?,
        })
    }

    /// Sums of one connection since the hour of `since`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn connection_totals(
        &self,
        connection_id: &str,
        since: Option<UnixMillis>,
    ) -> Result<ConnectionTotals, StoreError> {
        let bounds = Bounds::new(since, None);
        let mut tx = self.0.store.read().await?;
        let of_connection = |statement| bounds.bind(statement).bind(connection_id.to_owned());
        let total = sums!("", "WHERE h.hour >= $1 AND h.hour < $2 AND h.connection_id = $3");
        let total = of_connection(total).fetch_one(&mut *tx).await?;
        let by_outcome = sums!(
            "h.outcome,",
            "WHERE h.hour >= $1 AND h.hour < $2 AND h.connection_id = $3 GROUP BY h.outcome ORDER BY h.outcome"
        );
        let by_outcome = of_connection(by_outcome).fetch_all(&mut *tx).await?;
        let by_model = sums!(
            "h.model,",
            "WHERE h.hour >= $1 AND h.hour < $2 AND h.connection_id = $3 GROUP BY h.model \
             ORDER BY requests DESC, h.model LIMIT 10000"
        );
        let by_model = of_connection(by_model).fetch_all(&mut *tx).await?;
        let outcome = |row: &AnyRow| {
            let outcome = v1::Outcome::try_from(row.i32("outcome")?).unwrap_or(v1::Outcome::Unspecified);
            Ok((outcome, sums(row)?))
        };
        Ok(ConnectionTotals {
            total: sums(&total)?,
            by_outcome: by_outcome.iter().map(outcome).collect::<Result<_, StoreError>>()?,
            by_model: by_model
                .iter()
                .map(|row| Ok((row.text("model")?, sums(row)?)))
                .collect::<Result<_, StoreError>>()?,
        })
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    since: i64,
    until: i64,
}

// === impl Bounds ===

impl Bounds {
    fn new(since: Option<UnixMillis>, until: Option<UnixMillis>) -> Self {
        Self {
            since: number(hour_of(since.unwrap_or_default()).0),
            until: until.map_or(i64::MAX, |until| number(until.0)),
        }
    }

    fn bind(self, statement: &'static str) -> crate::store::Query {
        sql(statement).bind(self.since).bind(self.until)
    }
}

async fn by_provider(tx: &mut AnyConnection, bounds: Bounds) -> Result<Vec<(String, Sums)>, StoreError> {
    let statement = sums!(
        "h.provider,",
        "WHERE h.hour >= $1 AND h.hour < $2 GROUP BY h.provider ORDER BY requests DESC, h.provider LIMIT $3"
    );
    let rows = bounds.bind(statement).bind(MAX_ROWS).fetch_all(tx).await?;
    rows.iter().map(|row| Ok((row.text("provider")?, sums(row)?))).collect()
}

async fn by_model(tx: &mut AnyConnection, bounds: Bounds) -> Result<Vec<ModelSums>, StoreError> {
    let statement = sums!(
        "h.provider, h.model,",
        "WHERE h.hour >= $1 AND h.hour < $2 GROUP BY h.provider, h.model \
         ORDER BY requests DESC, h.provider, h.model LIMIT $3"
    );
    let rows = bounds.bind(statement).bind(MAX_ROWS).fetch_all(tx).await?;
    let sums =
        |row: &AnyRow| Ok(ModelSums { provider: row.text("provider")?, model: row.text("model")?, sums: sums(row)? });
    rows.iter().map(sums).collect()
}

async fn by_account(tx: &mut AnyConnection, bounds: Bounds) -> Result<Vec<AccountSums>, StoreError> {
    let statement = sums!(
        "h.provider, h.model, h.connection_id, c.name AS connection_name,",
        "LEFT JOIN connections c ON c.id = h.connection_id WHERE h.hour >= $1 AND h.hour < $2 \
         GROUP BY h.provider, h.model, h.connection_id, c.name \
         ORDER BY requests DESC, h.provider, h.model, h.connection_id LIMIT $3"
    );
    let rows = bounds.bind(statement).bind(MAX_ROWS).fetch_all(tx).await?;
    let sums = |row: &AnyRow| {
        Ok(AccountSums {
            provider: row.text("provider")?,
            model: row.text("model")?,
            connection_id: row.text("connection_id")?,
            connection_name: row.opt_text("connection_name")?,
            sums: sums(row)?,
        })
    };
    rows.iter().map(sums).collect()
}

async fn by_key(tx: &mut AnyConnection, bounds: Bounds) -> Result<Vec<KeySums>, StoreError> {
    let statement = sums!(
        "h.api_key_id, k.name AS api_key_name,",
        "LEFT JOIN api_keys k ON k.id = h.api_key_id WHERE h.hour >= $1 AND h.hour < $2 \
         GROUP BY h.api_key_id, k.name ORDER BY requests DESC, h.api_key_id LIMIT $3"
    );
    let rows = bounds.bind(statement).bind(MAX_ROWS).fetch_all(tx).await?;
    let sums = |row: &AnyRow| {
        Ok(KeySums {
            api_key_id: row.text("api_key_id")?,
            api_key_name: row.opt_text("api_key_name")?,
            sums: sums(row)?,
        })
    };
    rows.iter().map(sums).collect()
}

async fn last_ten_minutes(tx: &mut AnyConnection, now: UnixMillis) -> Result<Vec<MinuteSums>, StoreError> {
    let first = (now.0 / MINUTE_MS).saturating_sub(MINUTES - 1) * MINUTE_MS;
    let mut minutes: Vec<_> = (0..MINUTES)
        .map(|minute| MinuteSums { minute: UnixMillis(first + minute * MINUTE_MS), sums: Sums::default() })
        .collect();
    let rows = sql("SELECT (at - $1) / 60000 AS minute, COUNT(*) AS requests, \
         CAST(COALESCE(SUM(COALESCE(input, 0) + COALESCE(cache_read, 0) + COALESCE(cache_write_5m, 0) + \
         COALESCE(cache_write_1h, 0) + COALESCE(audio_in, 0)), 0) AS BIGINT) AS prompt, \
         CAST(COALESCE(SUM(COALESCE(output, 0) + COALESCE(reasoning, 0) + COALESCE(audio_out, 0)), 0) AS BIGINT) \
         AS completion, CAST(COALESCE(SUM(cost), 0) AS BIGINT) AS cost, COUNT(*) - COUNT(cost) AS unpriced, \
         MAX(at) AS last_at FROM usage_events WHERE at >= $1 AND at < $2 GROUP BY (at - $1) / 60000")
    .bind(number(first))
    .bind(number(first + MINUTES * MINUTE_MS))
    .fetch_all(tx)
    .await?;
    for row in rows {
        let minute = usize::try_from(row.u64("minute")?).unwrap_or(usize::MAX);
        if let Some(slot) = minutes.get_mut(minute) {
            slot.sums = sums(&row)?;
        }
    }
    Ok(minutes)
}

fn sums(row: &AnyRow) -> Result<Sums, StoreError> {
    Ok(Sums {
        requests: row.u64("requests")?,
        prompt_tokens: row.u64("prompt")?,
        completion_tokens: row.u64("completion")?,
        cost: MicroUsd(row.i64("cost")?),
        unpriced: row.u64("unpriced")?,
        last_used_at: row.millis("last_at")?,
    })
}
