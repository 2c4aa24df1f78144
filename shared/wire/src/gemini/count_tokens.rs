//! `countTokens`: how long a prompt is.

use super::{
    decode_request::{Body, decode_body},
    encode_request::write_body,
    message::WholeNumber,
};
use crate::{
    codec::{DecodeContext, EncodeTarget, Encoded, WireError},
    ir::{Losses, Request},
    object::{read, wire_object},
    write::Writer,
};
use serde_json::value::RawValue;

wire_object! {
    struct CountBody<'a> {
        request: &'a RawValue = "generateContentRequest" | "generate_content_request",
    }
}

wire_object! {
    struct CountField<'a> {
        total: WholeNumber = "totalTokens" | "total_tokens",
        error: &'a RawValue = "error",
    }
}

/// Reads a count request: contents alone, or a whole request inside `generateContentRequest`.
///
/// # Errors
/// As [`fn@super::decode_request`].
pub fn decode_count_request<'a>(
    body: &'a [u8],
    model: &'a str,
    context: &DecodeContext<'_>,
) -> Result<Request<'a>, WireError> {
    let inside: CountBody<'a> = read(body)?;
    let body: Body<'a> = match inside.request {
        Some(raw) => read(raw.get().as_bytes()).map_err(|error| WireError {
            param: error.param.map(|field| format!("generateContentRequest.{field}")),
            ..error
        })?,
        None => read(body)?,
    };
    decode_body(body, model, false, context)
}

/// Writes a count request. Only the wrapped form counts system texts and tools too.
///
/// # Errors
/// As [`fn@super::encode_request`].
pub fn encode_count_request(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    let mut body = Vec::with_capacity(4096);
    let mut failure = None;
    Writer::new(&mut body).object(|w| {
        failure = write_body(w.key("generateContentRequest"), request, target, Some(target.model), losses).err();
    });
    failure.map_or(Ok(Encoded { body, ..Encoded::default() }), Err)
}

/// Reads an upstream's count.
///
/// # Errors
/// When it is none.
pub fn decode_count_response(body: &[u8]) -> Result<u64, WireError> {
    let field: CountField<'_> = read(body)?;
    if let Some(raw) = field.error {
        return Err(WireError::new("upstream_error", super::error::message_of(raw)));
    }
    let count = field.total.and_then(WholeNumber::count);
    count.ok_or_else(|| WireError::field("totalTokens", "the upstream's answer has no count"))
}

/// Writes a count for a Gemini client.
pub fn encode_count_response(tokens: u64, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.field("totalTokens", &tokens);
        w.key("promptTokensDetails").array(|w| {
            w.object(|w| {
                w.field_str("modality", "TEXT");
                w.field("tokenCount", &tokens);
            });
        });
    });
}
