//! The protocol: what is sent to a provider's endpoints (RFC 6749, 7636, 8628), and what comes back.
//!
//! Providers keep to the standard more or less: errors come with status 200, numbers as texts, answers as forms, and some
//! want JSON. All of that is read; what is sent is the standard, unless the registration says otherwise.

use std::{collections::BTreeMap, time::Duration};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use omniroute_core::settings::Secret;
use omniroute_providers::sanitise;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Transport, clients::Client};

/// Of a provider's words this much is shown.
const MOST_WORDS: usize = 300;

/// Longest life of a token that is believed.
const LONGEST_LIFE: u64 = 10 * 365 * 24 * 60 * 60;

/// Refusals of a grant that is over, in the standard's words and in vendors'.
const FINAL: [&str; 8] = [
    "invalid_grant",
    "expired_token",
    "access_denied",
    "bad_refresh_token",
    "invalid_refresh_token",
    "refresh_token_expired",
    "refresh_token_reused",
    "refresh_token_invalidated",
];

/// Tokens, as they came.
#[derive(Clone, Debug)]
pub(super) struct TokenAnswer {
    pub(super) access_token: Secret,
    /// `None`: the one that was sent goes on to count.
    pub(super) refresh_token: Option<Secret>,
    pub(super) lifetime: Option<Duration>,
    pub(super) scope: Option<String>,
    pub(super) id_token: Option<Secret>,
}

/// A device code, as it came.
#[derive(Clone, Debug)]
pub(super) struct DeviceAnswer {
    pub(super) device_code: Secret,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    pub(super) verification_uri_complete: Option<String>,
    pub(super) lifetime: Duration,
    pub(super) interval: Duration,
}

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndpointError {
    /// The provider says no, in the words of the standard.
    Refused { error: String, description: Option<String> },
    /// It asks for patience, so long where it says so.
    Busy { words: String, retry_after: Option<Duration> },
    /// No answer, or none that makes sense.
    Failed(String),
}

