//! The table `oauth_flows`: sign-ins under way. A row is found by a hash of what only the caller and the provider have seen.

use std::fmt::Write as _;

use omniroute_core::{hash::mac, settings::Secret, time::UnixMillis};
use sqlx::any::AnyRow;

use super::endpoint::random;
use crate::{
    http::{ApiError, Code},
    store::{Columns as _, SealedColumn, Store, StoreError, number, sealing, sql},
};

pub(super) const VERIFIER: SealedColumn = SealedColumn { table: "oauth_flows", column: "verifier" };
pub(super) const CODE: SealedColumn = SealedColumn { table: "oauth_flows", column: "code" };

/// Sign-ins under way at once.
const MOST: u64 = 1_000;

macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "id, kind, provider, connection_id, name, redirect_uri, nonce, verifier, code, error, error_description, \
             interval_ms, next_poll_at, expires_at",
            $after
        )
    };
}

/// How a sign-in goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A browser is sent to the provider, and comes back with a code.
    Code,
    /// Somebody types a code at the provider while we ask whether it is done.
    Device,
}

/// A sign-in under way.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) kind: Kind,
    pub(super) provider: String,
    pub(super) connection_id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) redirect_uri: String,
    pub(super) nonce: String,
    pub(super) verifier: Secret,
    /// The provider's device code; or the code that a browser came back with.
    pub(super) code: Option<Secret>,
    /// What a browser came back with instead.
    pub(super) error: Option<(String, Option<String>)>,
    pub(super) interval_ms: u64,
    pub(super) next_poll_at: UnixMillis,
    pub(super) expires_at: UnixMillis,
}

/// Reads and writes sign-ins.
pub(super) struct Flows<'a>(&'a Store);

/// Under which a sign-in is stored.
fn id_of(handle: &str) -> String {
    mac(b"omniroute sign-in", &[handle.as_bytes()]).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

// === impl Kind ===

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Device => "device",
        }
    }
}

// === impl Flows ===

impl<'a> Flows<'a> {
    pub(super) const fn of(store: &'a Store) -> Self {
        Self(store)
    }

    /// Keeps a sign-in, and returns what it is found by.
    ///
    /// # Errors
    /// 429 when too many are under way.
    pub(super) async fn begin(&self, flow: &Flow) -> Result<String, ApiError> {
        self.purge().await?;
        let row =
            sql("SELECT COUNT(*) AS n FROM oauth_flows").fetch_one(self.0.writer()).await.map_err(StoreError::from)?;
        if row.u64("n")? >= MOST {
            let message = "Too many sign-ins are under way; try again in a few minutes";
            return Err(ApiError::new(Code::RateLimited, message).with_retry_after(std::time::Duration::from_mins(1)));
        }
        let handle = random();
        let id = id_of(&handle);
        let seal = |column: SealedColumn, secret: &Secret| {
            sealing::seal(self.0.ring(), column.of(&id), secret.expose().as_bytes())
        };
        let verifier = flow.verifier.is_set().then(|| seal(VERIFIER, &flow.verifier)).transpose()?;
        let code = flow.code.as_ref().map(|code| seal(CODE, code)).transpose()?;
        sql(columns!(
            "INSERT INTO oauth_flows (",
            ", created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, NULL, $10, $11, $12, $13)"
        ))
        .bind(id)
        .bind(flow.kind.as_str())
        .bind(flow.provider.clone())
        .bind(flow.connection_id.clone())
        .bind(flow.name.clone())
        .bind(flow.redirect_uri.clone())
        .bind(flow.nonce.clone())
        .bind(verifier)
        .bind(code)
        .bind(number(flow.interval_ms))
        .bind(number(flow.next_poll_at.0))
        .bind(number(flow.expires_at.0))
        .bind(number(self.0.clock().now().0))
        .execute(self.0.writer())
        .await
        .map_err(StoreError::from)?;
        Ok(handle)
    }

