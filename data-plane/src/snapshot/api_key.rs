//! An API key as requests are checked against it.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use omniroute_core::{
    error::{ErrorClass, GatewayError},
    hash::KeyHash,
    id::ApiKeyId,
    time::UnixMillis,
};
use omniroute_proto::v1;
use tokio::sync::Semaphore;

/// A client's credential and what it may do.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    pub scopes: Vec<String>,
    pub no_log: bool,
    /// Larger (or smaller) bodies than the gateway's limit.
    pub max_body_bytes: Option<u64>,
    /// What its bodies may still take of the memory. Made with the first of them, and anew when the key is edited.
    pub(crate) body_room: OnceLock<Arc<Semaphore>>,
    pub(super) hash: KeyHash,
    /// The secret before, and until when it is accepted.
    pub(super) previous: Option<(KeyHash, UnixMillis)>,
    is_active: bool,
    expires_at: Option<UnixMillis>,
    is_revoked: bool,
    /// `None`: every model.
    models: Option<AllowedModels>,
    /// `None`: every connection.
    connections: Option<HashSet<String>>,
}

#[derive(Clone, Debug, Default)]
struct AllowedModels {
    exact: HashSet<String>,
    prefixes: Vec<String>,
}

// === impl ApiKey ===

impl ApiKey {
    pub(super) fn build(id: &str, key: v1::ApiKey) -> Result<Self, String> {
        let Some(hash) = KeyHash::from_slice(&key.key_hash) else {
            return Err(format!("the hash has {} bytes instead of 32", key.key_hash.len()));
        };
        let previous = KeyHash::from_slice(&key.previous_key_hash).filter(|previous| *previous != hash);
        let mut models = AllowedModels::default();
        for pattern in key.allowed_models {
            match pattern.strip_suffix('*') {
                Some(prefix) => models.prefixes.push(prefix.to_owned()),
                None => {
                    models.exact.insert(pattern);
                }
            }
        }
        let all_models = models.exact.is_empty() && models.prefixes.is_empty();
        Ok(Self {
            id: id.into(),
            name: key.name,
            scopes: key.scopes,
            no_log: key.no_log,
            max_body_bytes: (key.max_body_bytes > 0).then_some(key.max_body_bytes),
            body_room: OnceLock::new(),
            hash,
            previous: previous.map(|previous| (previous, UnixMillis(key.previous_until_ms))),
            is_active: key.is_active,
            expires_at: (key.expires_at_ms > 0).then_some(UnixMillis(key.expires_at_ms)),
            is_revoked: key.revoked_at_ms > 0,
            models: (!all_models).then_some(models),
            connections: (!key.allowed_connections.is_empty()).then(|| key.allowed_connections.into_iter().collect()),
        })
    }

    /// Whether the key is good at all.
    ///
    /// # Errors
    /// With the reason, as the client is told.
    pub fn check(&self, now: UnixMillis) -> Result<(), GatewayError> {
        let refuse = |code, message| Err(GatewayError::new(ErrorClass::Unauthenticated, code, message));
        if self.is_revoked {
            return refuse("key_revoked", "This API key has been revoked.");
        }
        if !self.is_active {
            return refuse("key_inactive", "This API key is switched off.");
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return refuse("key_expired", "This API key has expired.");
        }
        Ok(())
    }

    /// Whether a secret of this hash, which is the key's own or the one before, still counts.
    pub fn accepts(&self, hash: &KeyHash, now: UnixMillis) -> bool {
        self.previous.is_none_or(|(previous, until)| previous != *hash || now < until)
    }

    /// Whether the key may name this model (as the client writes it).
    pub fn allows_model(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| {
            models.exact.contains(model) || models.prefixes.iter().any(|prefix| model.starts_with(prefix.as_str()))
        })
    }

    /// Whether the key may use this connection.
    pub fn allows_connection(&self, connection: &str) -> bool {
        self.connections.as_ref().is_none_or(|allowed| allowed.contains(connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(change: impl FnOnce(&mut v1::ApiKey)) -> ApiKey {
        let mut key = v1::ApiKey { key_hash: vec![7; 32], is_active: true, ..v1::ApiKey::default() };
        change(&mut key);
        ApiKey::build("k1", key).expect("a key")
    }

    #[test]
    fn each_way_of_being_no_good_has_its_code() {
        let now = UnixMillis(1_000);
        let code = |key: &ApiKey| key.check(now).expect_err("refused").code;
        assert!(key(|_| {}).check(now).is_ok());
        assert_eq!(code(&key(|key| key.is_active = false)), "key_inactive");
        assert_eq!(code(&key(|key| key.expires_at_ms = 1_000)), "key_expired");
        assert_eq!(code(&key(|key| key.revoked_at_ms = 1)), "key_revoked");
        assert!(key(|key| key.expires_at_ms = 1_001).check(now).is_ok());
    }

    #[test]
    fn a_secret_that_was_replaced_counts_until_its_time_is_over() {
        let key = key(|key| {
            key.previous_key_hash = vec![8; 32];
            key.previous_until_ms = 1_000;
        });
        let hash = |byte: u8| KeyHash::from_slice(&[byte; 32]).expect("a hash");
        assert!(key.accepts(&hash(8), UnixMillis(999)) && !key.accepts(&hash(8), UnixMillis(1_000)));
        assert!(key.accepts(&hash(7), UnixMillis(999)) && key.accepts(&hash(7), UnixMillis(1_000)));
    }

    #[test]
    fn allowed_models_are_exact_or_prefixes() {
        let key = key(|key| key.allowed_models = vec!["mock/a".into(), "groq/*".into()]);
        assert!(key.allows_model("mock/a") && key.allows_model("groq/x/y"));
        assert!(!key.allows_model("mock/ab") && !key.allows_model("groq"));
        assert!(super::ApiKey::build("k", v1::ApiKey { key_hash: vec![1], ..v1::ApiKey::default() }).is_err());
    }
}
