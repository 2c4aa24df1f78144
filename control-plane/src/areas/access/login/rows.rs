//! The tables of who signs in: the administrator's password, which proxies know nothing of and the log of changes does,
//! and sessions, which are no configuration: a login is no edit.

use std::fmt;

use omniroute_core::time::UnixMillis;
use serde_json::json;

use crate::store::{Columns as _, Store, StoreError, Write, number, sql};

/// In the log. It is no kind of resource, so publishers pass over it.
const KIND: &str = "admin";
const ID: &str = "password";

/// The administrator.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminRecord {
    /// PHC string (argon2id).
    pub password_hash: String,
    /// Grows when the password changes; sessions of an older epoch are over.
    pub session_epoch: u64,
    pub updated_at: UnixMillis,
}

/// A login. The cookie names it, so that a logout ends it everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub id: String,
    pub subject: String,
    pub epoch: u64,
    pub address: Option<String>,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
}

/// Reads and sets the password's hash.
pub struct Admin<'a>(&'a Store);

/// Reads and writes sessions.
pub struct Sessions<'a>(&'a Store);

// === impl AdminRecord ===

impl fmt::Debug for AdminRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminRecord")
            .field("session_epoch", &self.session_epoch)
            .field("updated_at", &self.updated_at)
            .finish_non_exhaustive()
    }
}

// === impl Admin ===

impl<'a> Admin<'a> {
    pub const fn of(store: &'a Store) -> Self {
        Self(store)
    }

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

// === impl Sessions ===

impl<'a> Sessions<'a> {
    pub const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// # Errors
    /// When the database fails.
    pub async fn insert(&self, session: &SessionRecord) -> Result<(), StoreError> {
        sql("INSERT INTO sessions (id, subject, epoch, address, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(session.id.clone())
        .bind(session.subject.clone())
        .bind(number(session.epoch))
        .bind(session.address.clone())
        .bind(number(session.created_at.0))
        .bind(number(session.expires_at.0))
        .execute(self.0.writer())
        .await?;
        Ok(())
    }

    /// `None` when it was ended or has expired.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(&self, id: &str) -> Result<Option<SessionRecord>, StoreError> {
        let statement = sql("SELECT id, subject, epoch, address, created_at, expires_at FROM sessions \
             WHERE id = $1 AND expires_at > $2");
        let statement = statement.bind(id.to_owned()).bind(number(self.0.clock().now().0));
        let row = statement.fetch_optional(self.0.reader()).await?;
        row.map(|row| {
            Ok(SessionRecord {
                id: row.text("id")?,
                subject: row.text("subject")?,
                epoch: row.u64("epoch")?,
                address: row.opt_text("address")?,
                created_at: row.millis("created_at")?,
                expires_at: row.millis("expires_at")?,
            })
        })
        .transpose()
    }

    /// Ends a session. Ending one that is over is fine.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete(&self, id: &str) -> Result<(), StoreError> {
        sql("DELETE FROM sessions WHERE id = $1").bind(id.to_owned()).execute(self.0.writer()).await?;
        Ok(())
    }

    /// Forgets the expired ones. Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge_expired(&self) -> Result<u64, StoreError> {
        let statement = sql("DELETE FROM sessions WHERE expires_at <= $1").bind(number(self.0.clock().now().0));
        Ok(statement.execute(self.0.writer()).await?.rows_affected())
    }
}

/// Sets the password and ends every session. The log says who did it and when, and nothing of the password.
///
/// # Errors
/// When the database fails.
pub async fn set_password(write: &mut Write, password_hash: &str) -> Result<(), StoreError> {
    let row = sql("SELECT updated_at FROM admin WHERE id = 1").fetch_optional(write.connection()).await?;
    let before = row.map(|row| row.u64("updated_at")).transpose()?;
    let at = write.at();
    sql("INSERT INTO admin (id, password_hash, session_epoch, updated_at) VALUES (1, $1, 1, $2) \
         ON CONFLICT (id) DO UPDATE SET password_hash = excluded.password_hash, \
         session_epoch = admin.session_epoch + 1, updated_at = excluded.updated_at")
    .bind(password_hash.to_owned())
    .bind(number(at.0))
    .execute(write.connection())
    .await?;
    sql("DELETE FROM sessions").execute(write.connection()).await?;
    // A row that is no resource has no revision of its own.
    let before = before.map(|at| (0, json!({ "passwordSetAt": at })));
    write.note(KIND, ID, before, Some(json!({ "passwordSetAt": at.0 })))
}
