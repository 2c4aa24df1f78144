//! The tables of outbound proxies, whose credentials are sealed, and of assignments.

use omniroute_core::{sealed::SealError, settings::Secret};
use omniroute_proto::Kind;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::record::{AssignmentRecord, Credentials, ProxyDraft, ProxyPatch, ProxyRecord, Scope};
use crate::store::{Columns as _, Query, SealedColumn, Store, StoreError, Write, limits, number, sealing, sql};

const PROXY: &str = Kind::OutboundProxy.as_str();
const ASSIGNMENT: &str = Kind::ProxyAssignment.as_str();

const USERNAME: SealedColumn = SealedColumn { table: "outbound_proxies", column: "username" };
const PASSWORD: SealedColumn = SealedColumn { table: "outbound_proxies", column: "password" };

/// What is sealed of a proxy.
pub const SEALED: [SealedColumn; 2] = [USERNAME, PASSWORD];

/// Reads proxies and assignments.
pub struct Proxies<'a>(&'a Store);

/// What to list of the assignments.
#[derive(Clone, Debug, Default)]
pub struct AssignmentFilter {
    pub proxy_id: Option<String>,
    pub scope: Option<String>,
    pub scope_id: Option<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.kind, p.host, p.port, p.username, p.password, p.region, p.notes, p.status, p.source, \
             p.family, p.created_at, p.updated_at, p.revision FROM outbound_proxies p ",
            $rest
        )
    };
}

macro_rules! select_assignments {
    ($rest:literal) => {
        concat!("SELECT proxy_id, scope, scope_id, created_at, updated_at, revision FROM proxy_assignments ", $rest)
    };
}

// === impl Proxies ===

impl<'a> Proxies<'a> {
    pub const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// `limit` of them after the first `offset`, those that were changed last first, and how many there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn page(&self, limit: u64, offset: u64) -> Result<(Vec<ProxyRecord>, u64), StoreError> {
        let mut tx = self.0.read().await?;
        let total = sql("SELECT COUNT(*) AS n FROM outbound_proxies").fetch_one(&mut *tx).await?.u64("n")?;
        let page = sql(select!("ORDER BY p.updated_at DESC, p.name, p.id LIMIT $1 OFFSET $2"));
        let rows = page.bind(number(limit)).bind(number(offset)).fetch_all(&mut *tx).await?;
        Ok((rows.iter().map(record).collect::<Result<_, _>>()?, total))
    }

    /// All, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<ProxyRecord>, StoreError> {
        let rows = sql(select!("ORDER BY p.name, p.id")).fetch_all(self.0.reader()).await?;
        rows.iter().map(record).collect()
    }

    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &str) -> Result<ProxyRecord, StoreError> {
        let row = sql(select!("WHERE p.id = $1")).bind(id.to_owned()).fetch_optional(self.0.reader()).await?;
        record(&row.ok_or_else(|| StoreError::not_found(PROXY, id))?)
    }

    /// User name and password themselves.
    ///
    /// # Errors
    /// `NotFound`, or when they do not open.
    pub async fn credentials(&self, id: &str) -> Result<Credentials, StoreError> {
        let statement = sql("SELECT username, password FROM outbound_proxies WHERE id = $1").bind(id.to_owned());
        let row = statement.fetch_optional(self.0.reader()).await?;
        opened(&row.ok_or_else(|| StoreError::not_found(PROXY, id))?, id, self.0)
    }

    /// Those that match, by scope.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn assignments(&self, filter: &AssignmentFilter) -> Result<Vec<AssignmentRecord>, StoreError> {
        let statement = sql(select_assignments!(
            "WHERE ($1 = '' OR proxy_id = $1) AND ($2 = '' OR scope = $2) AND ($3 = '' OR scope_id = $3) \
             ORDER BY scope, scope_id"
        ));
        let rows = statement
            .bind(filter.proxy_id.clone().unwrap_or_default())
            .bind(filter.scope.clone().unwrap_or_default())
            .bind(filter.scope_id.clone().unwrap_or_default())
            .fetch_all(self.0.reader())
            .await?;
        rows.iter().map(assignment).collect()
    }

    /// Those that may apply to a connection of a provider: its own, its provider's, the one of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn applying(&self, connection: &str, provider: &str) -> Result<Vec<AssignmentRecord>, StoreError> {
        let statement = sql(select_assignments!(
            "WHERE scope = 'global' OR (scope = 'account' AND scope_id = $1) OR (scope = 'provider' AND scope_id = $2)"
        ));
        let rows = statement.bind(connection.to_owned()).bind(provider.to_owned()).fetch_all(self.0.reader()).await?;
        rows.iter().map(assignment).collect()
    }
}

