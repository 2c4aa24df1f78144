//! Which models the operator has a price for. What they cost is the ledger's business.

use std::sync::Arc;

use omniroute_proto::{Kind, v1::resource::Body};

use super::{ConfigKind, SnapshotBuilder, mismatched};

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

    fn take(&mut self, id: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String> {
        let Body::Price(_) = body else { return Err(mismatched()) };
        builder.snapshot.priced.insert(Arc::from(id));
        Ok(())
    }

    fn remove(&mut self, id: &str, builder: &mut SnapshotBuilder) {
        builder.snapshot.priced.remove(id);
    }
}
