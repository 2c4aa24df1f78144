//! The tables of connections: `connections`, whose secrets are sealed, and what the last test of each said.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omniroute_core::{
    id::{ConnectionId, ProviderId},
    sealed::{KeyRing, SealError},
    settings::Secret,
};
use omniroute_proto::Kind;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sqlx::any::AnyRow;

use super::record::{ConnectionDraft, ConnectionPatch, ConnectionRecord, TestRecord, Unopened};
use crate::store::{
    Columns as _, Query, SealedColumn, Store, StoreError, Write, limits, number,
    records::{Object, TimeoutsRecord},
    sealing, sql,
};

const KIND: &str = Kind::Connection.as_str();

const SECRET: SealedColumn = SealedColumn { table: "connections", column: "secret" };
const HEADERS: SealedColumn = SealedColumn { table: "connections", column: "headers" };
const PROVIDER_DATA: SealedColumn = SealedColumn { table: "connections", column: "provider_data" };

/// What is sealed of a connection.
pub const SEALED: [SealedColumn; 3] = [SECRET, HEADERS, PROVIDER_DATA];

/// The sealed values of a row, as they are stored.
#[derive(Default)]
struct Sealed {
    secret: Option<Vec<u8>>,
    headers: Option<Vec<u8>>,
    provider_data: Option<Vec<u8>>,
}

/// Reads connections.
pub struct Connections<'a>(&'a Store);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.provider, c.name, c.auth_type, c.priority, c.is_active, c.secret, c.base_url, c.headers, \
             c.provider_data, c.extras, c.connect_ms, c.first_byte_ms, c.idle_ms, c.total_ms, c.max_concurrent, \
             c.refreshes, c.created_at, c.updated_at, c.revision, \
             t.status, t.tested_at, t.latency_ms, t.error, t.error_code \
             FROM connections c LEFT JOIN connection_tests t ON t.connection_id = c.id ",
            $rest
        )
    };
}

// === impl Connections ===

