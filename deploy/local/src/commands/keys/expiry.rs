//! When a key expires, as people write it.

use omniroute_core::{
    settings::{SettingValue as _, Span},
    time::UnixMillis,
};

use crate::failure::{Exit, Failure};

const HINT: &str = "write a span from now such as 30d or 12h, a day such as 2030-01-31, or a time such as \
                    2030-01-31T12:00:00Z";

const TOO_FAR: &str = "lies too far in the future: 9999-12-30 is the last day that can be written. A key that is given no end \
                       has none";

/// A time, the beginning of a day (UTC), or a span from now; in the future.
pub(super) fn moment(text: &str, now: UnixMillis) -> Result<UnixMillis, Failure> {
    let text = text.trim();
    let wrong = |why: &str| Failure::new(Exit::Usage, format!("--expires {text}: {why}"));
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        return Err(wrong(&format!("{text} of what? {HINT}")));
    }
    let span = Span::parse(text).ok().map(|Span(span)| now.saturating_add(span));
    if span.is_none() && is_huge(text) {
        return Err(wrong(TOO_FAR));
    }
    let time = || UnixMillis::parse(text).or_else(|| UnixMillis::parse(&format!("{text}T00:00:00Z")));
    match span.or_else(time) {
        Some(at) if at.to_rfc3339().is_empty() => Err(wrong(TOO_FAR)),
        Some(at) if at > now => Ok(at),
        Some(_) => Err(wrong("that is no time in the future")),
        None => Err(wrong(HINT)),
    }
}

/// Whether a text is a span but for its number, which no span can hold.
fn is_huge(text: &str) -> bool {
    let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
    unit.len() < text.len() && Span::parse(&format!("1{unit}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn an_expiry_is_a_time_a_day_or_a_span_from_now() {
        let hour = 60 * 60 * 1000;
        assert_eq!(moment("30d", NOW).expect("a span").0, NOW.0 + 30 * 24 * hour);
        assert_eq!(moment("12h", NOW).expect("a span").0, NOW.0 + 12 * hour);
        let at = |text| moment(text, NOW).expect("a time").to_rfc3339();
        assert_eq!(at("2030-01-31T00:00:00Z"), "2030-01-31T00:00:00.000Z");
        assert_eq!(at("2030-01-31"), "2030-01-31T00:00:00.000Z");
    }

    #[test]
    fn a_bare_number_the_past_and_nonsense_are_refused() {
        for text in ["30", "1970", "0s", "2020-01-31", "2020-01-31T00:00:00Z", "soon", "", "-5d", "9999999999999d"] {
            let refused = moment(text, NOW).expect_err(text);
            assert_eq!(refused.exit(), Exit::Usage, "{text}");
        }
        assert!(moment("30", NOW).expect_err("a number").to_string().contains("30d"));
    }

    #[test]
    fn what_lies_too_far_in_the_future_is_called_so() {
        for text in ["9999999d", "99999999999999999999d", "99999999999999999999999 days", "18446744073709551615s"] {
            let refused = moment(text, NOW).expect_err(text).to_string();
            assert!(refused.contains("too far in the future") && refused.contains("9999-12-30"), "{refused}");
        }
        for text in ["99999999999999999999 parsecs", "-5d", "0s"] {
            assert!(!moment(text, NOW).expect_err(text).to_string().contains("too far"), "{text}");
        }
        assert!(moment("9999-12-30", NOW).is_ok());
    }
}
