//! Counting the tokens of a request without answering it.

use super::{
    decode_request::decode_prompt,
    encode_request::{Purpose, encode},
};
use crate::{
    codec::{DecodeContext, EncodeTarget, Encoded, WireError},
    ir::{Losses, Request},
    object::{read, wire_object},
    write::Writer,
};

wire_object! {
    struct Counted<'a> {
        input_tokens: u64 = "input_tokens",
        context_management: &'a serde_json::value::RawValue = "context_management",
    }
}

/// Reads a request to count: a Messages request that needs no `max_tokens`.
///
/// # Errors
/// As [`fn@super::decode_request`].
pub fn decode_count_tokens<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    decode_prompt(body, context)
}

/// Writes a request to count: what shapes the prompt and nothing else, for the upstream refuses the rest.
///
/// # Errors
/// As [`fn@super::encode_request`].
pub fn encode_count_tokens(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    encode(request, target, losses, Purpose::Count)
}

/// The count in an upstream's answer.
///
/// # Errors
/// When the answer has none.
pub fn decode_count_tokens_response(body: &[u8]) -> Result<u64, WireError> {
    let counted: Counted<'_> = read(body)?;
    counted.input_tokens.ok_or_else(|| WireError::field("input_tokens", "the upstream's answer has no count"))
}

/// Writes the answer for a client.
pub fn encode_count_tokens_response(input_tokens: u64, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| w.field("input_tokens", &input_tokens));
}
