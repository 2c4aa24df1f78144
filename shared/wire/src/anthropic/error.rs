//! Errors of Anthropic's API.

use omniroute_core::error::{ErrorClass, GatewayError};

use crate::{
    codec::{OpenAiErrorFields, UpstreamError},
    error_words::{class_in_words, wording},
    ir::StreamError,
    object::{read, wire_object},
    text::Str,
    write::Writer,
};

wire_object! {
    struct Envelope<'a> {
        error: &'a serde_json::value::RawValue = "error",
        message: &'a serde_json::value::RawValue = "message",
    }
}

wire_object! {
    struct ErrorObject<'a> {
        kind: Str<'a> = lenient "type",
    }
}

/// How Claude Code knows that it has to compact the conversation.
const TOO_LONG: &str = "prompt is too long";

/// What an error body says.
pub fn decode_error(status: u16, body: &[u8]) -> UpstreamError {
    let envelope: Envelope<'_> = read(body).unwrap_or_default();
    let raw = envelope.error.map(serde_json::value::RawValue::get);
    let object: ErrorObject<'_> = raw.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
    // Some hosts write `"error": "text"`, or a message and nothing else.
    let message = envelope.error.and_then(wording).or_else(|| envelope.message.and_then(wording));
    let message = message.unwrap_or_else(|| format!("the upstream answered {status}"));
    let code = object.kind.map(|kind| kind.0.into_owned());
    UpstreamError {
        class: class_of(status, code.as_deref(), &message),
        message,
        code,
        named: OpenAiErrorFields::default(),
        retry_after: None,
    }
}

fn class_of(status: u16, kind: Option<&str>, message: &str) -> ErrorClass {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    match kind {
        Some("invalid_request_error") | None if matches!(status, 400 | 413 | 500) => {
            if says(&[TOO_LONG, "exceed context limit", "context window", "context length"]) {
                return ErrorClass::ContextTooLong;
            }
            if says(&["credit balance is too low", "usage limits"]) {
                return ErrorClass::Payment;
            }
        }
        Some("authentication_error") => return ErrorClass::Unauthenticated,
        Some("billing_error") => return ErrorClass::Payment,
        Some("permission_error") => return ErrorClass::Forbidden,
        Some("not_found_error") => return ErrorClass::NotFound,
        Some("request_too_large") => return ErrorClass::TooLarge,
        Some("rate_limit_error") => return ErrorClass::RateLimited,
        Some("overloaded_error") => return ErrorClass::Overloaded,
        Some("timeout_error") => return ErrorClass::UpstreamTimeout,
        _ => {}
    }
    match status {
        401 => ErrorClass::Unauthenticated,
        402 => ErrorClass::Payment,
        403 => ErrorClass::Forbidden,
        404 => ErrorClass::NotFound,
        408 | 504 => ErrorClass::UpstreamTimeout,
        413 => ErrorClass::TooLarge,
        429 => ErrorClass::RateLimited,
        503 | 529 => ErrorClass::Overloaded,
        400..=499 => ErrorClass::BadRequest,
        _ if kind == Some("invalid_request_error") => ErrorClass::BadRequest,
        _ if kind.is_none() => class_in_words(message).unwrap_or(ErrorClass::Upstream),
        _ => ErrorClass::Upstream,
    }
}

/// Anthropic's `type` of a class.
const fn word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::BadRequest
        | ErrorClass::ContextTooLong
        | ErrorClass::MethodNotAllowed
        | ErrorClass::Conflict
        | ErrorClass::UnsupportedMedia => "invalid_request_error",
        ErrorClass::Unauthenticated => "authentication_error",
        ErrorClass::Payment => "billing_error",
        ErrorClass::Forbidden => "permission_error",
        ErrorClass::NotFound => "not_found_error",
        ErrorClass::TooLarge => "request_too_large",
        ErrorClass::RateLimited => "rate_limit_error",
        ErrorClass::Overloaded => "overloaded_error",
        ErrorClass::RequestTimeout | ErrorClass::UpstreamTimeout => "timeout_error",
        ErrorClass::Upstream | ErrorClass::Internal => "api_error",
    }
}

const fn status(class: ErrorClass) -> u16 {
    match class {
        ErrorClass::Payment => 402,
        ErrorClass::Overloaded => 529,
        class => class.status(),
    }
}

