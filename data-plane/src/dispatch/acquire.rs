//! The next target with a place free.

use std::{pin::pin, sync::Arc, time::Duration};

use omniroute_core::{
    error::{ErrorClass, GatewayError},
    time::UnixMillis,
};
use tokio::time::Instant;

use super::{Dispatcher, target_order::Targets};
use crate::{
    health::{ConcurrencyPermit, UNSTABLE_REASON, reason_and_words},
    request::Target,
};

/// A request never waits longer than this for a connection to become usable.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

const LEFT_ALONE: &str = "every connection to this provider is left alone at the moment";
const CREDENTIAL_REFUSED: &str = "the provider refused the gateway's credential";

/// A target and a place at its connection.
pub(super) struct Acquired<'p> {
    /// Its place in the order.
    pub(super) index: usize,
    pub(super) target: Target<'p>,
    pub(super) permit: ConcurrencyPermit,
}

/// What one look at the targets found.
pub(super) enum Acquisition<'p> {
    Acquired(Acquired<'p>),
    /// Every target is to be left alone; the first until then.
    Cooling {
        until: UnixMillis,
        reason: Arc<str>,
    },
    /// Those that could be used have all the requests they may have.
    Busy,
    /// Everything has been tried.
    Exhausted,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// Takes a place at the first target, in order, that was not tried, is not cooling and has one free. Where all others
    /// are out, one that is merely unstable will do.
    pub(super) fn try_acquire<'p>(&self, targets: &Targets<'p>, tried: &[usize]) -> Acquisition<'p> {
        let mut busy = false;
        let mut unstable: Option<(UnixMillis, usize, Target<'p>)> = None;
        let mut cooling: Option<(UnixMillis, Arc<str>)> = None;
        let mut acquire = |index, target: Target<'p>| match self.health.acquire(target.entry) {
            Some(permit) => Some(Acquisition::Acquired(Acquired { index, target, permit })),
            None => {
                busy = true;
                None
            }
        };
        for (index, target) in targets.iter().enumerate() {
            if tried.contains(&index) {
                continue;
            }
            if let Some(cooldown) = self.health.cooling(&target.entry.id) {
                if &*cooldown.reason == UNSTABLE_REASON {
                    if unstable.is_none_or(|(until, ..)| cooldown.until < until) {
                        unstable = Some((cooldown.until, index, target));
                    }
                } else if cooling.as_ref().is_none_or(|(until, _)| cooldown.until < *until) {
                    cooling = Some((cooldown.until, cooldown.reason));
                }
                continue;
            }
            if let Some(acquired) = acquire(index, target) {
                return acquired;
            }
        }
        if let Some((_, index, target)) = unstable
            && let Some(acquired) = acquire(index, target)
        {
            return acquired;
        }
        match cooling {
            _ if busy => Acquisition::Busy,
            Some((until, reason)) => Acquisition::Cooling { until, reason },
            None => Acquisition::Exhausted,
        }
    }

    /// Waits, though not for long, until one of the targets that were not tried can be used.
    pub(super) async fn acquire<'p>(
        &self,
        targets: &Targets<'p>,
        tried: &[usize],
    ) -> Result<Acquired<'p>, GatewayError> {
        let give_up = Instant::now() + LONGEST_WAIT;
        loop {
            // Listens before it looks, so that no place can become free unnoticed in between.
            let mut released = pin!(self.health.released());
            released.as_mut().enable();
            let found = self.try_acquire(targets, tried);
            let now = self.clock.now();
            let in_time = match &found {
                Acquisition::Acquired(_) => true,
                Acquisition::Cooling { until, .. } => {
                    let wake = Instant::now() + until.saturating_since(now);
                    let in_time = wake <= give_up;
                    if in_time {
                        tokio::time::sleep_until(wake).await;
                    }
                    in_time
                }
                Acquisition::Busy => tokio::time::timeout_at(give_up, released).await.is_ok(),
                Acquisition::Exhausted => false,
            };
            if !in_time {
                return Err(none_usable(&found, now));
            }
            if let Acquisition::Acquired(acquired) = found {
                return Ok(acquired);
            }
        }
    }
}

/// What a client is told when no connection can be used and waiting is no way.
fn none_usable(found: &Acquisition<'_>, now: UnixMillis) -> GatewayError {
    match found {
        Acquisition::Cooling { until, reason } => {
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
        Acquisition::Busy | Acquisition::Acquired(_) | Acquisition::Exhausted => GatewayError::new(
            ErrorClass::Overloaded,
            "connections_busy",
            "every connection to this provider has all the requests it may have",
        )
        .with_retry_after(Duration::from_secs(1)),
    }
}
