//! What the control planes of one fleet have in common.
//!
//! Some of what proxies obey comes from the environment of a control plane: the pepper of the API-key hash, and whether
//! private upstreams are allowed. Were each process to publish its own, one revision would mean different things on different
//! replicas. So the values live in the settings row, sealed, and every process publishes what stands there. The first process
//! that starts puts its own in; a process that is set up differently changes a value once no other process that runs still
//! has the one in force. Until then it goes by the value in force and says so. That lets a change be rolled out in any order,
//! and keeps a single process that is set up by mistake from changing anything for the others.
//!
//! Each process tells the others every few seconds, in `control_planes`, how it is set up and which master keys it has. One
//! that stops says so, and its values hold nothing any more. One that was killed says nothing, so whoever wants to change a
//! value waits until it has been silent for minutes, during which the watcher itself could tell the others that it runs: a
//! process that hung, or came back last from an outage of the database, still counts. What was sealed with a master key that
//! a process had within a day, running or not, is never taken for lost.
//!
//! [`values`] are what is published and how it is stored, [`members`] the processes, [`silence`] how long each of them has said
//! nothing.

mod members;
mod silence;
mod values;

use std::{fmt::Write as _, sync::Arc};

use omniroute_core::{
    hash::{Pepper, mac},
    sealed::{SealContext, SealError},
    time::UnixMillis,
};
use parking_lot::{Mutex, RwLock};
use sqlx::{AnyConnection, any::AnyRow};
use uuid::Uuid;

pub use self::members::{ControlPlaneRow, ControlPlaneState};
pub(crate) use self::values::FleetValues;
use self::{
    members::{Membership, Other, host_name},
    silence::SilenceWatch,
    values::{PEPPER, POLICY, StoredValues},
};
use super::{Columns as _, Store, StoreError, records::Actor, sealing, sql};

/// Where the values lie.
pub(super) const CONTEXT: SealContext<'_> = SealContext { table: "settings", column: "fleet", row: "settings" };

const SELECT: &str = "SELECT fleet, process, revision FROM settings WHERE id = 'settings'";

/// This process among the others.
pub(super) struct Fleet {
    id: String,
    name: String,
    started_at: UnixMillis,
    /// As this process is set up.
    own: FleetValues,
    in_force: RwLock<(u64, FleetValues)>,
    membership: RwLock<Membership>,
    watch: Mutex<SilenceWatch>,
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(pepper: Pepper, allow_private_upstreams: bool, now: UnixMillis) -> Self {
        let own = FleetValues::new(pepper, allow_private_upstreams);
        Self {
            id: Uuid::new_v4().to_string(),
            name: host_name(),
            started_at: now,
            in_force: RwLock::new((0, own.clone())),
            own,
            membership: RwLock::default(),
            watch: Mutex::default(),
        }
    }

    /// What the row should hold instead of what it holds, as far as this process can tell; `None` when it is right.
    fn wanted(&self, held: &StoredValues, others: &[Other]) -> Option<FleetValues> {
        match held {
            StoredValues::Values(values) => {
                let mut next = values.clone();
                let in_force = values.fingerprints();
                let running = || others.iter().filter(|other| !other.is_gone);
                let still_has =
                    |name: &str| running().any(|other| other.row.state.values.get(name) == in_force.get(name));
                let due: Vec<_> = self.own.differs(values).into_iter().filter(|name| !still_has(name)).collect();
                due.iter().for_each(|name| next.take(name, &self.own));
                (!due.is_empty()).then_some(next)
            }
            StoredValues::Locked(key) if others.iter().any(|other| other.row.state.opens_with.contains(key)) => None,
            StoredValues::Nothing | StoredValues::Locked(_) | StoredValues::Damaged => Some(self.own.clone()),
        }
    }
}

// === impl Store ===

impl Store {
    /// The pepper of the API-key hash in force.
    pub fn pepper(&self) -> Arc<Pepper> {
        Arc::clone(&self.fleet().in_force.read().1.pepper)
    }

    /// Tells this deployment from others and gives nothing away. It changes only with `API_KEY_SECRET`.
    pub fn deployment_id(&self) -> String {
        let mac = mac(self.pepper().as_bytes(), &[b"deployment id"]);
        mac[..8].iter().fold(String::with_capacity(16), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Whether connections may point at private addresses, as it is in force.
    pub fn allow_private_upstreams(&self) -> bool {
        self.fleet().in_force.read().1.allow_private_upstreams
    }

    pub(crate) fn fleet_values(&self) -> FleetValues {
        self.fleet().in_force.read().1.clone()
    }

    /// Names of settings of this process that are not those in force.
    pub fn differing_settings(&self) -> Vec<&'static str> {
        self.fleet().membership.read().differs.clone()
    }

    /// Takes this process's place in the fleet, and learns what is in force.
    pub(super) async fn join_fleet(&self) -> Result<(), StoreError> {
        // The others must know of this process before it judges whether they have gone. While nothing can be stored, as on a full
        // disk, it starts all the same. Where the database is read only it does not come so far: migrations want to write
        // before they find that there is nothing to do.
        let is_told = self.write_heartbeat().await.inspect_err(|error| {
            tracing::warn!(%error, "the other control planes cannot be told of this one");
        });
        let others = self.look_at_others().await?;
        self.note_keys(&others);
        self.reconcile(&others).await?;
        // Now that it knows what is in force, it can tell in what it differs.
        if is_told.is_ok() { self.write_heartbeat().await } else { Ok(()) }
    }

    /// Looks at the others, brings the values in force up to date, and says that this process runs. To be called every
    /// second or so. True when other master keys are in reach of the fleet than before: what can be published may have
    /// changed.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn heartbeat(&self) -> Result<bool, StoreError> {
        let others = self.look_at_others().await?;
        self.note_keys(&others);
        let changed = {
            let mut membership = self.fleet().membership.write();
            let changed = membership.last_elsewhere != membership.elsewhere;
            membership.last_elsewhere = membership.elsewhere.clone();
            changed
        };
        self.reconcile(&others).await?;
        self.write_heartbeat().await?;
        Ok(changed)
    }

