//! `/v1/responses/input_tokens`: how long a request's input is. It is asked for with the request itself.

use crate::{
    codec::WireError,
    object::{read, wire_object},
    write::Writer,
};

wire_object! {
    struct Counted<'a> {
        tokens: u64 = "input_tokens",
        object: &'a serde_json::value::RawValue = "object",
    }
}

/// Reads an upstream's count.
///
/// # Errors
/// When it is none.
pub fn decode_count_response(body: &[u8]) -> Result<u64, WireError> {
    let counted: Counted<'_> = read(body)?;
    counted.tokens.ok_or_else(|| WireError::field("input_tokens", "the upstream's answer is no count"))
}

/// Writes a count for a client.
pub fn encode_count_response(tokens: u64, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.field_str("object", "response.input_tokens");
        w.field("input_tokens", &tokens);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_written_in_the_vendors_form() {
        let mut out = Vec::new();
        encode_count_response(14, &mut out);
        assert_eq!(out, br#"{"object":"response.input_tokens","input_tokens":14}"#);
        assert_eq!(decode_count_response(&out).ok(), Some(14));
        assert!(decode_count_response(b"{}").is_err() && decode_count_response(b"<html>").is_err());
    }
}
