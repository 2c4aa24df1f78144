//! Passwords: argon2id with the parameters that OWASP recommends, off the runtime, two at a time.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version, password_hash::phc::PasswordHash,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Each computation takes 19 MiB; this bounds what a flood of logins can take.
const MAX_CONCURRENT: usize = 2;

/// Fewest characters of a new password.
pub const MIN_LENGTH: usize = 8;
/// Most characters of a password.
pub const MAX_LENGTH: usize = 200;

/// Hashes and verifies passwords.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    permits: Arc<Semaphore>,
}

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("the stored password hash is damaged: {0}")]
    Damaged(String),
    #[error("argon2 failed: {0}")]
    Hash(String),
    #[error("the password worker died")]
    Worker,
}

// === impl Passwords ===

impl Passwords {
    /// # Errors
    /// Only when the parameters are out of argon2's range.
    pub fn new() -> Result<Self, PasswordError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| hash_error(&error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Self { argon2, permits: Arc::new(Semaphore::new(MAX_CONCURRENT)) })
    }

    /// The PHC string to store.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, PasswordError> {
        self.run(move |argon2| {
            argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| hash_error(&error))
        })
        .await
    }

    /// Whether `password` is the one behind `phc`. Takes the same work whichever it is.
    ///
    /// # Errors
    /// When `phc` is no argon2 hash.
    pub async fn verify(&self, password: Zeroizing<String>, phc: String) -> Result<bool, PasswordError> {
        self.run(move |argon2| {
            let hash = PasswordHash::new(&phc).map_err(|error| PasswordError::Damaged(error.to_string()))?;
            Ok(argon2.verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Worker)?;
        let argon2 = self.argon2.clone();
        // The permit goes with the work: a caller that hangs up does not make room for one more computation.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&argon2)
        })
        .await
        .map_err(|_| PasswordError::Worker)?
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

fn hash_error(error: &dyn std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

/// What makes a password weak, if anything does.
pub fn weakness(password: &str) -> Option<&'static str> {
    const COMMON: [&str; 8] =
        ["password", "12345678", "123456789", "admin123", "changeme", "omniroute", "qwertyuiop", "letmein1"];
    if password.chars().count() < MIN_LENGTH {
        return Some("it has fewer than 8 characters");
    }
    if COMMON.iter().any(|common| password.eq_ignore_ascii_case(common)) {
        return Some("it is among the first that anybody would try");
    }
    let mut characters = password.chars();
    let first = characters.next();
    if characters.all(|character| Some(character) == first) {
        return Some("it is one character over and over");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_verifies_its_password_only_and_names_its_parameters() {
        let passwords = Passwords::new().expect("parameters");
        let phc = passwords.hash(secret("correct horse")).await.expect("a hash");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(passwords.verify(secret("correct horse"), phc.clone()).await.expect("verified"));
        assert!(!passwords.verify(secret("correct horsf"), phc).await.expect("verified"));
        assert!(matches!(passwords.verify(secret("x"), "not a hash".into()).await, Err(PasswordError::Damaged(_))));
    }

    #[tokio::test]
    async fn two_hashes_of_one_password_differ() {
        let passwords = Passwords::new().expect("parameters");
        let one = passwords.hash(secret("correct horse")).await.expect("a hash");
        assert_ne!(one, passwords.hash(secret("correct horse")).await.expect("a hash"));
    }

    #[test]
    fn weak_passwords_are_recognised() {
        for weak in ["short", "ADMIN123", "aaaaaaaaaaaa", ""] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        assert_eq!(weakness("correct horse"), None);
    }
}
