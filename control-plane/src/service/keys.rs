//! API keys of clients. The key is shown once, when it is made; what is stored is its hash.

use std::{collections::BTreeSet, time::Duration};

use omniroute_core::time::UnixMillis;
use rand::distr::{Alphanumeric, SampleString as _};
use zeroize::Zeroizing;

use super::{
    Services,
    connections::{MERGE_ATTEMPTS, canonical},
    merged,
};
use crate::{
    api::{ApiError, Edit},
    auth::MANAGEMENT_SCOPES,
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
        check_scopes(&new.scopes, &[])?;
        self.check_expiry(new.expires_at)?;
        self.check_connections(&new.allowed_connections).await?;
        let secret = generate();
        let mut write = self.store.write(actor).await?;
        let draft = KeyDraft {
            is_active: new.is_active,
            no_log: new.no_log,
            allowed_models: new.allowed_models,
            allowed_connections: new.allowed_connections,
            scopes: new.scopes,
            expires_at: new.expires_at,
            max_body_bytes: new.max_body_bytes,
            extras: new.extras,
            ..KeyDraft::new(new.name.trim(), &secret, &*write.pepper().await?)
        };
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
        if change.scopes.is_some() || matches!(change.expires_at, Edit::Set(_)) {
            // Clients send back what they were shown: what the key has already is no mistake of theirs.
            let held = self.store.keys().get(id).await?;
            check_scopes(change.scopes.as_deref().unwrap_or_default(), &held.scopes)?;
            self.check_expiry(change.expires_at.clone().set().filter(|at| Some(*at) != held.expires_at))?;
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
        let mut write = self.store.write(actor).await?;
        let patch = KeyPatch {
            secret: Some(RotatedSecret::new(&secret, &*write.pepper().await?)),
            overlap_until: grace.map(|grace| self.clock.now().saturating_add(grace)),
            ..KeyPatch::default()
        };
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

    /// A key that has expired before it was made is a slip of the pen, most often a number of days.
    fn check_expiry(&self, expires_at: Option<UnixMillis>) -> Result<(), ApiError> {
        match expires_at {
            Some(at) if at <= self.clock.now() => Err(ApiError::invalid_field(
                "expiresAt",
                "lies in the past; to end a key now, set `isActive` to false or delete it",
            )),
            _ => Ok(()),
        }
    }

    /// Patterns of a key that no model matches which is known now. That may change: a model need not be listed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unmatched_models(&self, patterns: &[String]) -> Result<Vec<String>, ApiError> {
        if patterns.is_empty() {
            return Ok(Vec::new());
        }
        let nodes = self.store.nodes().list().await?;
        let mut names = BTreeSet::new();
        for model in self.store.models().list().await? {
            let node = nodes.iter().find(|node| node.id.as_str() == model.provider.as_str());
            let prefix = node.map_or(model.provider.as_str(), |node| &node.prefix);
            names.insert(format!("{prefix}/{}", model.model));
            names.insert(model.model);
        }
        let is_known = |pattern: &String| {
            let canonical = match pattern.split_once('/') {
                Some((alias, rest)) => format!("{}/{rest}", canonical(alias)),
                None => pattern.clone(),
            };
            match canonical.strip_suffix('*') {
                Some(start) => names.range(start.to_owned()..).next().is_some_and(|name| name.starts_with(start)),
                None => names.contains(&canonical),
            }
        };
        Ok(patterns.iter().filter(|pattern| !is_known(pattern)).cloned().collect())
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

/// A scope that nothing asks for gives no right, and is a slip of the pen. `held`: scopes that the key has already.
fn check_scopes(scopes: &[String], held: &[String]) -> Result<(), ApiError> {
    let is_known = |scope: &String| MANAGEMENT_SCOPES.contains(&scope.as_str()) || held.contains(scope);
    match scopes.iter().position(|scope| !is_known(scope)) {
        Some(index) => Err(ApiError::invalid_field(
            format!("scopes.{index}"),
            format!("is no scope; there are: {} (the use of this API)", MANAGEMENT_SCOPES.join(", ")),
        )),
        None => Ok(()),
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
