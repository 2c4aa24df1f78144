//! The digest by which both sides notice that they hold different configurations.

use std::collections::BTreeMap;

use crate::{Kind, v1};

/// Hash of one version of one resource. FNV-1a over the id, then a finaliser over the revision: both sides must
/// compute the same number in every build, which rules out the hashers of the standard library.
pub fn resource_digest(id: &str, revision: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.bytes().chain(revision.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// Digests of every kind. Adding and removing are inverse and free of order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestSet(BTreeMap<Kind, Fold>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fold {
    versions: u64,
    count: u64,
    contents: u64,
    /// Resources whose sender did not say what they contain.
    unknown: u64,
}

impl DigestSet {
    /// `content` is [`v1::Resource::content`].
    pub fn add(&mut self, kind: Kind, id: &str, revision: u64, content: u64) {
        let fold = self.0.entry(kind).or_default();
        fold.versions = fold.versions.wrapping_add(resource_digest(id, revision));
        fold.contents = fold.contents.wrapping_add(content);
        fold.count += 1;
        fold.unknown += u64::from(content == 0);
    }

    pub fn remove(&mut self, kind: Kind, id: &str, revision: u64, content: u64) {
        let fold = self.0.entry(kind).or_default();
        fold.versions = fold.versions.wrapping_sub(resource_digest(id, revision));
        fold.contents = fold.contents.wrapping_sub(content);
        fold.count = fold.count.saturating_sub(1);
        fold.unknown = fold.unknown.saturating_sub(u64::from(content == 0));
    }

    /// Every kind that this build knows, those of which nothing is held too: what is not in the list is not known.
    pub fn to_proto(&self) -> Vec<v1::Digest> {
        Kind::ALL
            .into_iter()
            .map(|kind| {
                let fold = self.of(kind);
                let Fold { versions: value, count, .. } = fold;
                v1::Digest { kind: kind.as_str().to_owned(), value, count, content: fold.known_contents() }
            })
            .collect()
    }

    /// Whether the peer holds the same, judged by the kinds that both sides know, and by their contents where both
    /// sides know them.
    pub fn matches(&self, peer: &[v1::Digest]) -> bool {
        peer.iter().all(|theirs| {
            let Some(kind) = Kind::from_name(&theirs.kind) else { return true };
            let ours = self.of(kind);
            let same_contents = match (ours.known_contents(), theirs.content) {
                (Some(ours), Some(theirs)) => ours == theirs,
                _ => true,
            };
            (ours.versions, ours.count) == (theirs.value, theirs.count) && same_contents
        })
    }

    fn of(&self, kind: Kind) -> Fold {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}

impl Fold {
    fn known_contents(self) -> Option<u64> {
        (self.unknown == 0).then_some(self.contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_removal_undoes_addition() {
        let mut one = DigestSet::default();
        one.add(Kind::ApiKey, "a", 1, 5);
        one.add(Kind::ApiKey, "b", 2, 5);
        let mut two = DigestSet::default();
        two.add(Kind::ApiKey, "b", 2, 5);
        two.add(Kind::ApiKey, "c", 9, 5);
        two.add(Kind::ApiKey, "a", 1, 5);
        assert!(!one.matches(&two.to_proto()));
        two.remove(Kind::ApiKey, "c", 9, 5);
        assert!(one.matches(&two.to_proto()));
    }

    #[test]
    fn kinds_that_only_one_side_knows_are_not_compared() {
        let mut held = DigestSet::default();
        held.add(Kind::ApiKey, "a", 1, 5);
        held.add(Kind::Model, "m", 2, 5);
        let mut peer = held.to_proto();
        // A newer peer has a kind that this build does not know.
        peer.push(v1::Digest { kind: "combo".to_owned(), value: 7, count: 1, content: Some(3) });
        assert!(held.matches(&peer));
        // An older one does not know models and says nothing of them.
        peer.retain(|digest| digest.kind != "model");
        assert!(held.matches(&peer));
        // One that knows them and holds none does differ.
        let mut none = held.clone();
        none.remove(Kind::Model, "m", 2, 5);
        assert!(!held.matches(&none.to_proto()) && !none.matches(&held.to_proto()));
    }

    #[test]
    fn a_newer_revision_of_the_same_resource_differs() {
        assert_ne!(resource_digest("a", 1), resource_digest("a", 2));
        assert_ne!(resource_digest("a", 1), resource_digest("b", 1));
    }

    #[test]
    fn other_contents_under_the_same_revision_differ_where_both_sides_know_them() {
        let holding = |content| {
            let mut set = DigestSet::default();
            set.add(Kind::Connection, "c", 7, content);
            set
        };
        assert!(holding(11).matches(&holding(11).to_proto()));
        assert!(!holding(11).matches(&holding(12).to_proto()) && !holding(12).matches(&holding(11).to_proto()));
        // A peer of an earlier version does not say what it holds.
        assert!(holding(11).matches(&holding(0).to_proto()) && holding(0).matches(&holding(11).to_proto()));
        let mut replaced = holding(0);
        replaced.remove(Kind::Connection, "c", 7, 0);
        replaced.add(Kind::Connection, "c", 7, 11);
        assert!(!replaced.matches(&holding(12).to_proto()), "once it is known, it counts");
    }
}
