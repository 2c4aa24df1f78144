//! The processes of the fleet: what each tells the others of itself, and who of them still runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use omniroute_core::time::UnixMillis;
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, any::AnyRow};

use super::Fleet;
use crate::store::{Columns as _, LOST_AFTER, Store, StoreError, clean, number, sql};

/// How often a process says that it runs.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// A process that was not heard of for this long is struck off the list.
const FORGET_AFTER: Duration = Duration::from_hours(24);

/// Silence after which a process that did not say that it stops counts as gone.
const GONE_AFTER: Duration = Duration::from_mins(2);

/// What a stop may take to tell the others.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Another process of the fleet.
pub(super) struct Other {
    pub(super) row: ControlPlaneRow,
    pub(super) is_gone: bool,
    /// It is struck off the list.
    is_forgotten: bool,
}

#[derive(Clone, Default)]
pub(super) struct Membership {
    /// Settings of this process that are not those in force.
    pub(super) differs: Vec<&'static str>,
    /// Master keys that other processes have and this one has not.
    pub(super) elsewhere: BTreeSet<String>,
    /// As [`Store::heartbeat`] last found them.
    pub(super) last_elsewhere: BTreeSet<String>,
    /// A master key of those that something stored needs: this process publishes nothing.
    pub(super) missing_key: Option<String>,
    pub(super) written_at: Option<UnixMillis>,
    pub(super) written: Option<String>,
}

/// A control plane that runs, or did until a moment ago.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlPlaneRow {
    pub id: String,
    pub name: String,
    pub version: String,
    pub started_at: UnixMillis,
    pub last_seen_at: UnixMillis,
    /// Not heard of for a while: by the clock of whoever asks, who has listened. Of one that has not been heard of since then,
    /// there is only what it last said by its own clock.
    pub lost: bool,
    /// It is the one that was asked.
    pub is_this: bool,
    pub state: ControlPlaneState,
}

/// How a control plane is set up, as it tells the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlPlaneState {
    /// Id of the master key that seals, and of all that open.
    pub seals_with: String,
    pub opens_with: Vec<String>,
    /// Fingerprints of the values that its environment gives, by name.
    pub values: BTreeMap<String, String>,
    /// Names of those that are not in force.
    pub differs: Vec<String>,
    /// It publishes nothing, because it lacks this master key.
    pub missing_key: Option<String>,
    /// It has ended as it was told to. Its master keys are remembered for a day: it may come back.
    pub stopped: bool,
}

// === impl Fleet ===

impl Fleet {
    /// Whether a process of this machine or container that had this name has ended.
    fn has_ended(&self, name: &str) -> bool {
        let (Some((machine, _)), Some((other, pid))) = (self.name.rsplit_once('/'), name.rsplit_once('/')) else {
            return false;
        };
        let pid = pid.parse().ok().filter(|_| machine == other).and_then(Pid::from_raw);
        // A container that is started again has the same name, and the same number for its process.
        pid.is_some_and(|pid| {
            pid.as_raw_nonzero().get().unsigned_abs() == std::process::id()
                || test_kill_process(pid) == Err(Errno::SRCH)
        })
    }

    /// What is known of these other processes.
    fn watched(&self, rows: Vec<ControlPlaneRow>, now: UnixMillis) -> Vec<Other> {
        let written_at = self.membership.read().written_at;
        let silence = self.watch.lock().silence(&rows, written_at, now);
        let others = rows.into_iter().zip(silence).map(|(mut row, silence)| {
            let is_silent = silence.lasts > LOST_AFTER;
            row.lost = is_silent || (row.lost && !silence.was_heard);
            let is_gone = row.state.stopped || silence.lasts > GONE_AFTER || (is_silent && self.has_ended(&row.name));
            // By the clock of this process, which may run ahead of all others. So whoever may still run is listened for first, and
            // of one that was heard of it is known since when it has been silent.
            let is_over = is_silent && (!silence.was_heard || silence.lasts > FORGET_AFTER);
            let is_forgotten = row.last_seen_at < forgotten(now) && (row.state.stopped || is_over);
            Other { row, is_gone, is_forgotten }
        });
        others.collect()
    }
}

