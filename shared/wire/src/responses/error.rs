//! Errors of Responses: OpenAI's shape in an answer, an event and a failed response in a stream.

use omniroute_core::error::{ErrorClass, GatewayError};

use crate::{codec::UpstreamError, ir::StreamError, openai, write::Writer};

/// What an error body says; a failed response is one too, its `error` stands at the same place.
pub fn decode_error(status: u16, body: &[u8]) -> UpstreamError {
    let mut error = openai::decode_error(status, body);
    let word = error.code.as_deref().unwrap_or_default();
    match word {
        "server_is_overloaded" | "slow_down" => error.class = ErrorClass::Overloaded,
        "invalid_prompt" => error.class = ErrorClass::BadRequest,
        _ if word.starts_with("bio_policy") || word.starts_with("cyber_policy") => {
            error.class = ErrorClass::BadRequest;
        }
        "vector_store_timeout" => error.class = ErrorClass::UpstreamTimeout,
        // Of media that the client sent.
        _ if error.class == ErrorClass::Upstream && (word.contains("image") || word.contains("base64")) => {
            error.class = ErrorClass::BadRequest;
        }
        _ => {}
    }
    error
}

/// An error answer: status and body.
pub fn encode_error(error: &GatewayError, request_id: &str) -> (u16, Vec<u8>) {
    openai::encode_error(error, request_id)
}

/// What a stream that passed as it came has told of its response, for the events that have to end it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Number of the next event.
    pub next: u64,
    pub id: Option<Box<str>>,
    /// Unix seconds.
    pub created: u64,
    pub model: Option<Box<str>>,
}

/// An error on a stream that this module did not write: the event, then a failed response that says no more than that.
pub fn encode_stream_error(begun: &Begun, error: &StreamError, out: &mut Vec<u8>) {
    event(out, "error", |w| {
        w.field("sequence_number", &begun.next);
        write_event_fields(w, error);
    });
    event(out, "response.failed", |w| {
        w.field("sequence_number", &(begun.next + 1));
        w.key("response").object(|w| {
            w.field_str("id", begun.id.as_deref().unwrap_or("resp_0"));
            w.field_str("object", "response");
            w.field("created_at", &begun.created);
            w.field_str("status", "failed");
            write_error(w.key("error"), error);
            w.field_null("incomplete_details");
            w.field_str("model", begun.model.as_deref().unwrap_or_default());
            w.key("output").array(|_| {});
            for (name, default) in super::echo::FIELDS {
                w.field_raw(name, default);
            }
            w.field_null("usage");
        });
    });
}

/// One event. Its type stands in its name and in its data.
pub(super) fn event(out: &mut Vec<u8>, kind: &str, fields: impl FnOnce(&mut Writer<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    Writer::new(out).object(|w| {
        w.field_str("type", kind);
        fields(w);
    });
    out.extend_from_slice(b"\n\n");
}

/// Flat, as the API's reference has it: SDKs take a nested `error` for a failure of the connection.
pub(super) fn write_event_fields(w: &mut Writer<'_>, error: &StreamError) {
    w.field_str("code", code(error));
    w.field_str("message", &message(error));
    w.field_null("param");
    w.field_str_opt("request_id", error.request_id.as_deref());
}

/// The `error` of a response.
pub(super) fn write_error(w: &mut Writer<'_>, error: &StreamError) {
    w.object(|w| {
        w.field_str("code", code(error));
        w.field_str("message", &message(error));
    });
}

fn code(error: &StreamError) -> &'static str {
    openai::words(error.class).1.unwrap_or(error.code)
}

/// Clients find out how long to wait from the words "try again in": a stream has no header for it.
fn message(error: &StreamError) -> std::borrow::Cow<'_, str> {
    match error.retry_after {
        Some(wait) if error.class == ErrorClass::RateLimited && !error.message.contains("try again in") => {
            format!("{} Please try again in {}s.", error.message, wait.as_secs_f64()).into()
        }
        _ => error.message.as_str().into(),
    }
}