/// # Errors
/// `Invalid` for a field.
pub async fn create(write: &mut Write, draft: ProxyDraft) -> Result<ProxyRecord, StoreError> {
    let id = Uuid::new_v4().to_string();
    let record = ProxyRecord {
        id,
        name: draft.name,
        kind: draft.kind,
        host: draft.host,
        port: draft.port,
        has_username: draft.credentials.username.is_set(),
        has_password: draft.credentials.password.is_set(),
        region: draft.region,
        notes: draft.notes,
        status: draft.status,
        source: draft.source,
        family: draft.family,
        created_at: write.at(),
        updated_at: write.at(),
        revision: write.revision(),
    };
    let sealed = Sealed {
        username: seal(write, USERNAME, &record.id, &draft.credentials.username)?,
        password: seal(write, PASSWORD, &record.id, &draft.credentials.password)?,
    };
    let statement =
        sql("INSERT INTO outbound_proxies (id, name, kind, host, port, username, password, region, notes, \
         status, source, family, updated_at, revision, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)");
    let statement = bind(statement, &record, sealed)?.bind(number(record.created_at.0));
    statement.execute(write.connection()).await.map_err(|error| StoreError::of_insert(error, &[]))?;
    write.note(PROXY, &record.id, None, Some(state(&record, &draft.credentials)))?;
    Ok(record)
}

/// What does not open here and is not replaced stays as it is stored: its master key may come back.
///
/// # Errors
/// `NotFound`, `Invalid`; `RingIncomplete` when another control plane has the key that what is kept is sealed with.
pub async fn update(write: &mut Write, id: &str, patch: ProxyPatch) -> Result<ProxyRecord, StoreError> {
    let row = read(write, id).await?;
    let old = record(&row)?;
    let mut sealed = Sealed { username: row.opt_blob("username")?, password: row.opt_blob("password")? };
    let before = Credentials {
        username: kept(write, USERNAME, id, sealed.username.as_deref(), patch.username.is_some()).await?,
        password: kept(write, PASSWORD, id, sealed.password.as_deref(), patch.password.is_some()).await?,
    };
    let mut after = before.clone();
    if let Some(username) = patch.username.clone() {
        sealed.username = seal(write, USERNAME, id, &username)?;
        after.username = username;
    }
    if let Some(password) = patch.password.clone() {
        sealed.password = seal(write, PASSWORD, id, &password)?;
        after.password = password;
    }
    let mut new = patched(old.clone(), patch);
    (new.has_username, new.has_password) = (sealed.username.is_some(), sealed.password.is_some());
    if new == old && after == before {
        return Ok(old);
    }
    new.updated_at = write.at();
    new.revision = write.revision();
    let statement = sql("UPDATE outbound_proxies SET name = $2, kind = $3, host = $4, port = $5, username = $6, \
         password = $7, region = $8, notes = $9, status = $10, source = $11, family = $12, updated_at = $13, \
         revision = $14 WHERE id = $1");
    bind(statement, &new, sealed)?.execute(write.connection()).await?;
    write.note(PROXY, id, Some((old.revision, state(&old, &before))), Some(state(&new, &after)))?;
    Ok(new)
}

/// The proxy must have no assignments.
///
/// # Errors
/// `NotFound`.
pub async fn delete(write: &mut Write, id: &str) -> Result<(), StoreError> {
    let row = read(write, id).await?;
    let old = record(&row)?;
    let credentials = opened(&row, id, write.store()).unwrap_or_default();
    sql("DELETE FROM outbound_proxies WHERE id = $1").bind(id.to_owned()).execute(write.connection()).await?;
    write.note(PROXY, id, Some((old.revision, state(&old, &credentials))), None)
}

/// The proxy as this transaction sees it.
///
/// # Errors
/// When the database fails.
pub async fn find(write: &mut Write, id: &str) -> Result<Option<ProxyRecord>, StoreError> {
    let row = sql(select!("WHERE p.id = $1")).bind(id.to_owned()).fetch_optional(write.connection()).await?;
    row.as_ref().map(record).transpose()
}

