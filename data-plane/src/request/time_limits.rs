//! The time limits of one attempt: what the request asks for, else the connection's own, else the fleet's, else this
//! process's.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use omniroute_core::error::GatewayError;
use omniroute_providers::Timeouts;

/// Seconds, with a fraction if need be, that the client gives its request.
const X_OMNIROUTE_TIMEOUT: HeaderName = HeaderName::from_static("x-omniroute-timeout");

/// What is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    /// Until the first byte of a model that thinks.
    pub(crate) thinking: Duration,
    pub(crate) idle: Duration,
    pub(crate) total: Duration,
}

// === impl TimeLimits ===

impl TimeLimits {
    /// What `overrides` says, and these where it says nothing. A time until the first byte that somebody has set holds for
    /// models that think too.
    #[must_use]
    pub(crate) fn overridden(self, overrides: &Timeouts) -> Self {
        Self {
            connect: overrides.connect.unwrap_or(self.connect),
            first_byte: overrides.first_byte.unwrap_or(self.first_byte),
            thinking: overrides.first_byte.unwrap_or(self.thinking),
            idle: overrides.idle.unwrap_or(self.idle),
            total: overrides.total.unwrap_or(self.total),
        }
    }

    /// With at least so long for the first byte.
    #[must_use]
    pub(crate) fn with_first_byte(self, first_byte: Duration) -> Self {
        Self { first_byte: self.first_byte.max(first_byte), thinking: self.thinking.max(first_byte), ..self }
    }

    /// What the client asks for: it may wait less than `total` for the whole answer, and longer for its first byte.
    #[must_use]
    pub(crate) fn within(self, asked: Option<Duration>) -> Self {
        let Some(asked) = asked else { return self };
        let total = self.total.min(asked);
        Self { first_byte: total, thinking: total, total, ..self }
    }
}

/// The time that a client gives its request, if it says so.
///
/// # Errors
/// When that is no number of seconds above zero.
pub(crate) fn requested_timeout(headers: &HeaderMap) -> Result<Option<Duration>, GatewayError> {
    let Some(value) = headers.get(X_OMNIROUTE_TIMEOUT) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match time.filter(|time| !time.is_zero()) {
        Some(time) => Ok(Some(time)),
        None => Err(GatewayError::bad_request(
            "invalid_timeout",
            "`X-OmniRoute-Timeout` must be a number of seconds above zero, such as `30` or `0.5`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PROCESS: TimeLimits = TimeLimits {
        connect: Duration::from_secs(5),
        first_byte: Duration::from_secs(120),
        thinking: Duration::from_secs(600),
        idle: Duration::from_secs(300),
        total: Duration::from_secs(3600),
    };

    #[test]
    fn the_nearest_setting_wins_field_by_field() {
        let fleet = Timeouts { connect: Some(SECOND * 3), first_byte: Some(SECOND * 60), ..Timeouts::default() };
        let own = Timeouts { first_byte: Some(SECOND * 700), ..Timeouts::default() };
        let times = PROCESS.overridden(&fleet).overridden(&own);
        let expected = TimeLimits { connect: SECOND * 3, first_byte: SECOND * 700, thinking: SECOND * 700, ..PROCESS };
        assert_eq!(times, expected);
        assert_eq!(PROCESS.overridden(&Timeouts::default()), PROCESS);
        let first_byte = |floor| PROCESS.overridden(&fleet).with_first_byte(SECOND * floor).first_byte;
        assert_eq!((first_byte(600), first_byte(0)), (SECOND * 600, SECOND * 60));
    }

    #[test]
    fn a_request_may_ask_for_less_than_the_total_and_for_a_later_first_byte() {
        let of = |seconds| PROCESS.within(Some(SECOND * seconds));
        assert_eq!(
            of(30),
            TimeLimits { first_byte: SECOND * 30, thinking: SECOND * 30, total: SECOND * 30, ..PROCESS }
        );
        assert_eq!(of(900).first_byte, SECOND * 900);
        assert_eq!(of(9000), TimeLimits { first_byte: PROCESS.total, thinking: PROCESS.total, ..PROCESS });
        assert_eq!(PROCESS.within(None), PROCESS);
    }

    #[test]
    fn a_time_is_a_number_of_seconds() {
        let of =
            |value| requested_timeout(&HeaderMap::from_iter([(X_OMNIROUTE_TIMEOUT, HeaderValue::from_static(value))]));
        assert_eq!(of("0.5").expect("a time"), Some(SECOND / 2));
        assert_eq!(of(" 30 ").expect("a time"), Some(SECOND * 30));
        for wrong in ["", "0", "-1", "soon", "nan", "inf", "1e300"] {
            assert_eq!(of(wrong).expect_err(wrong).code, "invalid_timeout");
        }
        assert_eq!(requested_timeout(&HeaderMap::new()).expect("no time"), None);
    }
}
