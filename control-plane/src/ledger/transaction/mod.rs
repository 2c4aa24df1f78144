//! The statements that store events, each engine's in its own way: they are most of what an event costs.
//!
//! Both insert many rows with one statement that was prepared once, and count what was inserted instead of having it named.
//! SQLite ([`sqlite`]) takes rows as lists of parameters, Postgres ([`postgres`]) columns as arrays.

mod postgres;
mod sqlite;

use std::collections::HashSet;

use omniroute_core::id::EventId;
use sqlx::{Any, Postgres};

use super::{batch::Merged, rollup::Rollups};
use crate::store::{Store, StoreError};

/// Columns of `usage_events`, in the order in which both engines bind them.
macro_rules! event_columns {
    () => {
        "day, id, at, proxy_id, request_id, api_key_id, connection_id, provider, requested_model, model, operation, stream, \
         outcome, status, error_code, input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_in, \
         audio_out, estimated, duration_us, first_byte_us, attempts, finish_reason, price_revision, cost, cost_input, \
         cost_cache, cost_output, path, source_format, target_format, redated, service_tier"
    };
}
use event_columns;

/// Columns of `usage_hourly`, in the order in which both engines bind them.
macro_rules! rollup_columns {
    () => {
        "hour, api_key_id, provider, model, connection_id, outcome, requests, estimated, unpriced, input, cache_read, \
         cache_write, output, reasoning, audio_in, audio_out, cost, duration_us, last_at"
    };
}
use rollup_columns;

/// What becomes of sums that are there already.
macro_rules! add_to_rollup {
    () => {
        " ON CONFLICT (hour, api_key_id, provider, model, connection_id, outcome) DO UPDATE SET \
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
         ELSE usage_hourly.last_at END"
    };
}
use add_to_rollup;

/// What becomes of the time at which a key was last used.
macro_rules! move_last_use {
    () => {
        " ON CONFLICT (api_key_id) DO UPDATE SET last_used_at = excluded.last_used_at \
         WHERE excluded.last_used_at > api_key_use.last_used_at"
    };
}
use move_last_use;

/// A transaction on events and sums. Dropping it undoes it.
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Any>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

// === impl Transaction ===

impl Transaction {
    pub(super) async fn begin(store: &Store) -> Result<Self, StoreError> {
        match store.write_data_postgres().await? {
            Some(transaction) => Ok(Self::Postgres(transaction)),
            None => Ok(Self::Sqlite(store.write_data().await?)),
        }
    }

    /// Whether this event is stored under one of these days.
    pub(super) async fn is_stored(&mut self, id: EventId, first_day: i64, last_day: i64) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(transaction) => sqlite::is_stored(transaction, id, first_day, last_day).await,
            Self::Postgres(transaction) => postgres::is_stored(transaction, id, first_day, last_day).await,
        }
    }

    /// Inserts rows. False, and perhaps not all was tried, when one is there already.
    pub(super) async fn insert(&mut self, rows: &[Merged<'_>]) -> Result<bool, StoreError> {
        match self {
            _ if rows.is_empty() => Ok(true),
            Self::Sqlite(transaction) => sqlite::insert(transaction, rows).await,
            Self::Postgres(transaction) => postgres::insert(transaction, rows).await,
        }
    }

    /// Inserts the rows that are not there yet, and returns their ids.
    pub(super) async fn insert_returning(&mut self, rows: &[Merged<'_>]) -> Result<HashSet<Vec<u8>>, StoreError> {
        match self {
            _ if rows.is_empty() => Ok(HashSet::new()),
            Self::Sqlite(transaction) => sqlite::insert_returning(transaction, rows).await,
            Self::Postgres(transaction) => postgres::insert_returning(transaction, rows).await,
        }
    }

    /// Adds to the hourly sums, and to when keys were last used.
    pub(super) async fn add(&mut self, rollups: &Rollups<'_>) -> Result<(), StoreError> {
        match self {
            _ if rollups.is_empty() => Ok(()),
            Self::Sqlite(transaction) => sqlite::add(transaction, rollups).await,
            Self::Postgres(transaction) => postgres::add(transaction, rollups).await,
        }
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(transaction) => Ok(transaction.commit().await?),
            Self::Postgres(transaction) => Ok(transaction.commit().await?),
        }
    }

    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(transaction) => Ok(transaction.rollback().await?),
            Self::Postgres(transaction) => Ok(transaction.rollback().await?),
        }
    }
}
