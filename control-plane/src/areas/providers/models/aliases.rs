//! The table of other names for models.

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use serde_json::{Value, json};
use sqlx::any::AnyRow;

use crate::{
    publish::{ConfigKind, Source},
    store::{Columns as _, Store, StoreError, Write, limits, number, sql},
};

const KIND: &str = Kind::ModelAlias.as_str();

/// Aliases, as proxies are sent them.
pub struct ModelAliasKind;

/// Another name for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRecord {
    pub alias: String,
    pub model: String,
    pub revision: u64,
}

// === impl ModelAliasKind ===

impl ConfigKind for ModelAliasKind {
    fn kind(&self) -> Kind {
        Kind::ModelAlias
    }

    fn select(&self) -> &'static str {
        "SELECT alias, model, revision FROM model_aliases WHERE revision > $1 AND revision <= $2"
    }

    fn message(&self, row: &AnyRow, _: &Source<'_>) -> Result<(String, Body), StoreError> {
        let AliasRecord { alias, model, .. } = record(row)?;
        Ok((alias, Body::ModelAlias(v1::ModelAlias { model })))
    }
}

/// All, in the order of their names.
///
/// # Errors
/// When the database fails.
pub async fn list(store: &Store) -> Result<Vec<AliasRecord>, StoreError> {
    let rows = sql("SELECT alias, model, revision FROM model_aliases ORDER BY alias").fetch_all(store.reader()).await?;
    rows.iter().map(record).collect()
}

/// Adds an alias, or makes it another model's.
///
/// # Errors
/// `Invalid` for a field.
pub async fn put(write: &mut Write, alias: &str, model: &str) -> Result<(), StoreError> {
    limits::required("alias", alias, limits::NAME)?;
    limits::required("model", model, limits::NAME)?;
    let old = read(write, alias).await?;
    if old.as_ref().is_some_and(|old| old.model == model) {
        return Ok(());
    }
    sql("INSERT INTO model_aliases (alias, model, revision) VALUES ($1, $2, $3) \
         ON CONFLICT (alias) DO UPDATE SET model = excluded.model, revision = excluded.revision")
    .bind(alias.to_owned())
    .bind(model.to_owned())
    .bind(number(write.revision()))
    .execute(write.connection())
    .await?;
    write.note(KIND, alias, old.map(|old| (old.revision, state(&old.model))), Some(state(model)))
}

/// # Errors
/// `NotFound`.
pub async fn delete(write: &mut Write, alias: &str) -> Result<(), StoreError> {
    let old = read(write, alias).await?.ok_or_else(|| StoreError::not_found(KIND, alias))?;
    sql("DELETE FROM model_aliases WHERE alias = $1").bind(alias.to_owned()).execute(write.connection()).await?;
    write.note(KIND, alias, Some((old.revision, state(&old.model))), None)
}

async fn read(write: &mut Write, alias: &str) -> Result<Option<AliasRecord>, StoreError> {
    let statement = sql("SELECT alias, model, revision FROM model_aliases WHERE alias = $1").bind(alias.to_owned());
    let row = statement.fetch_optional(write.connection()).await?;
    row.as_ref().map(record).transpose()
}

fn record(row: &AnyRow) -> Result<AliasRecord, StoreError> {
    Ok(AliasRecord { alias: row.text("alias")?, model: row.text("model")?, revision: row.u64("revision")? })
}

fn state(model: &str) -> Value {
    json!({ "model": model })
}
