//! An event as it came, checked and cleaned. What can never be stored is refused, so that a proxy does not send it for
//! ever; whatever can be stored is, for each is somebody's bill.

use bytes::Bytes;
use omniroute_core::{id::EventId, time::UnixMillis};
use omniroute_proto::v1;

use super::{DAY_MS, day_of, pricing::Charge};
use crate::store::clean;

/// Tokens of one class beyond which a number is no count but a fault of the upstream.
const MAX_TOKENS: u64 = 1 << 40;

/// Microseconds beyond which a duration is a fault of a clock: twelve days.
const MAX_DURATION_US: u64 = 1 << 40;

/// How far ahead of this process a proxy's clock may be without anybody looking at it: what the planes allow each other.
const AHEAD_MS: u64 = 10 * 60 * 1000;

/// 2025-01-01: no event is older than the product. A clock that says so has started from nothing.
const EARLIEST: UnixMillis = UnixMillis(1_735_689_600_000);

/// An event that can be stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) id: EventId,
    pub(super) at: UnixMillis,
    /// The proxy's clock was wrong: `at` is when the event arrived.
    pub(super) redated: bool,
    /// The day it is stored under: the id's, and so part of the identity, by which the same event always meets itself. Of an
    /// id from before [`EARLIEST`] the day of its arrival; such a one is looked for before it is stored.
    pub(super) day: i64,
    pub(super) request_id: String,
    pub(super) api_key_id: String,
    pub(super) connection_id: String,
    pub(super) provider: String,
    pub(super) requested_model: String,
    pub(super) model: String,
    pub(super) operation: String,
    pub(super) stream: bool,
    /// As sent: a newer proxy may know outcomes that this build does not.
    pub(super) outcome: i32,
    pub(super) status: u32,
    pub(super) error_code: String,
    pub(super) usage: v1::Usage,
    pub(super) estimated: bool,
    pub(super) duration_us: u64,
    pub(super) first_byte_us: u64,
    pub(super) attempts: u32,
    pub(super) finish_reason: String,
    /// Empty, as the formats, where the proxy did not say.
    pub(super) path: String,
    pub(super) source_format: String,
    pub(super) target_format: String,
    /// As the provider calls it; empty for the usual one.
    pub(super) service_tier: String,
}

/// An event that can never be stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    /// As it came.
    pub(super) id: Bytes,
    pub(super) request_id: String,
    pub(super) reason: &'static str,
}

// === impl Event ===

impl Event {
    /// Checks an event. `oldest_day` is the first day that is kept.
    ///
    /// # Errors
    /// With the reason for which it can never be stored.
    pub(super) fn check(event: v1::UsageEvent, now: UnixMillis, oldest_day: i64) -> Result<Self, Refused> {
        let refused = |event: v1::UsageEvent, reason| Refused { id: event.id, request_id: event.request_id, reason };
        let Some(id) = EventId::from_bytes(&event.id) else { return Err(refused(event, "the id is no UUIDv7")) };
        let made = UnixMillis(id.unix_ms());
        let (is_behind, is_ahead) = (is_timeless(id), made.0 > now.0.saturating_add(AHEAD_MS));
        let day = if is_behind { day_of(now) } else { day_of(made) };
        if day < oldest_day {
            // It may have been counted before its day was forgotten.
            return Err(refused(event, "older than the ledger keeps events"));
        }
        let redated = is_behind || is_ahead;
        let (usage, implausible) = plausible(event.usage.unwrap_or_default());
        let is_near = event.at_ms.abs_diff(made.0) <= DAY_MS;
        Ok(Self {
            id,
            at: if redated {
                now
            } else if is_near {
                UnixMillis(event.at_ms)
            } else {
                made
            },
            redated,
            day,
            request_id: clean(event.request_id),
            api_key_id: clean(event.api_key_id),
            connection_id: clean(event.connection_id),
            provider: clean(event.provider),
            requested_model: clean(event.requested_model),
            model: clean(event.model),
            operation: clean(event.operation),
            stream: event.stream,
            outcome: event.outcome,
            status: event.status,
            error_code: clean(event.error_code),
            usage,
            estimated: event.estimated || implausible,
            duration_us: event.duration_us.min(MAX_DURATION_US),
            first_byte_us: event.first_byte_us.min(MAX_DURATION_US),
            attempts: event.attempts,
            finish_reason: clean(event.finish_reason),
            path: clean(event.path),
            source_format: clean(event.source_format),
            target_format: clean(event.target_format),
            service_tier: clean(event.service_tier),
        })
    }

    /// For the price.
    pub(super) fn charge(&self) -> Charge<'_> {
        Charge {
            provider: &self.provider,
            model: &self.model,
            connection: &self.connection_id,
            at: self.at,
            service_tier: &self.service_tier,
            usage: &self.usage,
        }
    }
}

/// Whether an id says nothing of when it was made: the proxy's clock had not been set.
pub(super) fn is_timeless(id: EventId) -> bool {
    id.unix_ms() < EARLIEST.0
}

/// Drops counts that cannot be, as unknown.
fn plausible(mut usage: v1::Usage) -> (v1::Usage, bool) {
    let mut implausible = false;
    for class in [
        &mut usage.input,
        &mut usage.cache_read,
        &mut usage.cache_write_5m,
        &mut usage.cache_write_1h,
        &mut usage.output,
        &mut usage.reasoning,
        &mut usage.audio_in,
        &mut usage.audio_out,
    ] {
        if class.is_some_and(|tokens| tokens > MAX_TOKENS) {
            *class = None;
            implausible = true;
        }
    }
    (usage, implausible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> UnixMillis {
        UnixMillis(EventId::generate().unix_ms())
    }

    fn event() -> v1::UsageEvent {
        let id = EventId::generate();
        v1::UsageEvent { id: id.as_bytes().to_vec().into(), at_ms: id.unix_ms(), ..Default::default() }
    }

    #[test]
    fn what_can_never_be_stored_is_refused_with_a_reason() {
        let today = day_of(now());
        let malformed = v1::UsageEvent { id: vec![1, 2, 3].into(), ..event() };
        let reason = |event, oldest_day| Event::check(event, now(), oldest_day).map_err(|refused| refused.reason);
        assert_eq!(reason(malformed, 0), Err("the id is no UUIDv7"));
        assert_eq!(reason(event(), today + 1), Err("older than the ledger keeps events"));
        assert!(reason(event(), today).is_ok());
    }

    #[test]
    fn an_impossible_count_is_unknown_and_marked_as_estimated() {
        let usage = v1::Usage { input: Some(u64::MAX), output: Some(7), ..Default::default() };
        let checked = Event::check(v1::UsageEvent { usage: Some(usage), ..event() }, now(), 0).expect("stored");
        assert_eq!((checked.usage.input, checked.usage.output, checked.estimated), (None, Some(7), true));
    }

    #[test]
    fn a_time_far_from_the_ids_is_replaced_by_it() {
        let odd = v1::UsageEvent { at_ms: 0, ..event() };
        let checked = Event::check(odd, now(), 0).expect("stored");
        assert_eq!(checked.at.0, checked.id.unix_ms());
    }
}
