//! Prices over time. A price is never changed: a new one closes the one in force, so that the price at any moment of
//! the past can be told.

use std::collections::BTreeMap;

use omniroute_core::{money::TokenPrice, time::UnixMillis};
use omniroute_providers::models::{Class, Price, Rates};
use serde_json::json;
use sqlx::{AssertSqlSafe, any::AnyRow};

use super::{
    Columns as _, Query, Store, StoreError, Write, batches, limits, number, placeholders, records::PriceRow, sql,
};

/// Kinds in the configuration log; proxies get neither.
const KIND: &str = "price";
const BOOK_KIND: &str = "price_book";

const BUILTIN: &str = "builtin";
const CUSTOM: &str = "custom";

const COLUMNS: usize = 14;

/// Classes that have columns of their own besides input and output, which every price has. The others are in `terms`.
const OWN_COLUMNS: [(Class, &str); 6] = [
    (Class::CacheRead, "cache_read"),
    (Class::CacheWrite, "cache_write_5m"),
    (Class::CacheWrite1h, "cache_write_1h"),
    (Class::Reasoning, "reasoning"),
    (Class::AudioIn, "audio_in"),
    (Class::AudioOut, "audio_out"),
];

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
             cache_write_5m, cache_write_1h, reasoning, audio_in, audio_out, terms, revision FROM prices \
             ORDER BY provider, model, source, valid_from")
        .fetch_all(self.0.reader())
        .await?;
        rows.iter().map(record).collect()
    }

    /// All prices that a model has had.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of_model(&self, provider: &str, model: &str) -> Result<Vec<PriceRow>, StoreError> {
        let statement = of_model(provider, model);
        statement.fetch_all(self.0.reader()).await?.iter().map(record).collect()
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

    /// The price of a model that is in force now, the operator's before the built-in one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn price_in_force(&mut self, provider: &str, model: &str) -> Result<Option<PriceRow>, StoreError> {
        let now = self.at();
        let rows = of_model(provider, model).fetch_all(self.connection()).await?;
        let rows = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().filter(|row| row.is_in_force(now)).max_by_key(PriceRow::rank))
    }

    /// Provider and model of every price of the operator's that has not ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn custom_prices(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let statement = sql("SELECT provider, model FROM prices WHERE source = $1 AND valid_until IS NULL \
             ORDER BY provider, model");
        let rows = statement.bind(CUSTOM).fetch_all(self.connection()).await?;
        rows.iter().map(|row| Ok((row.text("provider")?, row.text("model")?))).collect()
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
             cache_write_5m, cache_write_1h, reasoning, audio_in, audio_out, terms, revision FROM prices \
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
             cache_write_5m, cache_write_1h, reasoning, audio_in, audio_out, terms, revision FROM prices \
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
                 cache_write_1h, reasoning, audio_in, audio_out, terms, revision) VALUES {} \
                 ON CONFLICT (provider, model, source, valid_from) DO UPDATE SET valid_until = NULL, \
                 input = excluded.input, output = excluded.output, cache_read = excluded.cache_read, \
                 cache_write_5m = excluded.cache_write_5m, cache_write_1h = excluded.cache_write_1h, \
                 reasoning = excluded.reasoning, audio_in = excluded.audio_in, audio_out = excluded.audio_out, \
                 terms = excluded.terms, revision = excluded.revision",
                placeholders(batch.len(), COLUMNS)
            );
            let mut statement = sqlx::query(AssertSqlSafe(statement));
            for price in batch {
                let rate = |class| price.price.rates.get(class).map(|rate| rate.0);
                statement = statement
                    .bind(price.provider.clone())
                    .bind(price.model.clone())
                    .bind(price.source.clone())
                    .bind(number(price.valid_from.0));
                statement = statement.bind(rate(Class::Input).unwrap_or(0)).bind(rate(Class::Output).unwrap_or(0));
                for (class, _) in OWN_COLUMNS {
                    statement = statement.bind(rate(class));
                }
                statement = statement.bind(terms(&price.price)?).bind(number(price.revision));
            }
            statement.execute(self.connection()).await?;
        }
        Ok(())
    }
}

fn of_model(provider: &str, model: &str) -> Query {
    sql("SELECT provider, model, source, valid_from, valid_until, input, output, cache_read, cache_write_5m, \
         cache_write_1h, reasoning, audio_in, audio_out, terms, revision FROM prices \
         WHERE provider = $1 AND model = $2")
    .bind(provider.to_owned())
    .bind(model.to_owned())
}

fn check_amounts(price: &PriceRow) -> Result<(), StoreError> {
    let Price { rates, variants } = &price.price;
    let rates = rates.iter().chain(variants.iter().flat_map(|variant| variant.rates.iter()));
    if rates.map(|(_, rate)| rate.0).all(|rate| (0..=MAX_PRICE).contains(&rate)) {
        return Ok(());
    }
    let reason = "must be between 0 and a million dollars per million tokens".into();
    Err(StoreError::Invalid { field: "price", reason })
}

/// Whether two prices are the same as the database has them, where what costs nothing and what has no price are one.
fn same(old: &PriceRow, new: &PriceRow) -> bool {
    stored(&old.price) == stored(&new.price)
}

fn stored(price: &Price) -> Price {
    let mut stored = price.clone();
    for class in [Class::Input, Class::Output] {
        stored.rates.set(class, price.rates.get(class).or(Some(TokenPrice(0))));
    }
    stored
}

/// What of a price has no column of its own.
fn terms(price: &Price) -> Result<Option<String>, StoreError> {
    let has_column =
        |class| [Class::Input, Class::Output].contains(&class) || OWN_COLUMNS.iter().any(|(own, _)| *own == class);
    let rates: Rates = price.rates.iter().filter(|(class, _)| !has_column(*class)).collect();
    if rates.is_empty() && price.variants.is_empty() {
        return Ok(None);
    }
    limits::json("price", &Price { rates, variants: price.variants.clone() }).map(Some)
}

fn record(row: &AnyRow) -> Result<PriceRow, StoreError> {
    let terms = row.opt_text("terms")?.map(|terms| serde_json::from_str(&terms)).transpose();
    let mut price: Price = terms.map_err(|_| StoreError::Corrupt("terms of a price".into()))?.unwrap_or_default();
    price.rates.set(Class::Input, Some(TokenPrice(row.i64("input")?)));
    price.rates.set(Class::Output, Some(TokenPrice(row.i64("output")?)));
    for (class, column) in OWN_COLUMNS {
        price.rates.set(class, row.opt_i64(column)?.map(TokenPrice));
    }
    Ok(PriceRow {
        provider: row.text("provider")?,
        model: row.text("model")?,
        valid_from: row.millis("valid_from")?,
        valid_until: row.opt_millis("valid_until")?,
        price,
        source: row.text("source")?,
        revision: row.u64("revision")?,
    })
}

fn state(price: &PriceRow) -> serde_json::Value {
    json!({ "validFrom": price.valid_from, "price": price.price })
}
