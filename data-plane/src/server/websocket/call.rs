//! One request of a socket: the steps of an HTTP request, and what comes out of them as frames.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, response::Parts};
use http_body_util::{BodyExt, Full};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_providers::Operation;
use omniroute_wire::{
    event_stream::{EventReader, ServerEvent},
    scan::scan,
    translate::Dialect,
};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::mpsc::Sender;
use tokio_tungstenite::tungstenite::Message;

use super::message::{CallRequest, refused};
use crate::server::{
    Stages, pipeline,
    route::Route,
    service,
    write_timeout::{StreamActivity, TrackedBody, with_write_timeout},
};

/// Largest answer that is no stream.
const LARGEST: usize = 64 * 1024 * 1024;

/// The client is gone, or reads no more.
struct Gone;

/// Sends frames of one request.
struct Frames<'c> {
    id: &'c str,
    out: &'c Sender<Message>,
}

/// Runs a request until its end, until it is overdue, or until the drain cuts it. Dropping the future cancels it, upstream too.
pub(super) async fn serve(stages: &Arc<Stages>, credentials: &HeaderMap, asked: CallRequest, out: &Sender<Message>) {
    let activity = StreamActivity::new();
    let call = run(stages, credentials, asked, out, &activity);
    // That the client is gone is noticed where its messages are read.
    let _ = Box::pin(with_write_timeout(call, Arc::clone(&activity), stages.limits.unread(), stages.lifecycle.watch()))
        .await;
}

async fn run(
    stages: &Arc<Stages>,
    credentials: &HeaderMap,
    asked: CallRequest,
    out: &Sender<Message>,
    activity: &Arc<StreamActivity>,
) -> Result<(), Gone> {
    let CallRequest { id, endpoint, payload, share, headers, as_events } = asked;
    let frames = Frames { id: &id, out };
    let Some((route, request)) = prepare(credentials, &endpoint, payload, headers) else {
        let error =
            GatewayError::new(ErrorClass::NotFound, "invalid_endpoint", "the endpoint is no path of a model call")
                .with_param("endpoint");
        return frames.send(refused(&id, &error)).await;
    };
    let path = request.uri().path().to_owned();
    let response = match activity.answering(pipeline::serve(Arc::clone(stages), route, request, share, None)).await {
        Some(response) => response,
        None => service::cut_off(&path, None),
    };
    let (head, body) = response.map(|reply| TrackedBody::new(reply, Arc::clone(activity))).into_parts();
    frames.start(&head, &endpoint).await?;
    let status = head.status.as_u16();
    let ok = head.status.is_success();
    let kind = content_type(&head).unwrap_or_default();
    let is_events = ok && kind.starts_with("text/event-stream");
    let is_stream = is_events || (ok && kind.starts_with("application/x-ndjson"));
    let ended = match (is_stream, as_events && is_events) {
        (true, true) => frames.events(body).await?,
        (true, false) => frames.chunks(body).await?,
        (false, _) => frames.whole(body, status, ok).await?,
    };
    match ended {
        Ok(()) => {
            frames.send(json!({"type": "response.completed", "id": id, "status": status, "ok": ok}).to_string()).await
        }
        Err(error) => frames.send(refused(&id, &error)).await,
    }
}

