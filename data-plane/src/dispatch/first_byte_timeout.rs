//! How long a request waits for its first byte, in one attempt and in all of them.
//!
//! Models that think are waited for longer. Whether this one does is asked only when the time of others is over, which
//! hardly any request lives to see.

use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use omniroute_providers::thinks;
use tokio::time::Instant;

use crate::request::{TimeLimits, Upload};

/// All attempts together have as long as this many of them.
const ATTEMPTS: u32 = 2;
/// Keys by which a request asks for thoughts, in any dialect. In a text the quotes would be escaped.
const KEYS: [&[u8]; 5] =
    [b"\"reasoning_effort\":", b"\"reasoning\":", b"\"thinking\":", b"\"thinkingConfig\":", b"\"think\":"];

/// What is left of it.
pub(super) struct FirstByteTimeout<'a> {
    /// When all attempts are over.
    deadline: Instant,
    /// The deadline is never later.
    latest: Instant,
    model: &'a str,
    body: &'a Bytes,
    /// Once somebody has looked.
    thinks: Option<bool>,
    /// Since when the provider has been waited for in this attempt: since it has all of the request.
    since: Instant,
    /// How much of a large request had gone out when somebody last looked.
    taken: u64,
}

// === impl FirstByteTimeout ===

impl<'a> FirstByteTimeout<'a> {
    /// For a request that came at `started` and is about to be sent, with the limits of its first connection. What it took
    /// to read the request from its client counts for the total only.
    pub(super) fn new(started: Instant, times: &TimeLimits, model: &'a str, body: &'a Bytes) -> Self {
        let (now, latest) = (Instant::now(), started + times.total);
        let deadline = latest.min(now + times.first_byte * ATTEMPTS);
        Self { deadline, latest, model, body, thinks: None, since: now, taken: 0 }
    }

    /// Whether another attempt can be made.
    pub(super) fn is_left(&self) -> bool {
        Instant::now() < self.deadline
    }

    /// When an attempt that begins now ends.
    pub(super) fn until(&mut self, times: &TimeLimits) -> Instant {
        self.since = Instant::now();
        self.taken = 0;
        self.deadline.min(self.since + self.first_byte(times))
    }

    /// When the attempt ends, now that [`Self::until`] is over: later if the model thinks, or if the provider has not had
    /// all of the request for so long.
    pub(super) fn longer(&mut self, times: &TimeLimits, upload: Option<&Upload>) -> Option<Instant> {
        let moved = upload.and_then(|upload| upload.moved(&mut self.taken));
        if let Some(since) = moved.filter(|since| *since > self.since) {
            self.deadline = self.latest.min(self.deadline + (since - self.since));
            self.since = since;
            return Some(self.deadline.min(since + self.first_byte(times)));
        }
        if self.thinks.is_some() || times.thinking <= times.first_byte || !self.thinks() {
            return None;
        }
        self.deadline = self.latest.min(self.deadline + (times.thinking - times.first_byte) * ATTEMPTS);
        Some(self.deadline.min(self.since + times.thinking))
    }

    /// Whether the provider has had as long as `own` gives it, now that the attempt is over.
    pub(super) fn is_over(&mut self, own: &TimeLimits) -> bool {
        let waited = self.since.elapsed();
        waited >= own.first_byte && (own.thinking <= own.first_byte || waited >= own.thinking || !self.thinks())
    }

    fn first_byte(&self, times: &TimeLimits) -> Duration {
        if self.thinks == Some(true) { times.thinking } else { times.first_byte }
    }

