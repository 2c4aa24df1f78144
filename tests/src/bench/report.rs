//! Everything that was measured, and the file that keeps it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use omniroute_core::time::{Clock as _, SystemClock};
use serde::Serialize;

use super::{
    Options,
    cores::Cores,
    first_request::FirstRequest,
    large_requests::LargeRequests,
    ledger::Ledger,
    process::Memory,
    rounds::{Measured, Side},
    scale::Scale,
    slow_streams::SlowStreams,
    summary,
};

const DIRECTORY: &str = "bench-results";

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// When it began.
    at: String,
    quick: bool,
    version: &'static str,
    pub(super) machine: Machine,
    pub(super) idle: Option<Idle>,
    pub(super) loaded: Option<Idle>,
    pub(super) slow_streams: Option<SlowStreams>,
    pub(super) scenarios: Vec<Measured>,
    pub(super) translations: Vec<Measured>,
    pub(super) ledger: Vec<Ledger>,
    pub(super) large_requests: Option<LargeRequests>,
    pub(super) first_request: Option<FirstRequest>,
    pub(super) scale: Option<Scale>,
}

#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
}

/// Memory of each program when it does nothing, or right after the load.
#[derive(Debug, Serialize)]
pub(super) struct Idle {
    pub(super) floor: Memory,
    pub(super) proxy: Memory,
    pub(super) control_plane: Memory,
}

// === impl Report ===

impl Report {
    pub(super) fn new(options: &Options, cores: &Cores) -> Self {
        Self {
            at: SystemClock.now().to_rfc3339(),
            quick: options.quick,
            version: omniroute_core::VERSION,
            machine: Machine::this(cores),
            idle: None,
            loaded: None,
            slow_streams: None,
            scenarios: Vec::new(),
            translations: Vec::new(),
            ledger: Vec::new(),
            large_requests: None,
            first_request: None,
            scale: None,
        }
    }

    pub(super) fn failed_requests(&self) -> u64 {
        let of_streams = self.slow_streams.as_ref().map_or(0, |streams| streams.failed);
        of_streams + self.sides().map(|side| side.failed).sum::<u64>()
    }

    /// All that requests were sent to.
    pub(super) fn sides(&self) -> impl Iterator<Item = &Side> {
        let measured = self.scenarios.iter().chain(&self.translations);
        measured.flat_map(|one| [&one.direct, &one.floor, &one.gateway])
    }

    /// Writes the file, by default one that is named for the moment, and says where.
    pub(super) fn write(&self, path: Option<&Path>) -> anyhow::Result<()> {
        let path = path.map_or_else(|| default_path(&self.at), Path::to_owned);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        fs::write(&path, serde_json::to_vec_pretty(self)?).with_context(|| format!("writing {}", path.display()))?;
        summary::step(&format!("written to {}", path.display()));
        Ok(())
    }
}

fn default_path(at: &str) -> PathBuf {
    // No colons: not every file system takes them.
    let name: String = at.chars().map(|letter| if letter == ':' { '-' } else { letter }).collect();
    Path::new(DIRECTORY).join(format!("{name}.json"))
}

// === impl Machine ===

impl Machine {
    fn this(cores: &Cores) -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: name.map_or_else(String::new, |(_, name)| name.trim().to_owned()),
            cores: cores.count(),
            kernel: kernel.trim().to_owned(),
        }
    }
}