/// The assignment of a scope as this transaction sees it.
///
/// # Errors
/// When the database fails.
pub async fn find_assignment(write: &mut Write, scope: &Scope) -> Result<Option<AssignmentRecord>, StoreError> {
    let statement = sql(select_assignments!("WHERE id = $1")).bind(scope.assignment_id());
    let row = statement.fetch_optional(write.connection()).await?;
    row.as_ref().map(assignment).transpose()
}

/// Assignments to a proxy as this transaction sees them.
///
/// # Errors
/// When the database fails.
pub async fn assignments_of(write: &mut Write, proxy: &str) -> Result<Vec<AssignmentRecord>, StoreError> {
    let statement = sql(select_assignments!("WHERE proxy_id = $1 ORDER BY scope, scope_id")).bind(proxy.to_owned());
    let rows = statement.fetch_all(write.connection()).await?;
    rows.iter().map(assignment).collect()
}

/// Has what is in `scope` go through this proxy, and no longer through another. The proxy must exist.
///
/// # Errors
/// `Invalid` when the scope's id is too long.
pub async fn assign(write: &mut Write, scope: Scope, proxy: &str) -> Result<AssignmentRecord, StoreError> {
    let id = scope.assignment_id();
    limits::required("scopeId", &id, limits::NAME)?;
    let old = find_assignment(write, &scope).await?;
    if let Some(old) = &old
        && old.proxy_id == proxy
    {
        return Ok(old.clone());
    }
    let record = AssignmentRecord {
        proxy_id: proxy.to_owned(),
        created_at: old.as_ref().map_or(write.at(), |old| old.created_at),
        scope,
        updated_at: write.at(),
        revision: write.revision(),
    };
    sql("INSERT INTO proxy_assignments (id, proxy_id, scope, scope_id, created_at, updated_at, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET proxy_id = excluded.proxy_id, \
         updated_at = excluded.updated_at, revision = excluded.revision")
    .bind(id.clone())
    .bind(record.proxy_id.clone())
    .bind(record.scope.word())
    .bind(record.scope.id().unwrap_or_default().to_owned())
    .bind(number(record.created_at.0))
    .bind(number(record.updated_at.0))
    .bind(number(record.revision))
    .execute(write.connection())
    .await?;
    let before = old.map(|old| (old.revision, assignment_state(&old)));
    write.note(ASSIGNMENT, &id, before, Some(assignment_state(&record)))?;
    Ok(record)
}

/// Takes the assignment of a scope away, and returns it if there was one.
///
/// # Errors
/// When the database fails.
pub async fn unassign(write: &mut Write, scope: &Scope) -> Result<Option<AssignmentRecord>, StoreError> {
    let Some(old) = find_assignment(write, scope).await? else { return Ok(None) };
    let id = scope.assignment_id();
    sql("DELETE FROM proxy_assignments WHERE id = $1").bind(id.clone()).execute(write.connection()).await?;
    write.note(ASSIGNMENT, &id, Some((old.revision, assignment_state(&old))), None)?;
    Ok(Some(old))
}

