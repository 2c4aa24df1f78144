//! Why a command did not do what it was asked to, and the exit code that says so.

use std::{fmt::Display, path::Path, process::ExitCode};

use omniroute_core::settings::SettingsError;

/// Exit codes. Clap itself ends with 2 when it does not understand the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The gateway refused, a check failed, or `up` could not start.
    Failed = 1,
    /// The command line or a setting is wrong.
    Usage = 2,
    /// No gateway answers.
    Unreachable = 3,
    /// The gateway does not let us in.
    NotAllowed = 4,
}

/// A sentence for the person at the terminal: what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

// === impl Exit ===

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Something could not be done with a file.
    pub(crate) fn file(doing: &str, path: &Path, cause: &dyn Display) -> Self {
        Self::failed(format!("cannot {doing} {}: {cause}", path.display()))
    }

    /// The same failure with something to know besides.
    pub(crate) fn and(self, more: &str) -> Self {
        Self { message: format!("{}\n  {more}", self.message), ..self }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Stable name of the exit code, for `--json`.
    pub(crate) fn code(&self) -> &'static str {
        match self.exit {
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Unreachable => "unreachable",
            Exit::NotAllowed => "not_allowed",
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}
