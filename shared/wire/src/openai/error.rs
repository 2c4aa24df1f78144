//! Errors of the OpenAI family.

use std::time::Duration;

use omniroute_core::error::{ErrorClass, GatewayError};

use serde_json::value::RawValue;

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
        error: &'a RawValue = "error",
        message: &'a RawValue = "message",
        detail: &'a RawValue = "detail",
        code: CodeField<'a> = "code",
        kind: Str<'a> = lenient "type",
        choices: Vec<ChoiceField<'a>> = lenient "choices",
    }
}

wire_object! {
    struct ErrorObject<'a> {
        message: &'a RawValue = "message",
        detail: &'a RawValue = "detail",
        kind: Str<'a> = lenient "type",
        code: CodeField<'a> = "code",
        param: Str<'a> = lenient "param",
    }
}

wire_object! {
    /// A choice that ended with an error, as OpenRouter says it.
    struct ChoiceField<'a> {
        error: &'a RawValue = "error",
    }
}

/// A word, or a number where a host repeats the status.
#[derive(Clone, Debug)]
struct CodeField<'a>(std::borrow::Cow<'a, str>);

/// What an error body says.
pub fn decode_error(status: u16, body: &[u8]) -> UpstreamError {
    // Some answer who asked for a stream with an event, whatever the status.
    let body = body.trim_ascii_start().strip_prefix(b"data:").unwrap_or(body);
    let Ok(envelope) = read::<Envelope<'_>>(body) else {
        let text = read::<Str<'_>>(body).ok().map(|text| text.0.into_owned());
        return understood(status, text, ErrorObject::default());
    };
    let in_choice = envelope.choices.into_iter().flatten().find_map(|choice| choice.error);
    match envelope.error.or(in_choice).filter(|raw| raw.get() != "null") {
        Some(raw) => decode_field(status, raw),
        None => {
            let words = envelope.message.and_then(wording).or_else(|| envelope.detail.and_then(wording));
            understood(status, words, ErrorObject { kind: envelope.kind, code: envelope.code, ..Default::default() })
        }
    }
}

/// What stands behind `error`: an object, or a text where a host says no more.
pub(super) fn decode_field(status: u16, raw: &RawValue) -> UpstreamError {
    match serde_json::from_str::<ErrorObject<'_>>(raw.get()) {
        Ok(object) => {
            let words = object.message.and_then(wording).or_else(|| object.detail.and_then(wording));
            understood(status, words, object)
        }
        Err(_) => understood(status, wording(raw), ErrorObject::default()),
    }
}

fn understood(status: u16, words: Option<String>, object: ErrorObject<'_>) -> UpstreamError {
    let ErrorObject { kind, code, param, .. } = object;
    let named = OpenAiErrorFields {
        code: code.as_ref().map(|code| code.0.as_ref().into()),
        param: param.map(|param| param.0.as_ref().into()),
    };
    let code = code.map(|code| code.0.into_owned()).or_else(|| kind.as_ref().map(|kind| kind.to_string()));
    let message = words.unwrap_or_else(|| format!("the upstream answered {status}"));
    let class = class_of(told_status(status, code.as_deref()), code.as_deref(), kind.as_deref(), &message);
    let retry_after = wait_in_text(&message);
    UpstreamError { class, message, code, named, retry_after }
}

/// Where there is no status but in the body (a stream, a 200), some hosts write it as the code. That of a refused credential
/// means the prompt there: an answer had begun.
fn told_status(status: u16, code: Option<&str>) -> u16 {
    match code.and_then(|code| code.parse().ok()).filter(|_| status >= 500) {
        Some(401 | 403) => 400,
        Some(told @ 400..=599) => told,
        _ => status,
    }
}

fn class_of(status: u16, code: Option<&str>, kind: Option<&str>, message: &str) -> ErrorClass {
    match code {
        Some("context_length_exceeded") => return ErrorClass::ContextTooLong,
        Some("insufficient_quota" | "billing_hard_limit_reached") => return ErrorClass::Payment,
        Some("rate_limit_exceeded" | "rate_limit_error") => return ErrorClass::RateLimited,
        Some("model_not_found") => return ErrorClass::NotFound,
        Some("overloaded" | "overloaded_error") => return ErrorClass::Overloaded,
        Some("invalid_api_key") => return ErrorClass::Unauthenticated,
        Some("content_filter" | "content_policy_violation") => return ErrorClass::BadRequest,
        _ => {}
    }
    let lower = message.to_ascii_lowercase();
    let too_long = ["context length", "context window", "maximum context", "too many tokens", "prompt is too long"];
    if matches!(status, 400 | 413 | 422 | 500) && too_long.iter().any(|words| lower.contains(words)) {
        return ErrorClass::ContextTooLong;
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
        _ if code.is_none() => class_in_words(message).unwrap_or(ErrorClass::Upstream),
        _ => ErrorClass::Upstream,
    }
}

/// OpenAI's `type` and `code` of a class. Not found has no word of its own: `model_not_found` is one of ours too, and a path
/// that does not exist is no missing model.
pub(crate) const fn words(class: ErrorClass) -> (&'static str, Option<&'static str>) {
    match class {
        ErrorClass::BadRequest
        | ErrorClass::MethodNotAllowed
        | ErrorClass::Conflict
        | ErrorClass::TooLarge
        | ErrorClass::UnsupportedMedia
        | ErrorClass::RequestTimeout => ("invalid_request_error", None),
        ErrorClass::ContextTooLong => ("invalid_request_error", Some("context_length_exceeded")),
        ErrorClass::Unauthenticated => ("invalid_request_error", Some("invalid_api_key")),
        ErrorClass::Payment => ("insufficient_quota", Some("insufficient_quota")),
        ErrorClass::Forbidden => ("permission_error", Some("permission_denied")),
        ErrorClass::NotFound => ("invalid_request_error", None),
        ErrorClass::RateLimited => ("rate_limit_error", Some("rate_limit_exceeded")),
        ErrorClass::Overloaded => ("server_error", Some("overloaded")),
        ErrorClass::UpstreamTimeout => ("server_error", Some("timeout")),
        ErrorClass::Upstream => ("server_error", Some("upstream_error")),
        ErrorClass::Internal => ("server_error", Some("internal")),
    }
}

