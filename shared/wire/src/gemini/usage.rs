//! `usageMetadata`: the prompt includes what a cache served; candidates exclude thoughts; prompts of tools come on top.

use super::message::{OneOrMany, WholeNumber};
use crate::{object::wire_object, usage::Usage, write::Writer};

wire_object! {
    pub(super) struct UsageField<'a> {
        prompt: WholeNumber = lenient "promptTokenCount" | "prompt_token_count",
        cached: WholeNumber = lenient "cachedContentTokenCount" | "cached_content_token_count",
        candidates: WholeNumber = lenient "candidatesTokenCount" | "candidates_token_count" | "responseTokenCount",
        thoughts: WholeNumber = lenient "thoughtsTokenCount" | "thoughts_token_count",
        tool_prompt: WholeNumber = lenient "toolUsePromptTokenCount" | "tool_use_prompt_token_count",
        total: WholeNumber = lenient "totalTokenCount" | "total_token_count",
        prompt_details: OneOrMany<ModalityCount<'a>> = lenient "promptTokensDetails" | "prompt_tokens_details",
        cache_details: OneOrMany<ModalityCount<'a>> = lenient "cacheTokensDetails" | "cache_tokens_details",
        candidates_details: OneOrMany<ModalityCount<'a>> = lenient "candidatesTokensDetails" | "candidates_tokens_details",
    }
}

wire_object! {
    pub(super) struct ModalityCount<'a> {
        modality: crate::text::Str<'a> = lenient "modality",
        tokens: WholeNumber = lenient "tokenCount" | "token_count",
    }
}

// === impl UsageField ===

impl UsageField<'_> {
    /// Into disjoint classes. Details that exceed their total are cut to it: the total is what is billed.
    pub(super) fn disjoint(&self) -> Usage {
        let count = |field: Option<WholeNumber>| field.and_then(WholeNumber::count);
        let mut usage = Usage::default();
        let (prompt, cached) = (count(self.prompt), count(self.cached));
        let (total, tools) = (count(self.total), count(self.tool_prompt).unwrap_or(0));
        usage.reasoning = count(self.thoughts);
        if let Some(mut rest) = prompt {
            usage.cache_read = cached.map(|part| take(&mut rest, part));
            let cached_audio = audio(self.cache_details.as_ref()).unwrap_or(0);
            let fresh_audio = audio(self.prompt_details.as_ref()).map(|all| all.saturating_sub(cached_audio));
            usage.audio_in = fresh_audio.filter(|part| *part > 0).map(|part| take(&mut rest, part));
            usage.input = Some(rest.saturating_add(tools));
        }
        let prompt = prompt.unwrap_or(0).saturating_add(tools);
        let thoughts = usage.reasoning.unwrap_or(0);
        let candidates = match (count(self.candidates), total) {
            // Some hosts count thoughts among the candidates; then prompt and candidates are already all there is.
            (Some(all), Some(total)) if thoughts > 0 && all >= thoughts && prompt.saturating_add(all) == total => {
                Some(all - thoughts)
            }
            (Some(all), _) => Some(all),
            // An answer without visible text has no count of its own.
            (None, Some(total)) if total > 0 => Some(total.saturating_sub(prompt).saturating_sub(thoughts)),
            (None, _) => None,
        };
        if let Some(mut rest) = candidates {
            let spoken = audio(self.candidates_details.as_ref()).filter(|part| *part > 0);
            usage.audio_out = spoken.map(|part| take(&mut rest, part));
            usage.output = Some(rest);
        }
        usage
    }
}

fn audio(details: Option<&OneOrMany<ModalityCount<'_>>>) -> Option<u64> {
    let of_audio = |count: &&ModalityCount<'_>| count.modality.as_deref() == Some("AUDIO");
    details?.0.iter().find(of_audio)?.tokens?.count()
}

fn take(rest: &mut u64, part: u64) -> u64 {
    let part = part.min(*rest);
    *rest -= part;
    part
}

