//! The settings that the operator edits: one JSON document.

use omniroute_proto::Kind;
use serde_json::Value;
use sqlx::any::AnyRow;

use super::{
    Columns as _, Store, StoreError, Write, limits, number,
    records::{Object, SettingsDocument},
    sql,
};

const KIND: &str = Kind::Settings.as_str();

/// There is one.
const ID: &str = "settings";

const SELECT: &str = "SELECT document, process, updated_at, revision FROM settings WHERE id = $1";

/// Reads the settings.
pub struct Settings<'a>(&'a Store);

// === impl Store ===

impl Store {
    pub fn settings(&self) -> Settings<'_> {
        Settings(self)
    }
}

// === impl Settings ===

impl Settings<'_> {
    /// # Errors
    /// When the database fails.
    pub async fn get(&self) -> Result<SettingsDocument, StoreError> {
        record(&sql(SELECT).bind(ID).fetch_one(self.0.reader()).await?)
    }
}

// === impl Write ===

impl Write {
    /// Sets the fields of `patch`; `null` removes one.
    ///
    /// # Errors
    /// `Stale`, `Invalid`.
    pub async fn merge_settings(
        &mut self,
        patch: Object,
        expected_revision: Option<u64>,
    ) -> Result<SettingsDocument, StoreError> {
        let old = self.read_settings().await?;
        let mut document = old.document.clone();
        for (key, value) in patch {
            match (document.get_mut(&key), value) {
                (_, Value::Null) => {
                    document.remove(&key);
                }
                // A group of fields keeps those that are not named.
                (Some(Value::Object(held)), Value::Object(group)) => held.extend(group),
                (_, value) => {
                    document.insert(key, value);
                }
            }
        }
        self.change_settings(old, document, expected_revision).await
    }

    /// # Errors
    /// `Stale`, `Invalid`.
    pub async fn replace_settings(
        &mut self,
        document: Object,
        expected_revision: Option<u64>,
    ) -> Result<SettingsDocument, StoreError> {
        let old = self.read_settings().await?;
        self.change_settings(old, document, expected_revision).await
    }

    async fn read_settings(&mut self) -> Result<SettingsDocument, StoreError> {
        record(&sql(SELECT).bind(ID).fetch_one(self.connection()).await?)
    }

    async fn change_settings(
        &mut self,
        old: SettingsDocument,
        document: Object,
        expected_revision: Option<u64>,
    ) -> Result<SettingsDocument, StoreError> {
        Self::expect_revision(KIND, ID, expected_revision, old.revision)?;
        if old.document == document {
            return Ok(old);
        }
        self.store_settings(document).await
    }

    /// The document as it is; empty before the first start.
    pub(super) async fn settings_document(&mut self) -> Result<Object, StoreError> {
        let row = sql(SELECT).bind(ID).fetch_optional(self.connection()).await?;
        row.map_or(Ok(Object::new()), |row| record(&row).map(|settings| settings.document))
    }

    pub(super) async fn store_settings(&mut self, document: Object) -> Result<SettingsDocument, StoreError> {
        let json = limits::json("settings", &document)?;
        let old = sql(SELECT).bind(ID).fetch_optional(self.connection()).await?;
        let before = old.as_ref().map(record).transpose()?;
        let fingerprint = self.store().fleet_values().process_fingerprint();
        sql("INSERT INTO settings (id, document, process, updated_at, revision) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET document = excluded.document, \
             updated_at = excluded.updated_at, revision = excluded.revision")
        .bind(ID)
        .bind(json)
        .bind(fingerprint)
        .bind(number(self.at().0))
        .bind(number(self.revision()))
        .execute(self.connection())
        .await?;
        let before = before.map(|old| (old.revision, Value::Object(old.document)));
        self.note(KIND, ID, before, Some(Value::Object(document.clone())))?;
        Ok(SettingsDocument { document, updated_at: self.at(), revision: self.revision() })
    }
}

fn record(row: &AnyRow) -> Result<SettingsDocument, StoreError> {
    Ok(SettingsDocument {
        document: row.json("document")?,
        updated_at: row.millis("updated_at")?,
        revision: row.u64("revision")?,
    })
}
