//! Clients' keys.

use std::sync::Arc;

use omniroute_proto::{Kind, v1::resource::Body};

use super::{ConfigKind, SnapshotBuilder, mismatched};
use crate::snapshot::api_key::ApiKey;

#[derive(Debug)]
pub(super) struct ApiKeys;

// === impl ApiKeys ===

impl ConfigKind for ApiKeys {
    fn kind(&self) -> Kind {
        Kind::ApiKey
    }

    fn take(&mut self, id: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String> {
        let Body::ApiKey(message) = body else { return Err(mismatched()) };
        let key = Arc::new(ApiKey::build(id, message)?);
        if let Some(other) = builder.snapshot.hashes.get(&key.hash)
            && other.id != key.id
        {
            return Err(format!("its hash is that of key {}", other.id));
        }
        self.remove(id, builder);
        let snapshot = &mut builder.snapshot;
        if let Some((previous, _)) = key.previous
            && !snapshot.hashes.contains_key(&previous)
        {
            snapshot.hashes.insert(previous, Arc::clone(&key));
        }
        snapshot.hashes.insert(key.hash, Arc::clone(&key));
        snapshot.keys.insert(key.id.clone(), key);
        Ok(())
    }

    fn remove(&mut self, id: &str, builder: &mut SnapshotBuilder) {
        let snapshot = &mut builder.snapshot;
        if let Some(key) = snapshot.keys.remove(id) {
            snapshot.hashes.remove(&key.hash);
            if let Some((previous, _)) = key.previous
                && snapshot.hashes.get(&previous).is_some_and(|holder| holder.id == key.id)
            {
                snapshot.hashes.remove(&previous);
            }
        }
    }
}
