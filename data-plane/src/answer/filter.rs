//! How an answer is followed while it passes: as an event stream, as one JSON document, or on its way from one format
//! to another.

use bytes::Bytes;
use omniroute_core::error::GatewayError;
use omniroute_wire::ir::StreamError;

use super::{
    AnswerKind,
    first_content::error_in,
    framer::EventFramer,
    redact::redact,
    scanner::{Document, Scanner},
};
use crate::{
    reply::{AnswerStats, ErrorContext, terminator_timeout::FinishState},
    translate::{Streaming, stream_error},
};

/// Ignored by every reader of events; keeps what lies between from closing a silent connection.
pub(crate) const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// Anthropic's own keepalive.
pub(crate) const PING: Bytes = Bytes::from_static(b"event: ping\ndata: {\"type\": \"ping\"}\n\n");
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");
const BLANK: Bytes = Bytes::from_static(b"\n\n");
const LINE_END: Bytes = Bytes::from_static(b"\n");

/// Follows one answer.
pub(crate) enum AnswerFilter {
    // Boxed, as all are: answers are handed from stage to stage.
    Events(Box<Events>),
    Json(Box<Document>),
    /// From the upstream's format to the client's, as it comes.
    Translated(Box<Streaming>),
    /// Translated as a whole, before its first byte went out.
    Finished(Box<AnswerStats>),
}

/// A stream of events, or of lines.
#[derive(Debug)]
pub(crate) struct Events {
    kind: AnswerKind,
    scanner: Scanner,
    framer: EventFramer,
    /// The upstream's, as it told it.
    error: Option<Box<StreamError>>,
}

/// What an answer is, judged by its head and, where that does not tell, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Events,
    /// JSON, one document a line.
    Lines,
    Json,
    Html,
    Unknown,
}

/// The first bytes are no answer of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAnAnswer {
    /// An error object in an answer that says 200.
    ErrorObject,
    /// A document that is whole and lacks what makes it an answer.
    NoAnswer,
}

// === impl Shape ===

impl Shape {
    pub(crate) fn of(content_type: Option<&[u8]>, first: &[u8]) -> Self {
        let kind = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if kind.eq_ignore_ascii_case(b"text/event-stream") {
            return Self::Events;
        }
        if kind.eq_ignore_ascii_case(b"text/html") {
            return Self::Html;
        }
        if kind.eq_ignore_ascii_case(b"application/x-ndjson") {
            return Self::Lines;
        }
        let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
        match first {
            [b'{', ..] => Self::Json,
            [b':', ..] => Self::Events,
            [b'<', ..] => Self::Html,
            _ if first.starts_with(b"data:") || first.starts_with(b"event:") => Self::Events,
            // White space only: the type is all there is to go by.
            [] if kind.ends_with(b"json") => Self::Json,
            _ => Self::Unknown,
        }
    }

    /// Whether an answer comes piece by piece; `None` for what is no answer.
    pub(crate) const fn is_stream(self) -> Option<bool> {
        match self {
            Self::Events | Self::Lines => Some(true),
            Self::Json => Some(false),
            Self::Html | Self::Unknown => None,
        }
    }
}

// === impl AnswerFilter ===

impl AnswerFilter {
    pub(crate) fn events(kind: AnswerKind, hide_usage: bool) -> Self {
        let scanner = Scanner::new(kind, hide_usage);
        let framer = if scanner.is_lines() { EventFramer::lines() } else { EventFramer::events() };
        Self::Events(Box::new(Events { kind, scanner, framer, error: None }))
    }

    /// So many choices were asked for.
    pub(crate) fn of_choices(mut self, choices: u64) -> Self {
        if let Self::Events(events) = &mut self {
            events.scanner.follow_choices(choices);
        }
        self
    }

    pub(crate) fn json(kind: AnswerKind) -> Self {
        Self::Json(Box::new(Document::new(kind)))
    }

