//! Clients' keys.

use std::sync::Arc;

use omniroute_proto::{Kind, v1::resource::Body};

use super::{ConfigKind, Draft, mismatched};
use crate::snapshot::key::Key;

#[derive(Debug)]
pub(super) struct ApiKeys;

// === impl ApiKeys ===

impl ConfigKind for ApiKeys {
    fn kind(&self) -> Kind {
        Kind::ApiKey
    }

    fn take(&mut self, id: &str, body: Body, draft: &mut Draft) -> Result<(), String> {
        let Body::ApiKey(message) = body else { return Err(mismatched()) };
        let key = Arc::new(Key::build(id, message)?);
        if let Some(other) = draft.index.hashes.get(&key.hash)
            && other.id != key.id
        {
            return Err(format!("its hash is that of key {}", other.id));
        }
        self.remove(id, draft);
        let index = &mut draft.index;
        if let Some((previous, _)) = key.previous
            && !index.hashes.contains_key(&previous)
        {
            index.hashes.insert(previous, Arc::clone(&key));
        }
        index.hashes.insert(key.hash, Arc::clone(&key));
        index.keys.insert(key.id.clone(), key);
        Ok(())
    }

    fn remove(&mut self, id: &str, draft: &mut Draft) {
        let index = &mut draft.index;
        if let Some(key) = index.keys.remove(id) {
            index.hashes.remove(&key.hash);
            if let Some((previous, _)) = key.previous
                && index.hashes.get(&previous).is_some_and(|holder| holder.id == key.id)
            {
                index.hashes.remove(&previous);
            }
        }
    }
}
