//! What client and gateway say to each other: JSON objects, one a text message.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use omniroute_core::error::GatewayError;
use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

use crate::request::memory::Reservation;

/// Longest id of a request, in bytes.
const LONGEST_ID: usize = 128;
/// Headers of one request.
const MOST_HEADERS: usize = 16;
/// Where a request goes that does not say.
const CHAT: &str = "/v1/chat/completions";

/// A message of the client's.
#[derive(Debug)]
pub(super) enum Incoming {
    Request(Box<CallRequest>),
    Cancel(String),
    Ping,
}

/// A request.
#[derive(Debug)]
pub(super) struct CallRequest {
    pub(super) id: String,
    /// A path of a model call, with its query.
    pub(super) endpoint: String,
    /// A slice of the message.
    pub(super) payload: Bytes,
    /// The memory that the message takes.
    pub(super) share: Option<Reservation>,
    pub(super) headers: HeaderMap,
    /// Whether a stream comes as parsed events instead of pieces of text.
    pub(super) as_events: bool,
}

/// A message that is none. The socket stays open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    /// Of the request that it is about, where there is one.
    pub(super) id: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    endpoint: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    #[serde(borrow)]
    frames: Option<Cow<'a, str>>,
}

/// Examples of every message, for `?handshake=1`.
pub(super) fn protocol() -> Value {
    json!({
        "request": {
            "type": "request",
            "id": "req-1",
            "endpoint": CHAT,
            "headers": {"x-session-id": "session-1"},
            "frames": "chunks",
            "payload": {"model": "openai/gpt-4.1-mini", "messages": []},
        },
        "cancel": {"type": "cancel", "id": "req-1"},
        "ping": {"type": "ping"},
        "answers": {
            "session.ready": {"type": "session.ready", "sessionId": "…", "path": "/v1/ws"},
            "response.start": {"type": "response.start", "id": "req-1", "status": 200, "ok": true, "contentType": "text/event-stream"},
            "response.chunk": {"type": "response.chunk", "id": "req-1", "chunk": "data: {…}\n\n"},
            "response.event": {"type": "response.event", "id": "req-1", "event": "message_start", "data": {}},
            "response.output": {"type": "response.output", "id": "req-1", "status": 200, "ok": true, "body": {}},
            "response.error": {"type": "response.error", "id": "req-1", "status": 404, "ok": false, "body": {"error": {}}},
            "response.completed": {"type": "response.completed", "id": "req-1", "status": 200, "ok": true},
            "response.cancelled": {"type": "response.cancelled", "id": "req-1", "code": "client_cancelled"},
            "protocol.error": {"type": "protocol.error", "code": "invalid_json", "id": null, "message": "…"},
            "pong": {"type": "pong", "sessionId": "…"},
        },
        "closes": {
            "1001": "the proxy drains, or nobody was heard for too long",
            "1003": "a message was binary",
            "1008": "a message came too slowly",
            "1009": "a message was too long",
            "4401": "the key is no good any more",
        },
    })
}

/// Reads a message.
pub(super) fn read(text: &Bytes) -> Result<Incoming, Fault> {
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Fault::of("invalid_envelope", "a message is an object; its fields have the wrong types")
        }
        _ => Fault::of("invalid_json", "a message is JSON"),
    })?;
    let id = envelope.id.as_deref().filter(|id| is_id(id)).map(str::to_owned);
    match envelope.kind.as_deref() {
        Some("ping") => Ok(Incoming::Ping),
        Some("cancel") => {
            id.map(Incoming::Cancel).ok_or(Fault::of("invalid_cancel", "to cancel, name the id of a request"))
        }
        Some("request") => {
            let id = id.ok_or(Fault::of("invalid_request_id", "a request has an id of 1 to 128 bytes"))?;
            request(id, &envelope, text).map(|asked| Incoming::Request(Box::new(asked)))
        }
        _ => Err(Fault::of("unsupported_type", "the types of messages are request, cancel and ping")),
    }
}

fn request(id: String, envelope: &Envelope<'_>, text: &Bytes) -> Result<CallRequest, Fault> {
    let fault = |code, message| Fault { code, message, id: Some(id.clone()) };
    let payload = envelope.payload.map(RawValue::get).filter(|payload| payload.starts_with('{'));
    let payload = payload.ok_or_else(|| fault("invalid_payload", "the payload of a request is an object"))?;
    let endpoint = envelope.endpoint.as_deref().unwrap_or(CHAT);
    let endpoint = endpoint.strip_prefix("/api").filter(|rest| rest.starts_with("/v1/")).unwrap_or(endpoint);
    if !endpoint.starts_with('/') || endpoint.starts_with("//") {
        return Err(fault("invalid_endpoint", "the endpoint is the path of a model call"));
    }
    let mut headers = HeaderMap::new();
    let given = envelope.headers.as_ref();
    if given.is_some_and(|headers| headers.len() > MOST_HEADERS) {
        return Err(fault("invalid_headers", "a request has 16 headers at most"));
    }
    for (name, value) in given.into_iter().flatten() {
        let header = HeaderName::try_from(name.as_ref()).ok().filter(may_be_set);
        let (Some(name), Ok(value)) = (header, HeaderValue::try_from(value.as_ref())) else {
            return Err(fault("invalid_headers", "a header is none that a request may set here"));
        };
        headers.insert(name, value);
    }
    let as_events = match envelope.frames.as_deref() {
        None | Some("chunks") => false,
        Some("events") => true,
        Some(_) => return Err(fault("invalid_frames", "frames are chunks or events")),
    };
    Ok(CallRequest {
        payload: text.slice_ref(payload.as_bytes()),
        share: None,
        endpoint: endpoint.to_owned(),
        headers,
        as_events,
        id,
    })
}

