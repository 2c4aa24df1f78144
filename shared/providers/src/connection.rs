//! A connection as the operator stored it, and why it cannot be used.

use std::time::Duration;

use omniroute_core::address::AddressError;

use crate::IncompleteKeys;

/// What the operator stored.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSpec<'a> {
    pub id: &'a str,
    /// Id of a node (then `node` is set) or of a provider of the catalog.
    pub provider: &'a str,
    pub name: &'a str,
    pub auth_type: &'a str,
    pub secret: &'a str,
    /// Empty means the provider's own.
    pub base_url: &'a str,
    /// Empty means what credential or base URL tell, else the provider's usual one. Counts where a provider has regions.
    pub region: &'a str,
    /// Which of OpenAI's two chat APIs the host has: `chat`, `responses` or `both`. Empty means what the node says, or the
    /// catalog; `chat` where the base URL is a stranger's.
    pub api_type: &'a str,
    pub headers: &'a [(String, String)],
    pub timeouts: Timeouts,
    pub max_concurrent: u32,
    pub node: Option<NodeSpec<'a>>,
}

/// The endpoint behind a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeSpec<'a> {
    /// "openai-compatible" or "anthropic-compatible".
    pub kind: &'a str,
    /// As [`ConnectionSpec::api_type`]; empty means `chat`.
    pub api_type: &'a str,
    pub base_url: &'a str,
    /// Empty means the kind's own.
    pub chat_path: &'a str,
    pub models_path: &'a str,
}

/// Overrides of the gateway's timeouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub idle: Option<Duration>,
    pub total: Option<Duration>,
}

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("there is no provider `{0}`, neither in the catalog nor among the nodes")]
    UnknownProvider(String),
    #[error("no adapter speaks `{0}`")]
    UnknownFormat(String),
    #[error("base URL: {0}")]
    Address(#[from] AddressError),
    #[error("the path `{0}` does not make a valid URL")]
    Path(String),
    #[error("header `{0}` is not allowed or not valid")]
    Header(String),
    #[error("the credential has characters that no header can carry")]
    Secret,
    #[error("every customer has a host of their own here: give the connection's base URL, of the form `{0}`")]
    MissingBaseUrl(&'static str),
    #[error("a credential is needed")]
    MissingSecret,
    #[error("`{0}` is none of the APIs `chat`, `responses` and `both`")]
    ApiType(String),
    #[error("`{0}` is no region")]
    Region(String),
    #[error(transparent)]
    IncompleteKeys(#[from] IncompleteKeys),
}