/// Parameters of a request; those that are secret are wiped.
pub(super) type Parameters = Vec<(&'static str, Zeroizing<String>)>;

/// A value nobody can guess, good in a URL.
pub(super) fn random() -> String {
    let bytes: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// PKCE's challenge for a verifier (S256).
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Asks the token endpoint.
///
/// # Errors
/// As [`EndpointError`] says.
pub(super) async fn tokens(
    transport: &dyn Transport,
    client: &Client,
    connection: Option<&str>,
    parameters: Parameters,
) -> Result<TokenAnswer, EndpointError> {
    let url = client.token_url().map_err(EndpointError::Failed)?;
    let answer = post(transport, client, connection, &url, parameters).await?;
    token_answer(&answer)
}

/// Asks for a device code.
///
/// # Errors
/// As [`EndpointError`] says.
pub(super) async fn device_code(
    transport: &dyn Transport,
    client: &Client,
    connection: Option<&str>,
    parameters: Parameters,
) -> Result<DeviceAnswer, EndpointError> {
    let url = client.device_authorization_url().map_err(EndpointError::Failed)?;
    let answer = post(transport, client, connection, &url, parameters).await?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let lacks = |name: &str| EndpointError::Failed(format!("the provider's answer has no {name}"));
    let seconds = |name: &str, default: u64| Duration::from_secs(number(&answer, name).unwrap_or(default));
    Ok(DeviceAnswer {
        device_code: text("device_code").map(Secret::new).ok_or_else(|| lacks("device_code"))?,
        user_code: text("user_code").ok_or_else(|| lacks("user_code"))?,
        // Google calls it otherwise.
        verification_uri: text("verification_uri")
            .or_else(|| text("verification_url"))
            .ok_or_else(|| lacks("verification_uri"))?,
        verification_uri_complete: text("verification_uri_complete"),
        lifetime: seconds("expires_in", 600).clamp(Duration::from_secs(30), Duration::from_hours(1)),
        interval: seconds("interval", 5).clamp(Duration::from_secs(1), Duration::from_mins(1)),
    })
}

async fn post(
    transport: &dyn Transport,
    client: &Client,
    connection: Option<&str>,
    url: &Uri,
    mut parameters: Parameters,
) -> Result<Map<String, Value>, EndpointError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if client.options.basic_auth && client.secret.is_set() {
        headers.insert(header::AUTHORIZATION, basic(client)?);
    } else {
        parameters.push(("client_id", Zeroizing::new(client.id.clone())));
        if client.secret.is_set() {
            parameters.push(("client_secret", Zeroizing::new(client.secret.expose().to_owned())));
        }
    }
    let (content_type, body) = written(&parameters, client.options.json_requests);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // What a provider repeats of our secrets is not passed on.
    let mut hidden: Zeroizing<String> = Zeroizing::new(client.secret.expose().to_owned());
    for (name, value) in &parameters {
        if matches!(*name, "refresh_token" | "code" | "code_verifier" | "device_code") {
            hidden.push('\n');
            hidden.push_str(value);
        }
    }
    let sent = transport.post(&client.provider, connection, url, headers, body).await;
    let (status, headers, body) = sent.map_err(EndpointError::Failed)?;
    read(status, &headers, &body).map_err(|error| error.without(&hidden))
}

fn basic(client: &Client) -> Result<HeaderValue, EndpointError> {
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(&client.id), encoded(client.secret.expose())));
    let mut value: HeaderValue = format!("Basic {}", STANDARD.encode(pair.as_bytes()))
        .parse()
        .map_err(|_| EndpointError::Failed("the client's id or secret makes no header".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn written(parameters: &Parameters, as_json: bool) -> (&'static str, Bytes) {
    if as_json {
        let object: BTreeMap<&str, &str> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        return ("application/json", Bytes::from(serde_json::to_vec(&object).unwrap_or_default()));
    }
    let pairs = parameters.iter().map(|(name, value)| (*name, value.as_str()));
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    ("application/x-www-form-urlencoded", Bytes::from(form))
}

/// The object of an answer that is no refusal.
fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, EndpointError> {
    let object = object(headers, body);
    if let Some(error) = object.as_ref().and_then(refusal) {
        // A server error in the words of the standard is one all the same.
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS
            || matches!(error.0.as_str(), "temporarily_unavailable" | "server_error");
        if is_busy {
            let words = error.1.unwrap_or(error.0);
            return Err(EndpointError::Busy { words, retry_after: retry_after(headers) });
        }
        return Err(EndpointError::Refused { error: error.0, description: error.1 });
    }
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let words = format!("HTTP {}", status.as_u16());
        return Err(EndpointError::Busy { words, retry_after: retry_after(headers) });
    }
    if status.is_redirection() {
        return Err(EndpointError::Failed("the endpoint redirects to another URL; use that one".into()));
    }
    match object {
        Some(object) if status.is_success() => Ok(object),
        Some(_) => {
            Err(EndpointError::Failed(format!("the endpoint answers HTTP {} without a reason", status.as_u16())))
        }
        None => Err(EndpointError::Failed(format!(
            "the endpoint's answer (HTTP {}) is neither JSON nor a form; check its URL",
            status.as_u16()
        ))),
    }
}

fn object(headers: &HeaderMap, body: &[u8]) -> Option<Map<String, Value>> {
    if let Ok(object) = serde_json::from_slice(body) {
        return Some(object);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded").then(|| {
        url::form_urlencoded::parse(body)
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect()
    })
}

/// The error that an answer names, with what is said about it.
fn refusal(object: &Map<String, Value>) -> Option<(String, Option<String>)> {
    let words = |value: &Value| value.as_str().map(shortened).filter(|text| !text.is_empty());
    match object.get("error")? {
        Value::String(code) if !code.is_empty() => {
            let described = object.get("error_description").or_else(|| object.get("message")).and_then(words);
            Some((shortened(code), described))
        }
        // As APIs have it, rather than OAuth.
        Value::Object(error) => {
            let code = ["code", "type", "status"].iter().find_map(|name| error.get(*name)).and_then(words);
            Some((code.unwrap_or_else(|| "error".to_owned()), error.get("message").and_then(words)))
        }
        _ => None,
    }
}

fn token_answer(object: &Map<String, Value>) -> Result<TokenAnswer, EndpointError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(access_token) = text("access_token") else {
        return Err(EndpointError::Failed("the token endpoint's answer has no access_token".into()));
    };
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(EndpointError::Failed("the token endpoint gave a token that is no bearer".into()));
    }
    if HeaderValue::from_str(access_token).is_err() {
        return Err(EndpointError::Failed("the access token has characters that no header can carry".into()));
    }
    let seconds = number(object, "expires_in").filter(|seconds| *seconds > 0);
    Ok(TokenAnswer {
        access_token: Secret::new(access_token),
        refresh_token: text("refresh_token").map(Secret::new),
        lifetime: seconds.map(|seconds| Duration::from_secs(seconds.min(LONGEST_LIFE))),
        scope: text("scope").map(|scope| scope.chars().take(2_000).collect()),
        id_token: text("id_token").map(Secret::new),
    })
}