/// Reads the `usageMetadata` object that begins at the start of `json`; what follows it does not matter.
pub(super) fn read_usage(json: &[u8]) -> Option<Usage> {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<UsageField<'_>>();
    let usage = values.next()?.ok()?.disjoint();
    (!usage.is_unknown()).then_some(usage)
}

/// Writes the `usageMetadata` object.
pub(super) fn write_usage(w: &mut Writer<'_>, usage: &Usage) {
    let (prompt, output) = (usage.total_input(), usage.total_output());
    let visible = output - usage.reasoning.unwrap_or(0).min(output);
    let some = |count: Option<u64>| count.filter(|count| *count > 0);
    w.object(|w| {
        w.field("promptTokenCount", &prompt);
        w.field_opt("cachedContentTokenCount", some(usage.cache_read).as_ref());
        w.field("candidatesTokenCount", &visible);
        w.field_opt("thoughtsTokenCount", some(usage.reasoning).as_ref());
        w.field("totalTokenCount", &prompt.saturating_add(output));
        for (name, all, spoken) in [
            ("promptTokensDetails", prompt, some(usage.audio_in)),
            ("candidatesTokensDetails", visible, some(usage.audio_out)),
        ] {
            let Some(spoken) = spoken else { continue };
            w.key(name).array(|w| {
                for (modality, tokens) in [("TEXT", all.saturating_sub(spoken)), ("AUDIO", spoken)] {
                    w.object(|w| {
                        w.field_str("modality", modality);
                        w.field("tokenCount", &tokens);
                    });
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(json: &str) -> [Option<u64>; 6] {
        let usage = read_usage(json.as_bytes()).unwrap_or_default();
        [usage.input, usage.cache_read, usage.output, usage.reasoning, usage.audio_in, usage.audio_out]
    }

    #[test]
    fn classes_are_disjoint_however_a_host_nests_them() {
        let none = None;
        for (json, expected) in [
            (
                r#"{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":22}"#,
                [Some(6), Some(4), Some(5), Some(7), none, none],
            ),
            (
                // Thoughts counted among the candidates.
                r#"{"promptTokenCount":10,"candidatesTokenCount":12,"thoughtsTokenCount":7,"totalTokenCount":22}"#,
                [Some(10), none, Some(5), Some(7), none, none],
            ),
            (
                r#"{"promptTokenCount":10,"toolUsePromptTokenCount":30,"candidatesTokenCount":5,"totalTokenCount":45}"#,
                [Some(40), none, Some(5), none, none, none],
            ),
            (
                r#"{"promptTokenCount":10,"thoughtsTokenCount":7,"totalTokenCount":17}"#,
                [Some(10), none, Some(0), Some(7), none, none],
            ),
            (
                r#"{"promptTokenCount":10,"promptTokensDetails":[{"modality":"TEXT","tokenCount":4},{"modality":"AUDIO","tokenCount":6}],"cachedContentTokenCount":3,"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":2}],"candidatesTokenCount":8,"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":8}]}"#,
                [Some(3), Some(3), Some(0), none, Some(4), Some(8)],
            ),
            (r#"{"promptTokenCount":"10","cachedContentTokenCount":99}"#, [Some(0), Some(10), none, none, none, none]),
            (r#"{"promptTokenCount":-1}"#, [none; 6]),
            (r#"{}"#, [none; 6]),
            (r#"[]"#, [none; 6]),
        ] {
            assert_eq!(classes(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let usage = Usage {
            input: Some(6),
            cache_read: Some(4),
            output: Some(5),
            reasoning: Some(7),
            audio_in: Some(2),
            audio_out: Some(1),
            ..Usage::default()
        };
        let mut out = Vec::new();
        write_usage(&mut Writer::new(&mut out), &usage);
        assert_eq!(read_usage(&out), Some(usage));
    }
}
