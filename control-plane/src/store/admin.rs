//! The administrator's password. Proxies know nothing of it; the log of changes does.

use serde_json::json;

use super::{Columns as _, Store, StoreError, Write, number, records::AdminRecord, sql};

/// In the log. It is no kind of resource, so publishers pass over it.
const KIND: &str = "admin";
const ID: &str = "password";

/// Reads and sets the password's hash.
pub struct Admin<'a>(&'a Store);

// === impl Store ===

impl Store {
    pub fn admin(&self) -> Admin<'_> {
        Admin(self)
    }
}

// === impl Admin ===

impl Admin<'_> {
    /// `None` before the first password is set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(&self) -> Result<Option<AdminRecord>, StoreError> {
        let statement = sql("SELECT password_hash, session_epoch, updated_at FROM admin WHERE id = 1");
        let row = statement.fetch_optional(self.0.reader()).await?;
        row.map(|row| {
            Ok(AdminRecord {
                password_hash: row.text("password_hash")?,
                session_epoch: row.u64("session_epoch")?,
                updated_at: row.millis("updated_at")?,
            })
        })
        .transpose()
    }

    /// Sets the first password; leaves one that is there. Returns whether it was set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_if_absent(&self, password_hash: &str) -> Result<bool, StoreError> {
        let statement = sql("INSERT INTO admin (id, password_hash, session_epoch, updated_at) VALUES (1, $1, 1, $2) \
             ON CONFLICT (id) DO NOTHING");
        let statement = statement.bind(password_hash.to_owned()).bind(number(self.0.clock().now().0));
        Ok(statement.execute(self.0.writer()).await?.rows_affected() > 0)
    }
}

// === impl Write ===

impl Write {
    /// Sets the password and ends every session. The log says who did it and when, and nothing of the password.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_password(&mut self, password_hash: &str) -> Result<(), StoreError> {
        let row = sql("SELECT updated_at FROM admin WHERE id = 1").fetch_optional(self.connection()).await?;
        let before = row.map(|row| row.u64("updated_at")).transpose()?;
        let at = self.at();
        sql("INSERT INTO admin (id, password_hash, session_epoch, updated_at) VALUES (1, $1, 1, $2) \
             ON CONFLICT (id) DO UPDATE SET password_hash = excluded.password_hash, \
             session_epoch = admin.session_epoch + 1, updated_at = excluded.updated_at")
        .bind(password_hash.to_owned())
        .bind(number(at.0))
        .execute(self.connection())
        .await?;
        sql("DELETE FROM sessions").execute(self.connection()).await?;
        // A row that is no resource has no revision of its own.
        let before = before.map(|at| (0, json!({ "passwordSetAt": at })));
        self.note(KIND, ID, before, Some(json!({ "passwordSetAt": at.0 })))
    }
}
