//! Exchanges in the words of OAuth 2.0 (RFC 6749) and what they bring. IBM's has a grant type of its own and the same answer.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, StatusCode, header};
use omniroute_core::time::UnixMillis;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{GrantError, Minted, Token, post};

/// Of a token whose answer does not say.
const LIFETIME_SECONDS: u64 = 3600;

/// A client of its own account (RFC 6749, 4.4): Entra, Databricks.
#[derive(Clone)]
pub struct ClientCredentials {
    pub who: &'static str,
    pub url: String,
    pub client_id: String,
    pub proof: ClientProof,
    pub scope: String,
}

/// How a client proves who it is.
#[derive(Clone)]
pub enum ClientProof {
    /// A secret in the form.
    InForm(Zeroizing<String>),
    /// A secret in HTTP's basic authentication.
    Basic(Zeroizing<String>),
    /// A token of another issuer that the account trusts (RFC 7523).
    Assertion(Zeroizing<String>),
}

/// What a person's sign-in left: Google's `authorized_user`.
#[derive(Clone)]
pub struct RefreshToken {
    pub url: String,
    pub client_id: String,
    pub client_secret: Zeroizing<String>,
    pub refresh_token: Zeroizing<String>,
}

/// An API key of IBM Cloud.
#[derive(Clone)]
pub struct IamKey {
    pub url: String,
    pub key: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
    error: Option<serde_json::Value>,
    error_description: Option<String>,
    #[serde(rename = "errorMessage")]
    ibm: Option<String>,
}

// === impl ClientCredentials ===

impl ClientCredentials {
    pub(super) fn request(&self) -> Result<Request<Vec<u8>>, GrantError> {
        const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let mut fields = vec![("grant_type", "client_credentials"), ("scope", &self.scope)];
        let mut basic = None;
        match &self.proof {
            ClientProof::InForm(secret) => {
                fields.extend([("client_id", self.client_id.as_str()), ("client_secret", secret)]);
            }
            ClientProof::Assertion(token) => fields.extend([
                ("client_id", self.client_id.as_str()),
                ("client_assertion_type", ASSERTION),
                ("client_assertion", token),
            ]),
            ClientProof::Basic(secret) => {
                let pair = Zeroizing::new(format!("{}:{}", self.client_id, **secret));
                basic = Some(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            }
        }
        let mut request = post(&self.url, &fields)?;
        if let Some(basic) = basic {
            let mut value: HeaderValue =
                basic.parse().map_err(|_| GrantError::Request("the client is no header".into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

// === impl RefreshToken ===

impl RefreshToken {
    pub(super) fn request(&self) -> Result<Request<Vec<u8>>, GrantError> {
        post(
            &self.url,
            &[
                ("grant_type", "refresh_token"),
                ("client_id", &self.client_id),
                ("client_secret", &self.client_secret),
                ("refresh_token", &self.refresh_token),
            ],
        )
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

// === impl IamKey ===

impl IamKey {
    pub(super) fn request(&self) -> Result<Request<Vec<u8>>, GrantError> {
        post(&self.url, &[("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", &self.key)])
    }
}

impl fmt::Debug for IamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamKey").finish_non_exhaustive()
    }
}

/// Reads an answer of a token endpoint.
pub(super) fn read(who: &'static str, status: StatusCode, body: &[u8], now: UnixMillis) -> Result<Minted, GrantError> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if !status.is_success() {
        let words = answer.map(words).filter(|words| !words.is_empty());
        return Err(GrantError::of_answer(who, status, words.unwrap_or_else(|| format!("HTTP {}", status.as_u16()))));
    }
    let no_token = || GrantError::Unavailable { who, words: "the answer has no token".into() };
    let answer = answer.ok_or_else(no_token)?;
    let token = Zeroizing::new(answer.access_token.filter(|token| !token.is_empty()).ok_or_else(no_token)?);
    // Azure's older endpoints write the number as a text.
    let seconds = answer.expires_in.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    let lifetime = std::time::Duration::from_secs(seconds.unwrap_or(LIFETIME_SECONDS));
    Ok(Minted { token: Token::bearer(&token)?, expires_at: now.saturating_add(lifetime) })
}

fn words(answer: Answer) -> String {
    let code = match answer.error {
        Some(serde_json::Value::String(code)) => code,
        Some(serde_json::Value::Object(error)) => {
            error.get("message").and_then(|message| message.as_str()).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    let description = answer.error_description.or(answer.ibm).unwrap_or_default();
    let description = description.lines().next().unwrap_or_default().to_owned();
    match (code.is_empty(), description.is_empty()) {
        (false, false) => format!("{code}: {description}"),
        _ => format!("{code}{description}"),
    }
}
