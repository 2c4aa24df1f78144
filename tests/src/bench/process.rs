//! CPU time and memory of a process, from `/proc`.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

/// CPU time of each thread of a process at one moment, in nanoseconds.
///
/// `/proc/<pid>/schedstat` is about the first thread alone, so the threads are added up. One that ends between two
/// looks is missed; blocking threads live on for ten seconds, so short intervals are exact.
pub(super) struct CpuTime {
    pid: u32,
    threads: HashMap<u32, u64>,
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Memory {
    pub(super) resident: u64,
    /// Of that, what is no file.
    pub(super) anonymous: u64,
    /// The most that was ever resident, or since it was forgotten.
    #[serde(skip)]
    pub(super) peak: u64,
}

// === impl CpuTime ===

impl CpuTime {
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let directory = format!("/proc/{pid}/task");
        let mut threads = HashMap::new();
        for entry in fs::read_dir(&directory).with_context(|| format!("{directory}: the process is gone"))? {
            let entry = entry?;
            let Ok(thread) = entry.file_name().to_string_lossy().parse() else { continue };
            // It may have ended since.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let spent = text.split_whitespace().next().and_then(|spent| spent.parse().ok());
            threads.insert(thread, spent.with_context(|| format!("{directory}/{thread}/schedstat: `{text}`"))?);
        }
        Ok(Self { pid, threads })
    }

    /// What the process has used since.
    pub(super) fn since(&self) -> anyhow::Result<Duration> {
        let now = Self::of(self.pid)?;
        let before = |thread| self.threads.get(thread).copied().unwrap_or(0);
        let spent = now.threads.iter().map(|(thread, spent)| spent.saturating_sub(before(thread))).sum();
        Ok(Duration::from_nanos(spent))
    }

    /// What the process has used since it began.
    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.threads.values().sum())
    }
}

// === impl Memory ===

impl Memory {
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("{path}: the process is gone"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        };
        let bytes = |name| field(name).map(|kilobytes| kilobytes * 1024).with_context(|| format!("{path}: no {name}"));
        Ok(Self { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")?, peak: bytes("VmHWM")? })
    }

    /// The peak is what is resident now. Says whether the system does that.
    pub(super) fn forget_peak(pid: u32) -> bool {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
    }

    pub(super) fn added_since(self, before: Self) -> Self {
        Self {
            resident: self.resident.saturating_sub(before.resident),
            anonymous: self.anonymous.saturating_sub(before.anonymous),
            peak: self.peak.saturating_sub(before.peak),
        }
    }

    pub(super) fn larger(self, other: Self) -> Self {
        if other.resident > self.resident { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{self, TryRecvError},
        time::Instant,
    };

    use super::*;

    #[test]
    fn work_on_another_thread_counts() {
        let before = CpuTime::of(std::process::id()).expect("read");
        let (release, held) = mpsc::channel::<()>();
        // On a busy machine its turn may be long in coming.
        let worker = std::thread::spawn(move || while held.try_recv() == Err(TryRecvError::Empty) {});
        let until = Instant::now() + Duration::from_secs(20);
        let counts = || before.since().expect("read") > Duration::from_millis(10);
        while !counts() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(counts());
        drop(release);
        worker.join().expect("ended");
        assert!(Memory::of(std::process::id()).expect("read").resident > 100_000);
    }
}
