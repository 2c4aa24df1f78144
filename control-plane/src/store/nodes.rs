//! Endpoints that the operator added.

use omniroute_core::id::ProviderId;
use omniroute_proto::Kind;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{
    Columns as _, Query, Store, StoreError, Write, limits, number,
    records::{NodeDraft, NodePatch, NodeRecord},
    sql,
};

const KIND: &str = Kind::ProviderNode.as_str();

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

// === impl Store ===

impl Store {
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes(self)
    }
}

// === impl Nodes ===

impl Nodes<'_> {
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

// === impl Write ===

impl Write {
    /// # Errors
    /// `Conflict` when the prefix (or the id) is taken, `Invalid` for a field.
    pub async fn create_node(&mut self, draft: NodeDraft) -> Result<NodeRecord, StoreError> {
        let record = NodeRecord {
            id: draft.id.unwrap_or_else(|| generate_id(&draft.kind, draft.api_type.as_deref())),
            kind: draft.kind,
            name: draft.name,
            prefix: draft.prefix,
            api_type: draft.api_type,
            base_url: draft.base_url,
            chat_path: draft.chat_path,
            models_path: draft.models_path,
            created_at: self.at(),
            updated_at: self.at(),
            revision: self.revision(),
        };
        let statement = sql("INSERT INTO nodes (id, kind, name, prefix, api_type, base_url, chat_path, models_path, \
             updated_at, revision, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
        let statement = bind(statement, &record)?.bind(number(record.created_at.0));
        statement.execute(self.connection()).await.map_err(taken)?;
        self.note(KIND, record.id.as_str(), None, Some(state(&record)))?;
        Ok(record)
    }

    /// # Errors
    /// `NotFound`, `Stale`, `Conflict` when the prefix is taken, `Invalid`.
    pub async fn update_node(&mut self, id: &str, patch: NodePatch) -> Result<NodeRecord, StoreError> {
        let old = self.read_node(id).await?;
        Self::expect_revision(KIND, id, patch.expected_revision, old.revision)?;
        let mut new = patched(old.clone(), patch);
        if new == old {
            return Ok(old);
        }
        new.updated_at = self.at();
        new.revision = self.revision();
        let statement = sql("UPDATE nodes SET kind = $2, name = $3, prefix = $4, api_type = $5, base_url = $6, \
             chat_path = $7, models_path = $8, updated_at = $9, revision = $10 WHERE id = $1");
        bind(statement, &new)?.execute(self.connection()).await.map_err(taken)?;
        self.note(KIND, id, Some((old.revision, state(&old))), Some(state(&new)))?;
        Ok(new)
    }

    /// Takes the node's connections and models with it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_node(&mut self, id: &str) -> Result<(), StoreError> {
        let old = self.read_node(id).await?;
        self.delete_connections_of(id).await?;
        self.delete_models_of(id).await?;
        sql("DELETE FROM nodes WHERE id = $1").bind(id.to_owned()).execute(self.connection()).await?;
        self.note(KIND, id, Some((old.revision, state(&old))), None)
    }

    /// The node as this transaction sees it, which nobody else can change before it ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_node(&mut self, id: &str) -> Result<Option<NodeRecord>, StoreError> {
        let row = sql(select!("WHERE id = $1")).bind(id.to_owned()).fetch_optional(self.connection()).await?;
        row.as_ref().map(record).transpose()
    }

    async fn read_node(&mut self, id: &str) -> Result<NodeRecord, StoreError> {
        self.find_node(id).await?.ok_or_else(|| StoreError::not_found(KIND, id))
    }
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
