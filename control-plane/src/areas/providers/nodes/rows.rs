//! The table of nodes. A *record* is a row as it is, a *draft* is what a new row needs, a *patch* changes the fields that
//! are `Some` and leaves the others.

use omniroute_core::{id::ProviderId, time::UnixMillis};
use omniroute_proto::Kind;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::super::{connections::rows as connections, models::rows as models};
use crate::store::{Columns as _, Query, Store, StoreError, Write, limits, number, sql};

const KIND: &str = Kind::ProviderNode.as_str();

/// An OpenAI- or Anthropic-compatible endpoint that the operator added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub id: ProviderId,
    /// `openai-compatible` or `anthropic-compatible`.
    pub kind: String,
    pub name: String,
    /// Unique.
    pub prefix: String,
    /// `chat` or `responses` for openai-compatible nodes.
    pub api_type: Option<String>,
    pub base_url: String,
    pub chat_path: Option<String>,
    pub models_path: Option<String>,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
    pub revision: u64,
}

#[derive(Clone, Debug)]
pub struct NodeDraft {
    /// `None`: `<kind>[-<api type>]-<uuid>`.
    pub id: Option<ProviderId>,
    pub kind: String,
    pub name: String,
    pub prefix: String,
    pub api_type: Option<String>,
    pub base_url: String,
    pub chat_path: Option<String>,
    pub models_path: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct NodePatch {
    pub expected_revision: Option<u64>,
    pub name: Option<String>,
    pub prefix: Option<String>,
    pub api_type: Option<Option<String>>,
    pub base_url: Option<String>,
    pub chat_path: Option<Option<String>>,
    pub models_path: Option<Option<String>>,
}

/// Reads nodes.
pub struct Nodes<'a>(&'a Store);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, name, prefix, api_type, base_url, chat_path, models_path, created_at, updated_at, \
             revision FROM nodes ",
            $rest
        )
    };
}

// === impl Nodes ===

impl<'a> Nodes<'a> {
    pub const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// All, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let rows = sql(select!("ORDER BY created_at, id")).fetch_all(self.0.reader()).await?;
        rows.iter().map(record).collect()
    }

    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &str) -> Result<NodeRecord, StoreError> {
        let row = sql(select!("WHERE id = $1")).bind(id.to_owned()).fetch_optional(self.0.reader()).await?;
        record(&row.ok_or_else(|| StoreError::not_found(KIND, id))?)
    }

    /// The node whose models carry this prefix.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn by_prefix(&self, prefix: &str) -> Result<Option<NodeRecord>, StoreError> {
        let row = sql(select!("WHERE prefix = $1")).bind(prefix.to_owned()).fetch_optional(self.0.reader()).await?;
        row.as_ref().map(record).transpose()
    }
}