impl<'a> Connections<'a> {
    pub const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// All, by provider, priority and id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<ConnectionRecord>, StoreError> {
        let rows = sql(select!("ORDER BY c.provider, c.priority, c.id")).fetch_all(self.0.reader()).await?;
        rows.iter().map(|row| record(row, self.0.ring())).collect()
    }

    /// Those of one provider or node, in the order in which they are tried.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn of_provider(&self, provider: &str) -> Result<Vec<ConnectionRecord>, StoreError> {
        let statement = sql(select!("WHERE c.provider = $1 ORDER BY c.priority, c.id")).bind(provider.to_owned());
        let rows = statement.fetch_all(self.0.reader()).await?;
        rows.iter().map(|row| record(row, self.0.ring())).collect()
    }

    /// `limit` of them after the first `offset`, in the order of [`Self::list`], and how many there are; of one provider
    /// or node, or of all.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn page(
        &self,
        provider: Option<&str>,
        limit: u64,
        offset: u64,
    ) -> Result<(Vec<ConnectionRecord>, u64), StoreError> {
        let (count, page) = match provider {
            Some(provider) => (
                sql("SELECT COUNT(*) AS n FROM connections WHERE provider = $1").bind(provider.to_owned()),
                sql(select!("WHERE c.provider = $1 ORDER BY c.priority, c.id LIMIT $2 OFFSET $3"))
                    .bind(provider.to_owned()),
            ),
            None => (
                sql("SELECT COUNT(*) AS n FROM connections"),
                sql(select!("ORDER BY c.provider, c.priority, c.id LIMIT $1 OFFSET $2")),
            ),
        };
        let mut tx = self.0.read().await?;
        let total = count.fetch_one(&mut *tx).await?.u64("n")?;
        let rows = page.bind(number(limit)).bind(number(offset)).fetch_all(&mut *tx).await?;
        let records = rows.iter().map(|row| record(row, self.0.ring())).collect::<Result<_, _>>()?;
        Ok((records, total))
    }

    /// # Errors
    /// `NotFound`, or as [`Self::list`].
    pub async fn get(&self, id: &str) -> Result<ConnectionRecord, StoreError> {
        let statement = sql(select!("WHERE c.id = $1")).bind(id.to_owned());
        let row = statement.fetch_optional(self.0.reader()).await?;
        record(&row.ok_or_else(|| StoreError::not_found(KIND, id))?, self.0.ring())
    }

    /// A connection and its secret, empty where there is none, or where it does not open (see [`ConnectionRecord::unopened`]).
    /// `has_new_secret`: the stored one does not matter.
    ///
    /// # Errors
    /// `NotFound`; `RingIncomplete` when something of it is sealed with a key that another control plane has, or had within a
    /// day: what that one can open is not damaged.
    pub async fn opened(&self, id: &str, has_new_secret: bool) -> Result<(ConnectionRecord, Secret), StoreError> {
        let mut connection = self.0.reader().acquire().await?;
        let statement = sql(select!("WHERE c.id = $1")).bind(id.to_owned());
        let row = statement.fetch_optional(&mut *connection).await?.ok_or_else(|| StoreError::not_found(KIND, id))?;
        for column in SEALED {
            let matters = !(column.column == SECRET.column && has_new_secret);
            let Some(sealed) = row.opt_blob(column.column)?.filter(|_| matters) else { continue };
            if let Err(SealError::UnknownKey(key)) = self.0.ring().open(column.of(id), &sealed)
                && self.0.is_elsewhere(&mut connection, &key).await?
            {
                return Err(StoreError::RingIncomplete(key));
            }
        }
        let record = record(&row, self.0.ring())?;
        let secret = if record.unopened.secret { Secret::default() } else { open_secret(&row, id, self.0.ring())? };
        Ok((record, secret))
    }

    /// The secret itself, for a call upstream. Empty when there is none.
    ///
    /// # Errors
    /// `NotFound`, or when the value does not open.
    pub async fn secret(&self, id: &str) -> Result<Secret, StoreError> {
        let statement = sql("SELECT secret FROM connections WHERE id = $1").bind(id.to_owned());
        let row = statement.fetch_optional(self.0.reader()).await?;
        open_secret(&row.ok_or_else(|| StoreError::not_found(KIND, id))?, id, self.0.ring())
    }

    /// Keeps what a test said. No revision: proxies do not care.
    ///
    /// # Errors
    /// `NotFound` when the connection is gone.
    pub async fn record_test(&self, id: &str, test: &TestRecord) -> Result<(), StoreError> {
        let done =
            sql("INSERT INTO connection_tests (connection_id, status, tested_at, latency_ms, error, error_code) \
             SELECT id, $2, $3, $4, $5, $6 FROM connections WHERE id = $1 \
             ON CONFLICT (connection_id) DO UPDATE SET status = excluded.status, tested_at = excluded.tested_at, \
             latency_ms = excluded.latency_ms, error = excluded.error, error_code = excluded.error_code")
            .bind(id.to_owned())
            .bind(test.status.clone())
            .bind(test.tested_at.map(|at| number(at.0)))
            .bind(test.latency_ms.map(number))
            .bind(test.error.as_ref().map(|error| error.replace(char::is_control, " ")))
            .bind(test.error_code.clone())
            .execute(self.0.writer())
            .await?;
        if done.rows_affected() == 0 { Err(StoreError::not_found(KIND, id)) } else { Ok(()) }
    }
}

/// # Errors
/// `Invalid` for a field, `Conflict` when the id is taken.
pub async fn create(write: &mut Write, draft: ConnectionDraft) -> Result<ConnectionRecord, StoreError> {
    let id = draft.id.clone().unwrap_or_else(ConnectionId::generate);
    limits::required("id", id.as_str(), limits::NAME)?;
    limits::required("provider", draft.provider.as_str(), limits::NAME)?;
    let priority = match draft.priority {
        Some(priority) => priority,
        None => next_priority(write, draft.provider.as_str()).await?,
    };
    let record = ConnectionRecord {
        id,
        provider: draft.provider,
        name: draft.name,
        auth_type: draft.auth_type,
        priority,
        is_active: draft.is_active,
        has_secret: draft.secret.is_set(),
        base_url: draft.base_url,
        headers: draft.headers,
        provider_data: draft.provider_data,
        extras: draft.extras,
        timeouts: draft.timeouts,
        max_concurrent: draft.max_concurrent,
        unopened: Unopened::default(),
        test: TestRecord::default(),
        created_at: write.at(),
        updated_at: write.at(),
        revision: write.revision(),
    };
    let statement = sql("INSERT INTO connections (id, provider, name, auth_type, priority, is_active, secret, \
         base_url, headers, provider_data, extras, connect_ms, first_byte_ms, idle_ms, total_ms, max_concurrent, \
         updated_at, revision, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)");
    let sealed = seal(write, &record, &draft.secret)?;
    let statement = bind(statement, &record, &draft.secret, sealed)?.bind(number(record.created_at.0));
    statement.execute(write.connection()).await.map_err(|error| StoreError::of_insert(error, &[]))?;
    write.note(KIND, record.id.as_str(), None, Some(state(&record, &draft.secret, None)))?;
    Ok(record)
}

