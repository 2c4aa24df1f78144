//! When a whole answer is left though its stream goes on.
//!
//! Some hosts leave out the terminator, and of those some do not close the stream either: they keep it open, in silence or with
//! comments. Their answer is whole once it has told why it ended and nothing is said any more. Nobody waits long for the rest
//! then. A host that gives a reason in every piece of its answer shows that by going on; its reasons and counts bind nobody.

use std::time::Duration;

use tokio::time::Instant;

/// For the terminator of an answer that has told why it ended and what it cost.
const TERMINATOR_LIMIT: Duration = Duration::from_secs(10);
/// For the count of one that has told why it ended.
const USAGE_LIMIT: Duration = Duration::from_secs(60);

/// An answer that is whole, if nothing more is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FinishState {
    /// It has told what it cost.
    pub(crate) is_counted: bool,
    /// How much has been said. What says nothing (comments, empty pieces) does not change it.
    pub(crate) said: u64,
}

/// How long one answer is waited for.
#[derive(Debug, Default)]
pub(crate) struct TerminatorTimeout {
    /// The answer as it was last seen, and since when it has been so.
    seen: Option<(FinishState, Instant)>,
    /// It was whole and counted once, and more was said.
    spoke_on: bool,
}

// === impl TerminatorTimeout ===

impl TerminatorTimeout {
    /// Takes note of where the answer stands, now that more of it is waited for; `None`: it is not whole.
    pub(crate) fn see(&mut self, finish_state: Option<FinishState>, now: Instant) {
        let before = self.seen.map(|(before, _)| before);
        if finish_state == before {
            return;
        }
        let said = finish_state.map(|finish_state| finish_state.said);
        self.spoke_on |= before.is_some_and(|before| before.is_counted && said != Some(before.said));
        self.seen = finish_state.map(|finish_state| (finish_state, now));
    }

    /// When the answer is taken for whole, unless more is said. Never later than silence of `idle` would end it.
    pub(crate) fn limit(&self, idle: Duration) -> Option<Instant> {
        let (finish_state, since) = self.seen?;
        let patience = match finish_state.is_counted {
            _ if self.spoke_on => idle,
            true => TERMINATOR_LIMIT,
            false => USAGE_LIMIT,
        };
        Some(since + patience.min(idle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(300);
    const SECOND: Duration = Duration::from_secs(1);

    fn finish_state(is_counted: bool, said: u64) -> Option<FinishState> {
        Some(FinishState { is_counted, said })
    }

    #[test]
    fn an_answer_that_is_not_whole_is_waited_for() {
        let mut terminator = TerminatorTimeout::default();
        terminator.see(None, Instant::now());
        assert_eq!(terminator.limit(IDLE), None);
    }

    #[test]
    fn what_says_nothing_makes_the_wait_no_longer() {
        let (mut terminator, start) = (TerminatorTimeout::default(), Instant::now());
        terminator.see(finish_state(false, 5), start);
        assert_eq!(terminator.limit(IDLE), Some(start + USAGE_LIMIT));
        terminator.see(finish_state(true, 5), start + SECOND);
        terminator.see(finish_state(true, 5), start + SECOND * 9);
        assert_eq!(terminator.limit(IDLE), Some(start + SECOND + TERMINATOR_LIMIT));
        assert_eq!(terminator.limit(SECOND), Some(start + SECOND * 2), "nor than silence would be borne");
    }

    #[test]
    fn a_host_that_goes_on_after_its_reason_and_its_count_is_not_hurried() {
        for between in [finish_state(true, 6), None] {
            let (mut terminator, start) = (TerminatorTimeout::default(), Instant::now());
            terminator.see(finish_state(true, 5), start);
            terminator.see(between, start + SECOND);
            terminator.see(finish_state(true, 7), start + SECOND * 2);
            assert_eq!(terminator.limit(IDLE), Some(start + SECOND * 2 + IDLE));
        }
    }

    #[test]
    fn of_several_answers_in_one_stream_the_first_reason_is_no_sign_of_the_end() {
        let (mut terminator, start) = (TerminatorTimeout::default(), Instant::now());
        terminator.see(finish_state(false, 5), start);
        terminator.see(None, start + SECOND);
        assert_eq!(terminator.limit(IDLE), None);
        terminator.see(finish_state(true, 9), start + SECOND * 2);
        assert_eq!(terminator.limit(IDLE), Some(start + SECOND * 2 + TERMINATOR_LIMIT));
    }
}
