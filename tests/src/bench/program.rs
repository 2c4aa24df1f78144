//! A child process that does not outlive this one.

use std::{
    ffi::OsString,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::{
    process::{Pid, Signal, kill_process, setpriority_process},
    thread::CpuSet,
};
use tokio::net::TcpStream;

use super::{cores, summary};

/// How long a program may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);
/// The lowest priority.
const LAST: i32 = 19;
const POLL: Duration = Duration::from_millis(2);
/// Of the log of a program that failed, so much is shown.
const LAST_WORDS: usize = 2_000;

/// A running program; it is ended when this is dropped.
pub(super) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

// === impl Program ===

impl Program {
    /// Starts the program of that name, from beside this one, with this environment and no other.
    pub(super) fn start<V: Into<OsString>>(
        name: &'static str,
        environment: impl IntoIterator<Item = (&'static str, V)>,
        cores: CpuSet,
        log: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_with(name, &[], environment, cores, log)
    }

    pub(super) fn start_with<V: Into<OsString>>(
        name: &'static str,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (&'static str, V)>,
        cores: CpuSet,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("where this program is")?;
        let binary = own.with_file_name(name);
        if !binary.is_file() {
            bail!(
                "{} is not there: `cargo build --release -p omniroute -p omniroute-control-plane -p \
                 omniroute-data-plane -p omniroute-tests --bins` builds it",
                binary.display()
            );
        }
        let output = File::create(log).with_context(|| format!("the log {}", log.display()))?;
        let mut command = Command::new(&binary);
        command
            .args(arguments)
            .env_clear()
            .envs(environment.into_iter().map(|(name, value)| (name, value.into())))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = cores::on(cores, || command.spawn())?.with_context(|| format!("starting {}", binary.display()))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From now on it runs only while nothing else wants its cores. Without `chrt` it merely gets the smallest share,
    /// and each of its turns holds the others up.
    pub(super) fn step_back(&self) -> anyhow::Result<()> {
        let pid = self.pid().to_string();
        let mut command = Command::new("chrt");
        command.args(["--all-tasks", "--idle", "--pid", "0", &pid]).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return Ok(());
        }
        summary::step("there is no `chrt`, so latency and throughput of the gateway come out worse than they are");
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        setpriority_process(pid, LAST).with_context(|| format!("the priority of {}", self.name))
    }

    /// Waits until somebody listens at `address`.
    pub(super) async fn wait_for(&mut self, address: SocketAddr, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while TcpStream::connect(address).await.is_err() {
            self.check()?;
            if Instant::now() > deadline {
                bail!("{} does not listen at {address}; it said:\n{}", self.name, self.last_words());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// An error when the program has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); it said:\n{}", self.name, self.last_words()),
        }
    }

    /// The end of what it wrote.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut start = text.len().saturating_sub(LAST_WORDS);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].to_owned()
    }

    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait()) {
            let _ = kill_process(pid, Signal::TERM);
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(POLL);
            }
        }
        // Does nothing when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}
