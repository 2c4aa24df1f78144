//! Where the configuration stands: its revision and the digests of what it holds.

use std::sync::Arc;

use imbl::HashMap;
use omniroute_proto::{DigestSet, Kind, v1};

/// A revision, and the digests of every resource at that revision. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) digests: Arc<DigestSet>,
    /// Revision and contents of each resource, as they went into the digests. Shared between heads.
    versions: HashMap<(Kind, String), (u64, u64)>,
}

// === impl Head ===

impl Head {
    pub(super) fn at(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// Takes a version of a resource, in place of the one that it replaces.
    pub(super) fn put(&mut self, kind: Kind, resource: &v1::Resource) {
        let version = (resource.revision, resource.content);
        let replaced = self.versions.insert((kind, resource.id.clone()), version);
        let digests = Arc::make_mut(&mut self.digests);
        if let Some((revision, content)) = replaced {
            digests.remove(kind, &resource.id, revision, content);
        }
        digests.add(kind, &resource.id, resource.revision, resource.content);
    }

    pub(super) fn remove(&mut self, kind: Kind, id: &str) {
        if let Some((revision, content)) = self.versions.remove(&(kind, id.to_owned())) {
            Arc::make_mut(&mut self.digests).remove(kind, id, revision, content);
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.revision == other.revision && self.digests.matches(&other.digests.to_proto())
    }
}
