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
    pub cloud: CloudSpec<'a>,
}

/// What a cloud wants to know beside the credential. Empty means what the credential says, or the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloudSpec<'a> {
    /// Google's project, watsonx's project, Cloudflare's account.
    pub project: &'a str,
    /// Of watsonx, instead of a project.
    pub space: &'a str,
    /// Azure's `api-version`; a date means the surface with deployments in its paths.
    pub api_version: &'a str,
    /// A role of AWS that the keys take on.
    pub role_arn: &'a str,
    pub external_id: &'a str,
    /// Of AWS's files, for a machine's own identity.
    pub profile: &'a str,
    /// Where tokens are had, when not at the vendor's own.
    pub token_url: &'a str,
    /// The machine's own identity instead of a secret.
    pub is_ambient: bool,
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
    #[error("a credential is needed")]
    MissingSecret,
    #[error("`{0}` is none of the APIs `chat`, `responses` and `both`")]
    ApiType(String),
    #[error("`{0}` is no region")]
    Region(String),
    #[error(transparent)]
    IncompleteKeys(#[from] IncompleteKeys),
    #[error("{0}")]
    SecretForm(&'static str),
    #[error("every customer of this provider has a host of their own: the base URL is needed, such as `{0}`")]
    NeedsBaseUrl(String),
    #[error("{0}: {1}")]
    Field(&'static str, String),
    #[error("{0}")]
    Identity(&'static str),
}
