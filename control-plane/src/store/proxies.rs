//! What the fleet last said of itself, and commands for proxies that are attached to another replica.

use std::{borrow::Cow, time::Duration};

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{
    Columns as _, Store, StoreError,
    limits::clean,
    number,
    records::{CoolingRow, ProxyRow, RejectionRow},
    sql,
};

/// A proxy that was not heard of for this long counts as lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(15);

/// A command that no replica could deliver by then is void.
const COMMAND_TTL: Duration = Duration::from_mins(5);

/// Before the connection whose cooldown a command ends, in its row.
const RESET_COOLDOWN: &str = "forgive:";

/// Reads and writes proxies.
pub struct Proxies<'a>(&'a Store);

/// What a proxy can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop taking new work; end streams at the deadline.
    Drain {
        deadline: Duration,
    },
    Resume,
    /// Drop the configuration and subscribe anew.
    Resync,
    /// End the cooldown of a connection.
    ResetCooldown {
        connection: String,
    },
}

/// Whether a command has reached its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is on the proxy's stream.
    Delivered,
    /// The proxy is not attached anywhere; the command is pending until it is void.
    Pending,
}

// === impl Store ===

impl Store {
    pub fn proxies(&self) -> Proxies<'_> {
        Proxies(self)
    }
}

// === impl Proxies ===

