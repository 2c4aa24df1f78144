//! The configuration in force.
//!
//! [`subscribe`] receives updates from the control plane, [`apply`] turns each into the next [`Snapshot`] at a cost in proportion to
//! the update, with the help of one file for each kind of configuration ([`kinds`]), and [`SnapshotHandle`] swaps it in. A request loads one snapshot and reads it from start to end. [`disk`] keeps an
//! encrypted copy, so that a proxy can start while the control plane is away.

mod api_key;
mod apply;
pub mod disk;
mod entries;
mod kinds;
pub mod subscribe;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

pub use self::{
    api_key::ApiKey,
    apply::{Applied, Applier, Update},
    entries::{ConnectionEntry, ModelEntry, ProviderEntry, Settings, Snapshot},
};

/// The handle that requests read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SnapshotHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    ready: AtomicBool,
    stale: AtomicBool,
    revisions: watch::Sender<u64>,
}

// === impl SnapshotHandle ===

impl SnapshotHandle {
    /// Empty, and not ready.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            ready: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            revisions: watch::Sender::new(0),
        }))
    }

    /// The snapshot in force. Take it once per request.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.snapshot.load()
    }

    /// Whether any configuration has been loaded.
    pub fn ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// Whether the configuration comes from disk and the control plane has not confirmed it.
    pub fn stale(&self) -> bool {
        self.0.stale.load(Ordering::Acquire)
    }

    /// Puts the next snapshot in force.
    pub fn publish(&self, snapshot: Arc<Snapshot>, stale: bool) {
        let revision = snapshot.revision();
        self.0.snapshot.store(snapshot);
        self.0.stale.store(stale, Ordering::Release);
        self.0.ready.store(true, Ordering::Release);
        self.0.revisions.send_replace(revision);
    }

    /// Tells each revision that comes into force.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.revisions.subscribe()
    }
}

impl Default for SnapshotHandle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