/// A number, also where it is written as a text or with a fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is held within bounds")]
fn number(object: &Map<String, Value>, name: &str) -> Option<u64> {
    let value = object.get(name)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.is_finite() && number >= 0.0).then(|| number.min(LONGEST_LIFE as f64) as u64)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(Duration::from_hours(1)))
}

fn shortened(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|one| !one.is_control())
        .take(MOST_WORDS)
        .collect()
}

// === impl EndpointError ===

impl EndpointError {
    /// Without any of these texts.
    fn without(self, hidden: &str) -> Self {
        let clean = |text: String| sanitise(&text, hidden);
        match self {
            Self::Refused { error, description } => {
                Self::Refused { error: clean(error), description: description.map(clean) }
            }
            Self::Busy { words, retry_after } => Self::Busy { words: clean(words), retry_after },
            Self::Failed(words) => Self::Failed(clean(words)),
        }
    }

    /// Whether the grant itself is over: no repetition and no correction of the registration brings it back.
    pub(super) fn is_final(&self) -> bool {
        let Self::Refused { error, .. } = self else { return false };
        FINAL.contains(&error.as_str())
    }
}

impl std::fmt::Display for EndpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { error, description: Some(description) } => write!(f, "{error}: {description}"),
            Self::Refused { error, description: None } => f.write_str(error),
            Self::Busy { words, .. } => write!(f, "the provider is busy: {words}"),
            Self::Failed(words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, kind: &'static str, body: &str) -> Result<TokenAnswer, EndpointError> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let object = read(StatusCode::from_u16(status).expect("a status"), &headers, body.as_bytes())?;
        token_answer(&object)
    }

    #[test]
    fn the_challenge_is_the_one_of_the_standards_example() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(random().len(), 43);
        assert_ne!(random(), random());
    }

    #[test]
    fn answers_are_read_as_providers_write_them() {
        let json =
            answered(200, "application/json", r#"{"access_token":"a","expires_in":"3600","token_type":"bearer"}"#);
        let json = json.expect("tokens");
        assert_eq!((json.access_token.expose(), json.lifetime), ("a", Some(Duration::from_secs(3600))));
        assert!(json.refresh_token.is_none());
        let form = "application/x-www-form-urlencoded";
        let form = answered(200, form, "access_token=a&refresh_token=r&expires_in=60.5&scope=x+y").expect("tokens");
        assert_eq!(form.refresh_token.expect("one").expose(), "r");
        assert_eq!((form.lifetime, form.scope.as_deref()), (Some(Duration::from_secs(60)), Some("x y")));
    }

    #[test]
    fn refusals_are_told_from_failures_whatever_the_status() {
        for status in [200, 400, 401] {
            let refused =
                answered(status, "application/json", r#"{"error":"invalid_grant","error_description":"gone"}"#);
            let refused = refused.expect_err("refused");
            assert!(refused.is_final(), "{refused:?}");
            assert_eq!(refused.to_string(), "invalid_grant: gone");
        }
        let client = answered(401, "application/json", r#"{"error":"invalid_client"}"#).expect_err("refused");
        assert!(!client.is_final());
        for (status, body) in
            [(503, "{}"), (429, ""), (500, r#"{"error":"server_error"}"#), (429, r#"{"error":"rate"}"#)]
        {
            let busy = answered(status, "application/json", body).expect_err("busy");
            assert!(matches!(busy, EndpointError::Busy { .. }), "{status}: {busy:?}");
        }
        for (status, body) in
            [(200, "<html>"), (200, "{}"), (404, "<html>"), (302, ""), (200, r#"{"access_token":"a\nb"}"#)]
        {
            let failed = answered(status, "text/html", body).expect_err("failed");
            assert!(matches!(failed, EndpointError::Failed(_)) && !failed.is_final(), "{status}: {failed:?}");
        }
        let other = r#"{"access_token":"a","token_type":"mac"}"#;
        assert!(answered(200, "application/json", other).is_err());
    }

    #[test]
    fn what_a_provider_repeats_of_a_secret_is_not_passed_on() {
        let error = EndpointError::Refused {
            error: "invalid_grant".into(),
            description: Some("token refresh-secret-value is over".into()),
        };
        let shown = error.without("client-secret\nrefresh-secret-value").to_string();
        assert!(!shown.contains("refresh-secret-value"), "{shown}");
    }
}