    /// Takes the next frame and appends to `out` what the client gets of it.
    pub(crate) fn feed(&mut self, frame: Bytes, error_context: ErrorContext<'_>, out: &mut Vec<Bytes>) {
        match self {
            Self::Events(events) => {
                let from = out.len();
                events.scanner.feed(frame, out);
                events.framer.filter(out, from);
                if events.scanner.saw_error() {
                    events.fail(error_context, out, from);
                }
            }
            Self::Json(document) => {
                document.feed(&frame);
                out.push(frame);
            }
            Self::Translated(streaming) => streaming.feed(&frame, error_context, out),
            Self::Finished(_) => {}
        }
    }

    /// The upstream has ended: gives out what was held back.
    pub(crate) fn flush(&mut self, error_context: ErrorContext<'_>, out: &mut Vec<Bytes>) {
        match self {
            Self::Events(events) => {
                let from = out.len();
                events.scanner.end(out);
                events.framer.filter(out, from);
                out.extend(events.framer.end());
                if events.scanner.saw_error() {
                    events.fail(error_context, out, from);
                }
            }
            Self::Translated(streaming) => streaming.end(error_context, out),
            Self::Json(document) => document.end(),
            Self::Finished(_) => {}
        }
    }

    /// The answer is whole, and its upstream is not waited for any longer. What it began to say in the meantime goes nowhere.
    pub(crate) fn leave(&mut self, error_context: ErrorContext<'_>, out: &mut Vec<Bytes>) {
        if let Self::Translated(streaming) = self {
            streaming.end(error_context, out);
        }
    }

    /// Whether the first frame, which has been fed, is the beginning of an answer. `is_all`: nothing follows it.
    pub(crate) fn check_first(&self, kind: AnswerKind, first: &[u8], is_all: bool) -> Result<(), NotAnAnswer> {
        match self {
            Self::Events(events) if events.scanner.saw_error() => Err(NotAnAnswer::ErrorObject),
            Self::Events(events) if is_all && !events.scanner.complete() => Err(NotAnAnswer::NoAnswer),
            Self::Json(_) if is_error_object(first) => Err(NotAnAnswer::ErrorObject),
            Self::Json(document) if is_all && document.has_failed(first) => Err(NotAnAnswer::ErrorObject),
            Self::Json(_) if is_all && !kind.has_substance(first) => Err(NotAnAnswer::NoAnswer),
            _ => Ok(()),
        }
    }

