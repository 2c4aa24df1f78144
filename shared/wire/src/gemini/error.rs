//! Errors of Google's APIs: a status word, and details that say when to come back.

use std::time::Duration;

use omniroute_core::error::{ErrorClass, GatewayError};
use serde_json::value::RawValue;

use super::{message::OneOrMany, schema};
use crate::{
    byte_order_mark,
    codec::{OpenAiErrorFields, UpstreamError},
    error_words::{class_in_words, wording},
    ir::StreamError,
    object::wire_object,
    text::Str,
    write::Writer,
};

wire_object! {
    struct Envelope<'a> {
        error: &'a RawValue = "error",
    }
}

wire_object! {
    struct ErrorField<'a> {
        code: &'a RawValue = "code",
        message: &'a RawValue = "message",
        status: Str<'a> = lenient "status",
        details: &'a RawValue = "details",
    }
}

wire_object! {
    struct Detail<'a> {
        retry_delay: Str<'a> = "retryDelay",
        reason: Str<'a> = "reason",
        violations: OneOrMany<Violation<'a>> = "violations",
    }
}

wire_object! {
    struct Violation<'a> {
        quota: Str<'a> = "quotaId",
    }
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// What an error body says: `{"error": {…}}`, the same inside a list (streams), or anything else that a host sends.
pub fn decode_error(status: u16, body: &[u8]) -> UpstreamError {
    let body = byte_order_mark::without(body);
    let envelope = serde_json::from_slice::<OneOrMany<Envelope<'_>>>(body).unwrap_or_default();
    let raw = envelope.0.into_iter().find_map(|envelope| envelope.error);
    raw.map_or_else(|| decode_object(status, None, ErrorField::default()), |raw| decode_raw(status, raw))
}

/// What stands behind `error`: an object, or a text where a host between says so.
pub(super) fn decode_raw(status: u16, raw: &RawValue) -> UpstreamError {
    match serde_json::from_str::<ErrorField<'_>>(raw.get()) {
        Ok(field) => decode_object(status, field.message.and_then(wording), field),
        Err(_) => decode_object(status, wording(raw), ErrorField::default()),
    }
}

/// The text of an error that came as an answer.
pub(super) fn message_of(raw: &RawValue) -> String {
    decode_raw(500, raw).message
}

fn decode_object(status: u16, message: Option<String>, field: ErrorField<'_>) -> UpstreamError {
    // Details of a kind that is not known may have any shape; each is read for itself.
    let details: Vec<Detail<'_>> = field
        .details
        .map(schema::list)
        .unwrap_or_default()
        .into_iter()
        .map(|raw| serde_json::from_str(raw.get()).unwrap_or_default())
        .collect();
    let retry_after = details.iter().find_map(|detail| seconds(detail.retry_delay.as_deref()?));
    let reason = details.iter().find_map(|detail| detail.reason.as_deref());
    let quotas = || details.iter().flat_map(|detail| detail.violations.iter().flat_map(|all| &all.0));
    let by_day = quotas().any(|violation| violation.quota.as_deref().is_some_and(|quota| quota.contains("PerDay")));
    let code = field.code.and_then(|raw| raw.get().parse().ok()).filter(|code| (400..600).contains(code));
    let status = code.unwrap_or(status);
    let message = message.unwrap_or_else(|| format!("the upstream answered {status}"));
    let class = class_of(status, field.status.as_deref(), reason, by_day, &message);
    let retry_after = retry_after.or_else(|| wait_in_text(&message));
    let code = reason.or(field.status.as_deref()).map(str::to_owned);
    UpstreamError { class, message, code, named: OpenAiErrorFields::default(), retry_after }
}

fn class_of(status: u16, word: Option<&str>, reason: Option<&str>, by_day: bool, message: &str) -> ErrorClass {
    match reason {
        // Google calls a wrong key an invalid argument.
        Some("API_KEY_INVALID" | "ACCESS_TOKEN_EXPIRED" | "API_KEY_EXPIRED") => return ErrorClass::Unauthenticated,
        Some("BILLING_DISABLED") => return ErrorClass::Payment,
        Some("SERVICE_DISABLED" | "API_KEY_SERVICE_BLOCKED") => return ErrorClass::Forbidden,
        _ => {}
    }
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    match word {
        Some("INVALID_ARGUMENT") if says(&["api key not valid", "api key expired"]) => ErrorClass::Unauthenticated,
        Some("INVALID_ARGUMENT") if too_long(&lower) => ErrorClass::ContextTooLong,
        Some("FAILED_PRECONDITION") if says(&["billing", "free tier is not available"]) => ErrorClass::Payment,
        Some("FAILED_PRECONDITION") if says(&["location is not supported"]) => ErrorClass::Forbidden,
        Some("INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE") => ErrorClass::BadRequest,
        Some("UNAUTHENTICATED") => ErrorClass::Unauthenticated,
        Some("PERMISSION_DENIED") => ErrorClass::Forbidden,
        Some("NOT_FOUND") => ErrorClass::NotFound,
        // A day's share is gone; the few seconds that RetryInfo names do not bring it back.
        Some("RESOURCE_EXHAUSTED") if by_day || says(&["credits are depleted", "spending cap"]) => ErrorClass::Payment,
        Some("RESOURCE_EXHAUSTED") => ErrorClass::RateLimited,
        Some("UNAVAILABLE") => ErrorClass::Overloaded,
        Some("DEADLINE_EXCEEDED") => ErrorClass::UpstreamTimeout,
        Some("INTERNAL" | "UNKNOWN" | "CANCELLED" | "ABORTED" | "DATA_LOSS") => ErrorClass::Upstream,
        _ => match status {
            400 if too_long(&lower) => ErrorClass::ContextTooLong,
            401 => ErrorClass::Unauthenticated,
            402 => ErrorClass::Payment,
            403 => ErrorClass::Forbidden,
            404 => ErrorClass::NotFound,
            408 | 504 => ErrorClass::UpstreamTimeout,
            413 => ErrorClass::TooLarge,
            429 => ErrorClass::RateLimited,
            503 | 529 => ErrorClass::Overloaded,
            499 => ErrorClass::Upstream,
            400..=498 => ErrorClass::BadRequest,
            _ if word.is_none() => class_in_words(message).unwrap_or(ErrorClass::Upstream),
            _ => ErrorClass::Upstream,
        },
    }
}

