//! What is decided about API keys.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use omniroute_core::{
    hash::KeyHash,
    time::{Clock, UnixMillis},
};
use rand::distr::{Alphanumeric, SampleString as _};
use zeroize::Zeroizing;

use super::{
    record::{KeyDraft, KeyPatch, KeyRecord, RotatedSecret},
    rows::{self, Keys},
};
use crate::{
    auth::{AuthError, KeyIdentity, Scopes, scope},
    http::{ApiError, Edit, merged},
    store::{
        Store, StoreError, Write,
        records::{Actor, Object},
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
pub struct IssuedKey {
    pub record: KeyRecord,
    pub secret: Zeroizing<String>,
}

/// Who knows connections and models answers this.
#[async_trait]
pub trait KnownTargets: Send + Sync + 'static {
    /// Whether there is a connection with this id, as the transaction sees it.
    ///
    /// # Errors
    /// When the database fails.
    async fn has_connection(&self, write: &mut Write, id: &str) -> Result<bool, StoreError>;

    /// Of patterns of a key, those that no model matches which is known now.
    ///
    /// # Errors
    /// When the database fails.
    async fn unmatched_models(&self, patterns: &[String]) -> Result<Vec<String>, StoreError>;
}

/// Clients' API keys.
pub struct ApiKeys {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub targets: Arc<dyn KnownTargets>,
}

// === impl ApiKeys ===

impl ApiKeys {
    /// A page, oldest first, and how many there are in all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn page(&self, limit: u32, offset: u64) -> Result<(Vec<KeyRecord>, u64), ApiError> {
        Ok(Keys::of(&self.store).page(limit, offset).await?)
    }

    /// # Errors
    /// 404.
    pub async fn get(&self, id: &str) -> Result<KeyRecord, ApiError> {
        Ok(Keys::of(&self.store).get(id).await?)
    }

    /// What counts of the key with this hash where somebody shows it to manage the gateway.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn identity(&self, hash: &KeyHash) -> Result<Option<KeyIdentity>, StoreError> {
        let key = Keys::of(&self.store).by_hash(hash).await?;
        Ok(key.map(|key| KeyIdentity {
            is_active: key.is_active && key.revoked_at.is_none(),
            id: key.id,
            expires_at: key.expires_at,
            scopes: key.scopes,
        }))
    }

    /// Tells this deployment from others.
    pub fn deployment_id(&self) -> String {
        self.store.deployment_id()
    }

    /// `granted`: the scopes of whoever makes it, who cannot give more than they have.
    ///
    /// # Errors
    /// 400 for a field, 403 for a scope.
    pub async fn create(&self, actor: &Actor, granted: &Scopes, new: NewKey) -> Result<IssuedKey, ApiError> {
        check_scopes(&new.scopes, &[])?;
        check_grant(granted, &new.scopes, &[])?;
        self.check_expiry(new.expires_at)?;
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
        self.check_connections(&mut write, &draft.allowed_connections).await?;
        let record = rows::create(&mut write, draft).await?;
        write.commit().await?;
        Ok(IssuedKey { record, secret })
    }

    /// `granted`: as in [`Self::create`].
    ///
    /// # Errors
    /// 404, 400 for a field, 403 for a scope.
    pub async fn update(
        &self,
        actor: &Actor,
        granted: &Scopes,
        id: &str,
        change: KeyChange,
    ) -> Result<KeyRecord, ApiError> {
        // Read where it is written: nobody else changes the key between what is judged here and what is done.
        let mut write = self.store.write(actor).await?;
        let held = rows::read(&mut write, id).await?;
        check_reach(granted, &held)?;
        // Clients send back what they were shown: what the key has already is no mistake of theirs.
        let scopes = change.scopes.as_deref().unwrap_or_default();
        check_scopes(scopes, &held.scopes)?;
        check_grant(granted, scopes, &held.scopes)?;
        self.check_expiry(change.expires_at.clone().set().filter(|at| Some(*at) != held.expires_at))?;
        let extras = (!change.extras.is_empty()).then(|| merged(held.extras, change.extras));
        let patch = KeyPatch {
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
        if let Some(connections) = &patch.allowed_connections {
            self.check_connections(&mut write, connections).await?;
        }
        let record = rows::update(&mut write, id, patch).await?;
        write.commit().await?;
        Ok(record)
    }

    /// Gives a key a new secret. The old one works on for `grace`, everywhere; without one it stops working. Whoever gets
    /// the new secret can do what the key can, so they must be allowed that already.
    ///
    /// # Errors
    /// 404, 403 for a key that may more than `granted`.
    pub async fn rotate(
        &self,
        actor: &Actor,
        granted: &Scopes,
        id: &str,
        grace: Option<Duration>,
    ) -> Result<IssuedKey, ApiError> {
        let secret = generate();
        let mut write = self.store.write(actor).await?;
        check_reach(granted, &rows::read(&mut write, id).await?)?;
        let patch = KeyPatch {
            secret: Some(RotatedSecret::new(&secret, &*write.pepper().await?)),
            overlap_until: grace.map(|grace| self.clock.now().saturating_add(grace)),
            ..KeyPatch::default()
        };
        let record = rows::update(&mut write, id, patch).await?;
        write.commit().await?;
        Ok(IssuedKey { record, secret })
    }

    /// `granted`: as in [`Self::create`].
    ///
    /// # Errors
    /// 404, 403 for a key that may more than `granted`.
    pub async fn delete(&self, actor: &Actor, granted: &Scopes, id: &str) -> Result<(), ApiError> {
        let mut write = self.store.write(actor).await?;
        check_reach(granted, &rows::read(&mut write, id).await?)?;
        rows::delete(&mut write, id).await?;
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
        Ok(self.targets.unmatched_models(patterns).await?)
    }

    /// A key that may use only connections that do not exist may use nothing: better said now. In the transaction: one
    /// that is being deleted takes its id out of the lists that it finds.
    async fn check_connections(&self, write: &mut Write, ids: &[String]) -> Result<(), ApiError> {
        for (index, id) in ids.iter().enumerate() {
            if !self.targets.has_connection(write, id).await? {
                let field = format!("allowedConnections.{index}");
                return Err(ApiError::invalid_field(field, "no connection has this id"));
            }
        }
        Ok(())
    }
}

