//! OpenAI's Chat Completions, the dialect that most hosts speak.
//!
//! What is special: thinking has no field of its own in the standard; hosts use `reasoning_content`, OpenRouter
//! `reasoning_details` (with signatures), and both are read and written here. Gemini's thought signatures travel in
//! `tool_calls[].extra_content.google.thought_signature`.

mod answer_facts;
mod body_rules;
mod content;
mod decode_request;
mod decode_response;
mod decode_stream;
mod details;
mod encode_content;
mod encode_request;
mod encode_response;
mod encode_stream;
mod error;
mod message;
mod passthrough;
mod sound;
mod stream_calls;
mod stream_choice;
mod usage;
mod usage_scanner;

pub use answer_facts::answer_facts;
pub use body_rules::{BodyRules, has_longer_ids};
pub use decode_request::decode_request;
pub use decode_response::decode_response;
pub use decode_stream::Decoder;
pub use details::unwrap_details;
pub use encode_request::encode_request;
pub use encode_response::encode_response;
pub use encode_stream::Encoder;
pub use error::{decode_error, encode_error, encode_stream_error};
pub(crate) use error::{wait_in_text, words};
pub(crate) use passthrough::quoted;
pub use passthrough::{UpstreamBody, renamed_body, upstream_body};
pub(crate) use usage::write_usage;
pub use usage_scanner::UsageScanner;

use crate::ir::{Effort, Family, FinishReason};

/// What a refusal says whose upstream has no words for it.
pub(crate) const REFUSED: &str = "The model declined to answer.";

/// Calls of the legacy `function_call` form have no id; both sides of a round derive the same one from the name.
fn legacy_call_id(name: &str) -> String {
    format!("call_{name}")
}

/// Whose signatures a `reasoning_details` entry carries.
fn reasoning_family(format: Option<&str>) -> Family {
    match format {
        Some(format) if format.starts_with("anthropic") => Family::Anthropic,
        Some(format) if format.starts_with("google") => Family::Gemini,
        _ => Family::OpenAi,
    }
}

const fn reasoning_format(family: Family) -> &'static str {
    match family {
        Family::Anthropic | Family::Bedrock => "anthropic-claude-v1",
        Family::Gemini => "google-gemini-v1",
        Family::OpenAi | Family::Ollama | Family::Cohere => "openai-responses-v1",
        // Its payload says it.
        Family::OpenRouter => "unknown",
    }
}

/// Reads the `usage` object that begins at the start of `json`; what follows it does not matter. `None` when it has no
/// counts that make sense.
pub(crate) fn read_usage(json: &[u8]) -> Option<crate::usage::Usage> {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<usage::UsageField<'_>>();
    let usage = values.next()?.ok()?.disjoint();
    (!usage.is_unknown()).then_some(usage)
}

pub(crate) const fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

/// Another family's word for the tier of service, in this one's words. `None` where it has none.
pub(crate) fn tier_word(tier: &str) -> Option<&'static str> {
    Some(match tier {
        "auto" => "auto",
        "default" | "standard" | "standard_only" => "default",
        "flex" => "flex",
        "priority" => "priority",
        "scale" => "scale",
        _ => return None,
    })
}

const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::End | FinishReason::StopSequence | FinishReason::Refusal | FinishReason::Pause => "stop",
        FinishReason::MaxTokens | FinishReason::ContextWindow => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        // Never reaches a client as a finish: it is an upstream error (docs/translation.md).
        FinishReason::MalformedCall => "stop",
    }
}

/// Whether a finish word says that there is no answer. OpenRouter's.
fn is_failure(word: &str) -> bool {
    word == "error"
}

/// A finish word of an upstream. A host's own invention counts as a normal end.
fn finish_reason(word: &str) -> FinishReason {
    match word {
        "length" | "max_tokens" => FinishReason::MaxTokens,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        "refusal" => FinishReason::Refusal,
        _ => FinishReason::End,
    }
}

#[cfg(test)]
mod tests;
