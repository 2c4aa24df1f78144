//! The tables of clients' API keys: `api_keys`, and when each was last used.

use omniroute_core::{hash::KeyHash, id::ApiKeyId, time::UnixMillis};
use omniroute_proto::Kind;
use serde_json::{Value, json};
use sqlx::any::AnyRow;

use super::record::{KeyDraft, KeyPatch, KeyRecord, PreviousSecret};
use crate::store::{Columns as _, Query, Store, StoreError, Write, limits, number, sql};

const KIND: &str = Kind::ApiKey.as_str();

/// Reads API keys.
pub struct Keys<'a>(&'a Store);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.name, k.hash, k.masked, k.prefix, k.is_active, k.no_log, k.allowed_models, \
             k.allowed_connections, k.scopes, k.expires_at, k.revoked_at, k.max_body_bytes, k.extras, k.created_at, \
             k.updated_at, k.revision, k.previous_hash, k.previous_until, u.last_used_at \
             FROM api_keys k LEFT JOIN api_key_use u ON u.api_key_id = k.id ",
            $rest
        )
    };
}

// === impl Keys ===

impl<'a> Keys<'a> {
    pub const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// All, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let rows = sql(select!("ORDER BY k.created_at, k.id")).fetch_all(self.0.reader()).await?;
        rows.iter().map(record).collect()
    }

    /// A page, oldest first, and how many there are in all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn page(&self, limit: u32, offset: u64) -> Result<(Vec<KeyRecord>, u64), StoreError> {
        let mut tx = self.0.read().await?;
        let total = sql("SELECT COUNT(*) AS total FROM api_keys").fetch_one(&mut *tx).await?.u64("total")?;
        let statement = sql(select!("ORDER BY k.created_at, k.id LIMIT $1 OFFSET $2"));
        let rows = statement.bind(i64::from(limit)).bind(number(offset)).fetch_all(&mut *tx).await?;
        Ok((rows.iter().map(record).collect::<Result<_, _>>()?, total))
    }

    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &str) -> Result<KeyRecord, StoreError> {
        let row = sql(select!("WHERE k.id = $1")).bind(id.to_owned()).fetch_optional(self.0.reader()).await?;
        record(&row.ok_or_else(|| StoreError::not_found(KIND, id))?)
    }

    /// The key with this hash (see `Store::pepper`), for callers of REST that present an API key. The secret before a
    /// key's own counts while it is accepted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, StoreError> {
        let statement = sql(select!("WHERE k.hash = $1")).bind(hash.as_bytes().to_vec());
        if let Some(row) = statement.fetch_optional(self.0.reader()).await? {
            return record(&row).map(Some);
        }
        let statement = sql(select!("WHERE k.previous_hash = $1 AND k.previous_until > $2"))
            .bind(hash.as_bytes().to_vec())
            .bind(number(self.0.clock().now().0));
        statement.fetch_optional(self.0.reader()).await?.as_ref().map(record).transpose()
    }

    /// Forgets when keys were used that are gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_use_of_deleted(&self) -> Result<u64, StoreError> {
        let statement = sql("DELETE FROM api_key_use WHERE NOT EXISTS \
             (SELECT 1 FROM api_keys WHERE api_keys.id = api_key_use.api_key_id)");
        Ok(statement.execute(self.0.writer()).await?.rows_affected())
    }
}