fn too_long(lower: &str) -> bool {
    (lower.contains("token count") && lower.contains("exceeds"))
        || lower.contains("maximum number of tokens")
        || lower.contains("input context is too long")
}

/// `"23s"`, `"0.5s"`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

/// "Please retry in 23.4s."
fn wait_in_text(message: &str) -> Option<Duration> {
    let at = message.find("retry in ")? + "retry in ".len();
    let end = message[at..].find(|c: char| !c.is_ascii_digit() && c != '.').map(|end| at + end)?;
    let number: f64 = message[at..end].parse().ok()?;
    let unit = &message[end..];
    let number = if unit.starts_with("ms") { number / 1e3 } else { number };
    Duration::try_from_secs_f64(number).ok().filter(|_| unit.starts_with('s') || unit.starts_with("ms"))
}

/// Google's status word of a class.
const fn status_word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::BadRequest
        | ErrorClass::ContextTooLong
        | ErrorClass::TooLarge
        | ErrorClass::UnsupportedMedia
        | ErrorClass::MethodNotAllowed => "INVALID_ARGUMENT",
        ErrorClass::Unauthenticated => "UNAUTHENTICATED",
        ErrorClass::Payment | ErrorClass::RateLimited => "RESOURCE_EXHAUSTED",
        ErrorClass::Forbidden => "PERMISSION_DENIED",
        ErrorClass::NotFound => "NOT_FOUND",
        ErrorClass::Conflict => "ABORTED",
        ErrorClass::Overloaded => "UNAVAILABLE",
        ErrorClass::UpstreamTimeout | ErrorClass::RequestTimeout => "DEADLINE_EXCEEDED",
        ErrorClass::Upstream | ErrorClass::Internal => "INTERNAL",
    }
}

/// An error answer: status and body.
pub fn encode_error(error: &GatewayError, request_id: &str) -> (u16, Vec<u8>) {
    let mut body = Vec::with_capacity(256);
    Writer::new(&mut body).object(|w| {
        w.key("error").object(|w| {
            write_fields(w, error.class, &error.message, error.retry_after, error.param.as_deref());
            w.field_str("request_id", request_id);
            w.key("omniroute").object(|w| {
                w.field_str("code", error.code);
                w.field_str_opt("hint", error.hint.as_deref());
            });
        });
    });
    (error.class.status(), body)
}

/// An error in mid-stream, as a server-sent event. A stream that is one JSON array gets it from [`super::Encoder`], which
/// knows where in the array it stands.
pub fn encode_stream_error(error: &StreamError, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    write_stream_error(error, out);
    out.extend_from_slice(b"\r\n\r\n");
}

/// The element itself.
pub(super) fn write_stream_error(error: &StreamError, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.key("error").object(|w| {
            write_fields(w, error.class, &error.message, error.retry_after, None);
            w.field_str_opt("request_id", error.request_id.as_deref());
            w.key("omniroute").object(|w| w.field_str("code", error.code));
        });
    });
}

fn write_fields(
    w: &mut Writer<'_>,
    class: ErrorClass,
    message: &str,
    retry_after: Option<Duration>,
    param: Option<&str>,
) {
    w.field("code", &class.status());
    w.field_str("message", message);
    w.field_str("status", status_word(class));
    if retry_after.is_none() && param.is_none() {
        return;
    }
    w.key("details").array(|w| {
        if let Some(wait) = retry_after {
            w.object(|w| {
                w.field_str("@type", RETRY_INFO);
                w.field_str("retryDelay", &format!("{}s", wait.as_secs_f64()));
            });
        }
        if let Some(param) = param {
            w.object(|w| {
                w.field_str("@type", BAD_REQUEST);
                w.key("fieldViolations").array(|w| {
                    w.object(|w| {
                        w.field_str("field", param);
                        w.field_str("description", message);
                    });
                });
            });
        }
    });
}
