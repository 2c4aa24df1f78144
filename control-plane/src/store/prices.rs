//! Prices over time. A price is never changed: a new one closes the one in force, so that the price at any moment of
//! the past can be told.

use std::collections::BTreeMap;

use omniroute_core::time::UnixMillis;
use serde_json::json;
use sqlx::{AssertSqlSafe, any::AnyRow};

use super::{Columns as _, Store, StoreError, Write, batches, limits, number, placeholders, records::PriceRow, sql};

/// Kinds in the configuration log; proxies get neither.
const KIND: &str = "price";
const BOOK_KIND: &str = "price_book";

const BUILTIN: &str = "builtin";
const CUSTOM: &str = "custom";

const COLUMNS: usize = 13;

/// A dollar per token.
const MAX_PRICE: i64 = 1_000_000_000_000;

/// Which built-in book is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Book {
    edition: u64,
    version: String,
}

/// Reads prices.
pub struct Prices<'a>(&'a Store);

const SELECT_BOOK: &str = "SELECT version, edition FROM seeds WHERE name = $1";

// === impl Book ===

impl Book {
    fn of(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self { edition: row.u64("edition")?, version: row.text("version")? })
    }

    /// Whether another book takes its place: one that is not the same, and not older.
    pub(crate) fn gives_way_to(&self, edition: u64, version: &str) -> bool {
        self.version != version && edition >= self.edition
    }
}

// === impl Store ===

impl Store {
    pub fn prices(&self) -> Prices<'_> {
        Prices(self)
    }
}

// === impl Prices ===

impl Prices<'_> {
    /// All prices of all times.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<PriceRow>, StoreError> {
        let rows = sql("SELECT provider, model, source, valid_from, valid_until, input, output, cache_read, \
             cache_write_5m, cache_write_1h, reasoning, audio_in, audio_out, revision FROM prices \
             ORDER BY provider, model, source, valid_from")
        .fetch_all(self.0.reader())
        .await?;
        rows.iter().map(record).collect()
    }

    /// Changes whenever a price does.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn revision(&self) -> Result<u64, StoreError> {
        let statement = sql("SELECT COALESCE(MAX(revision), 0) AS last FROM prices");
        statement.fetch_one(self.0.reader()).await?.u64("last")
    }

    /// The built-in book that is in the database.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn book(&self) -> Result<Option<Book>, StoreError> {
        let row = sql(SELECT_BOOK).bind(BOOK_KIND).fetch_optional(self.0.reader()).await?;
        row.map(|row| Book::of(&row)).transpose()
    }
}

// === impl Write ===

impl Write {
    /// Puts the operator's price for a model into force, now or from `price.valid_from` on when that is later than
    /// zero. Its `source` and `revision` are set here.
    ///
    /// # Errors
    /// `Invalid` for a field.
    pub async fn put_price(&mut self, price: PriceRow) -> Result<PriceRow, StoreError> {
        limits::required("provider", &price.provider, limits::NAME)?;
        limits::required("model", &price.model, limits::NAME)?;
        check_amounts(&price)?;
        let valid_from = if price.valid_from.0 == 0 { self.at() } else { price.valid_from };
        let price =
            PriceRow { source: CUSTOM.to_owned(), valid_from, valid_until: None, revision: self.revision(), ..price };
        let before = self.close_price(&price.provider, &price.model, CUSTOM, valid_from).await?;
        self.insert_prices(std::slice::from_ref(&price)).await?;
        self.note(KIND, &format!("{}/{}", price.provider, price.model), before, Some(state(&price)))?;
        Ok(price)
    }