/// An error answer: status and body.
pub fn encode_error(error: &GatewayError, request_id: &str) -> (u16, Vec<u8>) {
    let mut body = Vec::with_capacity(256);
    Writer::new(&mut body).object(|w| {
        w.field_str("type", "error");
        w.key("error").object(|w| {
            write_fields(w, error.class, &error.message);
            w.key("omniroute").object(|w| {
                w.field_str("code", error.code);
                w.field_str_opt("hint", error.hint.as_deref());
                w.field_str_opt("param", error.param.as_deref());
            });
        });
        w.field_str("request_id", request_id);
    });
    (status(error.class), body)
}

/// An error in mid-stream: one event, and nothing after it.
pub fn encode_stream_error(error: &StreamError, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: ");
    Writer::new(out).object(|w| {
        w.field_str("type", "error");
        w.key("error").object(|w| write_fields(w, error.class, &error.message));
        w.field_str_opt("request_id", error.request_id.as_deref());
    });
    out.extend_from_slice(b"\n\n");
}

fn write_fields(w: &mut Writer<'_>, class: ErrorClass, message: &str) {
    w.field_str("type", word(class));
    if class == ErrorClass::ContextTooLong && !message.to_ascii_lowercase().contains(TOO_LONG) {
        w.field_str("message", &format!("{TOO_LONG}: {message}"));
    } else {
        w.field_str("message", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_errors_are_understood() {
        for (status, body, class, message) in [
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                ErrorClass::Overloaded,
                "Overloaded",
            ),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8"}}"#,
                ErrorClass::ContextTooLong,
                "prompt is too long: 9 tokens > 8",
            ),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
                ErrorClass::Payment,
                "Your credit balance is too low",
            ),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","message":"max_tokens: bad"}}"#,
                ErrorClass::BadRequest,
                "max_tokens: bad",
            ),
            (413, r#"{"error":{"type":"request_too_large","message":"big"}}"#, ErrorClass::TooLarge, "big"),
            (429, r#"{"error":{"type":"rate_limit_error","message":"slow"}}"#, ErrorClass::RateLimited, "slow"),
            (401, r#"{"error":{"type":"authentication_error","message":"key"}}"#, ErrorClass::Unauthenticated, "key"),
            (402, r#"{"error":{"type":"billing_error","message":"pay"}}"#, ErrorClass::Payment, "pay"),
            (504, r#"{"error":{"type":"timeout_error","message":"t"}}"#, ErrorClass::UpstreamTimeout, "t"),
            (500, r#"{"error":{"type":"api_error","message":"oops"}}"#, ErrorClass::Upstream, "oops"),
            (403, r#"{"message":"no access"}"#, ErrorClass::Forbidden, "no access"),
            (400, r#"{"error":"text"}"#, ErrorClass::BadRequest, "text"),
            (502, "<html>", ErrorClass::Upstream, "the upstream answered 502"),
            (529, "", ErrorClass::Overloaded, "the upstream answered 529"),
        ] {
            let error = decode_error(status, body.as_bytes());
            assert_eq!((error.class, error.message.as_str()), (class, message), "{body}");
        }
    }

    #[test]
    fn every_class_has_its_status_and_word() {
        for (class, status, word) in [
            (ErrorClass::BadRequest, 400, "invalid_request_error"),
            (ErrorClass::ContextTooLong, 400, "invalid_request_error"),
            (ErrorClass::Unauthenticated, 401, "authentication_error"),
            (ErrorClass::Payment, 402, "billing_error"),
            (ErrorClass::Forbidden, 403, "permission_error"),
            (ErrorClass::NotFound, 404, "not_found_error"),
            (ErrorClass::TooLarge, 413, "request_too_large"),
            (ErrorClass::RateLimited, 429, "rate_limit_error"),
            (ErrorClass::Overloaded, 529, "overloaded_error"),
            (ErrorClass::UpstreamTimeout, 504, "timeout_error"),
            (ErrorClass::Upstream, 502, "api_error"),
            (ErrorClass::Internal, 500, "api_error"),
        ] {
            let (got, body) = encode_error(&GatewayError::new(class, "code", "m").with_hint("h"), "req_1");
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(
                (got, body["type"].as_str(), body["error"]["type"].as_str()),
                (status, Some("error"), Some(word))
            );
            assert_eq!(body["request_id"], "req_1");
            assert_eq!(body["error"]["omniroute"]["hint"], "h");
        }
    }

    #[test]
    fn a_client_learns_from_the_words_that_it_must_compact() {
        let (_, body) = encode_error(&GatewayError::new(ErrorClass::ContextTooLong, "c", "200 > 100"), "r");
        assert!(String::from_utf8(body).expect("text").contains("prompt is too long: 200 > 100"));
    }
}
