//! Errors: `{"message": "…", "id": "…"}`.

use omniroute_core::error::ErrorClass;

use crate::{
    codec::{Named, UpstreamError},
    object::{read, wire_object},
    openai::wait_in_text,
    text::Str,
};

wire_object! {
    struct Body<'a> {
        message: Str<'a> = "message",
        // Gateways in front of Cohere's models write these.
        error: Str<'a> = "error",
        detail: Str<'a> = "detail",
        code: Str<'a> = "code",
    }
}

/// What an error body says.
pub fn decode_error(status: u16, body: &[u8]) -> UpstreamError {
    let body: Body<'_> = read(body).unwrap_or_default();
    let message = body.message.or(body.error).or(body.detail).filter(|text| !text.is_empty());
    let message = message.map_or_else(|| format!("the upstream answered {status}"), |text| text.0.into_owned());
    UpstreamError {
        class: class_of(status, &message),
        retry_after: wait_in_text(&message),
        code: body.code.map(|code| code.0.into_owned()),
        named: Named::default(),
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
        _ => ErrorClass::Upstream,
    }
}
