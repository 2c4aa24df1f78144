//! Cohere's v2 Chat, upstream only; with its list of models and its embeddings.
//!
//! What is special: the text before a round of calls is the *tool plan*, a field of its own; citations point into the
//! answer by character; a tool is chosen by `REQUIRED` or `NONE` only, so that one named tool means sending that one alone;
//! thinking is a budget, never a word; what costs is `billed_units`, not `tokens`.

mod citation;
mod decode_response;
mod decode_stream;
mod documents;
mod embed;
mod encode_request;
mod error;
mod extension;
mod logprobs;
mod message;
mod messages;
mod models;
mod records;
mod tools;
mod usage;

pub use decode_response::decode_response;
pub use decode_stream::Decoder;
pub use embed::{Embeddings, MAX_TEXTS, decode_embeddings, encode_embeddings};
pub use encode_request::encode_request;
pub use error::decode_error;
pub use models::{Model, ModelPage, decode_models};

use crate::ir::FinishReason;

/// Longest name of a tool.
pub const MAX_NAME_LEN: usize = 64;

/// Whether a character may stand at this place in a tool's name.
pub const fn is_name_char(index: usize, c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit())
}

/// How an answer ended, as far as it is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Finish(FinishReason),
    Failed,
    TimedOut,
}

fn ending(word: &str) -> Ending {
    Ending::Finish(match word {
        "MAX_TOKENS" => FinishReason::MaxTokens,
        "STOP_SEQUENCE" => FinishReason::StopSequence,
        "TOOL_CALL" => FinishReason::ToolCalls,
        "ERROR_TOXIC" => FinishReason::ContentFilter,
        "ERROR_LIMIT" => FinishReason::ContextWindow,
        "ERROR" => return Ending::Failed,
        "TIMEOUT" => return Ending::TimedOut,
        _ => FinishReason::End,
    })
}

#[cfg(test)]
mod tests;
