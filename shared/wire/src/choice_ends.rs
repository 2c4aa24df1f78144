//! Which choices of a stream have said why they ended, where more than one was asked for.

use std::collections::BTreeMap;

/// Choices that are followed at most. No host gives as many.
const MOST: u32 = 1024;

/// One choice, as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) index: u32,
    /// The event says why it ended.
    pub(crate) has_ended: bool,
}

/// Follows the choices of one stream.
#[derive(Debug)]
pub(crate) struct ChoiceEnds {
    asked: usize,
    ended: BTreeMap<u32, bool>,
}

// === impl ChoiceEnds ===

impl ChoiceEnds {
    /// `None` where one choice was asked for: then there is nothing to tell apart.
    pub(crate) fn of(asked: u64) -> Option<Self> {
        let asked = asked.min(MOST.into());
        (asked > 1).then(|| Self { asked: usize::try_from(asked).unwrap_or(usize::MAX), ended: BTreeMap::new() })
    }

    /// Takes the choices of an event. `says`: something is said in it, by those that do not end.
    pub(crate) fn see(&mut self, told: impl IntoIterator<Item = Told>, says: bool) {
        for Told { index, has_ended } in told.into_iter().filter(|told| told.index < MOST) {
            let ended = self.ended.entry(index).or_default();
            *ended = has_ended || (*ended && !says);
        }
    }

    /// Whether all that have begun have ended; `None` where none has begun.
    pub(crate) fn all_begun(&self) -> Option<bool> {
        (!self.ended.is_empty()).then(|| self.ended.values().all(|ended| *ended))
    }

    /// Whether all that were asked for have ended.
    pub(crate) fn all_asked(&self) -> bool {
        self.ended.len() >= self.asked && self.all_begun() == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_ended_once_each_has_said_so_and_nothing_more() {
        let told = |index, has_ended| Told { index, has_ended };
        assert!(ChoiceEnds::of(0).is_none() && ChoiceEnds::of(1).is_none());
        let mut ends = ChoiceEnds::of(2).expect("several");
        let state = |ends: &ChoiceEnds| (ends.all_begun() == Some(true), ends.all_asked());
        assert_eq!(state(&ends), (false, false));
        ends.see([told(0, true)], true);
        assert_eq!(state(&ends), (true, false), "the second one may yet begin");
        ends.see([told(1, false)], true);
        assert_eq!(state(&ends), (false, false), "the second one is cut");
        ends.see([told(1, true)], false);
        assert_eq!(state(&ends), (true, true));
        ends.see([told(0, false)], false);
        assert_eq!(state(&ends), (true, true), "an empty piece says nothing");
        ends.see([told(0, false), told(1, false), told(u32::MAX, false)], true);
        assert_eq!(state(&ends), (false, false));
    }
}
