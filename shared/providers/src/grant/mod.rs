//! Credentials that no request carries: they are exchanged for a token that is good for a while.
//!
//! A [`Grant`] knows the exchange and does no I/O: [`Exchange::request`] writes the question, [`Exchange::read`] reads what it brought.
//! Whoever sends the request keeps the [`Minted`] token and asks again before it ends. The long-lived credential can be exchanged
//! any number of times by anybody who has it, so every process mints for itself and none depends on another.

mod google;
mod oauth;
mod sts;

use std::{fmt, sync::Arc};

use aws_credential_types::Credentials;
use http::{HeaderValue, Request, StatusCode};
use omniroute_core::time::UnixMillis;
use sha2::{Digest as _, Sha256};

pub use self::{
    google::ServiceAccount,
    oauth::{ClientCredentials, ClientProof, IamKey, RefreshToken},
    sts::{Role, WebIdentity},
};
use crate::SignError;

/// Google's token endpoint.
pub(crate) const fn google_token_url() -> &'static str {
    google::TOKEN_URL
}

/// A machine's own identity, in the cloud that it runs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ambient {
    /// AWS's chain: environment, profiles, web identity, container, instance. `role` is taken on top.
    Aws { region: String, profile: String, role: Option<AssumedRole> },
    /// Google's application default credentials.
    Google,
    /// Entra: environment, workload identity, managed identity. The scope is that of the service.
    Azure { scope: String },
}

/// A role that other credentials take on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssumedRole {
    pub arn: String,
    pub external_id: String,
    /// Of AWS's token service; empty means the region's own.
    pub url: String,
}

/// How a token comes about.
#[derive(Clone, Debug)]
pub enum Exchange {
    ServiceAccount(ServiceAccount),
    RefreshToken(RefreshToken),
    ClientCredentials(ClientCredentials),
    IamKey(IamKey),
    Role(Role),
    WebIdentity(WebIdentity),
}

/// A credential that is exchanged for tokens. Cheap to clone.
#[derive(Clone)]
pub struct Grant(Arc<Inner>);

struct Inner {
    source: Source,
    fingerprint: [u8; 32],
}

/// Where the credential is.
#[derive(Clone, Debug)]
pub enum Source {
    /// With the connection.
    Stored(Exchange),
    /// With the machine.
    Machine(Ambient),
}

/// What proves a request's sender.
#[derive(Clone)]
pub enum Token {
    /// The value of `Authorization`.
    Bearer(HeaderValue),
    /// Keys that sign.
    Keys(Credentials),
}

/// A token and its end.
#[derive(Clone, Debug)]
pub struct Minted {
    pub token: Token,
    pub expires_at: UnixMillis,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error("{who} refused the credential: {words}")]
    Refused { who: &'static str, words: String },
    #[error("{who} gives no token at the moment: {words}")]
    Unavailable { who: &'static str, words: String },
    #[error("{0}")]
    Machine(String),
    #[error("the request for a token cannot be written: {0}")]
    Request(String),
}

// === impl Grant ===

impl Grant {
    /// `parts`: everything that makes it differ from others.
    pub(crate) fn new(source: Source, parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest = digest.chain_update((part.len() as u64).to_le_bytes()).chain_update(part.as_bytes());
        }
        Self(Arc::new(Inner { source, fingerprint: digest.finalize().into() }))
    }

    /// The same for grants that bring the same tokens.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.0.fingerprint
    }

    pub fn source(&self) -> &Source {
        &self.0.source
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").field(&self.0.source).finish()
    }
}

// === impl Exchange ===

impl Exchange {
    /// Keys that take on a role.
    pub fn role(keys: Credentials, region: &str, role: AssumedRole) -> Self {
        Self::Role(Role { keys, region: region.to_owned(), role })
    }

    /// Who is asked.
    pub const fn who(&self) -> &'static str {
        match self {
            Self::ServiceAccount(_) | Self::RefreshToken(_) => "Google",
            Self::ClientCredentials(client) => client.who,
            Self::IamKey(_) => "IBM Cloud",
            Self::Role(_) | Self::WebIdentity(_) => "AWS",
        }
    }

    /// The question.
    ///
    /// # Errors
    /// When the credential makes none.
    pub fn request(&self, now: UnixMillis) -> Result<Request<Vec<u8>>, GrantError> {
        match self {
            Self::ServiceAccount(account) => account.request(now),
            Self::RefreshToken(token) => token.request(),
            Self::ClientCredentials(client) => client.request(),
            Self::IamKey(key) => key.request(),
            Self::Role(role) => role.request(now),
            Self::WebIdentity(identity) => identity.request(),
        }
    }

    /// What the answer brought.
    ///
    /// # Errors
    /// When it is no token: refused, or not now.
    pub fn read(&self, status: StatusCode, body: &[u8], now: UnixMillis) -> Result<Minted, GrantError> {
        match self {
            Self::Role(_) | Self::WebIdentity(_) => sts::read(status, body),
            _ => oauth::read(self.who(), status, body, now),
        }
    }
}

// === impl Token ===

impl Token {
    /// # Errors
    /// When no header can carry it.
    pub fn bearer(token: &str) -> Result<Self, GrantError> {
        let value = format!("Bearer {token}").parse::<HeaderValue>();
        let mut value = value.map_err(|_| GrantError::Request("the token is no header".into()))?;
        value.set_sensitive(true);
        Ok(Self::Bearer(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(..)",
            Self::Keys(_) => "Keys(..)",
        })
    }
}

// === impl GrantError ===

impl From<SignError> for GrantError {
    fn from(error: SignError) -> Self {
        Self::Request(error.to_string())
    }
}

impl GrantError {
    /// Whether the credential itself is at fault, so that asking again does not help.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Request(_))
    }

    /// From a failed answer: refusals are client errors but for limits and timeouts.
    fn of_answer(who: &'static str, status: StatusCode, words: String) -> Self {
        let is_refusal = status.is_client_error() && !matches!(status.as_u16(), 408 | 429);
        if is_refusal { Self::Refused { who, words } } else { Self::Unavailable { who, words } }
    }
}

/// A form, as `application/x-www-form-urlencoded` has it.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
}

/// A POST of a form.
fn post(url: &str, fields: &[(&str, &str)]) -> Result<Request<Vec<u8>>, GrantError> {
    Request::post(url)
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(http::header::ACCEPT, "application/json")
        .body(form(fields))
        .map_err(|error| GrantError::Request(error.to_string()))
}
