//! A child process: how one is started so that it cannot outlive us.
//!
//! The kernel kills a process whose parent dies when that process asked for it. To ask on behalf of a program that
//! knows nothing of it, the launcher starts itself as `omniroute plane <parent> <program>`, which asks and then becomes
//! the program ([`become_plane`]); the wish survives that step. So even `kill -9` of the launcher leaves nothing behind
//! that holds ports and files. What such an end cuts off is what `kill -9` of the planes themselves cuts off: their
//! journal covers it.
//!
//! Systems without that wish start the program directly.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use crate::failure::Failure;

#[derive(Clone, Debug)]
pub(super) struct Plane {
    /// As its lines are prefixed.
    pub(super) name: &'static str,
    pub(super) binary: PathBuf,
    /// Set on top of our own environment.
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// Secrets of ours that are none of its business.
    pub(super) withheld: &'static [&'static str],
}

// === impl Plane ===

impl Plane {
    /// In a process group of its own: Ctrl-C at the terminal reaches us only, and we decide the order.
    pub(super) fn start(&self) -> io::Result<Child> {
        let mut command = self.command();
        for name in self.withheld {
            command.env_remove(name);
        }
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    #[cfg(target_os = "linux")]
    fn command(&self) -> Command {
        // Ourselves, even when a new build has replaced the file since.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("omniroute").arg("plane").arg(std::process::id().to_string()).arg(&self.binary);
        command
    }

    #[cfg(not(target_os = "linux"))]
    fn command(&self) -> Command {
        Command::new(&self.binary)
    }
}

/// In the child: asks to die with `parent`, then becomes `binary`. Returns only when that fails.
pub(crate) fn become_plane(parent: i32, binary: &Path) -> Failure {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};

        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            return Failure::failed(format!("cannot ask to end with the launcher: {error}"));
        }
        // It may have died before we asked.
        if getppid().map(rustix::process::Pid::as_raw_nonzero).map(std::num::NonZero::get) != Some(parent) {
            return Failure::failed("the launcher is gone");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    let error = std::process::Command::new(binary).exec();
    Failure::file("start", binary, &error)
}
