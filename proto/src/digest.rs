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
pub struct DigestSet(BTreeMap<Kind, (u64, u64)>);

impl DigestSet {
    pub fn add(&mut self, kind: Kind, id: &str, revision: u64) {
        let (sum, count) = self.0.entry(kind).or_default();
        *sum = sum.wrapping_add(resource_digest(id, revision));
        *count += 1;
    }

    pub fn remove(&mut self, kind: Kind, id: &str, revision: u64) {
        let (sum, count) = self.0.entry(kind).or_default();
        *sum = sum.wrapping_sub(resource_digest(id, revision));
        *count = count.saturating_sub(1);
    }

    /// Every kind that this build knows, those of which nothing is held too: what is not in the list is not known.
    pub fn to_proto(&self) -> Vec<v1::Digest> {
        Kind::ALL
            .into_iter()
            .map(|kind| {
                let (value, count) = self.of(kind);
                v1::Digest { kind: kind.as_str().to_owned(), value, count }
            })
            .collect()
    }

    /// Whether the peer holds the same, judged by the kinds that both sides know.
    pub fn matches(&self, peer: &[v1::Digest]) -> bool {
        peer.iter().all(|theirs| {
            Kind::from_name(&theirs.kind).is_none_or(|kind| self.of(kind) == (theirs.value, theirs.count))
        })
    }

    fn of(&self, kind: Kind) -> (u64, u64) {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_removal_undoes_addition() {
        let mut one = DigestSet::default();
        one.add(Kind::ApiKey, "a", 1);
        one.add(Kind::ApiKey, "b", 2);
        let mut two = DigestSet::default();
        two.add(Kind::ApiKey, "b", 2);
        two.add(Kind::ApiKey, "c", 9);
        two.add(Kind::ApiKey, "a", 1);
        assert!(!one.matches(&two.to_proto()));
        two.remove(Kind::ApiKey, "c", 9);
        assert!(one.matches(&two.to_proto()));
    }

    #[test]
    fn kinds_that_only_one_side_knows_are_not_compared() {
        let mut held = DigestSet::default();
        held.add(Kind::ApiKey, "a", 1);
        held.add(Kind::Model, "m", 2);
        let mut peer = held.to_proto();
        // A newer peer has a kind that this build does not know.
        peer.push(v1::Digest { kind: "combo".to_owned(), value: 7, count: 1 });
        assert!(held.matches(&peer));
        // An older one does not know models and says nothing of them.
        peer.retain(|digest| digest.kind != "model");
        assert!(held.matches(&peer));
        // One that knows them and holds none does differ.
        let mut none = held.clone();
        none.remove(Kind::Model, "m", 2);
        assert!(!held.matches(&none.to_proto()) && !none.matches(&held.to_proto()));
    }

    #[test]
    fn a_newer_revision_of_the_same_resource_differs() {
        assert_ne!(resource_digest("a", 1), resource_digest("a", 2));
        assert_ne!(resource_digest("a", 1), resource_digest("b", 1));
    }
}
