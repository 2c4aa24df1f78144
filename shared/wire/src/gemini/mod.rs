//! Google's Gemini: `generateContent`, `streamGenerateContent` and what stands beside them.
//!
//! What is special: the model and the action are in the path ([`parse_path`]); calls may have no ids, and results are
//! matched by name and order; thought signatures stand on any part; a call is never sent in pieces; and a stream is either
//! server-sent events or one JSON array ([`Framing`]).

mod call_id;
mod content;
mod count_tokens;
mod decode_config;
mod decode_request;
mod decode_response;
mod decode_stream;
mod decode_tools;
mod embeddings;
mod encode_config;
mod encode_contents;
mod encode_parts;
mod encode_request;
mod encode_response;
mod encode_stream;
mod encode_tools;
mod error;
mod extras;
mod finish;
mod grounding;
mod logprobs;
mod message;
mod models;
mod passthrough;
mod path;
mod piece;
mod schema;
mod signature;
mod text_map;
mod thinking;
mod usage;
mod usage_scanner;
mod values;

pub use count_tokens::{decode_count_request, decode_count_response, encode_count_request, encode_count_response};
pub use decode_request::decode_request;
pub use decode_response::decode_response;
pub use decode_stream::Decoder;
pub(crate) use embeddings::own_embed_body;
pub use embeddings::{
    EmbedRequest, decode_embed_request, decode_embed_response, encode_embed_request, encode_embed_response,
};
pub use encode_request::{encode_request, name_table};
pub use encode_response::encode_response;
pub use encode_stream::Encoder;
pub use error::{decode_error, encode_error, encode_stream_error};
pub use models::{Model, decode_models, encode_model, encode_models};
pub use passthrough::{answer_facts, scan_body};
pub use path::{Action, Framing, parse_path, upstream_path};
pub use usage_scanner::UsageScanner;

#[cfg(test)]
mod tests;
