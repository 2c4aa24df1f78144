//! Usage in OpenAI's accounting: input includes cached tokens, output includes reasoning.

use crate::{object::wire_object, usage::Usage, write::Writer};

wire_object! {
    pub(crate) struct UsageField<'a> {
        prompt_tokens: u64 = lenient "prompt_tokens",
        completion_tokens: u64 = lenient "completion_tokens",
        prompt_details: PromptDetails<'a> = lenient "prompt_tokens_details",
        completion_details: CompletionDetails<'a> = lenient "completion_tokens_details",
        // DeepSeek's place for it.
        cache_hit: u64 = lenient "prompt_cache_hit_tokens",
    }
}

wire_object! {
    pub(crate) struct PromptDetails<'a> {
        cached: u64 = lenient "cached_tokens",
        cache_write: u64 = lenient "cache_write_tokens",
        audio: u64 = lenient "audio_tokens",
    }
}

wire_object! {
    pub(crate) struct CompletionDetails<'a> {
        reasoning: u64 = lenient "reasoning_tokens",
        audio: u64 = lenient "audio_tokens",
    }
}

// === impl UsageField ===

impl UsageField<'_> {
    /// Into disjoint classes. Details that exceed their total are cut to it: the total is what is billed.
    pub(crate) fn disjoint(&self) -> Usage {
        let details = self.prompt_details.as_ref();
        let cached = details.and_then(|own| own.cached).or(self.cache_hit);
        let written = details.and_then(|own| own.cache_write);
        let audio_in = details.and_then(|own| own.audio);
        let out = self.completion_details.as_ref();
        let reasoning = out.and_then(|own| own.reasoning);
        let audio_out = out.and_then(|own| own.audio);
        let mut usage = Usage::default();
        if let Some(mut rest) = self.prompt_tokens {
            usage.cache_read = cached.map(|part| take(&mut rest, part));
            usage.cache_write_5m = written.map(|part| take(&mut rest, part));
            usage.audio_in = audio_in.map(|part| take(&mut rest, part));
            usage.input = Some(rest);
        }
        if let Some(mut rest) = self.completion_tokens {
            usage.reasoning = reasoning.map(|part| take(&mut rest, part));
            usage.audio_out = audio_out.map(|part| take(&mut rest, part));
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

/// Tokens in and out as OpenAI counts them.
pub(crate) fn totals(usage: &Usage) -> (u64, u64) {
    let sum = |classes: &[Option<u64>]| classes.iter().flatten().sum();
    (
        sum(&[usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.audio_in]),
        sum(&[usage.output, usage.reasoning, usage.audio_out]),
    )
}

/// Writes the `usage` object.
pub(crate) fn write_usage(w: &mut Writer<'_>, usage: &Usage) {
    let (prompt, completion) = totals(usage);
    w.object(|w| {
        w.field("prompt_tokens", &prompt);
        w.field("completion_tokens", &completion);
        w.field("total_tokens", &(prompt + completion));
        w.key("prompt_tokens_details").object(|w| {
            w.field("cached_tokens", &usage.cache_read.unwrap_or(0));
            let written = usage.cache_write_5m.unwrap_or(0) + usage.cache_write_1h.unwrap_or(0);
            if written > 0 {
                w.field("cache_write_tokens", &written);
            }
            w.field("audio_tokens", &usage.audio_in.unwrap_or(0));
        });
        w.key("completion_tokens_details").object(|w| {
            w.field("reasoning_tokens", &usage.reasoning.unwrap_or(0));
            w.field("audio_tokens", &usage.audio_out.unwrap_or(0));
        });
    });
}