/// The request as HTTP would bring it. `None` when nothing is called at that path.
fn prepare(
    credentials: &HeaderMap,
    endpoint: &str,
    payload: Bytes,
    own: HeaderMap,
) -> Option<(Route, Request<Full<Bytes>>)> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.parse::<Uri>().ok()?;
    let mut headers = credentials.clone();
    for (name, value) in own {
        // Names are never repeated: they come out of a map.
        if let Some(name) = name {
            headers.insert(name, value);
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.headers_mut() = headers;
    let route = Route::of(&request)?;
    let body = if streams_by_default(&route) { with_stream(payload) } else { payload };
    Some((route, request.map(|()| Full::new(body))))
}

/// Over a socket one wants a stream, unless one says otherwise. Other dialects say it in their own ways.
fn streams_by_default(route: &Route) -> bool {
    let by_field =
        matches!(route.dialect, Dialect::Chat | Dialect::Completions | Dialect::Responses | Dialect::Messages);
    route.operation == Operation::Chat && by_field
}

/// A body that is wrong is left for the steps to refuse.
fn with_stream(payload: Bytes) -> Bytes {
    if scan(&payload).map_or(true, |scan| scan.stream.is_some()) {
        return payload;
    }
    let Some(rest) = payload.strip_prefix(b"{") else { return payload };
    let comma: &[u8] = if rest.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
    Bytes::from([b"{\"stream\":true", comma, rest].concat())
}

fn content_type(head: &Parts) -> Option<&str> {
    head.headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn cut(message: &str) -> GatewayError {
    GatewayError::new(ErrorClass::Upstream, "upstream_broken", message)
}

// === impl Frames ===

impl Frames<'_> {
    /// Waits for a place in the queue: who reads slowly slows the upstream.
    async fn send(&self, text: String) -> Result<(), Gone> {
        self.out.send(Message::Text(text.into())).await.map_err(|_| Gone)
    }

    async fn start(&self, head: &Parts, endpoint: &str) -> Result<(), Gone> {
        let ours = |name: &str| name.starts_with("x-") || name == "retry-after";
        let headers: serde_json::Map<String, Value> = head
            .headers
            .iter()
            .filter(|(name, _)| ours(name.as_str()))
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.into())))
            .collect();
        let start = json!({
            "type": "response.start",
            "id": self.id,
            "status": head.status.as_u16(),
            "ok": head.status.is_success(),
            "contentType": content_type(head),
            "endpoint": endpoint,
            "headers": headers,
        });
        self.send(start.to_string()).await
    }

    /// A stream as text, in pieces that end with whole characters.
    async fn chunks(&self, mut body: TrackedBody) -> Result<Result<(), GatewayError>, Gone> {
        let mut held = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Ok(Err(cut("the answer broke off"))) };
            let Ok(data) = frame.into_data() else { continue };
            held.extend_from_slice(&data);
            let whole = held.len() - unfinished(&held);
            if whole > 0 {
                self.chunk(&held.split_to(whole)).await?;
            }
        }
        if !held.is_empty() {
            self.chunk(&held).await?;
        }
        Ok(Ok(()))
    }

    async fn chunk(&self, bytes: &[u8]) -> Result<(), Gone> {
        let chunk = String::from_utf8_lossy(bytes);
        self.send(json!({"type": "response.chunk", "id": self.id, "chunk": chunk}).to_string()).await
    }

    /// A stream as its events.
    async fn events(&self, mut body: TrackedBody) -> Result<Result<(), GatewayError>, Gone> {
        let mut reader = EventReader::default();
        let mut ready = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Ok(Err(cut("the answer broke off"))) };
            let Ok(data) = frame.into_data() else { continue };
            if reader.feed(&data, |event| ready.push(self.event(event))).is_err() {
                return Ok(Err(cut("an event of the answer is too long")));
            }
            for event in ready.drain(..) {
                self.send(event).await?;
            }
        }
        // What is not whole by now was cut off, and the client has been told of that.
        Ok(Ok(()))
    }

    fn event(&self, event: ServerEvent<'_>) -> String {
        let name = (!event.name.is_empty()).then(|| String::from_utf8_lossy(event.name));
        let id = json!(self.id);
        let name = json!(name);
        match std::str::from_utf8(event.data).ok().and_then(|data| serde_json::from_str::<&RawValue>(data).ok()) {
            Some(data) => format!(r#"{{"type":"response.event","id":{id},"event":{name},"data":{data}}}"#),
            // `[DONE]`, for one.
            None => {
                let data = json!(String::from_utf8_lossy(event.data));
                format!(r#"{{"type":"response.event","id":{id},"event":{name},"data":{data}}}"#)
            }
        }
    }

    /// An answer in one piece.
    async fn whole(&self, mut body: TrackedBody, status: u16, ok: bool) -> Result<Result<(), GatewayError>, Gone> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Ok(Err(cut("the answer broke off"))) };
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > LARGEST {
                return Ok(Err(cut("the answer is too large for a frame")));
            }
            bytes.extend_from_slice(&data);
        }
        let text = String::from_utf8_lossy(&bytes);
        let kind = if ok { "response.output" } else { "response.error" };
        let id = json!(self.id);
        let frame = match serde_json::from_str::<&RawValue>(text.trim()) {
            Ok(raw) => format!(r#"{{"type":"{kind}","id":{id},"status":{status},"ok":{ok},"body":{raw}}}"#),
            Err(_) => json!({"type": kind, "id": self.id, "status": status, "ok": ok, "body": text}).to_string(),
        };
        self.send(frame).await?;
        Ok(Ok(()))
    }
}

/// Bytes at the end that are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    for (back, byte) in tail.iter().rev().enumerate() {
        let needed = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if back + 1 < needed { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_never_cut() {
        let text = "a\u{e9}\u{20ac}\u{1f600}z".as_bytes();
        for end in 1..=text.len() {
            let bytes = &text[..end];
            let whole = bytes.len() - unfinished(bytes);
            assert!(std::str::from_utf8(&bytes[..whole]).is_ok(), "{end}");
        }
        assert_eq!((unfinished(b""), unfinished(b"\xff"), unfinished(b"\x80\x80\x80\x80")), (0, 0, 0));
    }

    #[test]
    fn a_stream_is_asked_for_where_nothing_is_said() {
        for (payload, expected) in [
            (r#"{"model":"m"}"#, r#"{"stream":true,"model":"m"}"#),
            ("{ }", r#"{"stream":true }"#),
            (r#"{"stream":false}"#, r#"{"stream":false}"#),
            (r#"{"stream":1}"#, r#"{"stream":1}"#),
        ] {
            assert_eq!(with_stream(Bytes::from_static(payload.as_bytes())), expected);
        }
    }
}
