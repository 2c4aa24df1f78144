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

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omniroute_core::{
    hash::{Pepper, mac},
    sealed::{Place, SealError},
    time::UnixMillis,
};
use parking_lot::{Mutex, RwLock};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, any::AnyRow};
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Columns as _, LOST_AFTER, Store, StoreError, number, records::Actor, sealing, sql};

/// Names of the settings whose values are the fleet's.
const PEPPER: &str = "API_KEY_SECRET";
const POLICY: &str = "ALLOW_PRIVATE_UPSTREAMS";

/// Where the values lie.
pub(super) const PLACE: Place<'_> = Place { table: "settings", column: "fleet", row: "settings" };

const SELECT: &str = "SELECT fleet, process, revision FROM settings WHERE id = 'settings'";

/// How often a process says that it runs.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// A process that was not heard of for this long is struck off the list.
const FORGET_AFTER: Duration = Duration::from_hours(24);

/// Silence after which a process that did not say that it stops counts as gone.
const GONE_AFTER: Duration = Duration::from_mins(2);

/// What a stop may take to tell the others.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The values that all control planes of a fleet publish.
#[derive(Clone)]
pub(crate) struct FleetValues {
    pub(crate) pepper: Arc<Pepper>,
    pub(crate) allow_private_upstreams: bool,
    /// Key of the hash of published contents.
    pub(crate) digest_key: Zeroizing<[u8; 32]>,
}

/// As they lie in the database, sealed.
#[derive(Serialize, Deserialize)]
struct Stored {
    key_pepper: String,
    allow_private_upstreams: bool,
    digest_key: String,
}

/// What the settings row holds.
enum StoredValues {
    Values(FleetValues),
    /// Nothing: a new database, or one of an earlier version.
    Nothing,
    /// Something that was sealed with a key which is not in the ring.
    Locked(String),
    Damaged,
}

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

/// Since when the others have been silent, by the clock of this process alone: theirs may be wrong.
#[derive(Default)]
struct SilenceWatch {
    looked_at: Option<UnixMillis>,
    /// By id: what was last heard, and when that was noticed.
    heard: HashMap<String, (UnixMillis, UnixMillis)>,
}

/// Another process of the fleet.
struct Other {
    row: ControlPlaneRow,
    is_gone: bool,
}

#[derive(Clone, Default)]
struct Membership {
    /// Settings of this process that are not those in force.
    differs: Vec<&'static str>,
    /// Master keys that other processes have and this one has not.
    elsewhere: BTreeSet<String>,
    /// As [`Store::heartbeat`] last found them.
    last_elsewhere: BTreeSet<String>,
    /// A master key of those that something stored needs: this process publishes nothing.
    missing_key: Option<String>,
    written_at: Option<UnixMillis>,
    written: Option<String>,
}

/// A control plane that runs, or did until a moment ago.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlPlaneRow {
    pub id: String,
    pub name: String,
    pub version: String,
    pub started_at: UnixMillis,
    pub last_seen_at: UnixMillis,
    /// Not heard of for a while.
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

// === impl FleetValues ===

impl FleetValues {
    fn new(pepper: Pepper, allow_private_upstreams: bool) -> Self {
        Self { pepper: Arc::new(pepper), allow_private_upstreams, digest_key: Zeroizing::new(rand::random()) }
    }

    /// Tells one set of values from another and gives none away. The earlier form, which earlier versions read.
    pub(super) fn process_fingerprint(&self) -> Vec<u8> {
        let policy = [u8::from(self.allow_private_upstreams)];
        mac(self.pepper.as_bytes(), &[b"published settings", &policy]).to_vec()
    }

    fn fingerprints(&self) -> BTreeMap<String, String> {
        let pepper = mac(self.pepper.as_bytes(), &[b"fleet fingerprint"]);
        BTreeMap::from([
            (PEPPER.to_owned(), STANDARD.encode(&pepper[..12])),
            (POLICY.to_owned(), self.allow_private_upstreams.to_string()),
        ])
    }

