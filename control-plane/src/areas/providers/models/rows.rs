//! The table of models that providers offer: asked for, from the catalog, or added by the operator.

use std::collections::BTreeMap;

use omniroute_core::id::ProviderId;
use omniroute_proto::Kind;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, any::AnyRow};

use crate::store::{
    Columns as _, Store, StoreError, Write, batches, limits, number, placeholders, records::Object, sql,
};

const KIND: &str = Kind::Model.as_str();

/// Source of a model that the operator added; nothing that is found replaces it.
pub(in super::super) const CUSTOM: &str = "custom";

/// Of a row.
const COLUMNS: usize = 11;

/// A model that a provider offers.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRecord {
    pub provider: ProviderId,
    /// The provider's own id of the model, slashes included.
    pub model: String,
    pub name: Option<String>,
    /// `chat`, `embedding`, `image`…
    pub kind: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// `api`, `catalog` or `custom`.
    pub source: String,
    /// Unix seconds, as the provider says.
    pub created: u64,
    pub extras: Object,
    /// It is not listed; who names it with its provider gets it all the same.
    pub hidden: bool,
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ModelDraft {
    pub model: String,
    pub name: Option<String>,
    pub kind: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub source: String,
    pub created: u64,
    pub extras: Object,
}

/// Reads models.
pub struct Models<'a>(&'a Store);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT provider, model, name, kind, context_window, max_output_tokens, source, created, extras, hidden, \
             revision FROM models ",
            $rest
        )
    };
}

// === impl Models ===

impl<'a> Models<'a> {
    pub const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<ModelRecord>, StoreError> {
        let rows = sql(select!("ORDER BY provider, model")).fetch_all(self.0.reader()).await?;
        rows.iter().map(record).collect()
    }

    /// # Errors
    /// When the database fails.
    pub async fn of_provider(&self, provider: &str) -> Result<Vec<ModelRecord>, StoreError> {
        let statement = sql(select!("WHERE provider = $1 ORDER BY model")).bind(provider.to_owned());
        statement.fetch_all(self.0.reader()).await?.iter().map(record).collect()
    }
}

// === impl ModelRecord ===

impl ModelRecord {
    /// Id of the resource: provider ids hold no slash, so this is unique.
    pub fn resource_id(&self) -> String {
        resource_id(self.provider.as_str(), &self.model)
    }
}

/// Adds a model, or replaces the one of that name.
///
/// # Errors
/// `Invalid` for a field.
pub async fn put(write: &mut Write, provider: &str, draft: ModelDraft) -> Result<ModelRecord, StoreError> {
    let old = read(write, provider, &draft.model).await?;
    put_over(write, provider, old, draft).await
}

/// # Errors
/// `NotFound`.
pub async fn delete(write: &mut Write, provider: &str, model: &str) -> Result<(), StoreError> {
    let old = read(write, provider, model).await?;
    let old = old.ok_or_else(|| StoreError::not_found(KIND, resource_id(provider, model)))?;
    remove(write, provider, std::slice::from_ref(&old)).await
}

/// Makes `drafts` the provider's models of one `source`. What is the same stays untouched, so that asking a
/// provider again costs proxies nothing; the operator's own models stay as they are. Returns how many changed.
///
/// # Errors
/// `Invalid` for a field.
pub async fn replace(
    write: &mut Write,
    provider: &str,
    source: &str,
    drafts: Vec<ModelDraft>,
) -> Result<usize, StoreError> {
    let mut held = of_provider(write, provider).await?;
    let mut changed = Vec::new();
    for draft in drafts {
        let old = held.remove(&draft.model);
        if old.as_ref().is_some_and(|old| (old.source == CUSTOM && source != CUSTOM) || same(old, &draft)) {
            continue;
        }
        let is_hidden = old.as_ref().is_some_and(|old| old.hidden);
        let new = checked(write, provider, ModelDraft { source: source.to_owned(), ..draft }, is_hidden)?;
        changed.push((old, new));
    }
    // A hidden one that comes back is still hidden.
    let gone: Vec<_> = held.into_values().filter(|model| model.source == source && !model.hidden).collect();
    upsert(write, &changed).await?;
    remove(write, provider, &gone).await?;
    Ok(changed.len() + gone.len())
}

