//! The settings that the operator edits: one JSON document.

use omniroute_core::hash::mac;
use omniroute_proto::Kind;
use serde_json::Value;
use sqlx::any::AnyRow;

use super::{
    Columns as _, Store, StoreError, Write, limits, number,
    records::{Actor, Object, SettingsDocument},
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

    /// Stands for the settings of the process that are published with the document, without giving them away.
    fn process_fingerprint(&self, allow_private_upstreams: bool) -> Vec<u8> {
        mac(self.pepper().as_bytes(), &[b"published settings", &[u8::from(allow_private_upstreams)]]).to_vec()
    }
}

// === impl Settings ===

impl Settings<'_> {
    /// # Errors
    /// When the database fails.
    pub async fn get(&self) -> Result<SettingsDocument, StoreError> {
        record(&sql(SELECT).bind(ID).fetch_one(self.0.reader()).await?)
    }

    /// Makes the row at the first start. When the process's own part changed since the last start, the settings get a
    /// new revision: proxies must hear of it.
    pub(super) async fn ensure(&self) -> Result<(), StoreError> {
        let found = sql(SELECT).bind(ID).fetch_optional(self.0.writer()).await?;
        let fingerprint = self.0.process_fingerprint(self.0.allow_private_upstreams());
        let stored = found.as_ref().map(|row| row.blob("process")).transpose()?;
        if stored.as_ref() == Some(&fingerprint) {
            return Ok(());
        }
        if stored.is_some_and(|stored| stored != self.0.process_fingerprint(!self.0.allow_private_upstreams())) {
            tracing::warn!(
                "API_KEY_SECRET is not the one that the API keys in this database were made with: every client key \
                 made before is refused from now on"
            );
        }
        let mut write = self.0.write(&Actor::system("start")).await?;
        let document = match sql(SELECT).bind(ID).fetch_optional(write.connection()).await? {
            Some(row) => record(&row)?.document,
            None => Object::new(),
        };
        write.store_settings(document).await?;
        write.commit().await?;
        Ok(())
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

    async fn store_settings(&mut self, document: Object) -> Result<SettingsDocument, StoreError> {
        let json = limits::json("settings", &document)?;
        let old = sql(SELECT).bind(ID).fetch_optional(self.connection()).await?;
        let before = old.as_ref().map(record).transpose()?;
        let fingerprint = self.store().process_fingerprint(self.store().allow_private_upstreams());
        sql("INSERT INTO settings (id, document, process, updated_at, revision) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET document = excluded.document, process = excluded.process, \
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