    /// The settings in which `self` is not `other`.
    fn differs(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (self.fingerprints(), other.fingerprints());
        [PEPPER, POLICY].into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).collect()
    }

    fn take(&mut self, name: &str, from: &Self) {
        match name {
            PEPPER => self.pepper = Arc::clone(&from.pepper),
            _ => self.allow_private_upstreams = from.allow_private_upstreams,
        }
    }

    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut stored = Stored {
            key_pepper: STANDARD.encode(self.pepper.as_bytes()),
            allow_private_upstreams: self.allow_private_upstreams,
            digest_key: STANDARD.encode(*self.digest_key),
        };
        let json = Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default());
        stored.key_pepper.zeroize();
        json
    }

    fn from_json(json: &[u8]) -> Option<Self> {
        let mut stored: Stored = serde_json::from_slice(json).ok()?;
        let pepper = STANDARD.decode(&stored.key_pepper);
        stored.key_pepper.zeroize();
        let digest_key: [u8; 32] = STANDARD.decode(stored.digest_key).ok()?.try_into().ok()?;
        Some(Self {
            pepper: Arc::new(Pepper::new(pepper.ok()?)),
            allow_private_upstreams: stored.allow_private_upstreams,
            digest_key: Zeroizing::new(digest_key),
        })
    }
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

// === impl SilenceWatch ===

impl SilenceWatch {
    /// How long each of these has been silent.
    /// `told_at`: when this process last could tell of itself.
    fn silence(&mut self, rows: &[ControlPlaneRow], written_at: Option<UnixMillis>, now: UnixMillis) -> Vec<Duration> {
        // Who could not look does not know who was silent meanwhile, and where nothing can be written all are.
        let is_recent = |at: UnixMillis| at <= now && now.saturating_since(at) <= LOST_AFTER;
        if !self.looked_at.is_some_and(is_recent) || !written_at.is_some_and(is_recent) {
            self.heard.clear();
        }
        self.looked_at = Some(now);
        self.heard.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let silence = rows.iter().map(|row| {
            let heard = self.heard.entry(row.id.clone()).or_insert((row.last_seen_at, now));
            if heard.0 != row.last_seen_at || heard.1 > now {
                *heard = (row.last_seen_at, now);
            }
            now.saturating_since(heard.1)
        });
        silence.collect()
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
        let rows = sql("SELECT id, name, version, started_at, last_seen_at, state FROM control_planes \
             WHERE last_seen_at >= $1 ORDER BY name, id")
        .bind(number(self.forgotten().0))
        .fetch_all(self.reader())
        .await?;
        let rows = rows.iter().map(|row| self.control_plane(row)).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().filter(|row| !row.state.stopped).collect())
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

    /// Who was last heard of before this is forgotten.
    fn forgotten(&self) -> UnixMillis {
        UnixMillis(self.clock().now().0.saturating_sub(millis(FORGET_AFTER)))
    }

