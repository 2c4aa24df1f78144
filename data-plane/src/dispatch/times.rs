//! The time limits of one attempt: the connection's own, else the fleet's, else this process's.

use std::time::Duration;

use omniroute_providers::Timeouts;

/// What is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) idle: Duration,
    pub(crate) total: Duration,
}

// === impl Times ===

impl Times {
    /// What `overrides` says, and these where it says nothing.
    #[must_use]
    pub(crate) fn overridden(self, overrides: &Timeouts) -> Self {
        Self {
            connect: overrides.connect.unwrap_or(self.connect),
            first_byte: overrides.first_byte.unwrap_or(self.first_byte),
            idle: overrides.idle.unwrap_or(self.idle),
            total: overrides.total.unwrap_or(self.total),
        }
    }

    /// With at least so long for the first byte.
    #[must_use]
    pub(crate) fn patient(self, first_byte: Duration) -> Self {
        Self { first_byte: self.first_byte.max(first_byte), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_wins_field_by_field() {
        let second = Duration::from_secs;
        let process = Times { connect: second(5), first_byte: second(120), idle: second(300), total: second(3600) };
        let fleet = Timeouts { connect: Some(second(3)), first_byte: Some(second(60)), ..Timeouts::default() };
        let own = Timeouts { first_byte: Some(second(600)), ..Timeouts::default() };
        assert_eq!(
            process.overridden(&fleet).overridden(&own),
            Times { connect: second(3), first_byte: second(600), idle: second(300), total: second(3600) }
        );
        let first_byte = |floor| process.overridden(&fleet).patient(second(floor)).first_byte;
        assert_eq!((first_byte(600), first_byte(0)), (second(600), second(60)));
    }
}
