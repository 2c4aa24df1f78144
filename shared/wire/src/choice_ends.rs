//! Which choices of a stream have said why they ended, where it tells more than one.

use std::collections::BTreeMap;

/// Choices that are followed. No host gives as many; of more, the last ones are taken for ended.
const MOST: usize = 1024;

/// One choice, as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) index: u32,
    /// The event says why it ended.
    pub(crate) has_ended: bool,
}

/// Follows the choices from the event on that first tells of a second one.
#[derive(Debug, Default)]
pub(crate) struct ChoiceEnds(BTreeMap<u32, bool>);

// === impl ChoiceEnds ===

impl ChoiceEnds {
    /// The stream turns out to have several: the first one stood like this until now.
    pub(crate) fn after_first(has_ended: bool) -> Self {
        Self([(0, has_ended)].into())
    }

    /// Takes the choices of an event. `says`: something is said in it, by those that do not end.
    pub(crate) fn see(&mut self, told: impl IntoIterator<Item = Told>, says: bool) {
        for Told { index, has_ended } in told {
            if self.0.len() < MOST || self.0.contains_key(&index) {
                let ended = self.0.entry(index).or_default();
                *ended = has_ended || (*ended && !says);
            }
        }
    }

    /// Whether all that have begun have ended, and any has.
    pub(crate) fn all(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|ended| *ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_ended_once_each_has_said_so_and_nothing_more() {
        let told = |index, has_ended| Told { index, has_ended };
        assert!(!ChoiceEnds::default().all());
        let mut ends = ChoiceEnds::after_first(true);
        assert!(ends.all());
        ends.see([told(1, false)], true);
        assert!(!ends.all());
        ends.see([told(0, true)], false);
        assert!(!ends.all(), "the second one is cut");
        ends.see([told(1, true)], false);
        assert!(ends.all());
        ends.see([told(0, false)], false);
        assert!(ends.all(), "an empty piece says nothing");
        ends.see([told(0, false), told(1, false)], true);
        assert!(!ends.all());
    }
}
