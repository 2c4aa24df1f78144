//! How long to wait before Redis is tried again.

use std::time::Duration;

use rand::RngExt as _;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from 100 ms to 5 s. The wait is drawn from the upper half, so that a fleet does not return in step.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

// === impl Backoff ===

impl Backoff {
    pub(super) fn new() -> Self {
        Self(SHORTEST)
    }

    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.0;
        self.0 = (ceiling * 2).min(LONGEST);
        ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::new();
        let mut ceiling = SHORTEST;
        for _ in 0..10 {
            let wait = backoff.next();
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
            ceiling = (ceiling * 2).min(LONGEST);
        }
        assert_eq!(ceiling, LONGEST);
        backoff.reset();
        assert!(backoff.next() <= SHORTEST);
    }
}