/// What does not open here and is not replaced stays as it is stored: its master key may come back.
///
/// # Errors
/// `NotFound`, `Stale`, `Invalid`; `RingIncomplete` when something of it is sealed with a key that another control plane
/// has: an edit here would be made without knowing what it edits.
pub async fn update(write: &mut Write, id: &str, patch: ConnectionPatch) -> Result<ConnectionRecord, StoreError> {
    let row = read(write, id).await?;
    let old = record(&row, write.ring())?;
    let old_secret = open_secret(&row, id, write.ring()).unwrap_or_default();
    Write::expect_revision(KIND, id, patch.expected_revision, old.revision)?;
    let locked = locked(write, &row, id, patch.secret.is_some()).await?;
    let kept = Sealed {
        secret: locked.secret.clone().filter(|_| patch.secret.is_none()),
        headers: locked.headers.clone().filter(|_| patch.headers.is_none()),
        provider_data: locked.provider_data.clone().filter(|_| patch.provider_data.is_none()),
    };
    let secret = patch.secret.clone().unwrap_or_else(|| old_secret.clone());
    let mut new = patched(old.clone(), patch);
    new.has_secret = secret.is_set() || kept.secret.is_some();
    new.unopened = kept.unopened();
    if new == old && secret == old_secret {
        return Ok(old);
    }
    new.updated_at = write.at();
    new.revision = write.revision();
    let statement = sql("UPDATE connections SET provider = $2, name = $3, auth_type = $4, priority = $5, \
         is_active = $6, secret = $7, base_url = $8, headers = $9, provider_data = $10, extras = $11, \
         connect_ms = $12, first_byte_ms = $13, idle_ms = $14, total_ms = $15, max_concurrent = $16, \
         updated_at = $17, revision = $18 WHERE id = $1");
    let sealed = seal(write, &new, &secret)?;
    let sealed = Sealed {
        secret: kept.secret.clone().or(sealed.secret),
        headers: kept.headers.clone().or(sealed.headers),
        provider_data: kept.provider_data.clone().or(sealed.provider_data),
    };
    bind(statement, &new, &secret, sealed)?.execute(write.connection()).await?;
    let before = state(&old, &old_secret, Some(&locked));
    write.note(KIND, id, Some((old.revision, before)), Some(state(&new, &secret, Some(&kept))))?;
    Ok(new)
}

/// Notes whether the connection's secret is renewed by itself.
///
/// # Errors
/// `NotFound`.
pub async fn set_refreshes(write: &mut Write, id: &str, refreshes: bool) -> Result<(), StoreError> {
    let row = read(write, id).await?;
    if row.flag("refreshes")? == refreshes {
        return Ok(());
    }
    let old = record(&row, write.ring())?;
    let secret = open_secret(&row, id, write.ring()).unwrap_or_default();
    let locked = locked(write, &row, id, false).await?;
    sql("UPDATE connections SET refreshes = $2, updated_at = $3, revision = $4 WHERE id = $1")
        .bind(id.to_owned())
        .bind(i64::from(refreshes))
        .bind(number(write.at().0))
        .bind(number(write.revision()))
        .execute(write.connection())
        .await?;
    let state = state(&old, &secret, Some(&locked));
    write.note(KIND, id, Some((old.revision, state.clone())), Some(state))
}

