//! Ollama's own API: `/api/chat`, `/api/generate` (for clients), model lists and embeddings.
//!
//! What is special: streams are lines of JSON and the default; calls come whole with their arguments as an object; images
//! (and sounds) are bare base64; every knob sits in `options`; a request without messages only loads the model.
//! An answer is the same in both APIs but for the place of its text, so their encoders take a [`Shape`].

mod call_id;
mod decode_generate;
mod decode_request;
mod decode_response;
mod decode_stream;
mod embed;
mod encode_request;
mod encode_response;
mod encode_stream;
mod error;
mod lines;
mod logprobs;
mod media_type;
mod message;
mod models;
mod options;
mod preload;
mod refuse;
mod schema;
mod think;
mod timing;
mod usage_scanner;

pub use decode_generate::decode_generate_request;
pub use decode_request::decode_request;
pub use decode_response::decode_response;
pub use decode_stream::Decoder;
pub use embed::{
    EmbedRequest, Embeddings, decode_embed_request, decode_embed_response, decode_embeddings_request,
    encode_embed_request, encode_embed_response, encode_embeddings_response,
};
pub use encode_request::encode_request;
pub use encode_response::encode_response;
pub use encode_stream::Encoder;
pub use error::{decode_error, encode_error, encode_stream_error};
pub use lines::LineReader;
pub use models::{
    ListedModel, ModelDetails, ModelFacts, decode_show_request, decode_tags, encode_show, encode_tags, encode_version,
};
pub use preload::{Preload, encode_preload, preload};
pub use timing::Timing;
pub use usage_scanner::{UsageScanner, answer_facts};

use crate::{ir::FinishReason, openai::REFUSED};

/// Which of the two APIs the client called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `/api/chat`: text in `message.content`.
    Chat,
    /// `/api/generate`: text in `response`.
    Generate,
}

/// What is said where the model declined and used no words for it: this format has none of its own for that.
fn unspoken(reason: FinishReason, refused: bool, said: bool) -> Option<&'static str> {
    match reason {
        FinishReason::Refusal if !refused => Some(REFUSED),
        FinishReason::ContentFilter if !refused && !said => Some(REFUSED),
        _ => None,
    }
}

const fn done_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::MaxTokens | FinishReason::ContextWindow => "length",
        FinishReason::End
        | FinishReason::StopSequence
        | FinishReason::ToolCalls
        | FinishReason::ContentFilter
        | FinishReason::Refusal
        | FinishReason::Pause
        | FinishReason::MalformedCall => "stop",
    }
}

/// Why it ended. A "stop" beside calls means that the model waits for their results.
fn finish_reason(word: Option<&str>, called: bool) -> FinishReason {
    match word {
        Some("length") => FinishReason::MaxTokens,
        _ if called => FinishReason::ToolCalls,
        _ => FinishReason::End,
    }
}

#[cfg(test)]
mod tests;
