//! Why a call to a provider failed. Nothing here carries an address or a URL: the texts reach clients.

use std::error::Error;

use omniroute_core::address::AddressError;
use omniroute_egress::EgressError;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    #[error("the host name could not be resolved")]
    Dns,
    #[error("the address of the host is not allowed: {0}")]
    Refused(AddressError),
}

/// How far a call came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The name did not resolve.
    Dns,
    /// The address is one that the operator does not allow.
    AddressRefused,
    /// Connecting, TLS included, took too long.
    ConnectTimeout,
    /// The host refused the connection or could not be reached.
    Connect,
    /// TLS failed: certificate, protocol.
    Tls,
    /// The connection broke before the head of an answer was there.
    ConnectionLost,
    /// What came back was not HTTP.
    NotHttp,
    /// No connection came about through the connection's outbound proxy.
    Egress(EgressError),
}

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
#[error("{}", kind.describe())]
pub struct CallError {
    pub kind: CallErrorKind,
    /// The provider surely has not begun with the request, so it can be sent anew without harm.
    pub is_unprocessed: bool,
}

/// The answer broke off before its end.
#[derive(Debug, thiserror::Error)]
#[error("the provider's answer broke off")]
pub struct BodyError;

// === impl CallErrorKind ===

impl CallErrorKind {
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Dns => "the provider's host name could not be resolved",
            Self::AddressRefused => "the provider's address is not one that this gateway may connect to",
            Self::ConnectTimeout => "connecting to the provider took too long",
            Self::Connect => "the provider could not be reached",
            Self::Tls => "the TLS handshake with the provider failed",
            Self::ConnectionLost => "the provider closed the connection before it answered",
            Self::NotHttp => "the provider's answer was not HTTP",
            Self::Egress(error) => error.describe(),
        }
    }

    /// Of an error while connecting.
    pub(super) fn of_connecting(error: &(dyn Error + 'static)) -> Self {
        let mut source = Some(error);
        while let Some(cause) = source {
            if let Some(failure) = cause.downcast_ref::<ConnectFailure>() {
                return match failure {
                    ConnectFailure::Dns => Self::Dns,
                    ConnectFailure::Refused(_) => Self::AddressRefused,
                };
            }
            if is_tls(cause) {
                return Self::Tls;
            }
            source = cause.source();
        }
        Self::Connect
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

impl CallError {
    pub(super) const fn of(kind: CallErrorKind) -> Self {
        Self { kind, is_unprocessed: false }
    }

    /// `is_unsent`: the connection was closed before it took the request.
    pub(super) fn of_http1(error: &hyper::Error, is_unsent: bool) -> Self {
        let kind = if error.is_parse() { CallErrorKind::NotHttp } else { CallErrorKind::ConnectionLost };
        Self { kind, is_unprocessed: is_unsent }
    }

    pub(super) fn of_http2(error: &h2::Error) -> Self {
        // A stream ends with a GOAWAY only if that says that it was not processed (RFC 9113 §6.8).
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let is_unprocessed = error.is_remote() && (error.is_go_away() || refused);
        let is_garbage = error.is_library() && (error.is_go_away() || error.is_reset());
        Self { kind: if is_garbage { CallErrorKind::NotHttp } else { CallErrorKind::ConnectionLost }, is_unprocessed }
    }
}
