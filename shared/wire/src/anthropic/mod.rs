//! Anthropic's Messages API.
//!
//! What is special: `max_tokens` is required, roles alternate and begin with the user, all results of a round stand in
//! one user message right behind the calls, and thinking goes back with its signature or not at all. A request passes
//! `conversation` (turns → messages that the API accepts), `thinking` (may it think, and how), `cache_marks`, and is then
//! written. A forced tool named [`STRUCTURED_TOOL`] stands for structured output on models that have none; its arguments
//! come back as the text.

mod answer_facts;
mod base64;
mod betas;
mod block;
mod block_writer;
mod cache_marks;
mod content;
mod conversation;
mod count_tokens;
mod decode_request;
mod decode_response;
mod decode_stream;
mod decode_tools;
mod document;
mod encode_content;
mod encode_request;
mod encode_response;
mod encode_stream;
mod encode_tools;
mod error;
mod event;
mod extras;
mod message;
mod pairing;
mod passthrough;
mod references;
mod sampling;
mod schema;
mod server_block;
mod stream_blocks;
mod thinking;
mod usage;
mod usage_scanner;

pub use answer_facts::{answer_facts, read_answer_usage};
pub use betas::keep_switches;
pub use count_tokens::{
    decode_count_tokens, decode_count_tokens_response, encode_count_tokens, encode_count_tokens_response,
};
pub use decode_request::decode_request;
pub use decode_response::decode_response;
pub use decode_stream::Decoder;
pub use encode_request::encode_request;
pub use encode_response::encode_response;
pub use encode_stream::Encoder;
pub use error::{decode_error, encode_error, encode_stream_error};
pub use passthrough::upstream_body;
pub use references::name_references;
pub use usage_scanner::UsageScanner;

use crate::ir::{Effort, FinishReason};

/// Name of the tool that stands for structured output. Both decoders know it by this name alone.
pub const STRUCTURED_TOOL: &str = "omniroute_structured_output";

/// The header that Anthropic's beta flags go into, comma-separated.
/// The header with beta switches, and where a request of another upstream keeps them.
pub(crate) const BETA_HEADER: &str = "anthropic-beta";

const fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

const fn stop_word(reason: FinishReason) -> &'static str {
    match reason {
        // A malformed call never reaches a client as a finish: it is an upstream error (docs/translation.md).
        FinishReason::End | FinishReason::MalformedCall => "end_turn",
        FinishReason::MaxTokens => "max_tokens",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter | FinishReason::Refusal => "refusal",
        FinishReason::ContextWindow => "model_context_window_exceeded",
        FinishReason::Pause => "pause_turn",
    }
}

/// A stop word of an upstream. A host's own invention counts as a normal end.
fn finish_reason(word: &str) -> FinishReason {
    match word {
        "max_tokens" => FinishReason::MaxTokens,
        "stop_sequence" => FinishReason::StopSequence,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::Refusal,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        // After a compaction the client sends the answer back, as after a pause.
        "pause_turn" | "compaction" => FinishReason::Pause,
        _ => FinishReason::End,
    }
}

#[cfg(test)]
mod tests;