    fn thinks(&mut self) -> bool {
        let (model, body) = (self.model, self.body);
        *self.thinks.get_or_insert_with(|| thinks(model) || KEYS.iter().any(|key| memmem::find(body, key).is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMES: TimeLimits = TimeLimits {
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
            let mut timeout = FirstByteTimeout::new(begun, &TIMES, model, body);
            assert_eq!(timeout.until(&TIMES), begun + SECOND * 10);
            tokio::time::advance(SECOND * 10).await;
            let longer = timeout.longer(&TIMES, None);
            assert_eq!(longer, thinks.then_some(begun + SECOND * 50), "{model}");
            assert_eq!(timeout.longer(&TIMES, None), None, "once");
            // The second attempt knows from its start, and ends with the request.
            let second = if thinks { SECOND * 60 } else { SECOND * 20 };
            assert_eq!(timeout.until(&TIMES), begun + second.min(TIMES.total));
            tokio::time::advance(SECOND * 9).await;
            assert!(timeout.is_left());
            tokio::time::advance(SECOND).await;
            assert_eq!(timeout.is_left(), thinks);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_somebody_set_is_the_same_for_all() {
        let body = Bytes::new();
        let set = TimeLimits { thinking: TIMES.first_byte, ..TIMES };
        let mut timeout = FirstByteTimeout::new(Instant::now(), &set, "o3", &body);
        assert_eq!(timeout.longer(&set, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_client_took_to_send_its_request_is_not_the_providers() {
        let body = Bytes::new();
        let started = Instant::now();
        tokio::time::advance(SECOND * 30).await;
        let mut timeout = FirstByteTimeout::new(started, &TIMES, "gpt-4o", &body);
        assert!(timeout.is_left());
        assert_eq!(timeout.until(&TIMES), Instant::now() + SECOND * 10);
        tokio::time::advance(SECOND * 25).await;
        // All of the request together is not longer for it.
        assert_eq!(
            FirstByteTimeout::new(started, &TIMES, "o3", &body).until(&TimeLimits { first_byte: SECOND * 60, ..TIMES }),
            started + TIMES.total
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_is_waited_for_since_it_has_the_request() {
        let (body, upload) = (Bytes::new(), Upload::default());
        let mut timeout = FirstByteTimeout::new(Instant::now(), &TIMES, "gpt-4o", &body);
        timeout.until(&TIMES);
        upload.took(1);
        tokio::time::advance(SECOND * 10).await;
        assert_eq!(timeout.longer(&TIMES, Some(&upload)), Some(Instant::now() + SECOND * 10), "on its way");
        assert!(!timeout.is_over(&TIMES));
        tokio::time::advance(SECOND * 4).await;
        upload.ended();
        tokio::time::advance(SECOND * 6).await;
        assert_eq!(
            timeout.longer(&TIMES, Some(&upload)),
            Some(Instant::now() + SECOND * 4),
            "there since four seconds"
        );
        tokio::time::advance(SECOND * 4).await;
        assert_eq!(timeout.longer(&TIMES, Some(&upload)), None);
        assert!(timeout.is_over(&TIMES));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_takes_nothing_of_the_request_is_at_fault() {
        let (body, upload) = (Bytes::new(), Upload::default());
        let mut timeout = FirstByteTimeout::new(Instant::now(), &TIMES, "gpt-4o", &body);
        timeout.until(&TIMES);
        tokio::time::advance(SECOND * 10).await;
        assert_eq!(timeout.longer(&TIMES, Some(&upload)), None);
        assert!(timeout.is_over(&TIMES));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_wait_as_long_as_a_provider_may_take_says_nothing_of_the_provider() {
        let body = Bytes::new();
        for (model, asked, is_over) in [("gpt-4o", 3, false), ("gpt-4o", 12, true), ("o3", 12, false), ("o3", 50, true)]
        {
            let times = TIMES.within(Some(SECOND * asked));
            let mut timeout = FirstByteTimeout::new(Instant::now(), &times, model, &body);
            let until = timeout.until(&times);
            tokio::time::advance(until - Instant::now()).await;
            assert_eq!(timeout.longer(&times, None), None);
            assert_eq!(timeout.is_over(&TIMES), is_over, "{model} {asked}");
        }
    }
}