/// # Errors
/// `NotFound`.
pub async fn delete(write: &mut Write, id: &str) -> Result<(), StoreError> {
    let row = read(write, id).await?;
    sql("DELETE FROM connections WHERE id = $1").bind(id.to_owned()).execute(write.connection()).await?;
    note_deletion(write, &row)
}

/// Deletes every connection of a provider or node. Returns how many.
///
/// # Errors
/// When the database fails.
pub async fn delete_of_provider(write: &mut Write, provider: &str) -> Result<usize, StoreError> {
    let statement = sql(select!("WHERE c.provider = $1")).bind(provider.to_owned());
    let rows = statement.fetch_all(write.connection()).await?;
    for row in &rows {
        note_deletion(write, row)?;
    }
    sql("DELETE FROM connections WHERE provider = $1").bind(provider.to_owned()).execute(write.connection()).await?;
    Ok(rows.len())
}

/// Those of one provider or node as this transaction sees them.
///
/// # Errors
/// When the database fails.
pub async fn of_provider(write: &mut Write, provider: &str) -> Result<Vec<ConnectionRecord>, StoreError> {
    let statement = sql(select!("WHERE c.provider = $1 ORDER BY c.priority, c.id")).bind(provider.to_owned());
    let rows = statement.fetch_all(write.connection()).await?;
    rows.iter().map(|row| record(row, write.ring())).collect()
}

/// Whether there is one with this id, as this transaction sees it.
///
/// # Errors
/// When the database fails.
pub async fn exists(write: &mut Write, id: &str) -> Result<bool, StoreError> {
    let statement = sql("SELECT 1 AS one FROM connections WHERE id = $1").bind(id.to_owned());
    Ok(statement.fetch_optional(write.connection()).await?.is_some())
}

async fn next_priority(write: &mut Write, provider: &str) -> Result<i32, StoreError> {
    let statement = sql("SELECT COALESCE(MAX(priority), 0) AS last FROM connections WHERE provider = $1");
    let row = statement.bind(provider.to_owned()).fetch_one(write.connection()).await?;
    Ok(row.i32("last")?.saturating_add(1))
}

/// The row as this transaction sees it.
async fn read(write: &mut Write, id: &str) -> Result<AnyRow, StoreError> {
    let statement = sql(select!("WHERE c.id = $1")).bind(id.to_owned());
    let row = statement.fetch_optional(write.connection()).await?;
    row.ok_or_else(|| StoreError::not_found(KIND, id))
}

/// What of a row does not open: damaged, or sealed with a master key that no control plane has any more. A secret that is
/// entered anew may be sealed with any; the rest is edited in parts, which takes the whole.
async fn locked(write: &mut Write, row: &AnyRow, id: &str, has_new_secret: bool) -> Result<Sealed, StoreError> {
    let mut locked = Sealed::default();
    let columns =
        [(SECRET, &mut locked.secret), (HEADERS, &mut locked.headers), (PROVIDER_DATA, &mut locked.provider_data)];
    for (column, locked) in columns {
        let Some(sealed) = row.opt_blob(column.column)? else { continue };
        let opened = write.ring().open(column.of(id), &sealed).map(drop);
        match opened {
            Ok(()) => {}
            Err(SealError::UnknownKey(key))
                if !(column.column == SECRET.column && has_new_secret) && write.is_elsewhere(&key).await? =>
            {
                return Err(StoreError::RingIncomplete(key));
            }
            Err(_) => *locked = Some(sealed),
        }
    }
    Ok(locked)
}

fn note_deletion(write: &mut Write, row: &AnyRow) -> Result<(), StoreError> {
    let old = record(row, write.ring())?;
    let secret = open_secret(row, old.id.as_str(), write.ring()).unwrap_or_default();
    let sealed = Sealed {
        secret: row.opt_blob(SECRET.column)?,
        headers: row.opt_blob(HEADERS.column)?,
        provider_data: row.opt_blob(PROVIDER_DATA.column)?,
    };
    let state = state(&old, &secret, Some(&sealed).filter(|_| old.unopened.is_any()));
    write.note(KIND, old.id.as_str(), Some((old.revision, state)), None)
}

