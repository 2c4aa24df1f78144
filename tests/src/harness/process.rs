//! One program under test.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A running program: killed when it is dropped, with all that it wrote kept in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Where the program `name` was built.
///
/// # Panics
/// When it was not: `make test` builds all programs before it runs the tests.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let beside = test.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    beside.unwrap_or_else(|| panic!("{name} is not built: `cargo build --workspace --bins`"))
}

// === impl Process ===

impl Process {
    /// Starts a program with these variables and no others but `PATH`. What it writes is appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(program: &Path, args: &[&str], environment: &BTreeMap<String, String>, log: &Path) -> Self {
        let name = program.file_name().expect("a program").to_string_lossy().into_owned();
        let append = || -> File {
            OpenOptions::new().create(true).append(true).open(log).unwrap_or_else(|error| panic!("{log:?}: {error}"))
        };
        let child = Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(append())
            .stderr(append())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, log: log.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written, in this life and in earlier ones.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once, with no chance to tidy up.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} still runs:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // The end of the log says most about why a test failed.
            let log = self.log();
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            let tail = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("--- {} ({}) ---\n{tail}\n", self.name, self.log.display());
        }
    }
}
