//! AWS's token service: keys or a token of another issuer, exchanged for keys of a role.
//!
//! Source: docs.aws.amazon.com/STS/latest/APIReference, `AssumeRole` and `AssumeRoleWithWebIdentity`. The answers are XML with
//! a handful of elements that hold no others of their names, and no namespaces on them.

use std::fmt;

use aws_credential_types::Credentials;
use http::{Request, StatusCode};
use omniroute_core::time::UnixMillis;
use zeroize::Zeroizing;

use super::{AssumedRole, GrantError, Minted, Token, post};
use crate::aws::{Signer, domain_of};

const VERSION: &str = "2011-06-15";
const WHO: &str = "AWS";
const SESSION: &str = "omniroute";

/// Keys that take on a role.
#[derive(Clone, Debug)]
pub struct Role {
    pub keys: Credentials,
    pub region: String,
    pub role: AssumedRole,
}

/// A token of an issuer that AWS trusts, which takes on a role: a pod's, a workflow's.
#[derive(Clone)]
pub struct WebIdentity {
    pub token: Zeroizing<String>,
    pub region: String,
    pub role: AssumedRole,
    pub session: String,
}

// === impl Role ===

impl Role {
    pub(super) fn request(&self, now: UnixMillis) -> Result<Request<Vec<u8>>, GrantError> {
        let mut fields = vec![
            ("Action", "AssumeRole"),
            ("Version", VERSION),
            ("RoleArn", &self.role.arn),
            ("RoleSessionName", SESSION),
        ];
        if !self.role.external_id.is_empty() {
            fields.push(("ExternalId", &self.role.external_id));
        }
        let mut request = post(&url(&self.role, &self.region), &fields)?;
        request.headers_mut().remove(http::header::ACCEPT);
        let body = request.body().clone();
        Signer::of_service("sts", self.keys.clone(), self.region.clone()).sign(
            &mut request,
            std::iter::once(&body[..]),
            now,
        )?;
        Ok(request)
    }
}

// === impl WebIdentity ===

impl WebIdentity {
    pub(super) fn request(&self) -> Result<Request<Vec<u8>>, GrantError> {
        post(
            &url(&self.role, &self.region),
            &[
                ("Action", "AssumeRoleWithWebIdentity"),
                ("Version", VERSION),
                ("RoleArn", &self.role.arn),
                ("RoleSessionName", if self.session.is_empty() { SESSION } else { &self.session }),
                ("WebIdentityToken", &self.token),
            ],
        )
    }
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity").field("role", &self.role.arn).finish_non_exhaustive()
    }
}

fn url(role: &AssumedRole, region: &str) -> String {
    match role.url.is_empty() {
        true => format!("https://sts.{region}.{}/", domain_of(region)),
        false => role.url.clone(),
    }
}

pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Minted, GrantError> {
    let text = String::from_utf8_lossy(body);
    if !status.is_success() {
        let (code, message) = (element(&text, "Code"), element(&text, "Message"));
        let words = match (code, message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (one, other) => one.or(other).unwrap_or_else(|| format!("HTTP {}", status.as_u16())),
        };
        return Err(GrantError::of_answer(WHO, status, words));
    }
    let no_keys = || GrantError::Unavailable { who: WHO, words: "the answer has no keys".into() };
    let get = |name| element(&text, name).ok_or_else(no_keys);
    let (id, key, token) = (get("AccessKeyId")?, get("SecretAccessKey")?, get("SessionToken")?);
    let expires_at = element(&text, "Expiration").and_then(|time| UnixMillis::parse(&time)).ok_or_else(no_keys)?;
    let keys = Credentials::new(id, key, Some(token), None, "role");
    Ok(Minted { token: Token::Keys(keys), expires_at })
}

/// The text of the first element of that name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = text.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Some(plain.replace("&amp;", "&"))
}