fn seal(write: &Write, record: &ConnectionRecord, secret: &Secret) -> Result<Sealed, StoreError> {
    let id = record.id.as_str();
    let secret =
        secret.is_set().then(|| sealing::seal(write.ring(), SECRET.of(id), secret.expose().as_bytes())).transpose()?;
    Ok(Sealed {
        secret,
        headers: seal_json(write, HEADERS, id, &record.headers, record.headers.is_empty())?,
        provider_data: seal_json(write, PROVIDER_DATA, id, &record.provider_data, record.provider_data.is_empty())?,
    })
}

// === impl Sealed ===

impl Sealed {
    fn is_empty(&self) -> bool {
        !self.unopened().is_any()
    }

    /// Of values that are there because they do not open.
    fn unopened(&self) -> Unopened {
        Unopened {
            secret: self.secret.is_some(),
            headers: self.headers.is_some(),
            provider_data: self.provider_data.is_some(),
        }
    }

    /// For the log, which is sealed itself.
    fn to_json(&self) -> Value {
        let text = |sealed: &Option<Vec<u8>>| sealed.as_ref().map(|sealed| STANDARD.encode(sealed));
        json!({
            "secret": text(&self.secret),
            "headers": text(&self.headers),
            "providerSpecificData": text(&self.provider_data),
        })
    }
}

/// Checks a record and binds it to `$1` … `$18`.
fn bind(statement: Query, record: &ConnectionRecord, secret: &Secret, sealed: Sealed) -> Result<Query, StoreError> {
    limits::required("name", &record.name, limits::NAME)?;
    limits::required("authType", &record.auth_type, limits::NAME)?;
    limits::optional("baseUrl", record.base_url.as_deref(), limits::URL)?;
    limits::secret("apiKey", secret)?;
    Ok(statement
        .bind(record.id.as_str().to_owned())
        .bind(record.provider.as_str().to_owned())
        .bind(record.name.clone())
        .bind(record.auth_type.clone())
        .bind(i64::from(record.priority))
        .bind(i64::from(record.is_active))
        .bind(sealed.secret)
        .bind(record.base_url.clone())
        .bind(sealed.headers)
        .bind(sealed.provider_data)
        .bind(limits::json("extras", &record.extras)?)
        .bind(number(record.timeouts.connect_ms))
        .bind(number(record.timeouts.first_byte_ms))
        .bind(number(record.timeouts.idle_ms))
        .bind(number(record.timeouts.total_ms))
        .bind(record.max_concurrent.map(i64::from))
        .bind(number(record.updated_at.0))
        .bind(number(record.revision)))
}

fn seal_json<T: Serialize>(
    write: &Write,
    column: SealedColumn,
    id: &str,
    value: &T,
    is_empty: bool,
) -> Result<Option<Vec<u8>>, StoreError> {
    if is_empty {
        return Ok(None);
    }
    let json = zeroize::Zeroizing::new(limits::json(column.column, value)?);
    sealing::seal(write.ring(), column.of(id), json.as_bytes()).map(Some)
}

/// Which of the sealed values of a row do not open.
pub(super) fn unopened(row: &AnyRow, id: &str, ring: &KeyRing) -> Unopened {
    Unopened {
        secret: open_secret(row, id, ring).is_err(),
        headers: open_json::<BTreeMap<String, String>>(row, HEADERS, id, ring).is_err(),
        provider_data: open_json::<Object>(row, PROVIDER_DATA, id, ring).is_err(),
    }
}

/// The sealed values of a row: secret, headers and `providerSpecificData`.
pub(super) fn opened(
    row: &AnyRow,
    id: &str,
    ring: &KeyRing,
) -> Result<(Secret, BTreeMap<String, String>, Object), StoreError> {
    Ok((open_secret(row, id, ring)?, open_json(row, HEADERS, id, ring)?, open_json(row, PROVIDER_DATA, id, ring)?))
}

