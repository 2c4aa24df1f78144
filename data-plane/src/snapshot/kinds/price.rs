//! Which models the operator has a price for. What they cost is the ledger's business.

use std::sync::Arc;

use omniroute_proto::{Kind, v1::resource::Body};

use super::{ConfigKind, Draft, mismatched};

#[derive(Debug)]
pub(super) struct Prices;

// === impl Prices ===

impl ConfigKind for Prices {
    fn kind(&self) -> Kind {
        Kind::Price
    }

    fn may_refuse(&self) -> bool {
        false
    }

    fn take(&mut self, id: &str, body: Body, draft: &mut Draft) -> Result<(), String> {
        let Body::Price(_) = body else { return Err(mismatched()) };
        draft.index.priced.insert(Arc::from(id));
        Ok(())
    }

    fn remove(&mut self, id: &str, draft: &mut Draft) {
        draft.index.priced.remove(id);
    }
}