    /// The sign-in of this handle, unless it is over.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn get(&self, handle: &str) -> Result<Option<Flow>, StoreError> {
        let row = sql(columns!("SELECT ", " FROM oauth_flows WHERE id = $1 AND expires_at > $2"))
            .bind(id_of(handle))
            .bind(number(self.0.clock().now().0))
            .fetch_optional(self.0.writer())
            .await?;
        row.map(|row| self.record(&row)).transpose()
    }

    /// Takes the sign-in of this handle away: it can be ended once.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn take(&self, handle: &str) -> Result<Option<Flow>, StoreError> {
        let row = sql(columns!("DELETE FROM oauth_flows WHERE id = $1 AND expires_at > $2 RETURNING ", ""))
            .bind(id_of(handle))
            .bind(number(self.0.clock().now().0))
            .fetch_optional(self.0.writer())
            .await?;
        row.map(|row| self.record(&row)).transpose()
    }

    /// Keeps what a browser came back with. `false`: there is no such sign-in, or it came back before.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn came_back(
        &self,
        handle: &str,
        code: Option<&Secret>,
        error: Option<(&str, Option<&str>)>,
    ) -> Result<bool, StoreError> {
        let id = id_of(handle);
        let sealed =
            code.map(|code| sealing::seal(self.0.ring(), CODE.of(&id), code.expose().as_bytes())).transpose()?;
        let done = sql("UPDATE oauth_flows SET code = $2, error = $3, error_description = $4 \
             WHERE id = $1 AND kind = 'code' AND expires_at > $5 AND code IS NULL AND error IS NULL")
        .bind(id)
        .bind(sealed)
        .bind(error.map(|(error, _)| error.to_owned()))
        .bind(error.and_then(|(_, description)| description.map(str::to_owned)))
        .bind(number(self.0.clock().now().0))
        .execute(self.0.writer())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes the turn to ask the provider: whoever gets `true` asks, and nobody else before `next`.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn take_turn(&self, handle: &str, next: UnixMillis) -> Result<bool, StoreError> {
        let now = number(self.0.clock().now().0);
        let done =
            sql("UPDATE oauth_flows SET next_poll_at = $2 WHERE id = $1 AND next_poll_at <= $3 AND expires_at > $3")
                .bind(id_of(handle))
                .bind(number(next.0))
                .bind(now)
                .execute(self.0.writer())
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The provider wants to be asked less often.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn slow_down(&self, handle: &str, interval_ms: u64) -> Result<(), StoreError> {
        let next = self.0.clock().now().saturating_add(std::time::Duration::from_millis(interval_ms));
        sql("UPDATE oauth_flows SET interval_ms = $2, next_poll_at = $3 WHERE id = $1")
            .bind(id_of(handle))
            .bind(number(interval_ms))
            .bind(number(next.0))
            .execute(self.0.writer())
            .await?;
        Ok(())
    }

    /// Forgets those that are over.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn purge(&self) -> Result<(), StoreError> {
        let statement = sql("DELETE FROM oauth_flows WHERE expires_at <= $1").bind(number(self.0.clock().now().0));
        statement.execute(self.0.writer()).await?;
        Ok(())
    }

    fn record(&self, row: &AnyRow) -> Result<Flow, StoreError> {
        let id = row.text("id")?;
        let open = |column: SealedColumn| -> Result<Option<Secret>, StoreError> {
            let Some(sealed) = row.opt_blob(column.column)? else { return Ok(None) };
            let plain = sealing::open(self.0.ring(), column.of(&id), &sealed)?;
            let text = std::str::from_utf8(&plain).map_err(|_| StoreError::Corrupt("a sign-in".into()))?;
            Ok(Some(Secret::new(text)))
        };
        let description = row.opt_text("error_description")?;
        Ok(Flow {
            kind: if row.text("kind")? == Kind::Device.as_str() { Kind::Device } else { Kind::Code },
            provider: row.text("provider")?,
            connection_id: row.opt_text("connection_id")?,
            name: row.opt_text("name")?,
            redirect_uri: row.text("redirect_uri")?,
            nonce: row.text("nonce")?,
            verifier: open(VERIFIER)?.unwrap_or_default(),
            code: open(CODE)?,
            error: row.opt_text("error")?.map(|error| (error, description)),
            interval_ms: row.u64("interval_ms")?,
            next_poll_at: row.millis("next_poll_at")?,
            expires_at: row.millis("expires_at")?,
        })
    }
}