// === impl Store ===

impl Store {
    /// The master key for want of which this process publishes nothing.
    pub fn missing_key(&self) -> Option<String> {
        self.fleet().membership.read().missing_key.clone()
    }

    pub(crate) fn set_missing_key(&self, key: Option<String>) {
        self.fleet().membership.write().missing_key = key;
    }

    /// Whether another process that runs has a master key that this one has not.
    pub(crate) fn has_elsewhere(&self, key: &str) -> bool {
        self.fleet().membership.read().elsewhere.contains(key)
    }

    /// The control planes that were heard of within a day and have not stopped, this one included, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn control_planes(&self) -> Result<Vec<ControlPlaneRow>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        let (own, others): (Vec<_>, Vec<_>) =
            self.all_control_planes(&mut connection).await?.into_iter().partition(|row| row.is_this);
        let others = self.fleet().watched(others, self.clock().now()).into_iter();
        let others = others.filter(|other| !other.is_forgotten && !other.row.state.stopped).map(|other| other.row);
        let mut rows: Vec<_> = own.into_iter().chain(others).collect();
        rows.sort_by(|one, two| (&one.name, &one.id).cmp(&(&two.name, &two.id)));
        Ok(rows)
    }

    /// The other control planes that have not ended as far as is known, and of each whether it must be counted on: one that
    /// has been silent for minutes must not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn peers(&self) -> Result<Vec<(ControlPlaneRow, bool)>, StoreError> {
        let has_ended = |other: &Other| other.is_gone && self.fleet().has_ended(&other.row.name);
        let others = self.others().await?.into_iter();
        let others = others.filter(|other| !other.row.state.stopped && !has_ended(other));
        Ok(others.map(|other| (other.row, !other.is_gone)).collect())
    }

    /// The other control planes that run, or did within a day; the rest is struck off the list.
    pub(super) async fn look_at_others(&self) -> Result<Vec<Other>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        let (forgotten, others): (Vec<_>, Vec<_>) =
            self.all_others_in(&mut connection).await?.into_iter().partition(|other| other.is_forgotten);
        drop(connection);
        for gone in forgotten {
            // Unless it has told of itself meanwhile.
            let statement = sql("DELETE FROM control_planes WHERE id = $1 AND last_seen_at = $2")
                .bind(gone.row.id)
                .bind(number(gone.row.last_seen_at.0));
            if let Err(error) = statement.execute(self.writer()).await {
                tracing::debug!(%error, "a control plane that is long gone stays on the list");
            }
        }
        Ok(others)
    }

    /// Notes which master keys the others have and this process has not.
    pub(super) fn note_keys(&self, others: &[Other]) {
        let ours: BTreeSet<String> = self.ring().ids().map(|id| id.to_string()).collect();
        let all = others.iter().flat_map(|other| &other.row.state.opens_with);
        let elsewhere: BTreeSet<String> = all.filter(|id| !ours.contains(*id)).cloned().collect();
        self.fleet().membership.write().elsewhere = elsewhere;
    }

    /// Whether another process has, or had within a day, a master key that this one has not; as the transaction sees it.
    pub(crate) async fn is_elsewhere(&self, tx: &mut AnyConnection, key: &str) -> Result<bool, StoreError> {
        let others = self.others_in(tx).await?;
        self.note_keys(&others);
        Ok(self.has_elsewhere(key))
    }

    /// The other control planes that run, or did within a day.
    async fn others(&self) -> Result<Vec<Other>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        self.others_in(&mut connection).await
    }

    pub(super) async fn others_in(&self, connection: &mut AnyConnection) -> Result<Vec<Other>, StoreError> {
        let mut others = self.all_others_in(connection).await?;
        others.retain(|other| !other.is_forgotten);
        Ok(others)
    }

    async fn all_others_in(&self, connection: &mut AnyConnection) -> Result<Vec<Other>, StoreError> {
        let mut rows = self.all_control_planes(connection).await?;
        rows.retain(|row| !row.is_this);
        Ok(self.fleet().watched(rows, self.clock().now()))
    }

    async fn all_control_planes(&self, connection: &mut AnyConnection) -> Result<Vec<ControlPlaneRow>, StoreError> {
        let rows = sql("SELECT id, name, version, started_at, last_seen_at, state FROM control_planes")
            .fetch_all(connection)
            .await?;
        rows.iter().map(|row| self.control_plane(row)).collect()
    }

    fn control_plane(&self, row: &AnyRow) -> Result<ControlPlaneRow, StoreError> {
        let (id, last_seen_at) = (row.text("id")?, row.millis("last_seen_at")?);
        Ok(ControlPlaneRow {
            is_this: id == self.fleet().id,
            id,
            name: row.text("name")?,
            version: row.text("version")?,
            started_at: row.millis("started_at")?,
            last_seen_at,
            lost: self.clock().now().saturating_since(last_seen_at) > LOST_AFTER,
            state: row.json("state").unwrap_or_default(),
        })
    }

    /// Tells the others how this process is set up: when that has changed, and every few seconds.
    pub(super) async fn write_heartbeat(&self) -> Result<(), StoreError> {
        let fleet = self.fleet();
        let now = self.clock().now();
        let membership = fleet.membership.read().clone();
        let state = ControlPlaneState {
            values: fleet.own.fingerprints(),
            differs: membership.differs.iter().map(|name| (*name).to_owned()).collect(),
            missing_key: membership.missing_key,
            ..self.keys_of_ring()
        };
        let state = serde_json::to_string(&state).unwrap_or_default();
        // A clock that was set back must not silence this process.
        let is_due = membership.written_at.is_none_or(|at| now < at || now.saturating_since(at) >= HEARTBEAT_EVERY);
        if !is_due && membership.written.as_ref() == Some(&state) {
            return Ok(());
        }
        sql("INSERT INTO control_planes (id, name, version, started_at, last_seen_at, state) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at, state = excluded.state")
        .bind(fleet.id.clone())
        .bind(fleet.name.clone())
        .bind(omniroute_core::VERSION)
        .bind(number(fleet.started_at.0))
        .bind(number(now.0))
        .bind(state.clone())
        .execute(self.writer())
        .await?;
        let mut membership = fleet.membership.write();
        (membership.written_at, membership.written) = (Some(now), Some(state));
        Ok(())
    }

    fn keys_of_ring(&self) -> ControlPlaneState {
        ControlPlaneState {
            seals_with: self.master_key_id(),
            opens_with: self.ring().ids().map(|id| id.to_string()).collect(),
            ..ControlPlaneState::default()
        }
    }

    /// Makes room for the others: this process stops. Its keys stay on the list, without which what they sealed would count as
    /// lost until it is back.
    pub(in super::super) async fn leave_fleet(&self) {
        let state = ControlPlaneState { stopped: true, ..self.keys_of_ring() };
        let statement = sql("UPDATE control_planes SET state = $2, last_seen_at = $3 WHERE id = $1")
            .bind(self.fleet().id.clone())
            .bind(serde_json::to_string(&state).unwrap_or_default())
            .bind(number(self.clock().now().0));
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, statement.execute(self.writer())).await;
    }
}

/// Who was last heard of before this is forgotten.
fn forgotten(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(millis(FORGET_AFTER)))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// By which people know the machine or the container.
pub(super) fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = if kernel.trim().is_empty() { std::env::var("HOSTNAME").unwrap_or_default() } else { kernel };
    format!("{}/{}", clean(name.trim()), std::process::id())
}
