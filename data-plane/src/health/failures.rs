//! Failures in a row: how long a connection is left alone for them, and what is said about it.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use omniroute_core::id::ConnectionId;
use omniroute_providers::{Failure, FailureClass};
use parking_lot::Mutex;

/// A rate limit without a reset: this long, doubled with each that follows, so many times.
const RATE_LIMIT_BASE: Duration = Duration::from_secs(3);
const RATE_LIMIT_DOUBLINGS: u32 = 4;
/// A connection that fails twice in a row is passed over this long.
const UNSTABLE: Duration = Duration::from_secs(5);
const UNSTABLE_AFTER: u32 = 2;
/// Connections whose failures are remembered; more than any fleet has failing at once.
const MAX_REMEMBERED: usize = 16 * 1024;

/// Reason of a cooldown that only says "rather another one": where there is no other, the connection is used.
pub(crate) const UNSTABLE_REASON: &str = "unstable";

/// Of a failure's words so much is kept with its cooldown, which every proxy reads.
const MOST_WORDS: usize = 160;
/// Between a cooldown's reason and the words of the failure.
const WORDS: &str = ": ";

/// Failures in a row, by connection.
#[derive(Debug, Default)]
pub(super) struct ConsecutiveFailures {
    /// How many connections are in `failed`; lets a success cost one read while nothing fails.
    failing: AtomicUsize,
    failed: Mutex<HashMap<ConnectionId, u32>>,
}

// === impl ConsecutiveFailures ===

impl ConsecutiveFailures {
    /// Begins anew with a connection.
    pub(super) fn reset(&self, id: &ConnectionId) {
        if self.failing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut failed = self.failed.lock();
        failed.remove(id);
        self.failing.store(failed.len(), Ordering::Relaxed);
    }

    /// Counts a failure and says how long the connection is to be left alone, and why.
    pub(super) fn count_failure(&self, id: &ConnectionId, failure: &Failure) -> Option<(Duration, &'static str)> {
        if !is_the_connections(failure.class) {
            return None;
        }
        let in_a_row = self.count(id);
        match failure.class {
            FailureClass::RateLimited if failure.retry_after.is_none() => {
                let doublings = (in_a_row - 1).min(RATE_LIMIT_DOUBLINGS);
                Some((RATE_LIMIT_BASE * 2_u32.pow(doublings), "rate_limited"))
            }
            _ => failure.cooldown().or((in_a_row >= UNSTABLE_AFTER).then_some((UNSTABLE, UNSTABLE_REASON))),
        }
    }

    fn count(&self, id: &ConnectionId) -> u32 {
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_REMEMBERED && !failed.contains_key(id) {
            failed.clear();
        }
        let in_a_row = failed.entry(id.clone()).or_insert(0);
        *in_a_row = in_a_row.saturating_add(1);
        let in_a_row = *in_a_row;
        self.failing.store(failed.len(), Ordering::Relaxed);
        in_a_row
    }
}

/// A reason with the beginning of what was said, on one line. A connection that is merely unstable is used where there is
/// no other: nobody is told why it is left alone.
pub(super) fn with_words(reason: &str, words: &str) -> String {
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST_WORDS).collect();
    if words.is_empty() || reason == UNSTABLE_REASON { reason.to_owned() } else { format!("{reason}{WORDS}{words}") }
}

/// The reverse of [`with_words`].
pub(crate) fn reason_and_words(reason: &str) -> (&str, Option<&str>) {
    reason.split_once(WORDS).map_or((reason, None), |(reason, words)| (reason, Some(words)))
}

/// Whether a failure says something about the connection, rather than about the request.
const fn is_the_connections(class: FailureClass) -> bool {
    !matches!(
        class,
        FailureClass::Client | FailureClass::ContentFilter | FailureClass::ContextTooLong | FailureClass::ModelUnknown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass) -> Failure {
        Failure::without_answer(class, "x")
    }

    #[test]
    fn a_rate_limit_without_a_reset_backs_off_and_a_success_forgets_it() {
        let (failures, id) = (ConsecutiveFailures::default(), ConnectionId::from("c"));
        let seconds = || {
            let (wait, reason) = failures.count_failure(&id, &failure(FailureClass::RateLimited)).expect("a cooldown");
            assert_eq!(reason, "rate_limited");
            wait.as_secs()
        };
        assert_eq!([seconds(), seconds(), seconds(), seconds(), seconds(), seconds()], [3, 6, 12, 24, 48, 48]);
        failures.reset(&id);
        assert_eq!(seconds(), 3);
    }

    #[test]
    fn a_reason_carries_the_words_of_the_failure() {
        let long = "slow\n  down ".repeat(100);
        let reason = with_words("rate_limited", &long);
        assert!(reason.len() <= "rate_limited: ".len() + MOST_WORDS && !reason.contains('\n'), "{reason}");
        assert_eq!(
            reason_and_words(&with_words("quota_exhausted", "no: money")),
            ("quota_exhausted", Some("no: money"))
        );
        assert_eq!(with_words("credential_refused", ""), "credential_refused");
        assert_eq!(with_words(UNSTABLE_REASON, "HTTP 500"), UNSTABLE_REASON);
    }

    #[test]
    fn the_second_fault_in_a_row_makes_a_connection_unstable() {
        let (failures, id) = (ConsecutiveFailures::default(), ConnectionId::from("c"));
        assert_eq!(failures.count_failure(&id, &failure(FailureClass::Server)), None);
        assert_eq!(failures.count_failure(&id, &failure(FailureClass::Connect)), Some((UNSTABLE, UNSTABLE_REASON)));
        failures.reset(&id);
        assert_eq!(failures.count_failure(&id, &failure(FailureClass::Server)), None);
    }

    #[test]
    fn what_the_upstream_asks_for_counts_and_the_clients_faults_do_not() {
        let (failures, id) = (ConsecutiveFailures::default(), ConnectionId::from("c"));
        let mut asked = failure(FailureClass::RateLimited);
        asked.retry_after = Some(Duration::from_secs(77));
        assert_eq!(failures.count_failure(&id, &asked), Some((Duration::from_secs(77), "rate_limited")));
        for class in [
            FailureClass::Client,
            FailureClass::ContentFilter,
            FailureClass::ContextTooLong,
            FailureClass::ModelUnknown,
        ] {
            assert_eq!(failures.count_failure(&id, &failure(class)), None);
        }
    }
}
