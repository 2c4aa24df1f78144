//! Why no connection came about through an outbound proxy.

/// Each text says what to do, and names no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    #[error("the host name of the outbound proxy does not resolve: check its host")]
    ProxyName,
    #[error("the address of the outbound proxy is not one that this gateway may connect to")]
    ProxyForbidden,
    #[error("the outbound proxy cannot be reached: check its host and port, and that it runs")]
    ProxyUnreachable,
    #[error(
        "the TLS handshake with the outbound proxy failed: it may speak plain HTTP (type `http`), or its certificate is not trusted"
    )]
    ProxyTls,
    #[error("the outbound proxy took too long")]
    Timeout,
    #[error("the outbound proxy refuses the user name or the password")]
    Credentials,
    #[error("what answers at the outbound proxy's address does not speak its protocol: check its type and port")]
    NoProxy,
    #[error("the outbound proxy does not open a connection to the provider: it answered with status {0}")]
    Denied(u16),
    #[error("the outbound proxy does not allow connections to the provider")]
    NotAllowed,
    #[error("the outbound proxy cannot reach the provider")]
    TargetUnreachable,
    #[error("the outbound proxy closed the connection")]
    Closed,
    #[error("the provider's address is not one that may be called, through an outbound proxy or without")]
    TargetForbidden,
    #[error(
        "the TLS handshake with the provider, behind the outbound proxy, failed: its certificate is not trusted or belongs to another name"
    )]
    TargetTls,
    #[error("the answer is larger than may be read")]
    TooLarge,
    #[error("the answer broke off or is no HTTP")]
    Broken,
}

// === impl EgressError ===

impl EgressError {
    /// As shown, but for the status of a refusal.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::ProxyName => "the host name of the connection's outbound proxy does not resolve",
            Self::ProxyForbidden => {
                "the connection's outbound proxy has an address that this gateway may not connect to"
            }
            Self::ProxyUnreachable => "the connection's outbound proxy cannot be reached",
            Self::ProxyTls => "the TLS handshake with the connection's outbound proxy failed",
            Self::Timeout => "the connection's outbound proxy took too long",
            Self::Credentials => "the connection's outbound proxy refuses the gateway's user name or password",
            Self::NoProxy => {
                "what answers at the address of the connection's outbound proxy does not speak its protocol"
            }
            Self::Denied(_) | Self::NotAllowed => {
                "the connection's outbound proxy does not open a connection to the provider"
            }
            Self::TargetUnreachable => "the connection's outbound proxy cannot reach the provider",
            Self::Closed => "the connection's outbound proxy closed the connection",
            Self::TargetForbidden => "the provider's address is not one that this gateway may connect to",
            Self::TargetTls => "the TLS handshake with the provider failed, behind the connection's outbound proxy",
            Self::TooLarge => "the provider's answer is too large",
            Self::Broken => "the provider's answer broke off or is no HTTP",
        }
    }

    /// Stable, for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ProxyName => "proxy_dns",
            Self::ProxyForbidden => "proxy_blocked",
            Self::ProxyUnreachable => "proxy_unreachable",
            Self::ProxyTls => "proxy_tls",
            Self::Timeout => "timeout",
            Self::Credentials => "proxy_auth",
            Self::NoProxy => "proxy_protocol",
            Self::Denied(_) | Self::NotAllowed => "proxy_denied",
            Self::TargetUnreachable => "target_unreachable",
            Self::Closed => "proxy_closed",
            Self::TargetForbidden => "blocked",
            Self::TargetTls => "target_tls",
            Self::TooLarge | Self::Broken => "malformed_answer",
        }
    }
}
