//! Errors: `{"message": "…"}`, with the exception's name in a header, or inside the stream.

use std::time::Duration;

use omniroute_core::error::ErrorClass;

use crate::{
    codec::{OpenAiErrorFields, UpstreamError},
    object::{read, wire_object},
    openai::wait_in_text,
    text::Str,
};

wire_object! {
    struct Body<'a> {
        message: Str<'a> = lenient "message",
        // Some of Amazon's front ends write it like this.
        message_upper: Str<'a> = "Message",
        kind: Str<'a> = "__type",
        original_message: Str<'a> = lenient "originalMessage",
        original_status: u16 = lenient "originalStatusCode",
        retry_after: f64 = lenient "retryAfterSeconds",
    }
}

/// What an error body says. `error_type` is the value of the `x-amzn-errortype` header, or the exception's name in a stream.
pub fn decode_error(status: u16, error_type: Option<&str>, body: &[u8]) -> UpstreamError {
    let body: Body<'_> = read(body).unwrap_or_default();
    let exception = error_type.or(body.kind.as_deref()).map(exception_name).filter(|name| !name.is_empty());
    let message = body.message.or(body.message_upper).or(body.original_message).filter(|text| !text.is_empty());
    let message = message.map_or_else(|| format!("the upstream answered {status}"), |text| text.0.into_owned());
    let named = body.retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    UpstreamError {
        class: class_of(status, exception, body.original_status, &message),
        retry_after: named.or_else(|| wait_in_text(&message)),
        code: exception.map(str::to_owned),
        named: OpenAiErrorFields::default(),
        message,
    }
}

/// `com.amazon.coral.service#ThrottlingException:http://…` → `ThrottlingException`.
fn exception_name(text: &str) -> &str {
    let text = text.rsplit_once('#').map_or(text, |(_, name)| name);
    text.split_once(':').map_or(text, |(name, _)| name).trim()
}

fn class_of(status: u16, exception: Option<&str>, original: Option<u16>, message: &str) -> ErrorClass {
    // In a stream the same names begin with a small letter.
    let name = exception.unwrap_or_default().to_ascii_lowercase();
    match name.strip_suffix("exception").unwrap_or(&name) {
        "throttling" | "toomanyrequests" | "servicequotaexceeded" | "limitexceeded" => ErrorClass::RateLimited,
        "modelnotready" | "serviceunavailable" => ErrorClass::Overloaded,
        "modeltimeout" => ErrorClass::UpstreamTimeout,
        "modelerror" | "modelstreamerror" => match original {
            Some(429) => ErrorClass::RateLimited,
            Some(503 | 529) => ErrorClass::Overloaded,
            Some(408 | 504) => ErrorClass::UpstreamTimeout,
            _ => ErrorClass::Upstream,
        },
        "internalserver" | "internalfailure" => ErrorClass::Upstream,
        "accessdenied" | "optinrequired" => ErrorClass::Forbidden,
        "resourcenotfound" | "unknownoperation" => ErrorClass::NotFound,
        "unrecognizedclient"
        | "invalidsignature"
        | "incompletesignature"
        | "expiredtoken"
        | "missingauthenticationtoken"
        | "invalidclienttokenid"
        | "notauthorized" => ErrorClass::Unauthenticated,
        "validation" => validation_class(message),
        _ => class_of_status(status, message),
    }
}

/// One exception for everything that is wrong with a request; the words say what.
fn validation_class(message: &str) -> ErrorClass {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    if says(&[
        "input is too long",
        "prompt is too long",
        "too many input tokens",
        "context length",
        "context window",
        "maximum context",
        "exceeds the maximum number of input tokens",
    ]) {
        ErrorClass::ContextTooLong
    } else if says(&["model identifier is invalid", "model id is invalid"]) {
        ErrorClass::NotFound
    } else {
        ErrorClass::BadRequest
    }
}

fn class_of_status(status: u16, message: &str) -> ErrorClass {
    match status {
        401 => ErrorClass::Unauthenticated,
        402 => ErrorClass::Payment,
        403 => ErrorClass::Forbidden,
        404 => ErrorClass::NotFound,
        408 | 504 => ErrorClass::UpstreamTimeout,
        413 => ErrorClass::TooLarge,
        // A model that failed, not a request that is wrong.
        424 => ErrorClass::Upstream,
        429 => ErrorClass::RateLimited,
        503 | 529 => ErrorClass::Overloaded,
        400..=499 => validation_class(message),
        _ => ErrorClass::Upstream,
    }
}
