//! API keys of clients. The key is shown once, when it is made; what is stored is its hash.

use std::time::Duration;

use omniroute_core::time::UnixMillis;
use rand::distr::{Alphanumeric, SampleString as _};
use zeroize::Zeroizing;

use super::{Services, connections::MERGE_ATTEMPTS, merged};
use crate::{
    api::{ApiError, Edit},
    store::{
        StoreError,
        records::{Actor, KeyDraft, KeyPatch, KeyRecord, Object, RotatedSecret},
    },
};

/// Random characters after `sk-`: 40 of 62 make 238 bits.
const RANDOM_CHARACTERS: usize = 40;

/// What a new key needs.
#[derive(Debug, Default)]
pub struct NewKey {
    pub name: String,
    pub is_active: bool,
    pub no_log: bool,
    pub allowed_models: Vec<String>,
    pub allowed_connections: Vec<String>,
    pub scopes: Vec<String>,
    pub expires_at: Option<UnixMillis>,
    pub max_body_bytes: Option<u64>,
    pub extras: Object,
}

/// An edit of a key.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    pub name: Option<String>,
    pub is_active: Option<bool>,
    pub no_log: Option<bool>,
    pub allowed_models: Option<Vec<String>>,
    pub allowed_connections: Option<Vec<String>>,
    pub scopes: Option<Vec<String>>,
    pub expires_at: Edit<UnixMillis>,
    pub max_body_bytes: Edit<u64>,
    /// Merged into what is kept; `null` removes.
    pub extras: Object,
}

/// A key and its one appearance in the clear.
pub struct SecretKey {
    pub record: KeyRecord,
    pub secret: Zeroizing<String>,
}

// === impl Services ===

impl Services {
    /// # Errors
    /// 400 for a field.
    pub async fn create_key(&self, actor: &Actor, new: NewKey) -> Result<SecretKey, ApiError> {
        self.check_connections(&new.allowed_connections).await?;
        let secret = generate();
        let draft = KeyDraft {
            is_active: new.is_active,
            no_log: new.no_log,
            allowed_models: new.allowed_models,
            allowed_connections: new.allowed_connections,
            scopes: new.scopes,
            expires_at: new.expires_at,
            max_body_bytes: new.max_body_bytes,
            extras: new.extras,
            ..KeyDraft::new(new.name.trim(), &secret, &self.store.pepper())
        };
        let mut write = self.store.write(actor).await?;
        let record = write.create_key(draft).await?;
        write.commit().await?;
        Ok(SecretKey { record, secret })
    }

    /// # Errors
    /// 404, 400 for a field.
    pub async fn update_key(&self, actor: &Actor, id: &str, change: KeyChange) -> Result<KeyRecord, ApiError> {
        if let Some(connections) = &change.allowed_connections {
            self.check_connections(connections).await?;
        }
        let mut attempts = MERGE_ATTEMPTS;
        loop {
            attempts -= 1;
            match self.try_update_key(actor, id, change.clone()).await {
                Err(StoreError::Stale { .. }) if attempts > 0 => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn try_update_key(&self, actor: &Actor, id: &str, change: KeyChange) -> Result<KeyRecord, StoreError> {
        let (extras, expected_revision) = if change.extras.is_empty() {
            (None, None)
        } else {
            let held = self.store.keys().get(id).await?;
            (Some(merged(held.extras, change.extras)), Some(held.revision))
        };
        let patch = KeyPatch {
            expected_revision,
            name: change.name.map(|name| name.trim().to_owned()),
            is_active: change.is_active,
            no_log: change.no_log,
            allowed_models: change.allowed_models,
            allowed_connections: change.allowed_connections,
            scopes: change.scopes,
            expires_at: change.expires_at.into_patch(),
            max_body_bytes: change.max_body_bytes.into_patch(),
            extras,
            ..KeyPatch::default()
        };
        let mut write = self.store.write(actor).await?;
        let record = write.update_key(id, patch).await?;
        write.commit().await?;
        Ok(record)
    }

    /// Gives a key a new secret. The old one works on for `grace`, everywhere; without one it stops working.
    ///
    /// # Errors
    /// 404.
    pub async fn rotate_key(&self, actor: &Actor, id: &str, grace: Option<Duration>) -> Result<SecretKey, ApiError> {
        let secret = generate();
        let patch = KeyPatch {
            secret: Some(RotatedSecret::new(&secret, &self.store.pepper())),
            overlap_until: grace.map(|grace| self.clock.now().saturating_add(grace)),
            ..KeyPatch::default()
        };
        let mut write = self.store.write(actor).await?;
        let record = write.update_key(id, patch).await?;
        write.commit().await?;
        Ok(SecretKey { record, secret })
    }

    /// # Errors
    /// 404.
    pub async fn delete_key(&self, actor: &Actor, id: &str) -> Result<(), ApiError> {
        let mut write = self.store.write(actor).await?;
        write.delete_key(id).await?;
        write.commit().await?;
        Ok(())
    }

    /// A key that may use only connections that do not exist may use nothing: better said now.
    async fn check_connections(&self, ids: &[String]) -> Result<(), ApiError> {
        for (index, id) in ids.iter().enumerate() {
            match self.store.connections().get(id).await {
                Ok(_) => {}
                Err(StoreError::NotFound { .. }) => {
                    let field = format!("allowedConnections.{index}");
                    return Err(ApiError::invalid_field(field, "no connection has this id"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn generate() -> Zeroizing<String> {
    let mut secret = Zeroizing::new(String::with_capacity(3 + RANDOM_CHARACTERS));
    secret.push_str("sk-");
    Alphanumeric.append_string(&mut rand::rng(), &mut secret, RANDOM_CHARACTERS);
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_differ_and_have_no_characters_that_need_quoting() {
        let (one, two) = (generate(), generate());
        assert_ne!(*one, *two);
        assert_eq!(one.len(), 43);
        assert!(one.strip_prefix("sk-").expect("a prefix").chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
