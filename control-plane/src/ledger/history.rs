//! Sums over time, for the usage pages.

use std::{cmp::Reverse, collections::HashMap};

use futures_util::TryStreamExt as _;
use omniroute_core::{money::MicroUsd, time::UnixMillis};
use omniroute_proto::v1;
use sqlx::{AnyConnection, any::AnyRow};

use super::{DAY_MS, Ledger, hour_of};
use crate::store::{Columns as _, StoreError, number, sql};

const MINUTE_MS: u64 = 60_000;
const MINUTES: u64 = 10;

/// Rows of one breakdown at most, those with the most requests.
const MAX_ROWS: usize = 10_000;

/// What a history shows when nobody says since when.
const HISTORY_MS: u64 = 90 * DAY_MS;

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
    /// Sums of the hours that begin in `[since, until)`; `since` is rounded down to its hour. Without it: the
    /// [`HISTORY_MS`] before `until` or now, since hours are kept for ever.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(&self, since: Option<UnixMillis>, until: Option<UnixMillis>) -> Result<History, StoreError> {
        let now = self.clock().now();
        let since = since.unwrap_or_else(|| UnixMillis(until.unwrap_or(now).0.saturating_sub(HISTORY_MS)));
        let mut tx = self.0.store.read().await?;
        let mut history = Breakdown::read(&mut tx, Bounds::new(Some(since), until)).await?.finish();
        history.last_ten_minutes = last_ten_minutes(&mut tx, now).await?;
        Ok(history)
    }

    /// Sums of one connection from the hour of `since` to the hour before `until`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn connection_totals(
        &self,
        connection_id: &str,
        since: Option<UnixMillis>,
        until: Option<UnixMillis>,
    ) -> Result<ConnectionTotals, StoreError> {
        let bounds = Bounds::new(since, until);
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

/// The breakdowns in the making. The hours are read once, whatever they are broken down by.
#[derive(Default)]
struct Breakdown {
    total: Sums,
    by_provider: HashMap<String, Sums>,
    by_model: HashMap<(String, String), Sums>,
    by_account: HashMap<(String, String, String), AccountSums>,
    by_key: HashMap<String, KeySums>,
}

// === impl Breakdown ===

impl Breakdown {
    async fn read(tx: &mut AnyConnection, bounds: Bounds) -> Result<Self, StoreError> {
        let statement = bounds.bind(concat!(
            "SELECT g.provider, g.model, g.connection_id, g.api_key_id, c.name AS connection_name, \
             k.name AS api_key_name, g.requests, g.prompt, g.completion, g.cost, g.unpriced, g.last_at FROM (",
            sums!(
                "h.provider, h.model, h.connection_id, h.api_key_id,",
                "WHERE h.hour >= $1 AND h.hour < $2 GROUP BY h.provider, h.model, h.connection_id, h.api_key_id"
            ),
            ") g LEFT JOIN connections c ON c.id = g.connection_id LEFT JOIN api_keys k ON k.id = g.api_key_id"
        ));
        let mut breakdown = Self::default();
        let mut rows = statement.fetch(tx);
        while let Some(row) = rows.try_next().await? {
            breakdown.add(&row)?;
        }
        Ok(breakdown)
    }

    fn add(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        let sums = sums(row)?;
        let [provider, model] = [row.text("provider")?, row.text("model")?];
        let [connection_id, api_key_id] = [row.text("connection_id")?, row.text("api_key_id")?];
        let [connection_name, api_key_name] = [row.opt_text("connection_name")?, row.opt_text("api_key_name")?];
        self.total.add(&sums);
        self.by_provider.entry(provider.clone()).or_default().add(&sums);
        self.by_model.entry((provider.clone(), model.clone())).or_default().add(&sums);
        let key = self.by_key.entry(api_key_id.clone()).or_insert_with(|| KeySums {
            api_key_id,
            api_key_name,
            sums: Sums::default(),
        });
        key.sums.add(&sums);
        let account = (provider, model, connection_id);
        let account =
            self.by_account.entry(account).or_insert_with_key(|(provider, model, connection_id)| AccountSums {
                provider: provider.clone(),
                model: model.clone(),
                connection_id: connection_id.clone(),
                connection_name,
                sums: Sums::default(),
            });
        account.sums.add(&sums);
        Ok(())
    }

    fn finish(self) -> History {
        let of_model = |((provider, model), sums)| ModelSums { provider, model, sums };
        History {
            total: self.total,
            by_provider: largest(self.by_provider, |(name, sums)| (sums.requests, name.clone())),
            by_model: largest(self.by_model.into_iter().map(of_model), |row| {
                (row.sums.requests, (row.provider.clone(), row.model.clone()))
            }),
            by_account: largest(self.by_account.into_values(), |row| {
                (row.sums.requests, (row.provider.clone(), row.model.clone(), row.connection_id.clone()))
            }),
            by_key: largest(self.by_key.into_values(), |row| (row.sums.requests, row.api_key_id.clone())),
            last_ten_minutes: Vec::new(),
        }
    }
}

/// The rows with the most requests; equals by name.
fn largest<T, N: Ord>(rows: impl IntoIterator<Item = T>, order: impl Fn(&T) -> (u64, N)) -> Vec<T> {
    let mut rows: Vec<T> = rows.into_iter().collect();
    rows.sort_by_cached_key(|row| {
        let (requests, name) = order(row);
        (Reverse(requests), name)
    });
    rows.truncate(MAX_ROWS);
    rows
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cost = MicroUsd(self.cost.0.saturating_add(other.cost.0));
        self.unpriced += other.unpriced;
        self.last_used_at = self.last_used_at.max(other.last_used_at);
    }
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
