//! In which stage a call to a provider failed. Nothing here carries an address or a URL: the texts reach clients.

use std::error::Error;

use hyper_util::client::legacy;
use omniroute_core::address::AddressError;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    #[error("the connection was not ready within the connect timeout")]
    Timeout,
    #[error("the host name could not be resolved")]
    Dns,
    #[error("the address of the host is not allowed: {0}")]
    Refused(AddressError),
}

/// How far a call came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The name did not resolve.
    Dns,
    /// The address is one that the operator does not allow.
    Refused,
    /// Connecting, TLS included, took too long.
    ConnectTimeout,
    /// The host refused the connection or could not be reached.
    Connect,
    /// TLS failed: certificate, protocol.
    Tls,
    /// The connection broke before the head of an answer was there.
    Broken,
    /// What came back was not HTTP.
    Garbage,
}

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
#[error("{}", stage.describe())]
pub struct CallError {
    pub stage: Stage,
}

// === impl Stage ===

impl Stage {
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Dns => "the provider's host name could not be resolved",
            Self::Refused => "the provider's address is not one that this gateway may connect to",
            Self::ConnectTimeout => "connecting to the provider took too long",
            Self::Connect => "the provider could not be reached",
            Self::Tls => "the TLS handshake with the provider failed",
            Self::Broken => "the provider closed the connection before it answered",
            Self::Garbage => "the provider's answer was not HTTP",
        }
    }

    fn of(error: &legacy::Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(failure) = cause.downcast_ref::<ConnectFailure>() {
                return match failure {
                    ConnectFailure::Timeout => Self::ConnectTimeout,
                    ConnectFailure::Dns => Self::Dns,
                    ConnectFailure::Refused(_) => Self::Refused,
                };
            }
            if is_tls(cause) {
                return Self::Tls;
            }
            if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
                return Self::Garbage;
            }
            source = cause.source();
        }
        if error.is_connect() { Self::Connect } else { Self::Broken }
    }
}

// `io::Error::source` skips the error it wraps, so that one is looked at here.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    let Some(io) = cause.downcast_ref::<std::io::Error>() else {
        return cause.is::<rustls::Error>();
    };
    let mut inner: Option<&(dyn Error + 'static)> = io.get_ref().map(|inner| inner as _);
    while let Some(error) = inner {
        if error.is::<rustls::Error>() {
            return true;
        }
        inner = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()).map(|inner| inner as _);
    }
    false
}

// === impl CallError ===

impl From<legacy::Error> for CallError {
    fn from(error: legacy::Error) -> Self {
        Self { stage: Stage::of(&error) }
    }
}
