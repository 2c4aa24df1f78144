//! How the CLI proves that it may manage the gateway: the token that it was given, or one that it signs itself with
//! the secret of this machine.

use std::time::Duration;

use omniroute_core::{
    settings::Secret,
    time::{Clock, SystemClock},
};
use serde::Serialize;

use crate::failure::Failure;

/// The control plane takes up to five minutes; a command needs less.
const LIFE: Duration = Duration::from_mins(2);

#[derive(Serialize)]
struct Claims {
    sub: &'static str,
    /// Unix seconds.
    iat: u64,
    exp: u64,
}

/// A short-lived Bearer token, signed (HS256) with the secret that signs sessions.
pub(crate) fn sign(jwt_secret: &Secret) -> Result<Secret, Failure> {
    let iat = SystemClock.now().0 / 1000;
    let claims = Claims { sub: "cli", iat, exp: iat + LIFE.as_secs() };
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(jwt_secret.expose().as_bytes());
    jsonwebtoken::encode(&header, &claims, &key)
        .map(Secret::new)
        .map_err(|error| Failure::failed(format!("cannot sign a token: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_cli_and_lives_at_most_five_minutes() {
        #[derive(serde::Deserialize)]
        struct Read {
            sub: String,
            iat: u64,
            exp: u64,
        }
        let token = sign(&Secret::new("0123456789abcdef")).expect("signed");
        let key = jsonwebtoken::DecodingKey::from_secret(b"0123456789abcdef");
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.set_required_spec_claims(&["exp"]);
        let claims = jsonwebtoken::decode::<Read>(token.expose(), &key, &validation).expect("valid").claims;
        assert_eq!(claims.sub, "cli");
        assert!(claims.exp > claims.iat && claims.exp - claims.iat <= 300);
    }
}
