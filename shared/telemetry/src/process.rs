//! The process itself: memory, CPU time, open files. From `/proc`; elsewhere than Linux only the CPU time is known.

use std::{
    fmt::Write as _,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// When this process started to report, which is as good as when it started.
pub(crate) struct Started {
    pub(crate) instant: Instant,
    unix_seconds: f64,
}

/// One look at the process. What cannot be read is left out.
pub(crate) struct Process {
    resident_bytes: Option<u64>,
    cpu_seconds: f64,
    open_files: Option<usize>,
    max_files: Option<u64>,
    threads: Option<u64>,
    start_unix_seconds: f64,
}

/// Resident memory of this process in bytes, where the system tells.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status_value(&status, "VmRSS:").map(|kib| kib * 1024)
}

// === impl Started ===

impl Started {
    pub(crate) fn now() -> Self {
        let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { instant: Instant::now(), unix_seconds }
    }
}

// === impl Process ===

impl Process {
    pub(crate) fn read(started: &Started) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a century fit")]
        let cpu_seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        Self {
            resident_bytes: status_value(&status, "VmRSS:").map(|kib| kib * 1024),
            cpu_seconds,
            // The directory being read is itself one of them.
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1)),
            max_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            threads: status_value(&status, "Threads:"),
            start_unix_seconds: started.unix_seconds,
        }
    }

    /// Appends the metrics under the names that Prometheus clients agree on.
    pub(crate) fn write_to(&self, text: &mut String) {
        let mut metric = |name: &str, kind: &str, help: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        };
        metric("process_cpu_seconds_total", "counter", "CPU time used.", format!("{:.6}", self.cpu_seconds));
        let start = format!("{:.3}", self.start_unix_seconds);
        metric("process_start_time_seconds", "gauge", "Start, in Unix seconds.", start);
        if let Some(bytes) = self.resident_bytes {
            metric("process_resident_memory_bytes", "gauge", "Resident memory.", bytes.to_string());
        }
        if let Some(files) = self.open_files {
            metric("process_open_fds", "gauge", "Open file descriptors.", files.to_string());
        }
        if let Some(files) = self.max_files {
            metric("process_max_fds", "gauge", "File descriptors at most.", files.to_string());
        }
        if let Some(threads) = self.threads {
            metric("process_threads", "gauge", "Threads.", threads.to_string());
        }
    }
}

/// The number behind `name` in the text of `/proc/self/status`.
fn status_value(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_this_process() {
        let before = Process::read(&Started::now());
        let held = vec![1u8; 64 << 20];
        let file = std::fs::File::open("/proc/self/status").expect("a file");
        let mut work = 0u64;
        while clock_gettime(ClockId::ProcessCPUTime).tv_nsec == 0 || work < 1_000_000 {
            work += 1;
        }
        let after = Process::read(&Started::now());
        let (before_rss, after_rss) = (before.resident_bytes.expect("rss"), after.resident_bytes.expect("rss"));
        assert!(after_rss > before_rss + (32 << 20), "{before_rss} then {after_rss} with {} held", held.len());
        assert!(after.cpu_seconds > before.cpu_seconds);
        assert!(after.open_files.expect("files") > 0);
        assert!(resident_memory().is_some_and(|bytes| bytes > 1 << 20));
        drop(file);
    }

    #[test]
    fn a_line_of_the_status_is_found_by_its_name() {
        assert_eq!(status_value("Name:\tx\nVmRSS:\t  123 kB\n", "VmRSS:"), Some(123));
        assert_eq!(status_value("Name:\tx\n", "VmRSS:"), None);
    }
}
