//! Signed tokens (HS256 under `JWT_SECRET`): the session in the cookie, and the CLI's Bearer token.
//!
//! The two cannot be taken for each other: a session names a row of the database (`sid`) and the subject `admin`; a
//! CLI token has the subject `cli`, lives five minutes at most, and counts only as a Bearer token.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use omniroute_core::time::{Clock, UnixMillis};
use serde::{Deserialize, Serialize};

/// Longest life of a CLI token.
pub const CLI_MAX_LIFE: Duration = Duration::from_mins(5);
/// How far ahead the clock of the machine that signed a token may be.
const SKEW: Duration = Duration::from_mins(1);

const SESSION_SUBJECT: &str = "admin";
const CLI_SUBJECT: &str = "cli";

/// Signs and checks tokens.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Arc<Validation>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("the token is malformed or signed with another secret")]
    Invalid,
    #[error("the token has expired")]
    Expired,
    #[error("the token lives longer than five minutes or was issued in the future")]
    TooLong,
    #[error("the token cannot be signed")]
    Signing,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    /// Unix seconds.
    iat: u64,
    exp: u64,
}

// === impl Tokens ===

impl Tokens {
    pub fn new(secret: &str, clock: Arc<dyn Clock>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiry is judged below, by the injected clock.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation: Arc::new(validation),
            clock,
        }
    }

    /// The cookie of a session.
    ///
    /// # Errors
    /// When signing fails.
    pub fn session(&self, id: &str, expires_at: UnixMillis) -> Result<String, TokenError> {
        let iat = seconds(self.clock.now());
        self.sign(&Claims { sub: SESSION_SUBJECT.into(), sid: Some(id.into()), iat, exp: seconds(expires_at) })
    }

    /// A token as the CLI makes it.
    ///
    /// # Errors
    /// When signing fails.
    pub fn cli(&self, life: Duration) -> Result<String, TokenError> {
        let iat = seconds(self.clock.now());
        self.sign(&Claims { sub: CLI_SUBJECT.into(), sid: None, iat, exp: iat + life.as_secs() })
    }

    /// Id of the session that a cookie names. Whether that session still counts is for the database to say.
    ///
    /// # Errors
    /// When the token is not one of ours, not a session's, or has expired.
    pub fn session_id(&self, token: &str) -> Result<String, TokenError> {
        let claims = self.verify(token)?;
        if claims.sub != SESSION_SUBJECT {
            return Err(TokenError::Invalid);
        }
        claims.sid.ok_or(TokenError::Invalid)
    }

    /// Checks a CLI token.
    ///
    /// # Errors
    /// When the token is not one of ours, not the CLI's, has expired or lives too long.
    pub fn check_cli(&self, token: &str) -> Result<(), TokenError> {
        let claims = self.verify(token)?;
        if claims.sub != CLI_SUBJECT || claims.sid.is_some() {
            return Err(TokenError::Invalid);
        }
        let life = claims.exp.saturating_sub(claims.iat);
        let ahead = claims.iat.saturating_sub(seconds(self.clock.now()));
        if life > CLI_MAX_LIFE.as_secs() || ahead > SKEW.as_secs() {
            return Err(TokenError::TooLong);
        }
        Ok(())
    }

    fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|_| TokenError::Signing)
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if claims.exp <= seconds(self.clock.now()) { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

fn seconds(time: UnixMillis) -> u64 {
    time.0 / 1000
}

#[cfg(test)]
mod tests {
    use omniroute_core::time::ManualClock;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn tokens(secret: &str) -> (Tokens, ManualClock) {
        let clock = ManualClock::at(NOW);
        (Tokens::new(secret, Arc::new(clock.clone())), clock)
    }

    #[test]
    fn a_session_token_names_its_session_until_it_expires() {
        let (tokens, clock) = tokens("0123456789abcdef");
        let token = tokens.session("s1", NOW.saturating_add(Duration::from_secs(60))).expect("signed");
        assert_eq!(tokens.session_id(&token), Ok("s1".to_owned()));
        clock.advance(Duration::from_secs(60));
        assert_eq!(tokens.session_id(&token), Err(TokenError::Expired));
    }

    #[test]
    fn the_two_kinds_are_not_interchangeable() {
        let (tokens, _) = tokens("0123456789abcdef");
        let session = tokens.session("s1", NOW.saturating_add(Duration::from_secs(60))).expect("signed");
        let cli = tokens.cli(Duration::from_secs(60)).expect("signed");
        assert_eq!(tokens.check_cli(&session), Err(TokenError::Invalid));
        assert_eq!(tokens.session_id(&cli), Err(TokenError::Invalid));
        assert_eq!(tokens.check_cli(&cli), Ok(()));
    }

    #[test]
    fn a_cli_token_that_lives_too_long_or_comes_from_the_future_is_refused() {
        let (tokens, clock) = tokens("0123456789abcdef");
        let long = tokens.cli(CLI_MAX_LIFE + Duration::from_secs(1)).expect("signed");
        assert_eq!(tokens.check_cli(&long), Err(TokenError::TooLong));
        clock.advance(Duration::from_mins(10));
        let early = tokens.cli(CLI_MAX_LIFE).expect("signed");
        let (behind, _) = super::tests::tokens("0123456789abcdef");
        assert_eq!(behind.check_cli(&early), Err(TokenError::TooLong));
    }

    #[test]
    fn another_secret_another_algorithm_and_no_signature_are_refused() {
        let (tokens, _) = tokens("0123456789abcdef");
        let (others, _) = super::tests::tokens("fedcba9876543210");
        let token = others.cli(Duration::from_secs(60)).expect("signed");
        assert_eq!(tokens.check_cli(&token), Err(TokenError::Invalid));
        let claims = Claims { sub: "cli".into(), sid: None, iat: NOW.0 / 1000, exp: NOW.0 / 1000 + 60 };
        let key = EncodingKey::from_secret(b"0123456789abcdef");
        let hs512 = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &key).expect("signed");
        assert_eq!(tokens.check_cli(&hs512), Err(TokenError::Invalid));
        // {"alg":"none"} . the same claims . no signature
        let payload = hs512.split('.').nth(1).expect("a payload");
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
        assert_eq!(tokens.check_cli(&unsigned), Err(TokenError::Invalid));
    }
}
