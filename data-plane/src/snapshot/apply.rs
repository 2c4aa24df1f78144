//! An update → the next snapshot. The cost is in proportion to the update.
//!
//! What becomes of each kind of resource is the affair of [`kinds`]. Resources are taken in the order of [`Kind::ALL`], so a
//! connection may arrive before its node in the same update. A resource
//! that cannot be used is rejected by name; its previous version stays in force and everything else is applied. Its revision
//! counts as received all the same: what the digest compares is what arrived, and a rejection must not ask for the same
//! resource for ever. It is kept and tried again with every update: what stood in its way may lie in another resource.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use metrics::counter;
use omniroute_core::id::ConnectionId;
use omniroute_proto::{DigestSet, Kind, PROTOCOL_MINOR, v1};
use omniroute_telemetry::names;

use super::{
    Snapshot,
    kinds::{self, ConfigKind, SnapshotBuilder},
};

/// Rejections that are reported at most.
const MAX_REJECTIONS: usize = 200;

/// What arrived between a `Begin` and its `End`.
#[derive(Clone, Debug, Default)]
pub struct Update {
    pub revision: u64,
    /// What is held and not named is gone.
    pub full: bool,
    pub resources: Vec<v1::Resource>,
}

/// What became of it.
#[derive(Debug)]
pub struct Applied {
    pub snapshot: Arc<Snapshot>,
    /// All that are rejected now, those of earlier updates included.
    pub rejections: Vec<v1::Rejection>,
    /// Connections that were known before and may now succeed where they failed: what was held against them is void.
    pub repaired: Vec<ConnectionId>,
}

/// Builds one snapshot after another.
#[derive(Debug)]
pub struct Applier {
    kinds: Vec<Box<dyn ConfigKind>>,
    builder: SnapshotBuilder,
    /// Everything that arrived, with its revision and the hash of its contents.
    received: HashMap<(Kind, String), (u64, u64)>,
    digests: DigestSet,
    /// What could not be taken, and why.
    held_back: BTreeMap<(Kind, String), (v1::Resource, String)>,
}

// === impl Applier ===

impl Applier {
    /// Digest of what has arrived, rejected resources included.
    pub fn digests(&self) -> &DigestSet {
        &self.digests
    }

    pub fn revision(&self) -> u64 {
        self.builder.snapshot.revision
    }

    /// Builds the next snapshot.
    pub fn apply(&mut self, update: Update) -> Applied {
        let before = self.rejections();
        if update.full {
            self.remove_unnamed(&update.resources);
        }
        self.take_all(update.resources);
        // What was held back may be possible by now.
        self.take_all(self.held_back.values().map(|(resource, _)| resource.clone()).collect());
        for kind in &mut self.kinds {
            kind.join(&mut self.builder);
        }
        self.builder.snapshot.revision = update.revision;
        let rejections = self.rejections();
        for rejection in rejections.iter().filter(|rejection| !before.contains(rejection)) {
            let v1::Rejection { kind, id, reason } = rejection;
            tracing::warn!(kind, id, %reason, "resource rejected");
            counter!(names::SNAPSHOT_REJECTIONS, "kind" => kind.clone()).increment(1);
        }
        let repaired = std::mem::take(&mut self.builder.repaired);
        let repaired = repaired.iter().map(|id| id.as_str().into()).collect();
        Applied { snapshot: Arc::new(self.builder.snapshot.clone()), rejections, repaired }
    }

    /// What is rejected now, at most [`MAX_REJECTIONS`].
    fn rejections(&self) -> Vec<v1::Rejection> {
        let held_back = self.held_back.iter().map(|((kind, id), (_, reason))| (*kind, id.as_str(), reason.as_str()));
        let unusable = self.kinds.iter().flat_map(|kind| {
            let named = kind.kind();
            kind.unusable().into_iter().map(move |(id, reason)| (named, id, reason))
        });
        held_back
            .chain(unusable)
            .take(MAX_REJECTIONS)
            .map(|(kind, id, reason)| v1::Rejection {
                kind: kind.as_str().to_owned(),
                id: id.to_owned(),
                reason: reason.to_owned(),
            })
            .collect()
    }

    /// Takes resources, kind after kind.
    fn take_all(&mut self, resources: Vec<v1::Resource>) {
        let mut by_kind: HashMap<Kind, Vec<v1::Resource>> = HashMap::new();
        for resource in resources {
            match Kind::of(&resource) {
                Some(kind) => by_kind.entry(kind).or_default().push(resource),
                None => counter!(names::SNAPSHOT_UNKNOWN).increment(1),
            }
        }
        for at in 0..self.kinds.len() {
            let Some(resources) = by_kind.remove(&self.kinds[at].kind()) else { continue };
            let ids: Vec<String> = resources.iter().map(|resource| resource.id.clone()).collect();
            self.kinds[at].begin(&ids, &mut self.builder);
            for resource in resources {
                self.take(at, resource);
            }
            self.kinds[at].end(&ids, &mut self.builder);
        }
    }

    fn remove_unnamed(&mut self, resources: &[v1::Resource]) {
        let named: HashSet<(Kind, &str)> = resources
            .iter()
            .filter(|resource| !resource.deleted)
            .filter_map(|resource| Some((Kind::of(resource)?, resource.id.as_str())))
            .collect();
        let gone: Vec<(Kind, String)> =
            self.received.keys().filter(|(kind, id)| !named.contains(&(*kind, id.as_str()))).cloned().collect();
        for (kind, id) in gone {
            if let Some(at) = self.kinds.iter().position(|known| known.kind() == kind) {
                self.remove(at, &id);
            }
        }
    }

    /// `at`: which of the kinds it is.
    fn take(&mut self, at: usize, mut resource: v1::Resource) {
        if resource.deleted {
            self.remove(at, &resource.id);
            return;
        }
        let kind = &mut self.kinds[at];
        let place = (kind.kind(), resource.id.clone());
        let received = (resource.revision, resource.content);
        if let Some((revision, content)) = self.received.insert(place.clone(), received) {
            self.digests.remove(place.0, &place.1, revision, content);
        }
        self.digests.add(place.0, &place.1, resource.revision, resource.content);
        let min_version = resource.min_version;
        let is_newer = min_version > PROTOCOL_MINOR;
        // Whatever can be refused is kept until that is known.
        let body = if kind.may_refuse() || is_newer { resource.body.clone() } else { resource.body.take() };
        let taken = match body {
            _ if is_newer => Err(format!("it needs protocol {min_version}, this proxy speaks {PROTOCOL_MINOR}")),
            Some(body) => kind.take(&place.1, body, &mut self.builder),
            None => Err("it has no body".to_owned()),
        };
        match taken {
            Ok(()) => drop(self.held_back.remove(&place)),
            Err(reason) => drop(self.held_back.insert(place, (resource, reason))),
        }
    }

    fn remove(&mut self, at: usize, id: &str) {
        let kind = &mut self.kinds[at];
        let place = (kind.kind(), id.to_owned());
        if let Some((revision, content)) = self.received.remove(&place) {
            self.digests.remove(place.0, id, revision, content);
        }
        self.held_back.remove(&place);
        kind.remove(id, &mut self.builder);
    }
}

impl Default for Applier {
    fn default() -> Self {
        Self {
            kinds: kinds::all(),
            builder: SnapshotBuilder::default(),
            received: HashMap::new(),
            digests: DigestSet::default(),
            held_back: BTreeMap::new(),
        }
    }
}
