//! Errors of Ollama: `{"error": "text"}`, as an answer and as a line in mid-stream.

use omniroute_core::error::{ErrorClass, GatewayError};

use crate::{codec::UpstreamError, ir::StreamError, openai, write::Writer};

/// What an error body says.
pub fn decode_error(status: u16, body: &[u8]) -> UpstreamError {
    // The same shapes as OpenAI-compatible hosts have: a text, an object, or something else altogether.
    let mut error = openai::decode_error(status, body);
    let lower = error.message.to_ascii_lowercase();
    if lower.contains("available context") || lower.contains("exceeds the context") {
        error.class = ErrorClass::ContextTooLong;
    } else if lower.contains("server busy") {
        error.class = ErrorClass::Overloaded;
    } else if status >= 500 && lower.starts_with("model ") && lower.contains("not found") {
        error.class = ErrorClass::NotFound;
    }
    error
}

/// An error answer: status and body.
pub fn encode_error(error: &GatewayError, request_id: &str) -> (u16, Vec<u8>) {
    let mut body = Vec::with_capacity(256);
    Writer::new(&mut body).object(|w| {
        w.field_str("error", &error.message);
        w.field_str("request_id", request_id);
        w.key("omniroute").object(|w| {
            w.field_str("code", error.code);
            w.field_str_opt("param", error.param.as_deref());
            w.field_str_opt("hint", error.hint.as_deref());
        });
    });
    (error.class.status(), body)
}

/// An error in mid-stream: the last line.
pub fn encode_stream_error(error: &StreamError, out: &mut Vec<u8>) {
    let start = out.len();
    Writer::new(out).object(|w| {
        w.field_str("error", &error.message);
        w.field("status", &error.class.status());
        w.field_str_opt("request_id", error.request_id.as_deref());
    });
    super::lines::end_line(out, start);
}
