//! OpenAI's legacy Completions: a prompt in, its continuation out. A dialect of clients only; upstream it becomes a chat.
//!
//! What is special: the prompt may be repeated in the answer (`echo`), log probabilities have a shape of their own, and a
//! `suffix` asks for text between two texts. Lists of prompts, tokens instead of text, and scoring of the prompt itself
//! have no counterpart in a chat and are refused.

mod decode_request;
mod encode_response;
mod encode_stream;
mod logprobs;

pub use crate::openai::{encode_error, encode_stream_error};
pub use decode_request::{decode_request, echo_fields};
pub use encode_response::encode_response;
pub use encode_stream::Encoder;

use crate::ir::FinishReason;

/// Field of [`ResponseContext::echo`](crate::codec::ResponseContext::echo) that holds the prompt.
const ECHOED: &str = "prompt";

const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::MaxTokens | FinishReason::ContextWindow => "length",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::End
        | FinishReason::StopSequence
        | FinishReason::ToolCalls
        | FinishReason::Refusal
        | FinishReason::Pause
        | FinishReason::MalformedCall => "stop",
    }
}

/// What stands in front of the answer's text.
fn echoed(exchange: &crate::codec::ResponseContext) -> String {
    let field = exchange.echo.iter().find(|(name, _)| *name == ECHOED);
    field.and_then(|(_, raw)| serde_json::from_str(raw.as_str()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
