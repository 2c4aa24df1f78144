//! What failures do to a connection: how long it is left alone.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use omniroute_core::id::ConnectionId;
use omniroute_providers::{Failure, FailureClass};
use parking_lot::Mutex;

use crate::{server::Gateway, snapshot::ConnectionEntry};

/// A rate limit without a reset: this long, doubled with each that follows, so many times.
const RATE_LIMIT_BASE: Duration = Duration::from_secs(3);
const RATE_LIMIT_DOUBLINGS: u32 = 4;
/// A connection that fails twice in a row is passed over this long.
const UNSTABLE: Duration = Duration::from_secs(5);
const UNSTABLE_AFTER: u32 = 2;
/// Connections whose failures are remembered; more than any fleet has failing at once.
const MAX_REMEMBERED: usize = 16 * 1024;

/// Reason of a cooldown that only says "rather another one": where there is no other, the connection is used.
pub(super) const UNSTABLE_REASON: &str = "unstable";

/// Of a failure's words so much is kept with its cooldown, which every proxy reads.
const MOST_WORDS: usize = 160;
/// Between a cooldown's reason and the words of the failure.
const WORDS: &str = ": ";

/// Failures in a row, by connection.
#[derive(Debug, Default)]
pub(crate) struct Streaks {
    /// How many connections are in `failed`; lets a success cost one read while nothing fails.
    failing: AtomicUsize,
    failed: Mutex<HashMap<ConnectionId, u32>>,
}

// === impl Streaks ===

impl Streaks {
    /// Ends the streak of a connection.
    pub(crate) fn succeeded(&self, id: &ConnectionId) {
        if self.failing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut failed = self.failed.lock();
        failed.remove(id);
        self.failing.store(failed.len(), Ordering::Relaxed);
    }

    /// Counts a failure and says how long the connection is to be left alone, and why.
    fn failed(&self, id: &ConnectionId, failure: &Failure) -> Option<(Duration, &'static str)> {
        if !is_the_connections(failure.class) {
            return None;
        }
        let streak = self.count(id);
        match failure.class {
            FailureClass::RateLimited if failure.retry_after.is_none() => {
                let doublings = (streak - 1).min(RATE_LIMIT_DOUBLINGS);
                Some((RATE_LIMIT_BASE * 2_u32.pow(doublings), "rate_limited"))
            }
            _ => failure.cooldown().or((streak >= UNSTABLE_AFTER).then_some((UNSTABLE, UNSTABLE_REASON))),
        }
    }

    fn count(&self, id: &ConnectionId) -> u32 {
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_REMEMBERED && !failed.contains_key(id) {
            failed.clear();
        }
        let streak = failed.entry(id.clone()).or_insert(0);
        *streak = streak.saturating_add(1);
        let streak = *streak;
        self.failing.store(failed.len(), Ordering::Relaxed);
        streak
    }
}

/// Lets a connection that failed cool down where the failure says so.
pub(crate) async fn note(gateway: &Gateway, entry: &Arc<ConnectionEntry>, failure: &Failure) {
    let current = gateway.snapshot.load().connection(entry.id.as_str()).map(Arc::clone);
    if current.is_some_and(|current| !Arc::ptr_eq(&current, entry)) {
        // It was edited meanwhile: what failed is not what the next request uses.
        return;
    }
    if let Some((span, reason)) = gateway.streaks.failed(&entry.id, failure) {
        let until = gateway.clock.now().saturating_add(span);
        let words = failure.client_message(entry.upstream.hidden());
        gateway.coordination.cool(entry.id.as_str(), until, &with_words(reason, &words)).await;
    }
}

/// A reason with the beginning of what was said, on one line. A connection that is merely unstable is used where there is
/// no other: nobody is told why it is left alone.
fn with_words(reason: &str, words: &str) -> String {
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST_WORDS).collect();
    if words.is_empty() || reason == UNSTABLE_REASON { reason.to_owned() } else { format!("{reason}{WORDS}{words}") }
}

/// The reverse of [`with_words`].
pub(super) fn reason_and_words(reason: &str) -> (&str, Option<&str>) {
    reason.split_once(WORDS).map_or((reason, None), |(reason, words)| (reason, Some(words)))
}

/// Whether a failure says something about the connection, rather than about the request.
const fn is_the_connections(class: FailureClass) -> bool {
    !matches!(class, FailureClass::Client | FailureClass::ContextTooLong | FailureClass::ModelUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass) -> Failure {
        Failure::without_answer(class, "x")
    }

    #[test]
    fn a_rate_limit_without_a_reset_backs_off_and_a_success_forgets_it() {
        let (streaks, id) = (Streaks::default(), ConnectionId::from("c"));
        let seconds = || {
            let (wait, reason) = streaks.failed(&id, &failure(FailureClass::RateLimited)).expect("a cooldown");
            assert_eq!(reason, "rate_limited");
            wait.as_secs()
        };
        assert_eq!([seconds(), seconds(), seconds(), seconds(), seconds(), seconds()], [3, 6, 12, 24, 48, 48]);
        streaks.succeeded(&id);
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
        let (streaks, id) = (Streaks::default(), ConnectionId::from("c"));
        assert_eq!(streaks.failed(&id, &failure(FailureClass::Server)), None);
        assert_eq!(streaks.failed(&id, &failure(FailureClass::Connect)), Some((UNSTABLE, UNSTABLE_REASON)));
        streaks.succeeded(&id);
        assert_eq!(streaks.failed(&id, &failure(FailureClass::Server)), None);
    }

    #[test]
    fn what_the_upstream_asks_for_counts_and_the_clients_faults_do_not() {
        let (streaks, id) = (Streaks::default(), ConnectionId::from("c"));
        let mut asked = failure(FailureClass::RateLimited);
        asked.retry_after = Some(Duration::from_secs(77));
        assert_eq!(streaks.failed(&id, &asked), Some((Duration::from_secs(77), "rate_limited")));
        for class in [FailureClass::Client, FailureClass::ContextTooLong, FailureClass::ModelUnknown] {
            assert_eq!(streaks.failed(&id, &failure(class)), None);
        }
    }
}
