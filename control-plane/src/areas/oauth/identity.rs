//! Who signed in, out of the ID token that came with the tokens. It came from the token endpoint itself, over TLS, so its
//! signature says nothing more (OpenID Connect Core 3.1.3.7); that it is meant for us, and for this sign-in, is checked.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use omniroute_core::{settings::Secret, time::UnixMillis};
use serde::Deserialize;
use serde_json::Value;

/// Clocks may differ so much.
const LEEWAY_SECONDS: u64 = 300;

/// What is said of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) email: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    aud: Option<Value>,
    nonce: Option<String>,
    exp: Option<Value>,
    email: Option<String>,
    name: Option<String>,
    preferred_username: Option<String>,
}

/// Reads an ID token.
///
/// # Errors
/// With a sentence when it is for somebody else, for another sign-in, or over.
pub(super) fn identity(token: &Secret, client: &str, nonce: &str, now: UnixMillis) -> Result<Identity, String> {
    let claims = claims(token.expose()).ok_or("the provider's ID token cannot be read")?;
    let is_ours = match &claims.aud {
        Some(Value::String(one)) => one == client,
        Some(Value::Array(all)) => all.iter().any(|one| one == client),
        _ => false,
    };
    if !is_ours {
        return Err("the provider's ID token is meant for another client".into());
    }
    if claims.nonce.as_deref().is_some_and(|given| given != nonce) || (claims.nonce.is_none() && !nonce.is_empty()) {
        return Err("the provider's ID token belongs to another sign-in: begin again".into());
    }
    let is_over = claims
        .exp
        .as_ref()
        .and_then(Value::as_f64)
        .is_some_and(|exp| exp + LEEWAY_SECONDS as f64 <= (now.0 / 1000) as f64);
    if is_over {
        return Err("the provider's ID token is over; compare the clocks".into());
    }
    let short =
        |text: Option<String>, most: usize| text.filter(|text| !text.trim().is_empty() && text.chars().count() <= most);
    Ok(Identity { email: short(claims.email, 320), name: short(claims.name.or(claims.preferred_username), 200) })
}

fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(claims: &Value) -> Secret {
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    #[test]
    fn an_id_token_counts_for_its_client_and_its_sign_in_only() {
        let now = UnixMillis(1_800_000_000_000);
        let good = json!({ "aud": "me", "nonce": "n", "exp": 1_800_000_600, "email": "a@b.c", "name": "A" });
        let read = |claims: &Value| identity(&token(claims), "me", "n", now);
        let expected = Identity { email: Some("a@b.c".into()), name: Some("A".into()) };
        assert_eq!(read(&good), Ok(expected));
        let with = |field: &str, value: Value| {
            let mut claims = good.clone();
            claims[field] = value;
            read(&claims)
        };
        assert!(with("aud", json!(["you", "me"])).is_ok());
        for (field, value) in [
            ("aud", json!("you")),
            ("aud", json!(["you"])),
            ("aud", Value::Null),
            ("nonce", json!("other")),
            ("nonce", Value::Null),
            ("exp", json!(1_799_990_000)),
        ] {
            assert!(with(field, value.clone()).is_err(), "{field}: {value}");
        }
        for nonsense in ["", "a.b", "a.!!.c", "a.bm8.c"] {
            assert!(identity(&Secret::new(nonsense), "me", "n", now).is_err(), "{nonsense}");
        }
    }
}
