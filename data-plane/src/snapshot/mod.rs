//! The configuration in force.
//!
//! [`subscribe`] receives updates from the control plane, [`apply`] turns each into the next [`Index`] at a cost in proportion to
//! the update, with the help of one file for each kind of configuration ([`kinds`]), and [`Snapshot`] swaps it in. A request loads one index and reads it from start to end. [`disk`] keeps an
//! encrypted copy, so that a proxy can start while the control plane is away.

mod apply;
pub mod disk;
mod index;
mod key;
mod kinds;
pub mod subscribe;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

pub use self::{
    apply::{Applied, Applier, Update},
    index::{ConnectionEntry, Index, ModelEntry, ProviderEntry, Settings},
    key::Key,
};

/// The handle that requests read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    index: ArcSwap<Index>,
    ready: AtomicBool,
    stale: AtomicBool,
    revisions: watch::Sender<u64>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Empty, and not ready.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            index: ArcSwap::from_pointee(Index::default()),
            ready: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            revisions: watch::Sender::new(0),
        }))
    }

    /// The index in force. Take it once per request.
    pub fn load(&self) -> Guard<Arc<Index>> {
        self.0.index.load()
    }

    /// Whether any configuration has been loaded.
    pub fn ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// Whether the configuration comes from disk and the control plane has not confirmed it.
    pub fn stale(&self) -> bool {
        self.0.stale.load(Ordering::Acquire)
    }

    /// Puts the next index in force.
    pub fn publish(&self, index: Arc<Index>, stale: bool) {
        let revision = index.revision();
        self.0.index.store(index);
        self.0.stale.store(stale, Ordering::Release);
        self.0.ready.store(true, Ordering::Release);
        self.0.revisions.send_replace(revision);
    }

    /// Tells each revision that comes into force.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.revisions.subscribe()
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