/// # Errors
/// `Conflict` when the same key (or id) exists, `Invalid` for a field.
pub async fn create(write: &mut Write, draft: KeyDraft) -> Result<KeyRecord, StoreError> {
    let record = KeyRecord {
        id: draft.id.unwrap_or_else(ApiKeyId::generate),
        name: draft.name,
        hash: draft.hash,
        previous: None,
        masked: draft.masked,
        prefix: draft.prefix,
        is_active: draft.is_active,
        no_log: draft.no_log,
        allowed_models: draft.allowed_models,
        allowed_connections: draft.allowed_connections,
        scopes: draft.scopes,
        expires_at: draft.expires_at,
        revoked_at: None,
        max_body_bytes: draft.max_body_bytes,
        extras: draft.extras,
        last_used_at: None,
        created_at: write.at(),
        updated_at: write.at(),
        revision: write.revision(),
    };
    let statement = sql("INSERT INTO api_keys (id, name, hash, masked, prefix, is_active, no_log, allowed_models, \
         allowed_connections, scopes, expires_at, revoked_at, max_body_bytes, extras, updated_at, revision, \
         previous_hash, previous_until, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)");
    let statement = bind(statement, &record)?.bind(number(record.created_at.0));
    statement.execute(write.connection()).await.map_err(taken)?;
    write.note(KIND, record.id.as_str(), None, Some(state(&record)))?;
    Ok(record)
}

/// # Errors
/// `NotFound`, `Stale`, `Invalid`, `Conflict` when the new secret is another key's.
pub async fn update(write: &mut Write, id: &str, patch: KeyPatch) -> Result<KeyRecord, StoreError> {
    let old = read(write, id).await?;
    Write::expect_revision(KIND, id, patch.expected_revision, old.revision)?;
    let mut new = patched(old.clone(), patch);
    if new == old {
        return Ok(old);
    }
    new.updated_at = write.at();
    new.revision = write.revision();
    let statement = sql("UPDATE api_keys SET name = $2, hash = $3, masked = $4, prefix = $5, is_active = $6, \
         no_log = $7, allowed_models = $8, allowed_connections = $9, scopes = $10, expires_at = $11, \
         revoked_at = $12, max_body_bytes = $13, extras = $14, updated_at = $15, revision = $16, \
         previous_hash = $17, previous_until = $18 WHERE id = $1");
    bind(statement, &new)?.execute(write.connection()).await.map_err(taken)?;
    write.note(KIND, id, Some((old.revision, state(&old))), Some(state(&new)))?;
    Ok(new)
}

/// # Errors
/// `NotFound`.
pub async fn delete(write: &mut Write, id: &str) -> Result<(), StoreError> {
    let old = read(write, id).await?;
    sql("DELETE FROM api_keys WHERE id = $1").bind(id.to_owned()).execute(write.connection()).await?;
    write.note(KIND, id, Some((old.revision, state(&old))), None)
}

/// Keys that may use some connections only, as this transaction sees them.
///
/// # Errors
/// When the database fails.
pub async fn restricted(write: &mut Write) -> Result<Vec<KeyRecord>, StoreError> {
    let rows = sql(select!("WHERE k.allowed_connections <> '[]' ORDER BY k.id")).fetch_all(write.connection()).await?;
    rows.iter().map(record).collect()
}

/// As this transaction sees it.
///
/// # Errors
/// `NotFound`.
pub async fn read(write: &mut Write, id: &str) -> Result<KeyRecord, StoreError> {
    let row = sql(select!("WHERE k.id = $1")).bind(id.to_owned()).fetch_optional(write.connection()).await?;
    record(&row.ok_or_else(|| StoreError::not_found(KIND, id))?)
}

fn taken(error: sqlx::Error) -> StoreError {
    StoreError::of_insert(error, &[("hash", "key")])
}

/// Checks a record and binds it to `$1` … `$18`.
fn bind(statement: Query, record: &KeyRecord) -> Result<Query, StoreError> {
    limits::required("id", record.id.as_str(), limits::NAME)?;
    limits::required("name", &record.name, limits::NAME)?;
    Ok(statement
        .bind(record.id.as_str().to_owned())
        .bind(record.name.clone())
        .bind(record.hash.as_bytes().to_vec())
        .bind(record.masked.clone())
        .bind(record.prefix.clone())
        .bind(i64::from(record.is_active))
        .bind(i64::from(record.no_log))
        .bind(limits::json("allowedModels", &record.allowed_models)?)
        .bind(limits::json("allowedConnections", &record.allowed_connections)?)
        .bind(limits::json("scopes", &record.scopes)?)
        .bind(record.expires_at.map(|at| number(at.0)))
        .bind(record.revoked_at.map(|at| number(at.0)))
        .bind(record.max_body_bytes.map(number))
        .bind(limits::json("extras", &record.extras)?)
        .bind(number(record.updated_at.0))
        .bind(number(record.revision))
        .bind(record.previous.map(|previous| previous.hash.as_bytes().to_vec()))
        .bind(record.previous.map(|previous| number(previous.until.0))))
}