    /// Ends the operator's price; the built-in one, if there is one, is in force from now on.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_price(&mut self, provider: &str, model: &str) -> Result<(), StoreError> {
        let id = format!("{provider}/{model}");
        let before = self.close_price(provider, model, CUSTOM, self.at()).await?;
        let before = before.ok_or_else(|| StoreError::not_found(KIND, id.clone()))?;
        self.note(KIND, &id, Some(before), None)
    }

    /// Brings the built-in book to `version`, unless a newer edition is there. A price that is new to the database counts
    /// from the beginning of time, a changed one from now on; models that left the book keep their last price. Returns how
    /// many changed.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn seed_prices(
        &mut self,
        edition: u64,
        version: &str,
        book: Vec<PriceRow>,
    ) -> Result<Option<usize>, StoreError> {
        let there = sql(SELECT_BOOK).bind(BOOK_KIND).fetch_optional(self.connection()).await?;
        if let Some(row) = there
            && !Book::of(&row)?.gives_way_to(edition, version)
        {
            return Ok(None);
        }
        let mut held = BTreeMap::new();
        let statement = sql("SELECT provider, model, source, valid_from, valid_until, input, output, cache_read, \
             cache_write_5m, cache_write_1h, reasoning, audio_in, audio_out, revision FROM prices \
             WHERE source = $1 AND valid_until IS NULL");
        for row in statement.bind(BUILTIN).fetch_all(self.connection()).await? {
            let price = record(&row)?;
            held.insert((price.provider.clone(), price.model.clone()), price);
        }
        let mut fresh = Vec::new();
        for price in book {
            let old = held.get(&(price.provider.clone(), price.model.clone()));
            if old.is_some_and(|old| same(old, &price)) {
                continue;
            }
            let valid_from = if old.is_some() { self.at() } else { UnixMillis(0) };
            if old.is_some() {
                self.close_price(&price.provider, &price.model, BUILTIN, valid_from).await?;
            }
            let revision = self.revision();
            fresh.push(PriceRow { source: BUILTIN.to_owned(), valid_from, valid_until: None, revision, ..price });
        }
        self.insert_prices(&fresh).await?;
        sql("INSERT INTO seeds (name, version, at, edition) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET version = excluded.version, at = excluded.at, edition = excluded.edition")
        .bind(BOOK_KIND)
        .bind(version.to_owned())
        .bind(number(self.at().0))
        .bind(number(edition))
        .execute(self.connection())
        .await?;
        let state = json!({ "version": version, "changed": fresh.len() });
        self.note(BOOK_KIND, BUILTIN, None, Some(state))?;
        Ok(Some(fresh.len()))
    }

    async fn close_price(
        &mut self,
        provider: &str,
        model: &str,
        source: &str,
        until: UnixMillis,
    ) -> Result<Option<(u64, serde_json::Value)>, StoreError> {
        let statement = sql("SELECT provider, model, source, valid_from, valid_until, input, output, cache_read, \
             cache_write_5m, cache_write_1h, reasoning, audio_in, audio_out, revision FROM prices \
             WHERE provider = $1 AND model = $2 AND source = $3 AND valid_until IS NULL");
        let statement = statement.bind(provider.to_owned()).bind(model.to_owned()).bind(source.to_owned());
        let Some(row) = statement.fetch_optional(self.connection()).await? else {
            return Ok(None);
        };
        let old = record(&row)?;
        let until = until.max(old.valid_from);
        sql("UPDATE prices SET valid_until = $4, revision = $5 \
             WHERE provider = $1 AND model = $2 AND source = $3 AND valid_until IS NULL")
        .bind(provider.to_owned())
        .bind(model.to_owned())
        .bind(source.to_owned())
        .bind(number(until.0))
        .bind(number(self.revision()))
        .execute(self.connection())
        .await?;
        Ok(Some((old.revision, state(&old))))
    }

    async fn insert_prices(&mut self, prices: &[PriceRow]) -> Result<(), StoreError> {
        for batch in batches(prices) {
            let statement = format!(
                "INSERT INTO prices (provider, model, source, valid_from, input, output, cache_read, cache_write_5m, \
                 cache_write_1h, reasoning, audio_in, audio_out, revision) VALUES {} \
                 ON CONFLICT (provider, model, source, valid_from) DO UPDATE SET valid_until = NULL, \
                 input = excluded.input, output = excluded.output, cache_read = excluded.cache_read, \
                 cache_write_5m = excluded.cache_write_5m, cache_write_1h = excluded.cache_write_1h, \
                 reasoning = excluded.reasoning, audio_in = excluded.audio_in, audio_out = excluded.audio_out, \
                 revision = excluded.revision",
                placeholders(batch.len(), COLUMNS)
            );
            let mut statement = sqlx::query(AssertSqlSafe(statement));
            for price in batch {
                statement = statement
                    .bind(price.provider.clone())
                    .bind(price.model.clone())
                    .bind(price.source.clone())
                    .bind(number(price.valid_from.0))
                    .bind(price.input)
                    .bind(price.output)
                    .bind(price.cache_read)
                    .bind(price.cache_write_5m)
                    .bind(price.cache_write_1h)
                    .bind(price.reasoning)
                    .bind(price.audio_in)
                    .bind(price.audio_out)
                    .bind(number(price.revision));
            }
            statement.execute(self.connection()).await?;
        }
        Ok(())
    }
}

fn check_amounts(price: &PriceRow) -> Result<(), StoreError> {
    let amounts = [Some(price.input), Some(price.output), price.cache_read, price.cache_write_5m, price.cache_write_1h];
    let others = [price.reasoning, price.audio_in, price.audio_out];
    if amounts.into_iter().chain(others).flatten().all(|amount| (0..=MAX_PRICE).contains(&amount)) {
        return Ok(());
    }
    let reason = "must be between 0 and a million dollars per million tokens".into();
    Err(StoreError::Invalid { field: "price", reason })
}

fn same(old: &PriceRow, new: &PriceRow) -> bool {
    let amounts = |price: &PriceRow| {
        let cache = (price.cache_read, price.cache_write_5m, price.cache_write_1h);
        (price.input, price.output, cache, price.reasoning, price.audio_in, price.audio_out)
    };
    amounts(old) == amounts(new)
}

fn record(row: &AnyRow) -> Result<PriceRow, StoreError> {
    Ok(PriceRow {
        provider: row.text("provider")?,
        model: row.text("model")?,
        valid_from: row.millis("valid_from")?,
        valid_until: row.opt_millis("valid_until")?,
        input: row.i64("input")?,
        output: row.i64("output")?,
        cache_read: row.opt_i64("cache_read")?,
        cache_write_5m: row.opt_i64("cache_write_5m")?,
        cache_write_1h: row.opt_i64("cache_write_1h")?,
        reasoning: row.opt_i64("reasoning")?,
        audio_in: row.opt_i64("audio_in")?,
        audio_out: row.opt_i64("audio_out")?,
        source: row.text("source")?,
        revision: row.u64("revision")?,
    })
}

fn state(price: &PriceRow) -> serde_json::Value {
    json!({
        "validFrom": price.valid_from,
        "input": price.input,
        "output": price.output,
        "cacheRead": price.cache_read,
        "cacheWrite5m": price.cache_write_5m,
        "cacheWrite1h": price.cache_write_1h,
        "reasoning": price.reasoning,
        "audioIn": price.audio_in,
        "audioOut": price.audio_out,
    })
}