    /// Takes this process's place in the fleet, and learns what is in force.
    pub(super) async fn join_fleet(&self) -> Result<(), StoreError> {
        let struck = sql("DELETE FROM control_planes WHERE last_seen_at < $1").bind(number(self.forgotten().0));
        // The others must know of this process before it judges whether they have gone. While nothing can be written, as on
        // a full disk, it starts all the same.
        let written = match struck.execute(self.writer()).await {
            Ok(_) => self.write_heartbeat().await,
            Err(error) => Err(error.into()),
        };
        let is_told = written.inspect_err(|error| {
            tracing::warn!(%error, "the other control planes cannot be told of this one");
        });
        let others = self.others().await?;
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
        let others = self.others().await?;
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

    /// Notes which master keys the others have and this process has not.
    fn note_keys(&self, others: &[Other]) {
        let ours: BTreeSet<String> = self.ring().ids().map(|id| id.to_string()).collect();
        let all = others.iter().flat_map(|other| &other.row.state.opens_with);
        let elsewhere: BTreeSet<String> = all.filter(|id| !ours.contains(*id)).cloned().collect();
        self.fleet().membership.write().elsewhere = elsewhere;
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
        let sealed = sealing::seal(self.ring(), PLACE, &next.to_json())?;
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
        let held = match self.ring().open(PLACE, &sealed) {
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

    /// Whether another process has, or had within a day, a master key that this one has not; as the transaction sees it.
    pub(super) async fn is_elsewhere(&self, tx: &mut AnyConnection, key: &str) -> Result<bool, StoreError> {
        let others = self.others_in(tx).await?;
        self.note_keys(&others);
        Ok(self.has_elsewhere(key))
    }

    /// The other control planes that run, or did within a day.
    async fn others(&self) -> Result<Vec<Other>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        self.others_in(&mut connection).await
    }

    async fn others_in(&self, connection: &mut AnyConnection) -> Result<Vec<Other>, StoreError> {
        let statement = sql("SELECT id, name, version, started_at, last_seen_at, state FROM control_planes \
                 WHERE id <> $1 AND last_seen_at >= $2");
        let statement = statement.bind(self.fleet().id.clone()).bind(number(self.forgotten().0));
        let rows = statement.fetch_all(connection).await?;
        let rows: Vec<_> = rows.iter().map(|row| self.control_plane(row)).collect::<Result<_, _>>()?;
        let written_at = self.fleet().membership.read().written_at;
        let silence = self.fleet().watch.lock().silence(&rows, written_at, self.clock().now());
        let others = rows.into_iter().zip(silence).map(|(row, silence)| {
            let is_gone = row.state.stopped
                || silence > GONE_AFTER
                || (silence > LOST_AFTER && self.fleet().has_ended(&row.name));
            Other { row, is_gone }
        });
        Ok(others.collect())
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
    async fn write_heartbeat(&self) -> Result<(), StoreError> {
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
    pub(super) async fn leave_fleet(&self) {
        let state = ControlPlaneState { stopped: true, ..self.keys_of_ring() };
        let statement = sql("UPDATE control_planes SET state = $2, last_seen_at = $3 WHERE id = $1")
            .bind(self.fleet().id.clone())
            .bind(serde_json::to_string(&state).unwrap_or_default())
            .bind(number(self.clock().now().0));
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, statement.execute(self.writer())).await;
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// By which people know the machine or the container.
fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = if kernel.trim().is_empty() { std::env::var("HOSTNAME").unwrap_or_default() } else { kernel };
    format!("{}/{}", super::clean(name.trim()), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(last_seen_at: u64) -> ControlPlaneRow {
        ControlPlaneRow {
            id: "other".into(),
            name: "elsewhere/1".into(),
            version: String::new(),
            started_at: UnixMillis(0),
            last_seen_at: UnixMillis(last_seen_at),
            lost: false,
            is_this: false,
            state: ControlPlaneState::default(),
        }
    }

    /// Looks every five seconds from `from` to `to` at one that is never heard of again.
    fn look(watch: &mut SilenceWatch, from: u64, to: u64, written_at: impl Fn(u64) -> u64) -> Duration {
        let mut silence = Duration::ZERO;
        for second in (from..=to).step_by(5) {
            let written_at = UnixMillis(written_at(second) * 1000);
            silence = watch.silence(&[row(0)], Some(written_at), UnixMillis(second * 1000))[0];
        }
        silence
    }

    #[test]
    fn silence_counts_only_while_this_process_can_tell_of_itself() {
        let mut watch = SilenceWatch::default();
        assert_eq!(look(&mut watch, 1000, 1060, |now| now), Duration::from_mins(1));
        let broken = look(&mut watch, 1065, 1300, |_| 1060);
        assert_eq!(broken, Duration::ZERO, "the others cannot tell either");
        assert_eq!(look(&mut watch, 1305, 1365, |now| now), Duration::from_secs(65), "it counts anew");
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_makes_nobody_silent() {
        let mut watch = SilenceWatch::default();
        look(&mut watch, 1000, 1060, |now| now);
        assert_eq!(look(&mut watch, 700, 705, |now| now), Duration::from_secs(5));
        assert_eq!(look(&mut watch, 5000, 5000, |now| now), Duration::ZERO);
    }
}
