//! Where the configuration stands: its revision and the digests of what it holds.

use std::sync::Arc;

use omniroute_proto::DigestSet;

/// A revision and the digests of every resource at that revision.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) digests: Arc<DigestSet>,
}

// === impl Head ===

impl Head {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.revision == other.revision && self.digests.matches(&other.digests.to_proto())
    }
}
