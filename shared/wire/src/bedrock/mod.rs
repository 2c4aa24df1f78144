//! Bedrock's Converse and ConverseStream, upstream only.
//!
//! What is special: the model stands in the URL, not in the body; media are bytes only; tools must be declared whenever the
//! history has calls; what only one vendor's models know (thinking, `top_k`) goes through `additionalModelRequestFields` in
//! that vendor's own words; the stream is a binary one, with exceptions in band.

mod block;
mod cache;
mod cache_point;
mod citation;
mod content;
mod conversation;
mod decode_response;
mod decode_stream;
mod encode_request;
mod error;
pub mod frames;
mod inference;
mod media;
mod names;
mod schema;
mod stream_block;
mod thinking;
mod tools;
mod usage;
mod vendor;

pub use decode_response::decode_response;
pub use decode_stream::Decoder;
pub use encode_request::encode_request;
pub use error::decode_error;

use crate::ir::FinishReason;

/// Longest name of a tool.
pub const MAX_NAME_LEN: usize = 64;

/// Whether a character may stand at this place in a tool's name.
pub const fn is_name_char(_index: usize, c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// A stop reason of the service. One that is invented later counts as a normal end.
fn finish_reason(word: &str) -> FinishReason {
    match word {
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" => FinishReason::MaxTokens,
        "stop_sequence" => FinishReason::StopSequence,
        "guardrail_intervened" | "content_filtered" => FinishReason::ContentFilter,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        "malformed_tool_use" | "malformed_model_output" => FinishReason::MalformedCall,
        _ => FinishReason::End,
    }
}

#[cfg(test)]
mod tests;