/// The sealed values of a row, as they are stored.
struct Sealed {
    username: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

async fn read(write: &mut Write, id: &str) -> Result<AnyRow, StoreError> {
    let row = sql(select!("WHERE p.id = $1")).bind(id.to_owned()).fetch_optional(write.connection()).await?;
    row.ok_or_else(|| StoreError::not_found(PROXY, id))
}

/// A stored value; empty where it does not open.
async fn kept(
    write: &mut Write,
    column: SealedColumn,
    id: &str,
    sealed: Option<&[u8]>,
    is_replaced: bool,
) -> Result<Secret, StoreError> {
    let Some(sealed) = sealed else { return Ok(Secret::default()) };
    let opened = write.ring().open(column.of(id), sealed);
    match opened {
        Ok(plain) => secret(&plain, id),
        Err(SealError::UnknownKey(key)) if !is_replaced && write.is_elsewhere(&key).await? => {
            Err(StoreError::RingIncomplete(key))
        }
        Err(_) => Ok(Secret::default()),
    }
}

/// User name and password of a row.
pub(super) fn opened(row: &AnyRow, id: &str, store: &Store) -> Result<Credentials, StoreError> {
    let open = |column: SealedColumn| match row.opt_blob(column.column)? {
        Some(sealed) => secret(&sealing::open(store.ring(), column.of(id), &sealed)?, id),
        None => Ok(Secret::default()),
    };
    Ok(Credentials { username: open(USERNAME)?, password: open(PASSWORD)? })
}

fn secret(plain: &[u8], id: &str) -> Result<Secret, StoreError> {
    let text = std::str::from_utf8(plain);
    text.map(Secret::new).map_err(|_| StoreError::Corrupt(format!("credentials of outbound proxy {id}")))
}

fn seal(write: &Write, column: SealedColumn, id: &str, value: &Secret) -> Result<Option<Vec<u8>>, StoreError> {
    value.is_set().then(|| sealing::seal(write.ring(), column.of(id), value.expose().as_bytes())).transpose()
}

/// Checks a record and binds it to `$1` … `$14`.
fn bind(statement: Query, record: &ProxyRecord, sealed: Sealed) -> Result<Query, StoreError> {
    limits::required("name", &record.name, limits::NAME)?;
    limits::required("host", &record.host, limits::NAME)?;
    limits::optional("region", record.region.as_deref(), limits::NAME)?;
    limits::optional("notes", record.notes.as_deref(), limits::URL)?;
    Ok(statement
        .bind(record.id.clone())
        .bind(record.name.clone())
        .bind(record.kind.clone())
        .bind(record.host.clone())
        .bind(i64::from(record.port))
        .bind(sealed.username)
        .bind(sealed.password)
        .bind(record.region.clone())
        .bind(record.notes.clone())
        .bind(record.status.clone())
        .bind(record.source.clone())
        .bind(record.family.clone())
        .bind(number(record.updated_at.0))
        .bind(number(record.revision)))
}

fn record(row: &AnyRow) -> Result<ProxyRecord, StoreError> {
    Ok(ProxyRecord {
        id: row.text("id")?,
        name: row.text("name")?,
        kind: row.text("kind")?,
        host: row.text("host")?,
        port: u16::try_from(row.u64("port")?).unwrap_or_default(),
        has_username: row.opt_blob("username")?.is_some(),
        has_password: row.opt_blob("password")?.is_some(),
        region: row.opt_text("region")?,
        notes: row.opt_text("notes")?,
        status: row.text("status")?,
        source: row.text("source")?,
        family: row.text("family")?,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        revision: row.u64("revision")?,
    })
}

fn assignment(row: &AnyRow) -> Result<AssignmentRecord, StoreError> {
    let (word, id) = (row.text("scope")?, row.text("scope_id")?);
    let scope = Scope::of(&word, &id).ok_or_else(|| StoreError::Corrupt(format!("scope `{word}` of an assignment")))?;
    Ok(AssignmentRecord {
        proxy_id: row.text("proxy_id")?,
        scope,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        revision: row.u64("revision")?,
    })
}

fn patched(mut record: ProxyRecord, patch: ProxyPatch) -> ProxyRecord {
    record.name = patch.name.unwrap_or(record.name);
    record.kind = patch.kind.unwrap_or(record.kind);
    record.host = patch.host.unwrap_or(record.host);
    record.port = patch.port.unwrap_or(record.port);
    record.region = patch.region.unwrap_or(record.region);
    record.notes = patch.notes.unwrap_or(record.notes);
    record.status = patch.status.unwrap_or(record.status);
    record.source = patch.source.unwrap_or(record.source);
    record.family = patch.family.unwrap_or(record.family);
    record
}

/// Everything that brings the proxy back, for the sealed log.
fn state(record: &ProxyRecord, credentials: &Credentials) -> Value {
    json!({
        "id": record.id,
        "name": record.name,
        "type": record.kind,
        "host": record.host,
        "port": record.port,
        "username": credentials.username.expose(),
        "password": credentials.password.expose(),
        "region": record.region,
        "notes": record.notes,
        "status": record.status,
        "source": record.source,
        "family": record.family,
        "createdAt": record.created_at,
    })
}

fn assignment_state(record: &AssignmentRecord) -> Value {
    json!({
        "proxyId": record.proxy_id,
        "scope": record.scope.word(),
        "scopeId": record.scope.id(),
        "createdAt": record.created_at,
    })
}