/// A value that does not open is left out and flagged: one damaged row must not hide the others.
fn record(row: &AnyRow, ring: &KeyRing) -> Result<ConnectionRecord, StoreError> {
    let id = row.text("id")?;
    let headers = open_json(row, HEADERS, &id, ring);
    let provider_data = open_json(row, PROVIDER_DATA, &id, ring);
    let unopened = Unopened {
        secret: open_secret(row, &id, ring).is_err(),
        headers: headers.is_err(),
        provider_data: provider_data.is_err(),
    };
    Ok(ConnectionRecord {
        id: ConnectionId::from(id),
        provider: ProviderId::from(row.text("provider")?),
        name: row.text("name")?,
        auth_type: row.text("auth_type")?,
        priority: row.i32("priority")?,
        is_active: row.flag("is_active")?,
        has_secret: row.opt_blob("secret")?.is_some(),
        base_url: row.opt_text("base_url")?,
        headers: headers.unwrap_or_default(),
        provider_data: provider_data.unwrap_or_default(),
        extras: row.json("extras")?,
        timeouts: TimeoutsRecord {
            connect_ms: row.u64("connect_ms")?,
            first_byte_ms: row.u64("first_byte_ms")?,
            idle_ms: row.u64("idle_ms")?,
            total_ms: row.u64("total_ms")?,
        },
        max_concurrent: row.opt_u64("max_concurrent")?.and_then(|limit| u32::try_from(limit).ok()),
        unopened,
        test: TestRecord {
            status: row.opt_text("status")?.unwrap_or_default(),
            tested_at: row.opt_millis("tested_at")?,
            latency_ms: row.opt_u64("latency_ms")?,
            error: row.opt_text("error")?,
            error_code: row.opt_text("error_code")?,
        },
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        revision: row.u64("revision")?,
    })
}

fn open_secret(row: &AnyRow, id: &str, ring: &KeyRing) -> Result<Secret, StoreError> {
    let Some(sealed) = row.opt_blob("secret")? else {
        return Ok(Secret::default());
    };
    let plain = sealing::open(ring, SECRET.of(id), &sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| StoreError::Corrupt(format!("secret of connection {id}")))?;
    Ok(Secret::new(text))
}

fn open_json<T: DeserializeOwned + Default>(
    row: &AnyRow,
    column: SealedColumn,
    id: &str,
    ring: &KeyRing,
) -> Result<T, StoreError> {
    let Some(sealed) = row.opt_blob(column.column)? else {
        return Ok(T::default());
    };
    let plain = sealing::open(ring, column.of(id), &sealed)?;
    serde_json::from_slice(&plain).map_err(|_| StoreError::Corrupt(format!("{} of connection {id}", column.column)))
}

fn patched(mut record: ConnectionRecord, patch: ConnectionPatch) -> ConnectionRecord {
    record.name = patch.name.unwrap_or(record.name);
    record.auth_type = patch.auth_type.unwrap_or(record.auth_type);
    record.priority = patch.priority.unwrap_or(record.priority);
    record.is_active = patch.is_active.unwrap_or(record.is_active);
    record.base_url = patch.base_url.unwrap_or(record.base_url);
    record.headers = patch.headers.unwrap_or(record.headers);
    record.provider_data = patch.provider_data.unwrap_or(record.provider_data);
    record.extras = patch.extras.unwrap_or(record.extras);
    record.timeouts = patch.timeouts.unwrap_or(record.timeouts);
    record.max_concurrent = patch.max_concurrent.unwrap_or(record.max_concurrent);
    record
}

/// Everything that brings the connection back, for the sealed log. `locked`: stored values that did not open, as they are.
fn state(record: &ConnectionRecord, secret: &Secret, locked: Option<&Sealed>) -> Value {
    let mut state = json!({
        "id": record.id,
        "provider": record.provider,
        "name": record.name,
        "authType": record.auth_type,
        "priority": record.priority,
        "isActive": record.is_active,
        "secret": secret.expose(),
        "baseUrl": record.base_url,
        "headers": record.headers,
        "providerSpecificData": record.provider_data,
        "extras": record.extras,
        "timeouts": {
            "connectMs": record.timeouts.connect_ms,
            "firstByteMs": record.timeouts.first_byte_ms,
            "idleMs": record.timeouts.idle_ms,
            "totalMs": record.timeouts.total_ms,
        },
        "maxConcurrent": record.max_concurrent,
        "createdAt": record.created_at,
    });
    if let Some(locked) = locked.filter(|locked| !locked.is_empty()) {
        state["locked"] = locked.to_json();
    }
    state
}
