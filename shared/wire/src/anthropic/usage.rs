//! Usage in Anthropic's accounting: input excludes what a cache served or took, output includes thinking.

use crate::{
    object::wire_object,
    text::Str,
    usage::{Service, Usage},
    write::Writer,
};

wire_object! {
    pub(super) struct UsageField<'a> {
        input: u64 = lenient "input_tokens",
        output: u64 = lenient "output_tokens",
        cache_read: u64 = lenient "cache_read_input_tokens",
        cache_write: u64 = lenient "cache_creation_input_tokens",
        cache_creation: CacheCreation<'a> = lenient "cache_creation",
        output_details: OutputDetails<'a> = lenient "output_tokens_details",
        service_tier: Str<'a> = lenient "service_tier",
    }
}

wire_object! {
    pub(super) struct CacheCreation<'a> {
        five_minutes: u64 = lenient "ephemeral_5m_input_tokens",
        one_hour: u64 = lenient "ephemeral_1h_input_tokens",
    }
}

wire_object! {
    pub(super) struct OutputDetails<'a> {
        thinking: u64 = lenient "thinking_tokens",
    }
}

// === impl UsageField ===

impl UsageField<'_> {
    /// Puts what this report says over what earlier ones said: counts are cumulative, and a report may leave some out.
    pub(super) fn update(&self, usage: &mut Usage) {
        if let Some(word) = &self.service_tier {
            usage.service = Service::parse(&word.0);
        }
        set(&mut usage.input, self.input);
        set(&mut usage.cache_read, self.cache_read);
        let split = self.cache_creation.as_ref();
        if let Some(split) = split.filter(|split| split.five_minutes.is_some() || split.one_hour.is_some()) {
            set(&mut usage.cache_write_1h, split.one_hour);
            set(&mut usage.cache_write_5m, split.five_minutes);
        }
        if let Some(total) = self.cache_write {
            // The total is what is billed; what the split leaves over counts as the shorter kind.
            let hour = usage.cache_write_1h.map(|hour| hour.min(total));
            usage.cache_write_1h = hour;
            usage.cache_write_5m = Some(total - hour.unwrap_or(0));
        }
        if let Some(total) = self.output {
            let thinking = self.output_details.as_ref().and_then(|details| details.thinking);
            let thinking = thinking.or(usage.reasoning).map(|thinking| thinking.min(total));
            usage.reasoning = thinking;
            usage.output = Some(total - thinking.unwrap_or(0));
        }
    }

    pub(super) fn disjoint(&self) -> Usage {
        let mut usage = Usage::default();
        self.update(&mut usage);
        usage
    }
}

fn set(count: &mut Option<u64>, new: Option<u64>) {
    if new.is_some() {
        *count = new;
    }
}

/// Reads the `usage` object that begins at the start of `json`; what follows it does not matter. `None` when it has no
/// counts that make sense.
pub(super) fn read_usage(json: &[u8]) -> Option<Usage> {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<UsageField<'_>>();
    let usage = values.next()?.ok()?.disjoint();
    (!usage.is_unknown()).then_some(usage)
}

/// Fields of a `usage` object that every report has.
pub(super) fn write_counts(w: &mut Writer<'_>, usage: &Usage) {
    let sum = |counts: [Option<u64>; 2]| counts.iter().flatten().fold(0_u64, |sum, count| sum.saturating_add(*count));
    w.field("input_tokens", &sum([usage.input, usage.audio_in]));
    w.field("cache_creation_input_tokens", &sum([usage.cache_write_5m, usage.cache_write_1h]));
    w.field("cache_read_input_tokens", &usage.cache_read.unwrap_or(0));
    if usage.cache_write_5m.is_some() || usage.cache_write_1h.is_some() {
        w.key("cache_creation").object(|w| {
            w.field("ephemeral_5m_input_tokens", &usage.cache_write_5m.unwrap_or(0));
            w.field("ephemeral_1h_input_tokens", &usage.cache_write_1h.unwrap_or(0));
        });
    }
    w.field("output_tokens", &usage.total_output());
    if let Some(thinking) = usage.reasoning {
        w.key("output_tokens_details").object(|w| w.field("thinking_tokens", &thinking));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_of_cache_writes_survives_a_later_total() {
        let mut usage = Usage::default();
        let start: UsageField<'_> = serde_json::from_str(
            r#"{"input_tokens":10,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":1}"#,
        )
        .expect("usage");
        start.update(&mut usage);
        let end: UsageField<'_> = serde_json::from_str(
            r#"{"cache_creation_input_tokens":9,"output_tokens":30,"output_tokens_details":{"thinking_tokens":12}}"#,
        )
        .expect("usage");
        end.update(&mut usage);
        assert_eq!((usage.input, usage.cache_write_5m, usage.cache_write_1h), (Some(10), Some(5), Some(4)));
        assert_eq!((usage.output, usage.reasoning), (Some(18), Some(12)));
    }

    #[test]
    fn absent_is_unknown_and_details_never_exceed_their_total() {
        assert_eq!(read_usage(b"{}"), None);
        assert_eq!(read_usage(b"{\"input_tokens\":-1}"), None);
        let usage = read_usage(br#"{"output_tokens":3,"output_tokens_details":{"thinking_tokens":9}} tail"#);
        assert_eq!(usage, Some(Usage { output: Some(0), reasoning: Some(3), ..Usage::default() }));
    }
}