impl Proxies<'_> {
    /// All, by id; `lost` by the clock of this process.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<ProxyRow>, StoreError> {
        let rows = sql("SELECT p.id, p.boot_id, p.version, p.protocol, p.address, p.started_at, p.last_seen_at, \
             p.revision, p.stale, p.draining, p.requests_in_flight, p.streams_in_flight, p.requests_total, \
             p.memory_rss_bytes, p.journal_pending, p.journal_lost, p.last_error, p.last_error_at, p.cooling, \
             r.rejections FROM proxies p LEFT JOIN proxy_rejections r ON r.proxy_id = p.id ORDER BY p.id")
        .fetch_all(self.0.reader())
        .await?;
        let now = self.0.clock().now();
        rows.iter().map(|row| record(row, now)).collect()
    }

    /// Keeps a status under the proxy's id. `false`: another process has the id, and was heard of a moment ago.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn upsert(&self, status: &v1::ProxyStatus) -> Result<bool, StoreError> {
        let now = self.0.clock().now();
        let silent_since = now.0.saturating_sub(u64::try_from(LOST_AFTER.as_millis()).unwrap_or(u64::MAX));
        let cooling: Vec<CoolingRow> = status.cooling.iter().map(cooling_row).collect();
        let cooling = serde_json::to_string(&cooling).unwrap_or_else(|_| "[]".to_owned());
        let statement = sql(
            "INSERT INTO proxies (id, boot_id, version, protocol, address, started_at, last_seen_at, revision, stale, \
             draining, requests_in_flight, streams_in_flight, requests_total, memory_rss_bytes, journal_pending, \
             journal_lost, last_error, last_error_at, cooling) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) \
             ON CONFLICT (id) DO UPDATE SET boot_id = excluded.boot_id, version = excluded.version, \
             protocol = excluded.protocol, address = excluded.address, started_at = excluded.started_at, \
             last_seen_at = excluded.last_seen_at, revision = excluded.revision, stale = excluded.stale, \
             draining = excluded.draining, requests_in_flight = excluded.requests_in_flight, \
             streams_in_flight = excluded.streams_in_flight, requests_total = excluded.requests_total, \
             memory_rss_bytes = excluded.memory_rss_bytes, journal_pending = excluded.journal_pending, \
             journal_lost = excluded.journal_lost, last_error = excluded.last_error, \
             last_error_at = excluded.last_error_at, cooling = excluded.cooling \
             WHERE proxies.boot_id IN (excluded.boot_id, '') OR proxies.last_seen_at < $20",
        )
        .bind(clean(&status.proxy_id))
        .bind(clean(&status.boot_id))
        .bind(clean(&status.version))
        .bind(i64::from(status.protocol))
        .bind(clean(&status.address))
        .bind(number(status.started_at_ms))
        .bind(number(now.0))
        .bind(number(status.revision))
        .bind(i64::from(status.stale))
        .bind(i64::from(status.draining))
        .bind(number(status.requests_in_flight))
        .bind(number(status.streams_in_flight))
        .bind(number(status.requests_total))
        .bind(number(status.memory_rss_bytes))
        .bind(number(status.journal_pending))
        .bind(number(status.journal_lost))
        .bind(clean(&status.last_error))
        .bind(number(status.last_error_at_ms))
        .bind(cooling)
        .bind(number(silent_since));
        Ok(statement.execute(self.0.writer()).await?.rows_affected() > 0)
    }

    /// A process has left: its id is free at once. Unless it was heard of since `seen`, by another replica.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn release(&self, proxy_id: &str, boot_id: &str, seen: UnixMillis) -> Result<(), StoreError> {
        sql("UPDATE proxies SET boot_id = '' WHERE id = $1 AND boot_id = $2 AND last_seen_at <= $3")
            .bind(clean(proxy_id))
            .bind(clean(boot_id))
            .bind(number(seen.0))
            .execute(self.0.writer())
            .await?;
        Ok(())
    }

    /// Removes a process from the list under an id that it has no more.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn remove(&self, proxy_id: &str, boot_id: &str) -> Result<(), StoreError> {
        let statement = sql("DELETE FROM proxies WHERE id = $1 AND boot_id = $2");
        statement.bind(clean(proxy_id)).bind(clean(boot_id)).execute(self.0.writer()).await?;
        Ok(())
    }

    /// What a proxy could not take when it last said so.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn rejections(&self, proxy_id: &str) -> Result<Vec<RejectionRow>, StoreError> {
        let statement = sql("SELECT rejections FROM proxy_rejections WHERE proxy_id = $1").bind(clean(proxy_id));
        let row = statement.fetch_optional(self.0.reader()).await?;
        row.map_or(Ok(Vec::new()), |row| row.json("rejections"))
    }

    /// Keeps what a proxy could not take; an empty list clears it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn set_rejections(&self, proxy_id: &str, rejections: &[RejectionRow]) -> Result<(), StoreError> {
        let json = serde_json::to_string(rejections).unwrap_or_else(|_| "[]".to_owned());
        sql("INSERT INTO proxy_rejections (proxy_id, rejections, at) VALUES ($1, $2, $3) \
             ON CONFLICT (proxy_id) DO UPDATE SET rejections = excluded.rejections, at = excluded.at")
        .bind(clean(proxy_id))
        .bind(json)
        .bind(number(self.0.clock().now().0))
        .execute(self.0.writer())
        .await?;
        Ok(())
    }

    /// Leaves a command for whichever replica the proxy is attached to. Returns its id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enqueue(&self, proxy_id: &str, command: &Command) -> Result<String, StoreError> {
        let id = Uuid::now_v7().to_string();
        let now = self.0.clock().now();
        let (name, deadline) = command.to_row();
        sql("INSERT INTO proxy_commands (id, proxy_id, command, deadline_ms, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(id.clone())
        .bind(clean(proxy_id))
        .bind(name.into_owned())
        .bind(number(deadline))
        .bind(number(now.0))
        .bind(number(now.saturating_add(COMMAND_TTL).0))
        .execute(self.0.writer())
        .await?;
        Ok(id)
    }

    /// Whether nobody has taken a command yet.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn is_pending(&self, command: &str) -> Result<bool, StoreError> {
        let statement = sql("SELECT 1 AS one FROM proxy_commands WHERE id = $1").bind(command.to_owned());
        Ok(statement.fetch_optional(self.0.writer()).await?.is_some())
    }

    /// Proxies for which commands are pending.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn with_pending_commands(&self) -> Result<Vec<String>, StoreError> {
        let statement = sql("SELECT DISTINCT proxy_id FROM proxy_commands WHERE expires_at > $1");
        let rows = statement.bind(number(self.0.clock().now().0)).fetch_all(self.0.reader()).await?;
        rows.iter().map(|row| row.text("proxy_id")).collect()
    }

    /// Takes a proxy's commands, oldest first. Whoever takes them delivers them.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn take_commands(&self, proxy_id: &str) -> Result<Vec<Command>, StoreError> {
        let statement = sql("DELETE FROM proxy_commands WHERE proxy_id = $1 AND expires_at > $2 \
             RETURNING id, command, deadline_ms");
        let statement = statement.bind(proxy_id.to_owned()).bind(number(self.0.clock().now().0));
        let mut commands = Vec::new();
        for row in statement.fetch_all(self.0.writer()).await? {
            if let Some(command) = Command::from_row(&row.text("command")?, row.u64("deadline_ms")?) {
                commands.push((row.text("id")?, command));
            }
        }
        commands.sort_by(|one, two| one.0.cmp(&two.0));
        Ok(commands.into_iter().map(|(_, command)| command).collect())
    }

    /// Forgets void commands, and proxies that were not heard of since `cutoff`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge(&self, cutoff: UnixMillis) -> Result<u64, StoreError> {
        let now = number(self.0.clock().now().0);
        sql("DELETE FROM proxy_commands WHERE expires_at <= $1").bind(now).execute(self.0.writer()).await?;
        sql("DELETE FROM proxy_rejections WHERE at < $1 AND proxy_id NOT IN (SELECT id FROM proxies \
             WHERE last_seen_at >= $1)")
        .bind(number(cutoff.0))
        .execute(self.0.writer())
        .await?;
        let statement = sql("DELETE FROM proxies WHERE last_seen_at < $1").bind(number(cutoff.0));
        Ok(statement.execute(self.0.writer()).await?.rows_affected())
    }
}