/// A scope that nothing asks for gives no right, and is a slip of the pen. `held`: scopes that the key has already.
fn check_scopes(scopes: &[String], held: &[String]) -> Result<(), ApiError> {
    let is_known = |scope: &String| scope::is_known(scope) || held.contains(scope);
    match scopes.iter().position(|scope| !is_known(scope)) {
        Some(index) => Err(ApiError::invalid_field(
            format!("scopes.{index}"),
            format!(
                "`{}` is no scope; there are: {} (the use of this API), and `<area>:read` and `<area>:write` for one area \
                 of it: {}",
                scopes[index],
                scope::EVERYTHING.join(", "),
                scope::AREAS.join(", ")
            ),
        )),
        None => Ok(()),
    }
}

/// Nobody changes, ends or renews a key that may more than they: else whoever may make keys could shut the administrators out,
/// or bring back what an administrator has ended. What gives no right is no more than they have.
fn check_reach(granted: &Scopes, key: &KeyRecord) -> Result<(), AuthError> {
    let mut rights = key.scopes.iter().filter(|scope| scope::is_known(scope));
    match rights.find(|scope| !granted.cover(scope)) {
        Some(scope) => Err(AuthError::MissingScope(scope.clone())),
        None => Ok(()),
    }
}

/// Nobody gives a key more than they have, but for what it has already.
fn check_grant(granted: &Scopes, scopes: &[String], held: &[String]) -> Result<(), AuthError> {
    match scopes.iter().find(|scope| !granted.cover(scope) && !held.contains(scope)) {
        Some(scope) => Err(AuthError::MissingScope(scope.clone())),
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