    /// The terminator of a stream has come.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Events(events) => events.scanner.done(),
            Self::Translated(streaming) => streaming.is_done(),
            Self::Json(_) | Self::Finished(_) => false,
        }
    }

    /// Nothing of the upstream's is missing, whether it has closed or not.
    pub(crate) fn is_all_there(&self) -> bool {
        matches!(self, Self::Finished(_))
    }

    /// Where a stream stands that is whole, if nothing more is said. Of a document only its end tells that.
    pub(crate) fn finish_state(&self) -> Option<FinishState> {
        match self {
            Self::Events(events) => {
                let Events { scanner, framer, .. } = &**events;
                (scanner.is_whole() && framer.is_between())
                    .then(|| FinishState { is_counted: scanner.is_counted(), said: scanner.said() })
            }
            Self::Translated(streaming) => streaming.finish_state(),
            Self::Json(_) | Self::Finished(_) => None,
        }
    }

    /// Whether all of a stream that has begun has come to an end, though it may lack choices that were asked for.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Events(events) => events.scanner.is_complete() && events.framer.is_between(),
            Self::Translated(streaming) => streaming.is_complete(),
            Self::Json(_) | Self::Finished(_) => false,
        }
    }

    /// Whether the client of a stream has, with what went out, why the answer ended and what it cost. Formats without a terminator
    /// have no other end than the upstream's.
    pub(crate) fn is_told_whole(&self) -> bool {
        matches!(self, Self::Events(events) if events.scanner.is_whole() && events.scanner.stats().usage.is_some())
    }

    /// The answer has come to its own end: the stream has said why it finished, the document is all there.
    pub(crate) fn has_finished(&self) -> bool {
        match self {
            Self::Events(events) => events.scanner.complete(),
            Self::Translated(streaming) => streaming.has_finished(),
            Self::Json(_) | Self::Finished(_) => true,
        }
    }

    /// The client has been told of an error, or will be by what is on its way.
    pub(crate) fn saw_error(&self) -> bool {
        match self {
            Self::Events(events) => events.scanner.saw_error(),
            Self::Translated(streaming) => streaming.error().is_some(),
            Self::Json(document) => document.error().is_some(),
            Self::Finished(_) => false,
        }
    }

    /// What the upstream said that went wrong, in the middle of its answer.
    pub(crate) fn upstream_error(&self) -> Option<&StreamError> {
        match self {
            Self::Events(events) => events.error.as_deref(),
            Self::Translated(streaming) => streaming.error(),
            Self::Json(document) => document.error(),
            Self::Finished(_) => None,
        }
    }

    /// Whether the client may be told of an error after the head of the answer.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Events(_) | Self::Translated(_))
    }

    /// What to send while the upstream is silent; `None` where there is nothing harmless.
    pub(crate) fn keepalive(&self) -> Option<Bytes> {
        match self {
            Self::Events(events) if events.scanner.is_anthropic() => Some(PING),
            // A blank line breaks clients of lines, and a comment those of Google's events.
            Self::Events(events) if events.scanner.is_lines() || events.scanner.is_gemini() => None,
            Self::Events(_) => Some(COMMENT),
            Self::Translated(streaming) => streaming.keepalive().map(Bytes::from_static),
            Self::Json(_) | Self::Finished(_) => None,
        }
    }

    /// Whether what has been given out ends with a whole event.
    pub(crate) fn is_between_events(&self) -> bool {
        match self {
            Self::Events(events) => events.framer.is_between(),
            _ => true,
        }
    }

    /// Some hosts leave out the terminator after a finish reason; clients wait for it all the same.
    pub(crate) fn add_terminator(&self, needs_blank: bool, out: &mut Vec<Bytes>) {
        if let Self::Events(events) = self
            && events.scanner.is_chat()
        {
            out.extend(needs_blank.then_some(BLANK));
            out.push(DONE);
        }
    }

    /// Tells the client of a stream, in its own format, that the answer cannot be finished.
    pub(crate) fn fail(&mut self, error: &GatewayError, request_id: &str, out: &mut Vec<Bytes>) {
        match self {
            Self::Events(events) => {
                if !events.framer.is_between() {
                    out.push(if events.scanner.is_lines() { LINE_END } else { BLANK });
                }
                out.push(events.scanner.encode_error(error, request_id).into());
            }
            Self::Translated(streaming) => streaming.fail(stream_error(error, request_id), out),
            Self::Json(_) | Self::Finished(_) => {}
        }
    }

    pub(crate) fn stats(&self) -> AnswerStats {
        match self {
            Self::Events(events) => events.scanner.stats(),
            Self::Json(document) => document.stats(),
            Self::Translated(streaming) => streaming.stats(),
            Self::Finished(stats) => AnswerStats::clone(stats),
        }
    }
}

// === impl Events ===

impl Events {
    /// The events in `out` from `from` on have an error, or come behind one: understands it, and takes out what a client
    /// must not see.
    fn fail(&mut self, error_context: ErrorContext<'_>, out: &mut Vec<Bytes>, from: usize) {
        if self.error.is_none() {
            self.error = error_in(self.kind, &out[from..].concat()).map(Box::new);
        }
        redact(out, from, error_context.hidden);
    }
}

/// `{"error": …}` at the very start, where every host puts it.
pub(crate) fn is_error_object(first: &[u8]) -> bool {
    let inside = |bytes: &'_ [u8]| -> Option<bool> {
        let behind_brace = bytes.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
        let value = behind_brace.strip_prefix(b"\"error\"")?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        Some(!value.starts_with(b"null"))
    };
    inside(first).unwrap_or(false)
}