// === impl Command ===

impl Command {
    fn to_row(&self) -> (Cow<'static, str>, u64) {
        match self {
            Self::Drain { deadline } => ("drain".into(), millis(*deadline)),
            Self::Resume => ("resume".into(), 0),
            Self::Resync => ("resync".into(), 0),
            Self::ResetCooldown { connection } => (format!("{RESET_COOLDOWN}{}", clean(connection)).into(), 0),
        }
    }

    fn from_row(name: &str, deadline_ms: u64) -> Option<Self> {
        match name {
            "drain" => Some(Self::Drain { deadline: Duration::from_millis(deadline_ms) }),
            "resume" => Some(Self::Resume),
            "resync" => Some(Self::Resync),
            other => other.strip_prefix(RESET_COOLDOWN).map(|id| Self::ResetCooldown { connection: id.to_owned() }),
        }
    }

    pub(crate) fn to_proto(&self) -> v1::ProxyCommand {
        use v1::proxy_command::Body;
        let body = match self {
            Self::Drain { deadline } => Body::Drain(v1::Drain { deadline_ms: millis(*deadline) }),
            Self::Resume => Body::Resume(v1::Resume {}),
            Self::Resync => Body::Resync(v1::Resync {}),
            Self::ResetCooldown { connection } => Body::Forgive(v1::Forgive { connection_id: connection.clone() }),
        };
        v1::ProxyCommand { body: Some(body) }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn cooling_row(cooling: &v1::CoolingConnection) -> CoolingRow {
    CoolingRow {
        connection_id: clean(&cooling.connection_id),
        until: UnixMillis(cooling.until_ms),
        reason: clean(&cooling.reason),
    }
}

fn record(row: &AnyRow, now: UnixMillis) -> Result<ProxyRow, StoreError> {
    let last_seen_at = row.millis("last_seen_at")?;
    let rejections: Option<Vec<RejectionRow>> =
        row.opt_text("rejections")?.and_then(|json| serde_json::from_str(&json).ok());
    Ok(ProxyRow {
        id: row.text("id")?,
        boot_id: row.text("boot_id")?,
        version: row.text("version")?,
        protocol: row.u32("protocol")?,
        address: row.text("address")?,
        started_at: row.millis("started_at")?,
        last_seen_at,
        lost: now.saturating_since(last_seen_at) > LOST_AFTER,
        revision: row.u64("revision")?,
        stale: row.flag("stale")?,
        draining: row.flag("draining")?,
        requests_in_flight: row.u64("requests_in_flight")?,
        streams_in_flight: row.u64("streams_in_flight")?,
        requests_total: row.u64("requests_total")?,
        memory_rss_bytes: row.u64("memory_rss_bytes")?,
        journal_pending: row.u64("journal_pending")?,
        journal_lost: row.u64("journal_lost")?,
        last_error: row.text("last_error")?,
        last_error_at: row.opt_millis("last_error_at")?.filter(|at| at.0 > 0),
        cooling: row.json("cooling")?,
        rejections: rejections.unwrap_or_default(),
    })
}
