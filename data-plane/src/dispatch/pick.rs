//! Which connection is tried next.

use std::{sync::Arc, time::Duration};

use omniroute_coordination::Coordination;
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    time::UnixMillis,
};

use super::{
    health::{UNSTABLE_REASON, reason_and_words},
    slot::{Freed, Slot},
};
use crate::{admit::session::SessionId, resolve::Plan, snapshot::ConnectionEntry};

/// A request never waits longer than this for a connection to become usable.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const LEFT_ALONE: &str = "every connection to this provider is left alone at the moment";
const CREDENTIAL_REFUSED: &str = "the provider refused the gateway's credential";

/// The order in which connections are tried.
pub(super) enum Order<'p> {
    Plan(&'p Plan),
    /// Among those of one provider and priority, the one that the session is drawn to most goes first.
    Sticky(Vec<&'p Arc<ConnectionEntry>>),
}

/// The outcome of one look at the candidates.
pub(super) enum Pick<'p> {
    Chosen(usize, &'p Arc<ConnectionEntry>, Slot),
    /// Every candidate is to be left alone; the first until then.
    Cooling {
        until: UnixMillis,
        reason: Arc<str>,
    },
    /// Those that could be used have all the requests they may have.
    Busy,
    /// Everything has been tried.
    Exhausted,
}

/// Takes a place at the first connection, in order, that was not tried, is not cooling and has one free. Where all
/// others are out, one that is merely unstable will do.
pub(super) fn pick<'p>(order: &Order<'p>, tried: &[usize], coordination: &dyn Coordination, freed: &Freed) -> Pick<'p> {
    match order {
        Order::Plan(plan) => pick_among(plan.candidates(), tried, coordination, freed),
        Order::Sticky(entries) => pick_among(entries.iter().copied(), tried, coordination, freed),
    }
}

fn pick_among<'p>(
    candidates: impl Iterator<Item = &'p Arc<ConnectionEntry>>,
    tried: &[usize],
    coordination: &dyn Coordination,
    freed: &Freed,
) -> Pick<'p> {
    let mut busy = false;
    let mut unstable: Option<(UnixMillis, usize, &'p Arc<ConnectionEntry>)> = None;
    let mut cooling: Option<(UnixMillis, Arc<str>)> = None;
    for (index, entry) in candidates.enumerate() {
        if tried.contains(&index) {
            continue;
        }
        if let Some(cooldown) = coordination.cooling(entry.id.as_str()) {
            if &*cooldown.reason == UNSTABLE_REASON {
                if unstable.is_none_or(|(until, ..)| cooldown.until < until) {
                    unstable = Some((cooldown.until, index, entry));
                }
            } else if cooling.as_ref().is_none_or(|(until, _)| cooldown.until < *until) {
                cooling = Some((cooldown.until, cooldown.reason));
            }
            continue;
        }
        match take(entry, freed) {
            Some(slot) => return Pick::Chosen(index, entry, slot),
            None => busy = true,
        }
    }
    if let Some((_, index, entry)) = unstable {
        match take(entry, freed) {
            Some(slot) => return Pick::Chosen(index, entry, slot),
            None => busy = true,
        }
    }
    match cooling {
        _ if busy => Pick::Busy,
        Some((until, reason)) => Pick::Cooling { until, reason },
        None => Pick::Exhausted,
    }
}

// === impl Order ===

impl<'p> Order<'p> {
    pub(super) fn of(plan: &'p Plan, session: Option<&SessionId>) -> Self {
        let Some(session) = session else { return Self::Plan(plan) };
        let mut entries: Vec<_> = plan.candidates().collect();
        for equals in
            entries.chunk_by_mut(|one, other| one.provider == other.provider && one.priority == other.priority)
        {
            equals.sort_by_cached_key(|entry| std::cmp::Reverse(session.draw(entry.id.as_str())));
        }
        Self::Sticky(entries)
    }
}

fn take(entry: &ConnectionEntry, freed: &Freed) -> Option<Slot> {
    Slot::take(&entry.in_flight, entry.upstream.max_concurrent(), freed)
}

/// What a client is told when no connection can be used and waiting is no way.
pub(super) fn none_usable(pick: &Pick<'_>, now: UnixMillis) -> GatewayError {
    match pick {
        Pick::Cooling { until, reason } => {
            let wait = until.saturating_since(now);
            let (reason, words) = reason_and_words(reason);
            let (class, message, words) = match reason {
                "rate_limited" => {
                    (ErrorClass::RateLimited, "every connection to this provider has reached its rate limit", words)
                }
                "quota_exhausted" => {
                    (ErrorClass::Payment, "every connection to this provider has used up its quota", words)
                }
                // What is wrong with our credential is the operator's to read, in the connection's state.
                "credential_refused" => (ErrorClass::Overloaded, LEFT_ALONE, Some(CREDENTIAL_REFUSED)),
                _ => (ErrorClass::Overloaded, LEFT_ALONE, words),
            };
            let words = words.map(|words| format!(": {}", words.trim_end_matches('.'))).unwrap_or_default();
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            let message = format!("{message}{words}; the first can be tried again in {seconds} s");
            let error = GatewayError::new(class, "connections_cooling", message).with_retry_after(wait);
            match reason {
                "credential_refused" => error.with_hint("An operator has to check this connection's credential."),
                _ => error,
            }
        }
        Pick::Busy | Pick::Chosen(..) | Pick::Exhausted => GatewayError::new(
            ErrorClass::Overloaded,
            "connections_busy",
            "every connection to this provider has all the requests it may have",
        )
        .with_retry_after(Duration::from_secs(1)),
    }
}