    /// Learns what is in force, and puts this process's own values into force where nobody holds on to others.
    async fn reconcile(&self, others: &[Other]) -> Result<(), StoreError> {
        let row = sql(SELECT).fetch_optional(self.reader()).await?;
        let (held, revision) = self.held(row.as_ref())?;
        if self.fleet().wanted(&held, others).is_some() {
            return self.put_into_force().await;
        }
        match held {
            StoredValues::Values(values) => self.set_in_force(revision, values),
            // As after a rotation to a key that this process was not given.
            StoredValues::Locked(key) => self.set_missing_key(Some(key)),
            StoredValues::Nothing | StoredValues::Damaged => {}
        }
        Ok(())
    }

    async fn put_into_force(&self) -> Result<(), StoreError> {
        let mut write = self.write(&Actor::system("start")).await?;
        // Under the writers' lock everything is looked at anew: another process may have been quicker.
        let others = self.others_in(write.connection()).await?;
        let row = sql(SELECT).fetch_optional(write.connection()).await?;
        let (held, revision) = self.held(row.as_ref())?;
        let Some(next) = self.fleet().wanted(&held, &others) else {
            write.commit().await?;
            if let StoredValues::Values(values) = held {
                self.set_in_force(revision, values);
            }
            return Ok(());
        };
        self.log_change(&held, row.as_ref(), &next);
        let sealed = sealing::seal(self.ring(), CONTEXT, &next.to_json())?;
        let process = next.process_fingerprint();
        let document = write.settings_document().await?;
        write.store_settings(document).await?;
        sql("UPDATE settings SET fleet = $1, process = $2 WHERE id = 'settings'")
            .bind(sealed)
            .bind(process)
            .execute(write.connection())
            .await?;
        let revision = write.commit().await?;
        self.set_in_force(revision, next);
        Ok(())
    }

    fn log_change(&self, held: &StoredValues, row: Option<&AnyRow>, next: &FleetValues) {
        let changed = match held {
            StoredValues::Values(values) => next.differs(values),
            StoredValues::Nothing => {
                // A database of an earlier version holds a fingerprint only.
                let stored = row.and_then(|row| row.blob("process").ok());
                let other_policy =
                    FleetValues { allow_private_upstreams: !next.allow_private_upstreams, ..next.clone() };
                match stored {
                    Some(stored) if stored == other_policy.process_fingerprint() => vec![POLICY],
                    Some(stored) if stored != next.process_fingerprint() => vec![PEPPER],
                    _ => Vec::new(),
                }
            }
            StoredValues::Locked(key) => {
                tracing::error!(
                    key,
                    "what is in force was sealed with a master key that no control plane has had for a day; this \
                     process's own settings take its place"
                );
                Vec::new()
            }
            StoredValues::Damaged => {
                tracing::error!("what is in force cannot be read; this process's own settings take its place");
                Vec::new()
            }
        };
        if changed.contains(&PEPPER) {
            tracing::warn!(
                "API_KEY_SECRET is not the one that the API keys in this database were made with: every client key \
                 made before is refused from now on"
            );
        }
        if changed.contains(&POLICY) {
            tracing::warn!(allow = next.allow_private_upstreams, "ALLOW_PRIVATE_UPSTREAMS changes for the whole fleet");
        }
    }

    fn set_in_force(&self, revision: u64, values: FleetValues) {
        let differs = self.fleet().own.differs(&values);
        let mut membership = self.fleet().membership.write();
        if membership.differs != differs {
            if differs.is_empty() {
                tracing::info!("the settings of this process are those in force");
            } else {
                tracing::warn!(
                    settings = differs.join(", "),
                    "these settings of this process are not those in force, because another control plane that runs has \
                     the ones that are; they come into force once it is restarted with these"
                );
            }
        }
        membership.differs = differs;
        drop(membership);
        *self.fleet().in_force.write() = (revision, values);
    }

    /// What the row holds, and the row's revision.
    fn held(&self, row: Option<&AnyRow>) -> Result<(StoredValues, u64), StoreError> {
        let Some(row) = row else { return Ok((StoredValues::Nothing, 0)) };
        let revision = row.u64("revision")?;
        let Some(sealed) = row.opt_blob("fleet")? else { return Ok((StoredValues::Nothing, revision)) };
        let held = match self.ring().open(CONTEXT, &sealed) {
            Ok(json) => FleetValues::from_json(&json).map_or(StoredValues::Damaged, StoredValues::Values),
            Err(SealError::UnknownKey(key)) => StoredValues::Locked(key),
            Err(_) => StoredValues::Damaged,
        };
        Ok((held, revision))
    }

    /// The values in force, as a transaction sees them.
    ///
    /// # Errors
    /// `RingIncomplete` when this process cannot open them and another one can.
    pub(crate) async fn published_values(&self, tx: &mut AnyConnection) -> Result<FleetValues, StoreError> {
        // Which keys the others have must be as new as what is about to be opened.
        let others = self.others_in(tx).await?;
        self.note_keys(&others);
        let row = sql(SELECT).fetch_optional(tx).await?;
        match self.held(row.as_ref())?.0 {
            StoredValues::Values(values) => Ok(values),
            StoredValues::Locked(key) if self.has_elsewhere(&key) => Err(StoreError::RingIncomplete(key)),
            StoredValues::Nothing | StoredValues::Locked(_) | StoredValues::Damaged => Ok(self.fleet_values()),
        }
    }
}
