//! Logins. No configuration: a login is no edit.

use super::{Columns as _, Store, StoreError, number, records::SessionRecord, sql};

/// Reads and writes sessions.
pub struct Sessions<'a>(&'a Store);

// === impl Store ===

impl Store {
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(self)
    }
}

// === impl Sessions ===

impl Sessions<'_> {
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
