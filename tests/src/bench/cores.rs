//! Which core is whose.

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A program under test has one core for itself; everything else is on the other.
pub(super) struct Cores {
    all: CpuSet,
    program: CpuSet,
    load: CpuSet,
    count: usize,
}

// === impl Cores ===

impl Cores {
    /// Of the cores that this process may use, the first and the second. With one core both are the same, and numbers
    /// of throughput and latency mean little.
    pub(super) fn split() -> anyhow::Result<Self> {
        let all = sched_getaffinity(None).context("which cores may be used")?;
        let mut ids = (0..CpuSet::MAX_CPU).filter(|id| all.is_set(*id));
        let first = ids.next().context("no core may be used")?;
        let second = ids.next().unwrap_or(first);
        let only = |id| {
            let mut set = CpuSet::new();
            set.set(id);
            set
        };
        Ok(Self {
            program: only(first),
            load: only(second),
            count: 2 + ids.count() - usize::from(first == second),
            all,
        })
    }

    /// Where a program under test runs.
    pub(super) fn program(&self) -> CpuSet {
        self.program
    }

    /// Where the load, the upstream and the control plane run.
    pub(super) fn load(&self) -> CpuSet {
        self.load
    }

    /// Everywhere, for what is measured as it would run unpinned.
    pub(super) fn all(&self) -> CpuSet {
        self.all
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Moves this thread, the only one, to the load's core.
    pub(super) fn take_load_core(&self) -> anyhow::Result<()> {
        sched_setaffinity(None, &self.load).context("taking a core")
    }
}

/// Does something on other cores. A child that is started meanwhile stays there.
pub(super) fn on<T>(cores: CpuSet, act: impl FnOnce() -> T) -> anyhow::Result<T> {
    let before = sched_getaffinity(None)?;
    sched_setaffinity(None, &cores).context("moving to another core")?;
    let done = act();
    sched_setaffinity(None, &before).context("moving back")?;
    Ok(done)
}