/// The id in a message of which only the beginning is there.
pub(super) fn id_of_beginning(beginning: &[u8]) -> Option<String> {
    struct Fields<'f>(&'f mut Option<String>);

    impl<'de> Visitor<'de> for Fields<'_> {
        type Value = ();

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
            while let Some(name) = fields.next_key::<String>()? {
                if name == "id" {
                    *self.0 = Some(fields.next_value()?);
                } else {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
            Ok(())
        }
    }

    let mut id = None;
    // It fails where the beginning ends.
    let _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(Fields(&mut id));
    id.filter(|id| is_id(id))
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID
}

/// What belongs to one request. Who asks is said once, when the socket is opened.
fn may_be_set(name: &HeaderName) -> bool {
    let text = name.as_str();
    matches!(
        text,
        "x-request-id" | "x-session-id" | "x_session_id" | "idempotency-key" | "anthropic-beta" | "anthropic-version"
    ) || text.starts_with("x-omniroute-")
        || text == "openai-beta"
}

// === answers ===

pub(super) fn ready(session: &str) -> String {
    json!({"type": "session.ready", "sessionId": session, "path": "/v1/ws"}).to_string()
}

pub(super) fn pong(session: &str) -> String {
    json!({"type": "pong", "sessionId": session}).to_string()
}

pub(super) fn cancelled(id: &str) -> String {
    json!({"type": "response.cancelled", "id": id, "code": "client_cancelled"}).to_string()
}

/// A request that is refused before it is one.
pub(super) fn refused(id: &str, error: &GatewayError) -> String {
    let status = error.class.status();
    json!({"type": "response.error", "id": id, "status": status, "ok": false, "code": error.code, "message": error.message})
        .to_string()
}

impl Fault {
    const fn of(code: &'static str, message: &'static str) -> Self {
        Self { code, message, id: None }
    }

    pub(super) fn frame(&self) -> String {
        json!({"type": "protocol.error", "code": self.code, "id": self.id, "message": self.message}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Incoming, Fault> {
        read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn asked(text: &str) -> CallRequest {
        match said(text) {
            Ok(Incoming::Request(asked)) => *asked,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_say_where_they_go_and_keep_their_payload_as_it_is() {
        let plain = asked(r#"{"type":"request","id":"a","payload":{ "model" : "m", "x":1.0e2 }}"#);
        assert_eq!((plain.endpoint.as_str(), &plain.payload[..]), (CHAT, &br#"{ "model" : "m", "x":1.0e2 }"#[..]));
        let other = r#"{"type":"request","id":"a","endpoint":"/api/v1/messages?beta=true","frames":"events","headers":{"Anthropic-Beta":"x"},"payload":{}}"#;
        let other = asked(other);
        assert_eq!((other.endpoint.as_str(), other.as_events), ("/v1/messages?beta=true", true));
        assert_eq!(other.headers["anthropic-beta"], "x");
        assert!(matches!(said(r#"{"type":"cancel","id":"a"}"#), Ok(Incoming::Cancel(id)) if id == "a"));
        assert!(matches!(said(r#"{"type":"ping","extra":[]}"#), Ok(Incoming::Ping)));
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        let long = "x".repeat(LONGEST_ID + 1);
        for (text, code) in [
            ("{", "invalid_json"),
            ("[]", "invalid_envelope"),
            ("7", "invalid_envelope"),
            (r#"{"type":1}"#, "invalid_envelope"),
            ("{}", "unsupported_type"),
            (r#"{"type":"fly"}"#, "unsupported_type"),
            (r#"{"type":"cancel"}"#, "invalid_cancel"),
            (r#"{"type":"request","payload":{}}"#, "invalid_request_id"),
            (&format!(r#"{{"type":"request","id":"{long}","payload":{{}}}}"#), "invalid_request_id"),
            (r#"{"type":"request","id":"a"}"#, "invalid_payload"),
            (r#"{"type":"request","id":"a","payload":[]}"#, "invalid_payload"),
            (r#"{"type":"request","id":"a","endpoint":"http://x/v1","payload":{}}"#, "invalid_endpoint"),
            (r#"{"type":"request","id":"a","endpoint":"//x/v1","payload":{}}"#, "invalid_endpoint"),
            (r#"{"type":"request","id":"a","frames":"x","payload":{}}"#, "invalid_frames"),
            (r#"{"type":"request","id":"a","headers":{"authorization":"Bearer x"},"payload":{}}"#, "invalid_headers"),
            (r#"{"type":"request","id":"a","headers":{"x-request-id":"a\nb"},"payload":{}}"#, "invalid_headers"),
        ] {
            assert_eq!(said(text).err().map(|fault| fault.code), Some(code), "{text}");
        }
    }

    #[test]
    fn a_beginning_is_enough_to_find_the_id() {
        for (beginning, id) in [
            (r#"{"type":"request","payload":{"id":"inner"},"id":"a","endpo"#, Some("a")),
            (r#"{ "id" : "\u0061b", "payload": {"messages": [{"#, Some("ab")),
            (r#"{"type":"request","payload":{"id":"inner","#, None),
            (r#"{"id":"unfinishe"#, None),
            (r#"{"id":7,"x":1}"#, None),
            (r#"{"id":"","x":1}"#, None),
            ("[{", None),
            ("", None),
        ] {
            assert_eq!(id_of_beginning(beginning.as_bytes()).as_deref(), id, "{beginning}");
        }
    }
}
