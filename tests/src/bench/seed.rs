//! A large configuration, written into the database of a control plane that does not run.
//!
//! Rows are what REST would have written: keys as hashes under the pepper, secrets sealed for their place, one
//! revision for all. The log gets no entries; its floor is set above them, as compaction would leave it.

use std::path::Path;

use anyhow::Context as _;
use omniroute_core::{
    hash::Pepper,
    sealed::{KeyRing, SealContext},
    time::{Clock as _, SystemClock},
};
use sqlx::{Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteConnectOptions};

use super::site::{MASTER_KEY, PEPPER};

/// Rows of one statement; a statement takes 32,766 values.
const BATCH: usize = 500;
const NODES: usize = 100;

/// What is there once it is done.
pub(super) struct Seeded {
    pub(super) keys: usize,
    pub(super) connections: usize,
}

/// The secret of a seeded key.
pub(super) fn secret(number: usize) -> String {
    format!("sk-bench-{number:032}")
}

/// The id of a seeded key.
pub(super) fn key_id(number: usize) -> String {
    format!("bench-key-{number:06}")
}

/// Adds `keys` and `connections` to the database in `directory`; the connections lead to `upstream`.
pub(super) async fn seed(directory: &Path, keys: usize, connections: usize, upstream: &str) -> anyhow::Result<Seeded> {
    let options = SqliteConnectOptions::new().filename(directory.join("storage.sqlite")).create_if_missing(false);
    let mut database = SqliteConnection::connect_with(&options).await.context("the control plane's database")?;
    let mut tx = database.begin().await?;
    let row = sqlx::query("UPDATE config_revision SET n = n + 1, log_floor = n + 1 WHERE id = 1 RETURNING n");
    let revision: i64 = row.fetch_one(&mut *tx).await?.try_get("n")?;
    let now = i64::try_from(SystemClock.now().0)?;
    add_nodes(&mut tx, upstream, revision, now).await?;
    add_connections(&mut tx, connections, revision, now).await?;
    add_keys(&mut tx, keys, revision, now).await?;
    tx.commit().await?;
    database.close().await?;
    Ok(Seeded { keys, connections })
}

async fn add_nodes(tx: &mut SqliteConnection, upstream: &str, revision: i64, now: i64) -> anyhow::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO nodes (id, kind, name, prefix, api_type, base_url, created_at, updated_at, revision) ",
    );
    insert.push_values(0..NODES, |mut row, number| {
        row.push_bind(node_id(number))
            .push_bind("openai-compatible")
            .push_bind(format!("Node {number}"))
            .push_bind(format!("n{number}"))
            .push_bind("chat")
            .push_bind(upstream.to_owned())
            .push_bind(now)
            .push_bind(now)
            .push_bind(revision);
    });
    insert.build().execute(tx).await.context("nodes")?;
    Ok(())
}

async fn add_connections(tx: &mut SqliteConnection, count: usize, revision: i64, now: i64) -> anyhow::Result<()> {
    let ring = KeyRing::new([MASTER_KEY])?;
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(BATCH) {
        let mut rows = Vec::with_capacity(batch.len());
        for number in batch {
            let id = format!("bench-connection-{number:05}");
            let secret = format!("sk-upstream-{number:040}");
            let place = SealContext { table: "connections", column: "secret", row: &id };
            let sealed = ring.seal(place, secret.as_bytes())?;
            rows.push((id, *number, sealed));
        }
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO connections (id, provider, name, auth_type, priority, is_active, secret, extras, connect_ms, \
             first_byte_ms, idle_ms, total_ms, created_at, updated_at, revision) ",
        );
        insert.push_values(rows, |mut row, (id, number, sealed)| {
            row.push_bind(id)
                .push_bind(node_id(number % NODES))
                .push_bind(format!("Connection {number}"))
                .push_bind("apikey")
                .push_bind(i64::try_from(number / NODES).unwrap_or(1))
                .push_bind(1_i64)
                .push_bind(sealed)
                .push_bind("{}");
            for _ in 0..4 {
                row.push_bind(0_i64);
            }
            row.push_bind(now).push_bind(now).push_bind(revision);
        });
        insert.build().execute(&mut *tx).await.context("connections")?;
    }
    Ok(())
}

async fn add_keys(tx: &mut SqliteConnection, count: usize, revision: i64, now: i64) -> anyhow::Result<()> {
    let pepper = Pepper::new(PEPPER);
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(BATCH) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO api_keys (id, name, hash, masked, prefix, is_active, no_log, allowed_models, \
             allowed_connections, scopes, extras, created_at, updated_at, revision) ",
        );
        insert.push_values(batch, |mut row, number| {
            row.push_bind(key_id(*number))
                .push_bind(format!("Key {number}"))
                .push_bind(pepper.hash(&secret(*number)).as_bytes().to_vec())
                .push_bind("sk-bench****0000")
                .push_bind("sk-bench")
                .push_bind(1_i64)
                .push_bind(0_i64)
                .push_bind("[]")
                .push_bind("[]")
                .push_bind("[]")
                .push_bind("{}")
                .push_bind(now)
                .push_bind(now)
                .push_bind(revision);
        });
        insert.build().execute(&mut *tx).await.context("keys")?;
    }
    Ok(())
}

fn node_id(number: usize) -> String {
    format!("openai-compatible-chat-bench-{number:03}")
}
