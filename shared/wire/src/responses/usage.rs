//! Usage in the accounting of Responses: input includes cached tokens, output includes reasoning.

use crate::{object::wire_object, usage::Usage, write::Writer};

wire_object! {
    pub(super) struct UsageField<'a> {
        input_tokens: u64 = lenient "input_tokens",
        output_tokens: u64 = lenient "output_tokens",
        input_details: InputDetails<'a> = lenient "input_tokens_details",
        output_details: OutputDetails<'a> = lenient "output_tokens_details",
    }
}

wire_object! {
    pub(super) struct InputDetails<'a> {
        cached: u64 = lenient "cached_tokens",
        cache_write: u64 = lenient "cache_write_tokens",
        audio: u64 = lenient "audio_tokens",
    }
}

wire_object! {
    pub(super) struct OutputDetails<'a> {
        reasoning: u64 = lenient "reasoning_tokens",
        audio: u64 = lenient "audio_tokens",
    }
}

// === impl UsageField ===

impl UsageField<'_> {
    /// Into disjoint classes. Details that exceed their total are cut to it: the total is what is billed.
    pub(super) fn disjoint(&self) -> Usage {
        let mut usage = Usage::default();
        if let Some(mut rest) = self.input_tokens {
            if let Some(details) = &self.input_details {
                usage.cache_read = details.cached.map(|part| take(&mut rest, part));
                usage.cache_write_5m = details.cache_write.map(|part| take(&mut rest, part));
                usage.audio_in = details.audio.map(|part| take(&mut rest, part));
            }
            usage.input = Some(rest);
        }
        if let Some(mut rest) = self.output_tokens {
            if let Some(details) = &self.output_details {
                usage.reasoning = details.reasoning.map(|part| take(&mut rest, part));
                usage.audio_out = details.audio.map(|part| take(&mut rest, part));
            }
            usage.output = Some(rest);
        }
        usage
    }
}

fn take(rest: &mut u64, part: u64) -> u64 {
    let part = part.min(*rest);
    *rest -= part;
    part
}

/// Reads the `usage` object that begins at the start of `json`; what follows it does not matter. `None` when it has no
/// counts that make sense.
pub(super) fn read_usage(json: &[u8]) -> Option<Usage> {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<UsageField<'_>>();
    let usage = values.next()?.ok()?.disjoint();
    (!usage.is_unknown()).then_some(usage)
}

/// Writes the `usage` object. SDKs want every field of it.
pub(super) fn write_usage(w: &mut Writer<'_>, usage: &Usage) {
    let (input, output) = (usage.total_input(), usage.total_output());
    w.object(|w| {
        w.field("input_tokens", &input);
        w.key("input_tokens_details").object(|w| {
            w.field("cached_tokens", &usage.cache_read.unwrap_or(0));
            let written = usage.cache_write_5m.unwrap_or(0).saturating_add(usage.cache_write_1h.unwrap_or(0));
            w.field("cache_write_tokens", &written);
        });
        w.field("output_tokens", &output);
        w.key("output_tokens_details").object(|w| w.field("reasoning_tokens", &usage.reasoning.unwrap_or(0)));
        w.field("total_tokens", &input.saturating_add(output));
    });
}
