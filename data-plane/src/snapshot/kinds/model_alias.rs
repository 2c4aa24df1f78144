//! Other names for models.

use std::sync::Arc;

use omniroute_proto::{Kind, v1::resource::Body};

use super::{ConfigKind, Draft, mismatched};

#[derive(Debug)]
pub(super) struct ModelAliases;

// === impl ModelAliases ===

impl ConfigKind for ModelAliases {
    fn kind(&self) -> Kind {
        Kind::ModelAlias
    }

    fn take(&mut self, id: &str, body: Body, draft: &mut Draft) -> Result<(), String> {
        let Body::ModelAlias(message) = body else { return Err(mismatched()) };
        if message.model.is_empty() {
            return Err("it names no model".to_owned());
        }
        draft.index.aliases.insert(id.to_owned(), Arc::from(message.model));
        Ok(())
    }

    fn remove(&mut self, id: &str, draft: &mut Draft) {
        draft.index.aliases.remove(id);
    }
}
