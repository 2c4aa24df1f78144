//! Google's service accounts: a key that signs an assertion, which is exchanged for a token (RFC 7523).
//!
//! Source: developers.google.com/identity/protocols/oauth2/service-account, "HTTP/REST".

use std::{fmt, sync::Arc};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::Request;
use omniroute_core::time::UnixMillis;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::json;

use super::{GrantError, post};

pub(crate) const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest that Google takes.
const LIFETIME_SECONDS: u64 = 3600;

/// A service account's key.
#[derive(Clone)]
pub struct ServiceAccount {
    email: String,
    key_id: String,
    key: Arc<RsaKeyPair>,
    token_url: String,
}

// === impl ServiceAccount ===

impl ServiceAccount {
    /// `pem`: the private key as the account's file has it. `None` when it is none.
    pub fn new(email: &str, key_id: &str, pem: &str, token_url: &str) -> Option<Self> {
        let key = RsaKeyPair::from_pkcs8(&der(pem)?).ok()?;
        Some(Self {
            email: email.to_owned(),
            key_id: key_id.to_owned(),
            key: Arc::new(key),
            token_url: token_url.to_owned(),
        })
    }

    pub(super) fn request(&self, now: UnixMillis) -> Result<Request<Vec<u8>>, GrantError> {
        let issued = now.0 / 1000;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_url,
            "iat": issued,
            "exp": issued + LIFETIME_SECONDS,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| GrantError::Request("the private key does not sign".into()))?;
        let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        post(&self.token_url, &[("grant_type", GRANT_TYPE), ("assertion", &assertion)])
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("email", &self.email).finish_non_exhaustive()
    }
}

/// What is between the lines of a PEM of PKCS#8. Keys that were pasted through a shell have `\n` for their line ends.
fn der(pem: &str) -> Option<Vec<u8>> {
    const LABEL: &str = "PRIVATE KEY-----";
    let pem = pem.replace("\\n", "\n");
    let (_, inside) = pem.split_once(&format!("-----BEGIN {LABEL}"))?;
    let (inside, _) = inside.split_once("-----END ")?;
    STANDARD.decode(inside.split_whitespace().collect::<String>()).ok()
}