/// An error answer: status and body.
pub fn encode_error(error: &GatewayError, request_id: &str) -> (u16, Vec<u8>) {
    let mut body = Vec::with_capacity(256);
    Writer::new(&mut body).object(|w| {
        w.key("error").object(|w| {
            let code = error.upstream_code.as_deref().unwrap_or(error.code);
            write_fields(w, error.class, code, &error.message, error.param.as_deref());
            w.field_str("request_id", request_id);
            w.key("omniroute").object(|w| {
                w.field_str("code", error.code);
                w.field_str_opt("hint", error.hint.as_deref());
            });
        });
    });
    (error.class.status(), body)
}

/// An error in mid-stream: one event, and no `[DONE]` after it.
pub fn encode_stream_error(error: &StreamError, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    Writer::new(out).object(|w| {
        w.key("error").object(|w| {
            write_fields(w, error.class, error.code, &error.message, None);
            w.field_str_opt("request_id", error.request_id.as_deref());
        });
    });
    out.extend_from_slice(b"\n\n");
}

fn write_fields(w: &mut Writer<'_>, class: ErrorClass, own_code: &str, message: &str, param: Option<&str>) {
    let (kind, code) = words(class);
    w.field_str("message", message);
    w.field_str("type", kind);
    match param {
        Some(param) => w.field_str("param", param),
        None => w.field_null("param"),
    }
    // Whether the gateway or the provider misses the model is all the same to a client.
    let own_code = if own_code == "upstream_model_unknown" { "model_not_found" } else { own_code };
    w.field_str("code", code.unwrap_or(own_code));
}

/// Seconds or milliseconds that an error text names ("Please try again in 1.5s").
pub(crate) fn wait_in_text(message: &str) -> Option<Duration> {
    let at = message.find("try again in ")? + "try again in ".len();
    let rest = &message[at..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let number: f64 = rest[..end].parse().ok()?;
    let seconds = match rest[end..].trim_start() {
        unit if unit.starts_with("ms") => number / 1e3,
        unit if unit.starts_with('m') => number * 60.0,
        unit if unit.starts_with('h') => number * 3600.0,
        _ => number,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

// === impl CodeField ===

impl<'de: 'a, 'a> serde::Deserialize<'de> for CodeField<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        match serde_json::from_str::<Str<'de>>(raw.get()) {
            Ok(text) => Ok(Self(text.0)),
            Err(_) => Ok(Self(raw.get().into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_model_is_called_one() {
        for code in ["model_not_found", "unknown_path", "provider_not_connected"] {
            let (status, body) = encode_error(&GatewayError::new(ErrorClass::NotFound, code, "x"), "r1");
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let error = &body["error"];
            assert_eq!((status, &error["type"], &error["code"]), (404, &"invalid_request_error".into(), &code.into()));
            assert_eq!(error["omniroute"]["code"], code);
        }
    }

    #[test]
    fn hosts_shapes_of_an_error_are_understood() {
        for (status, body, class, message) in [
            (
                429,
                r#"{"error":{"message":"Please try again in 1.5s","code":"rate_limit_exceeded"}}"#,
                ErrorClass::RateLimited,
                "Please try again in 1.5s",
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192"}}"#,
                ErrorClass::ContextTooLong,
                "This model's maximum context length is 8192",
            ),
            (400, r#"{"error":"bad"}"#, ErrorClass::BadRequest, "bad"),
            (422, r#"{"detail":"no such field"}"#, ErrorClass::BadRequest, "no such field"),
            (422, r#"{"detail":[{"msg":"no"}]}"#, ErrorClass::BadRequest, r#"[{"msg":"no"}]"#),
            (400, r#"{"message":{"detail":"no"},"code":7}"#, ErrorClass::BadRequest, "no"),
            (500, r#"{"error":"overloaded"}"#, ErrorClass::Overloaded, "overloaded"),
            (500, r#""Too many requests""#, ErrorClass::RateLimited, "Too many requests"),
            (
                500,
                r#"{"error":{"message":"The engine is overloaded"}}"#,
                ErrorClass::Overloaded,
                "The engine is overloaded",
            ),
            (
                500,
                r#"{"choices":[{"error":{"code":502,"message":"broke"},"finish_reason":"error"}]}"#,
                ErrorClass::Upstream,
                "broke",
            ),
            (500, "<html>", ErrorClass::Upstream, "the upstream answered 500"),
            (500, r#"{"error":{"message":"slow","code":429}}"#, ErrorClass::RateLimited, "slow"),
            (500, r#"{"error":{"message":"flagged","code":403}}"#, ErrorClass::BadRequest, "flagged"),
            (500, r#"{"error":{"message":"no","code":"content_filter"}}"#, ErrorClass::BadRequest, "no"),
            (429, r#"{"error":{"message":"no money","code":"insufficient_quota"}}"#, ErrorClass::Payment, "no money"),
        ] {
            let error = decode_error(status, body.as_bytes());
            assert_eq!((error.class, error.message.as_str()), (class, message), "{body}");
        }
        assert_eq!(wait_in_text("try again in 250ms."), Some(Duration::from_millis(250)));
        assert_eq!(wait_in_text("try again in 6m0s"), Some(Duration::from_mins(6)));
    }
}
