//! How long a request waits for its first byte, in one attempt and in all of them.
//!
//! Models that think are waited for longer. Whether this one does is asked only when the time of others is over, which
//! hardly any request lives to see.

use bytes::Bytes;
use memchr::memmem;
use omniroute_providers::thinks;
use tokio::time::Instant;

use super::times::Times;

/// All attempts together have as long as this many of them.
const ATTEMPTS: u32 = 2;
/// Keys by which a request asks for thoughts, in any dialect. In a text the quotes would be escaped.
const KEYS: [&[u8]; 5] =
    [b"\"reasoning_effort\":", b"\"reasoning\":", b"\"thinking\":", b"\"thinkingConfig\":", b"\"think\":"];

/// What is left of it.
pub(super) struct Patience<'a> {
    started: Instant,
    /// When all attempts are over.
    deadline: Instant,
    model: &'a str,
    body: &'a Bytes,
    /// Once somebody has looked.
    thinks: Option<bool>,
}

// === impl Patience ===

impl<'a> Patience<'a> {
    /// For a request that came at `started`, with the limits of its first connection.
    pub(super) fn new(started: Instant, times: &Times, model: &'a str, body: &'a Bytes) -> Self {
        let deadline = started + times.total.min(times.first_byte * ATTEMPTS);
        Self { started, deadline, model, body, thinks: None }
    }

    /// Whether another attempt can be made.
    pub(super) fn is_left(&self) -> bool {
        Instant::now() < self.deadline
    }

    /// When an attempt that begins now ends.
    pub(super) fn until(&self, times: &Times) -> Instant {
        let first_byte = if self.thinks == Some(true) { times.thinking } else { times.first_byte };
        self.deadline.min(Instant::now() + first_byte)
    }

    /// When an attempt that began at `begun` ends, now that [`Self::until`] is over: later if the model thinks.
    pub(super) fn longer(&mut self, times: &Times, begun: Instant) -> Option<Instant> {
        if self.thinks.is_some() || times.thinking <= times.first_byte {
            return None;
        }
        let thinks = thinks(self.model) || KEYS.iter().any(|key| memmem::find(self.body, key).is_some());
        self.thinks = Some(thinks);
        if !thinks {
            return None;
        }
        self.deadline = self.started + times.total.min(times.thinking * ATTEMPTS);
        Some(self.deadline.min(begun + times.thinking))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMES: Times = Times {
        connect: SECOND,
        first_byte: Duration::from_secs(10),
        thinking: Duration::from_secs(50),
        idle: SECOND,
        total: Duration::from_secs(70),
    };

    #[tokio::test(start_paused = true)]
    async fn a_model_that_thinks_gets_its_time_and_others_do_not() {
        let plain = Bytes::from_static(br#"{"model":"m","messages":[{"content":"\"thinking\": think of it"}]}"#);
        let asking = Bytes::from_static(br#"{"model":"m","thinking":{"type":"enabled"},"messages":[]}"#);
        for (model, body, thinks) in [("gpt-4o", &plain, false), ("o3", &plain, true), ("gpt-4o", &asking, true)] {
            let begun = Instant::now();
            let mut patience = Patience::new(begun, &TIMES, model, body);
            assert_eq!(patience.until(&TIMES), begun + SECOND * 10);
            tokio::time::advance(SECOND * 10).await;
            let longer = patience.longer(&TIMES, begun);
            assert_eq!(longer, thinks.then_some(begun + SECOND * 50), "{model}");
            assert_eq!(patience.longer(&TIMES, begun), None, "once");
            // The second attempt knows from its start, and ends with the request.
            let second = if thinks { SECOND * 60 } else { SECOND * 20 };
            assert_eq!(patience.until(&TIMES), begun + second.min(TIMES.total));
            tokio::time::advance(SECOND * 9).await;
            assert!(patience.is_left());
            tokio::time::advance(SECOND).await;
            assert_eq!(patience.is_left(), thinks);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_somebody_set_is_the_same_for_all() {
        let body = Bytes::new();
        let set = Times { thinking: TIMES.first_byte, ..TIMES };
        let mut patience = Patience::new(Instant::now(), &set, "o3", &body);
        assert_eq!(patience.longer(&set, Instant::now()), None);
    }
}
