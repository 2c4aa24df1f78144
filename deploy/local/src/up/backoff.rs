//! How long to wait before a process that died is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process that ran this long was well; its next death counts as the first.
const WELL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Backoff(Duration);

// === impl Backoff ===

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// The wait after a run of this length.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= WELL {
            self.0 = FIRST;
        }
        let wait = self.0;
        self.0 = (self.0 * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_begin_anew_after_half_a_minute() {
        let mut backoff = Backoff::new();
        let brief = Duration::from_secs(1);
        let waits: Vec<u128> = (0..9).map(|_| backoff.after(brief).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after(WELL).as_millis(), 100);
        assert_eq!(backoff.after(brief).as_millis(), 200);
    }
}
