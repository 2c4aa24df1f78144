//! Updates, built once and shared by every subscription that needs the same one.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use omniroute_telemetry::names;
use parking_lot::Mutex;
use sqlx::{Any, Transaction};
use tokio::sync::OnceCell;

use super::{Publisher, ResourceBuilder, frame::Frame, head::Head, read};
use crate::store::StoreError;

/// How long an update is kept for others. A full snapshot that is a few seconds old is as good as a new one: the
/// delta to the head follows it.
const KEEP: Duration = Duration::from_secs(30);

/// Deltas kept at most. Subscriptions that keep up all need the same one.
const MAX_DELTAS: usize = 32;

/// Filled once; with `None` when the delta cannot be had.
type Cell = Arc<OnceCell<Option<Arc<Update>>>>;

/// Kind and id of the resources in a delta.
pub(super) type Touched = HashSet<(String, String)>;

/// A delta, or a full snapshot.
pub(super) struct Update {
    /// `None`: a full snapshot.
    pub(super) from: Option<u64>,
    pub(super) to: u64,
    pub(super) count: u64,
    /// `Begin`, the chunks, `End`.
    pub(super) frames: Vec<Frame>,
    /// Empty for a full snapshot.
    pub(super) touched: Touched,
}

/// The updates of the last half minute.
#[derive(Default)]
pub(super) struct UpdateCache(Mutex<Vec<Slot>>);

#[derive(Clone)]
struct Slot {
    from: Option<u64>,
    /// Head for which it was asked; what was built may already reach further.
    head: u64,
    asked_at: Instant,
    cell: Cell,
}

// === impl Update ===

impl Update {
    pub(super) fn is_full(&self) -> bool {
        self.from.is_none()
    }
}

// === impl Slot ===

impl Slot {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.asked_at) < KEEP
    }
}

// === impl UpdateCache ===

impl UpdateCache {
    /// The slot for this update: a shared one, or a new one that the caller fills. A full snapshot is shared as long
    /// as a delta can follow it.
    fn slot(&self, from: Option<u64>, head: u64, log_floor: u64) -> Cell {
        let now = Instant::now();
        let mut slots = self.0.lock();
        slots.retain(|slot| slot.is_fresh(now) && slot.head <= head);
        let fits = |slot: &&Slot| slot.head == head || (from.is_none() && slot.head >= log_floor);
        let shared = slots.iter().find(|slot| slot.from == from && fits(slot));
        if let Some(slot) = shared {
            return slot.cell.clone();
        }
        if slots.len() >= MAX_DELTAS {
            slots.remove(0);
        }
        let slot = Slot { from, head, asked_at: now, cell: Arc::default() };
        slots.push(slot.clone());
        slot.cell
    }

    /// Lets go of what is too old to be shared: a full snapshot is large, and it holds secrets.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        self.0.lock().retain(|slot| slot.is_fresh(now));
    }

    /// Forgets everything that was built.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

// === impl Publisher ===

impl Publisher {
    /// The update that brings a proxy from `from` (`None`: from nothing) to the head. A full snapshot when the log
    /// does not reach back that far.
    pub(super) async fn update(&self, from: Option<u64>) -> Result<Arc<Update>, StoreError> {
        if let Some(from) = from {
            let cell = self.0.updates.slot(Some(from), self.revision(), self.log_floor());
            let delta = cell.get_or_try_init(|| self.build_delta(from)).await?;
            if let Some(delta) = delta {
                return Ok(delta.clone());
            }
        }
        let cell = self.0.updates.slot(None, self.revision(), self.log_floor());
        let full = cell.get_or_try_init(|| self.build_full()).await?;
        full.clone().ok_or_else(|| StoreError::Corrupt("a full snapshot is missing".into()))
    }

    /// Moves the head to where the database stands. The digests follow the log.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        if self.0.store.revision().await? != self.revision() {
            self.open().await?;
        }
        Ok(())
    }

    /// Looks at every resource anew: what can be read may have changed without an edit. While something that another
    /// replica can open does not open here, nothing is published.
    pub(super) async fn rescan(&self) -> Result<(), StoreError> {
        let scanned = self.scan().await;
        self.withhold_on_missing_key(&scanned);
        let head = scanned?;
        if !self.0.head.borrow().is_same(&head) {
            self.0.updates.clear();
            self.reset_head(&head);
        }
        self.publish_again();
        Ok(())
    }

    pub(super) async fn scan(&self) -> Result<Head, StoreError> {
        let mut tx = self.0.store.read().await?;
        let builder = ResourceBuilder::of(self.0.kinds, &self.0.store, &mut tx).await?;
        read::scan(&builder, &mut tx).await
    }

    /// `None` when the log does not reach back to `from`.
    async fn build_delta(&self, from: u64) -> Result<Option<Arc<Update>>, StoreError> {
        let started = Instant::now();
        let (mut tx, head, log_floor) = self.open().await?;
        if !(log_floor..=head.revision).contains(&from) {
            return Ok(None);
        }
        let builder = ResourceBuilder::of(self.0.kinds, &self.0.store, &mut tx).await?;
        let delta = read::delta(&builder, &mut tx, from, &head).await;
        self.withhold_on_missing_key(&delta);
        let update = delta?;
        report("delta", &update, started);
        Ok(Some(Arc::new(update)))
    }

    async fn build_full(&self) -> Result<Option<Arc<Update>>, StoreError> {
        let started = Instant::now();
        let (mut tx, head, _) = self.open().await?;
        let builder = ResourceBuilder::of(self.0.kinds, &self.0.store, &mut tx).await?;
        let full = read::full(&builder, &mut tx, head.revision).await;
        self.withhold_on_missing_key(&full);
        let (update, read) = full?;
        if !read.is_same(&head) {
            tracing::error!(revision = read.revision, "the digests had drifted from the rows; corrected");
            metrics::counter!(names::CONFIG_DRIFT, "side" => "control_plane").increment(1);
            self.reset_head(&read);
        }
        report("full", &update, started);
        Ok(Some(Arc::new(update)))
    }

    /// As the last read of the database found it.
    fn log_floor(&self) -> u64 {
        self.0.log_floor.load(Ordering::Relaxed)
    }

    /// A consistent read, the head as of that read, and the log's floor. Everybody learns of the head.
    async fn open(&self) -> Result<(Transaction<'static, Any>, Head, u64), StoreError> {
        // What is known must be from before the read, or the read could seem to lie in the past.
        let known = self.0.head.borrow().clone();
        let mut tx = self.0.store.read().await?;
        let position = read::log_position(&mut tx).await?;
        self.0.log_floor.store(position.log_floor, Ordering::Relaxed);
        let advanced = match ResourceBuilder::of(self.0.kinds, &self.0.store, &mut tx).await {
            Ok(builder) => read::advance(&builder, &mut tx, &known, &position).await,
            Err(error) => Err(error),
        };
        self.withhold_on_missing_key(&advanced);
        let head = advanced?;
        if position.revision < known.revision {
            tracing::warn!(from = known.revision, to = position.revision, "the database went back in time");
            self.0.updates.clear();
            self.reset_head(&head);
        } else {
            self.advance_head(&head);
        }
        Ok((tx, head, position.log_floor))
    }
}

fn report(mode: &'static str, update: &Update, started: Instant) {
    let took = started.elapsed();
    metrics::histogram!(names::SNAPSHOT_BUILD, "mode" => mode).record(took.as_secs_f64());
    tracing::debug!(mode, to = update.to, count = update.count, seconds = took.as_secs_f64(), "built an update");
}
