//! Errors: `{"message": "…", "id": "…"}`.

use omniroute_core::error::ErrorClass;
use serde_json::value::RawValue;

use crate::{
    codec::{OpenAiErrorFields, UpstreamError},
    error_words::{class_in_words, wording},
    object::{read, wire_object},
    openai::wait_in_text,
    text::Str,
};

wire_object! {
    struct Body<'a> {
        message: &'a RawValue = "message",
        // Gateways in front of Cohere's models write these.
        error: &'a RawValue = "error",
        detail: &'a RawValue = "detail",
        code: Str<'a> = lenient "code",
    }
}

/// What an error body says.
pub fn decode_error(status: u16, body: &[u8]) -> UpstreamError {
    let body: Body<'_> = read(body).unwrap_or_default();
    let message = [body.message, body.error, body.detail].into_iter().flatten().find_map(wording);
    let message = message.unwrap_or_else(|| format!("the upstream answered {status}"));
    UpstreamError {
        class: class_of(status, &message),
        retry_after: wait_in_text(&message),
        code: body.code.map(|code| code.0.into_owned()),
        named: OpenAiErrorFields::default(),
        message,
    }
}

/// The status says most; Cohere has no codes, so that the rest is in the words.
fn class_of(status: u16, message: &str) -> ErrorClass {
    let lower = message.to_ascii_lowercase();
    let says = |words: &str| lower.contains(words);
    match status {
        // "max tokens must be less than…" is about the answer's limit, not about the prompt.
        400 | 413 | 422 | 500
            if (says("too many tokens") && !says("max tokens must be"))
                || says("context length")
                || says("prompt is too long") =>
        {
            ErrorClass::ContextTooLong
        }
        401 => ErrorClass::Unauthenticated,
        402 => ErrorClass::Payment,
        403 => ErrorClass::Forbidden,
        404 => ErrorClass::NotFound,
        408 | 504 => ErrorClass::UpstreamTimeout,
        413 => ErrorClass::TooLarge,
        // A trial key's month is used up: waiting a minute does not help.
        429 if says("/ month") || says("per month") => ErrorClass::Payment,
        429 => ErrorClass::RateLimited,
        // The request was cancelled on their side.
        499 => ErrorClass::Upstream,
        501 => ErrorClass::BadRequest,
        503 | 529 => ErrorClass::Overloaded,
        400..=498 => ErrorClass::BadRequest,
        _ => class_in_words(message).unwrap_or(ErrorClass::Upstream),
    }
}
