//! When a key expires, as people write it.

use omniroute_core::{
    settings::{SettingValue as _, Span},
    time::UnixMillis,
};

use crate::failure::{Exit, Failure};

const HINT: &str = "write a span from now such as 30d or 12h, a day such as 2030-01-31, or a time such as \
                    2030-01-31T12:00:00Z";

/// A time, the beginning of a day (UTC), or a span from now; in the future.
pub(super) fn moment(text: &str, now: UnixMillis) -> Result<UnixMillis, Failure> {
    let text = text.trim();
    let wrong = |why: &str| Failure::new(Exit::Usage, format!("--expires {text}: {why}"));
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        return Err(wrong(&format!("{text} of what? {HINT}")));
    }
    let span = Span::parse(text).ok().map(|Span(span)| now.saturating_add(span));
    let time = || UnixMillis::parse(text).or_else(|| UnixMillis::parse(&format!("{text}T00:00:00Z")));
    match span.or_else(time) {
        Some(at) if at > now && !at.to_rfc3339().is_empty() => Ok(at),
        Some(_) => Err(wrong("that is no time in the future")),
        None => Err(wrong(HINT)),
    }
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
}