fn record(row: &AnyRow) -> Result<KeyRecord, StoreError> {
    let hash = row.blob("hash")?;
    let previous = row.opt_blob("previous_hash")?.and_then(|hash| KeyHash::from_slice(&hash));
    let until = row.opt_millis("previous_until")?;
    Ok(KeyRecord {
        id: ApiKeyId::from(row.text("id")?),
        name: row.text("name")?,
        hash: KeyHash::from_slice(&hash).ok_or_else(|| StoreError::Corrupt("hash of an API key".into()))?,
        previous: previous.zip(until).map(|(hash, until)| PreviousSecret { hash, until }),
        masked: row.text("masked")?,
        prefix: row.text("prefix")?,
        is_active: row.flag("is_active")?,
        no_log: row.flag("no_log")?,
        allowed_models: row.json("allowed_models")?,
        allowed_connections: row.json("allowed_connections")?,
        scopes: row.json("scopes")?,
        expires_at: row.opt_millis("expires_at")?,
        revoked_at: row.opt_millis("revoked_at")?,
        max_body_bytes: row.opt_u64("max_body_bytes")?,
        extras: row.json("extras")?,
        last_used_at: row.opt_millis("last_used_at")?,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        revision: row.u64("revision")?,
    })
}

fn patched(mut record: KeyRecord, patch: KeyPatch) -> KeyRecord {
    if let Some(secret) = patch.secret {
        record.previous = patch.overlap_until.map(|until| PreviousSecret { hash: record.hash, until });
        record.hash = secret.hash;
        record.masked = secret.masked;
        record.prefix = secret.prefix;
    }
    record.name = patch.name.unwrap_or(record.name);
    record.is_active = patch.is_active.unwrap_or(record.is_active);
    record.no_log = patch.no_log.unwrap_or(record.no_log);
    record.allowed_models = patch.allowed_models.unwrap_or(record.allowed_models);
    record.allowed_connections = patch.allowed_connections.unwrap_or(record.allowed_connections);
    record.scopes = patch.scopes.unwrap_or(record.scopes);
    record.expires_at = patch.expires_at.unwrap_or(record.expires_at);
    record.revoked_at = patch.revoked_at.unwrap_or(record.revoked_at);
    record.max_body_bytes = patch.max_body_bytes.unwrap_or(record.max_body_bytes);
    record.extras = patch.extras.unwrap_or(record.extras);
    record
}

fn state(record: &KeyRecord) -> Value {
    let at = |time: Option<UnixMillis>| time.map(|time| time.0);
    json!({
        "id": record.id,
        "name": record.name,
        "hash": record.hash.as_bytes().as_slice(),
        "previousHash": record.previous.map(|previous| previous.hash.as_bytes().to_vec()),
        "previousUntil": at(record.previous.map(|previous| previous.until)),
        "masked": record.masked,
        "prefix": record.prefix,
        "isActive": record.is_active,
        "noLog": record.no_log,
        "allowedModels": record.allowed_models,
        "allowedConnections": record.allowed_connections,
        "scopes": record.scopes,
        "expiresAt": at(record.expires_at),
        "revokedAt": at(record.revoked_at),
        "maxBodyBytes": record.max_body_bytes,
        "extras": record.extras,
        "createdAt": record.created_at,
    })
}