/// # Errors
/// `Conflict` when the prefix (or the id) is taken, `Invalid` for a field.
pub async fn create(write: &mut Write, draft: NodeDraft) -> Result<NodeRecord, StoreError> {
    let record = NodeRecord {
        id: draft.id.unwrap_or_else(|| generate_id(&draft.kind, draft.api_type.as_deref())),
        kind: draft.kind,
        name: draft.name,
        prefix: draft.prefix,
        api_type: draft.api_type,
        base_url: draft.base_url,
        chat_path: draft.chat_path,
        models_path: draft.models_path,
        created_at: write.at(),
        updated_at: write.at(),
        revision: write.revision(),
    };
    let statement = sql("INSERT INTO nodes (id, kind, name, prefix, api_type, base_url, chat_path, models_path, \
         updated_at, revision, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
    let statement = bind(statement, &record)?.bind(number(record.created_at.0));
    statement.execute(write.connection()).await.map_err(taken)?;
    write.note(KIND, record.id.as_str(), None, Some(state(&record)))?;
    Ok(record)
}

/// # Errors
/// `NotFound`, `Stale`, `Conflict` when the prefix is taken, `Invalid`.
pub async fn update(write: &mut Write, id: &str, patch: NodePatch) -> Result<NodeRecord, StoreError> {
    let old = read(write, id).await?;
    Write::expect_revision(KIND, id, patch.expected_revision, old.revision)?;
    let mut new = patched(old.clone(), patch);
    if new == old {
        return Ok(old);
    }
    new.updated_at = write.at();
    new.revision = write.revision();
    let statement = sql("UPDATE nodes SET kind = $2, name = $3, prefix = $4, api_type = $5, base_url = $6, \
         chat_path = $7, models_path = $8, updated_at = $9, revision = $10 WHERE id = $1");
    bind(statement, &new)?.execute(write.connection()).await.map_err(taken)?;
    write.note(KIND, id, Some((old.revision, state(&old))), Some(state(&new)))?;
    Ok(new)
}

/// Takes the node's connections and models with it.
///
/// # Errors
/// `NotFound`.
pub async fn delete(write: &mut Write, id: &str) -> Result<(), StoreError> {
    let old = read(write, id).await?;
    connections::delete_of_provider(write, id).await?;
    models::delete_of_provider(write, id).await?;
    sql("DELETE FROM nodes WHERE id = $1").bind(id.to_owned()).execute(write.connection()).await?;
    write.note(KIND, id, Some((old.revision, state(&old))), None)
}

/// The node as this transaction sees it, which nobody else can change before it ends.
///
/// # Errors
/// When the database fails.
pub async fn find(write: &mut Write, id: &str) -> Result<Option<NodeRecord>, StoreError> {
    let row = sql(select!("WHERE id = $1")).bind(id.to_owned()).fetch_optional(write.connection()).await?;
    row.as_ref().map(record).transpose()
}

async fn read(write: &mut Write, id: &str) -> Result<NodeRecord, StoreError> {
    find(write, id).await?.ok_or_else(|| StoreError::not_found(KIND, id))
}

/// `openai-compatible-chat-<uuid>`, `anthropic-compatible-<uuid>`.
fn generate_id(kind: &str, api_type: Option<&str>) -> ProviderId {
    let uuid = Uuid::new_v4();
    match api_type {
        Some(api_type) => format!("{kind}-{api_type}-{uuid}").into(),
        None => format!("{kind}-{uuid}").into(),
    }
}

fn taken(error: sqlx::Error) -> StoreError {
    StoreError::of_insert(error, &[("prefix", "prefix")])
}

/// Checks a record and binds it to `$1` … `$10`.
fn bind(statement: Query, record: &NodeRecord) -> Result<Query, StoreError> {
    limits::required("id", record.id.as_str(), limits::NAME)?;
    if record.id.as_str().contains('/') {
        return Err(StoreError::Invalid { field: "id", reason: "must not contain a slash".into() });
    }
    limits::required("type", &record.kind, limits::NAME)?;
    limits::required("name", &record.name, limits::NAME)?;
    limits::required("prefix", &record.prefix, limits::NAME)?;
    limits::required("baseUrl", &record.base_url, limits::URL)?;
    limits::optional("apiType", record.api_type.as_deref(), limits::NAME)?;
    limits::optional("chatPath", record.chat_path.as_deref(), limits::URL)?;
    limits::optional("modelsPath", record.models_path.as_deref(), limits::URL)?;
    Ok(statement
        .bind(record.id.as_str().to_owned())
        .bind(record.kind.clone())
        .bind(record.name.clone())
        .bind(record.prefix.clone())
        .bind(record.api_type.clone())
        .bind(record.base_url.clone())
        .bind(record.chat_path.clone())
        .bind(record.models_path.clone())
        .bind(number(record.updated_at.0))
        .bind(number(record.revision)))
}

fn record(row: &AnyRow) -> Result<NodeRecord, StoreError> {
    Ok(NodeRecord {
        id: ProviderId::from(row.text("id")?),
        kind: row.text("kind")?,
        name: row.text("name")?,
        prefix: row.text("prefix")?,
        api_type: row.opt_text("api_type")?,
        base_url: row.text("base_url")?,
        chat_path: row.opt_text("chat_path")?,
        models_path: row.opt_text("models_path")?,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        revision: row.u64("revision")?,
    })
}

fn patched(mut record: NodeRecord, patch: NodePatch) -> NodeRecord {
    record.name = patch.name.unwrap_or(record.name);
    record.prefix = patch.prefix.unwrap_or(record.prefix);
    record.api_type = patch.api_type.unwrap_or(record.api_type);
    record.base_url = patch.base_url.unwrap_or(record.base_url);
    record.chat_path = patch.chat_path.unwrap_or(record.chat_path);
    record.models_path = patch.models_path.unwrap_or(record.models_path);
    record
}

fn state(record: &NodeRecord) -> Value {
    json!({
        "id": record.id,
        "type": record.kind,
        "name": record.name,
        "prefix": record.prefix,
        "apiType": record.api_type,
        "baseUrl": record.base_url,
        "chatPath": record.chat_path,
        "modelsPath": record.models_path,
        "createdAt": record.created_at,
    })
}