/// Deletes every model of a provider. Returns how many.
///
/// # Errors
/// When the database fails.
pub async fn delete_of_provider(write: &mut Write, provider: &str) -> Result<usize, StoreError> {
    let models = of_provider(write, provider).await?;
    for old in models.values() {
        write.note(KIND, &old.resource_id(), Some((old.revision, state(old))), None)?;
    }
    sql("DELETE FROM models WHERE provider = $1").bind(provider.to_owned()).execute(write.connection()).await?;
    Ok(models.len())
}

/// Hides models of a provider, or shows them again. One that has no row gets the one of `drafts`. Returns how many changed.
///
/// # Errors
/// `Invalid` for a field.
pub async fn set_hidden(
    write: &mut Write,
    provider: &str,
    drafts: Vec<ModelDraft>,
    hidden: bool,
) -> Result<usize, StoreError> {
    let mut held = of_provider(write, provider).await?;
    let mut changed = Vec::new();
    for draft in drafts {
        match held.remove(&draft.model) {
            Some(old) if old.hidden == hidden => {}
            Some(old) => {
                let new = ModelRecord { hidden, revision: write.revision(), ..old.clone() };
                changed.push((Some(old), new));
            }
            None if hidden => changed.push((None, checked(write, provider, draft, hidden)?)),
            None => {}
        }
    }
    upsert(write, &changed).await?;
    Ok(changed.len())
}

async fn put_over(
    write: &mut Write,
    provider: &str,
    old: Option<ModelRecord>,
    draft: ModelDraft,
) -> Result<ModelRecord, StoreError> {
    if let Some(old) = old.as_ref().filter(|old| same(old, &draft)) {
        return Ok(old.clone());
    }
    let is_hidden = old.as_ref().is_some_and(|old| old.hidden);
    let changed = [(old, checked(write, provider, draft, is_hidden)?)];
    upsert(write, &changed).await?;
    let [(_, new)] = changed;
    Ok(new)
}

/// The record that a draft makes.
fn checked(write: &Write, provider: &str, draft: ModelDraft, hidden: bool) -> Result<ModelRecord, StoreError> {
    limits::required("provider", provider, limits::NAME)?;
    if provider.contains('/') {
        return Err(StoreError::Invalid { field: "provider", reason: "must not contain a slash".into() });
    }
    limits::required("model", &draft.model, limits::NAME)?;
    limits::required("type", &draft.kind, limits::NAME)?;
    limits::required("source", &draft.source, limits::NAME)?;
    limits::optional("name", draft.name.as_deref(), limits::NAME)?;
    Ok(ModelRecord {
        provider: ProviderId::from(provider),
        model: draft.model,
        name: draft.name,
        kind: draft.kind,
        context_window: draft.context_window,
        max_output_tokens: draft.max_output_tokens,
        source: draft.source,
        created: draft.created,
        extras: draft.extras,
        hidden,
        revision: write.revision(),
    })
}

