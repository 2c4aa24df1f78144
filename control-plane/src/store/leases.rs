//! Leases: which replica does the work that only one may do.
//!
//! A lease has a holder, an expiry and a fencing number that grows with every change of holder. Expiry alone would not
//! do: a holder may stall past it without noticing. So every transaction of leader-only work calls [`Lease::guard`],
//! which fails when somebody else has taken over, and holds off a take-over until that transaction ends.

use std::time::Duration;

use omniroute_core::time::UnixMillis;
use sqlx::AnyConnection;

use super::{Columns as _, Store, StoreError, number, sql};

/// Takes leases.
pub struct Leases<'a>(&'a Store);

/// A lease that was held when it was taken or renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub holder: String,
    /// Grows with every change of holder.
    pub fence: u64,
    pub expires_at: UnixMillis,
}

// === impl Store ===

impl Store {
    pub fn leases(&self) -> Leases<'_> {
        Leases(self)
    }
}

// === impl Leases ===

impl Leases<'_> {
    /// Takes the lease when it is free, expired, or already this holder's. `None` when somebody else has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let now = self.0.clock().now();
        let expires_at = now.saturating_add(ttl);
        let row = sql("INSERT INTO leases (name, holder, expires_at, fence) VALUES ($1, $2, $3, 1) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at, \
             fence = CASE WHEN leases.holder = excluded.holder THEN leases.fence ELSE leases.fence + 1 END \
             WHERE leases.holder = excluded.holder OR leases.expires_at <= $4 RETURNING fence")
        .bind(name.to_owned())
        .bind(holder.to_owned())
        .bind(number(expires_at.0))
        .bind(number(now.0))
        .fetch_optional(self.0.writer())
        .await?;
        row.map(|row| {
            let fence = row.u64("fence")?;
            Ok(Lease { name: name.to_owned(), holder: holder.to_owned(), fence, expires_at })
        })
        .transpose()
    }

    /// Gives a lease back before it expires, at the end of the process.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        sql("UPDATE leases SET expires_at = 0 WHERE name = $1 AND fence = $2 AND holder = $3")
            .bind(lease.name.clone())
            .bind(number(lease.fence))
            .bind(lease.holder.clone())
            .execute(self.0.writer())
            .await?;
        Ok(())
    }
}

// === impl Lease ===

impl Lease {
    /// Fails when the lease has changed hands, and locks its row, so that it cannot before `transaction` ends.
    ///
    /// # Errors
    /// `LeaseLost`, or when the database fails.
    pub(crate) async fn guard(&self, transaction: &mut AnyConnection) -> Result<(), StoreError> {
        let done = sql("UPDATE leases SET fence = fence WHERE name = $1 AND fence = $2 AND holder = $3")
            .bind(self.name.clone())
            .bind(number(self.fence))
            .bind(self.holder.clone())
            .execute(transaction)
            .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost(self.name.clone())) }
    }
}
