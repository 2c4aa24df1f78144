//! Who asks.

use omniroute_core::id::ApiKeyId;

/// A caller that may manage the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The administrator, signed in with the password.
    Session { id: String },
    /// An API key with a management scope.
    ApiKey(ApiKeyId),
    /// The command line on a machine that holds the signing secret.
    Cli,
    /// Somebody at this machine, while login is turned off.
    Local,
}

// === impl Principal ===

impl Principal {
    /// As the configuration log names it.
    pub fn name(&self) -> String {
        match self {
            Self::Session { .. } => "admin".to_owned(),
            Self::ApiKey(id) => format!("key:{id}"),
            Self::Cli => "cli".to_owned(),
            Self::Local => "local".to_owned(),
        }
    }

    /// Whether a browser adds this proof on its own, so that another website could have started the request.
    pub fn is_ambient(&self) -> bool {
        matches!(self, Self::Session { .. } | Self::Local)
    }
}
