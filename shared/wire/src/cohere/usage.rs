//! Usage in Cohere's accounting: `tokens` is what the model saw, `billed_units` what is paid for.

use crate::{object::wire_object, usage::Usage};

wire_object! {
    pub(super) struct UsageField<'a> {
        billed: Counts<'a> = lenient "billed_units",
        tokens: Counts<'a> = lenient "tokens",
        cached: f64 = lenient "cached_tokens",
    }
}

wire_object! {
    pub(super) struct Counts<'a> {
        input: f64 = lenient "input_tokens",
        output: f64 = lenient "output_tokens",
        image: f64 = lenient "image_tokens",
    }
}

// === impl UsageField ===

impl UsageField<'_> {
    /// What is billed where it is known, else what was counted. Cached tokens are a part of the input.
    pub(super) fn disjoint(&self) -> Usage {
        let billed = self.billed.as_ref();
        let tokens = self.tokens.as_ref();
        let input = billed.and_then(|own| own.input).or(tokens.and_then(|own| own.input)).map(count);
        let image = billed.and_then(|own| own.image).map_or(0, count);
        let output = billed.and_then(|own| own.output).or(tokens.and_then(|own| own.output)).map(count);
        let mut usage = Usage { output, ..Usage::default() };
        if let Some(input) = input {
            let cached = self.cached.map(|cached| count(cached).min(input));
            usage.cache_read = cached;
            usage.input = Some((input - cached.unwrap_or(0)).saturating_add(image));
        } else if image > 0 {
            usage.input = Some(image);
        }
        usage
    }
}

/// Counts come as `18.0`. The cast cuts what is negative or no number to 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is wanted")]
fn count(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(json: &str) -> Usage {
        serde_json::from_str::<UsageField<'_>>(json).expect("usage").disjoint()
    }

    #[test]
    fn what_is_billed_wins_over_what_was_counted() {
        let both = usage(
            r#"{"billed_units":{"input_tokens":18.0,"output_tokens":6.0},"tokens":{"input_tokens":1661.0,"output_tokens":19}}"#,
        );
        assert_eq!((both.input, both.output, both.cache_read), (Some(18), Some(6), None));
        let counted = usage(r#"{"tokens":{"input_tokens":100,"output_tokens":7},"cached_tokens":40}"#);
        assert_eq!((counted.input, counted.cache_read, counted.output), (Some(60), Some(40), Some(7)));
        assert!(usage("{}").is_unknown(), "absent is unknown, not 0");
    }

    #[test]
    fn senseless_counts_never_panic() {
        let odd = usage(r#"{"billed_units":{"input_tokens":-5,"output_tokens":1e300},"cached_tokens":1e30}"#);
        assert_eq!((odd.input, odd.cache_read, odd.output), (Some(0), Some(0), Some(u64::MAX)));
    }
}