/// Each with what was there before. Many rows a statement: every writer waits for the one that has the revision.
async fn upsert(write: &mut Write, changed: &[(Option<ModelRecord>, ModelRecord)]) -> Result<(), StoreError> {
    for batch in batches(changed) {
        let mut statement = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO models (provider, model, name, kind, context_window, max_output_tokens, source, created, \
             extras, hidden, revision) VALUES {} \
             ON CONFLICT (provider, model) DO UPDATE SET name = excluded.name, kind = excluded.kind, \
             context_window = excluded.context_window, max_output_tokens = excluded.max_output_tokens, \
             source = excluded.source, created = excluded.created, extras = excluded.extras, \
             hidden = excluded.hidden, revision = excluded.revision",
            placeholders(batch.len(), COLUMNS)
        )));
        for (_, new) in batch {
            statement = statement
                .bind(new.provider.as_str().to_owned())
                .bind(new.model.clone())
                .bind(new.name.clone())
                .bind(new.kind.clone())
                .bind(new.context_window.map(number))
                .bind(new.max_output_tokens.map(number))
                .bind(new.source.clone())
                .bind(number(new.created))
                .bind(limits::json("extras", &new.extras)?)
                .bind(i64::from(new.hidden))
                .bind(number(new.revision));
        }
        statement.execute(write.connection()).await?;
    }
    for (old, new) in changed {
        let before = old.as_ref().map(|old| (old.revision, state(old)));
        write.note(KIND, &new.resource_id(), before, Some(state(new)))?;
    }
    Ok(())
}

async fn remove(write: &mut Write, provider: &str, gone: &[ModelRecord]) -> Result<(), StoreError> {
    for batch in batches(gone) {
        let names = (0..batch.len()).map(|index| format!("${}", index + 2)).collect::<Vec<_>>().join(", ");
        let statement = format!("DELETE FROM models WHERE provider = $1 AND model IN ({names})");
        let mut statement = sqlx::query(AssertSqlSafe(statement)).bind(provider.to_owned());
        for old in batch {
            statement = statement.bind(old.model.clone());
        }
        statement.execute(write.connection()).await?;
    }
    for old in gone {
        write.note(KIND, &old.resource_id(), Some((old.revision, state(old))), None)?;
    }
    Ok(())
}

async fn read(write: &mut Write, provider: &str, model: &str) -> Result<Option<ModelRecord>, StoreError> {
    let statement = sql(select!("WHERE provider = $1 AND model = $2")).bind(provider.to_owned());
    let row = statement.bind(model.to_owned()).fetch_optional(write.connection()).await?;
    row.as_ref().map(record).transpose()
}

/// The models of a provider as this transaction sees them, by name.
///
/// # Errors
/// When the database fails.
pub async fn of_provider(write: &mut Write, provider: &str) -> Result<BTreeMap<String, ModelRecord>, StoreError> {
    let statement = sql(select!("WHERE provider = $1")).bind(provider.to_owned());
    let rows = statement.fetch_all(write.connection()).await?;
    rows.iter().map(|row| record(row).map(|model| (model.model.clone(), model))).collect()
}

pub(super) fn resource_id(provider: &str, model: &str) -> String {
    format!("{provider}/{model}")
}

fn same(old: &ModelRecord, draft: &ModelDraft) -> bool {
    old.name == draft.name
        && old.kind == draft.kind
        && old.context_window == draft.context_window
        && old.max_output_tokens == draft.max_output_tokens
        && old.source == draft.source
        && old.created == draft.created
        && old.extras == draft.extras
}

fn record(row: &AnyRow) -> Result<ModelRecord, StoreError> {
    Ok(ModelRecord {
        provider: ProviderId::from(row.text("provider")?),
        model: row.text("model")?,
        name: row.opt_text("name")?,
        kind: row.text("kind")?,
        context_window: row.opt_u64("context_window")?,
        max_output_tokens: row.opt_u64("max_output_tokens")?,
        source: row.text("source")?,
        created: row.u64("created")?,
        extras: row.json("extras")?,
        hidden: row.flag("hidden")?,
        revision: row.u64("revision")?,
    })
}

fn state(record: &ModelRecord) -> Value {
    json!({
        "provider": record.provider,
        "model": record.model,
        "name": record.name,
        "type": record.kind,
        "contextWindow": record.context_window,
        "maxOutputTokens": record.max_output_tokens,
        "source": record.source,
        "created": record.created,
        "extras": record.extras,
        "hidden": record.hidden,
    })
}
