//! Waits between attempts to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Exponential, with full jitter: a fleet that lost its control plane does not come back in one wave.
#[derive(Debug)]
pub struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub const fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// A session has worked: the next failure begins from the start.
    pub const fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(rand::random::<f64>());
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        wait
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_ceiling_and_start_over() {
        let mut backoff = Backoff::new();
        assert!(backoff.next_wait() <= FIRST);
        for _ in 0..20 {
            assert!(backoff.next_wait() <= LONGEST);
        }
        assert_eq!(backoff.ceiling, LONGEST);
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
