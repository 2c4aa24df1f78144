//! Follows a Responses stream that is passed through, without parsing the events that cannot matter.
//!
//! The event that ends the stream carries the whole response, and is the only one that is parsed.

use bytes::{Bytes, BytesMut};

use super::{error::Begun, usage::UsageField};
use crate::{
    event_scan::{Key, event_end, keys, string_length, value_behind},
    event_stream::MAX_EVENT_BYTES,
    object::wire_object,
    text::Str,
    usage::{Service, Usage},
};

wire_object! {
    struct Ending<'a> {
        kind: Str<'a> = lenient "type",
        response: Response<'a> = lenient "response",
        error: &'a serde_json::value::RawValue = "error",
    }
}

wire_object! {
    struct Response<'a> {
        status: Str<'a> = lenient "status",
        usage: UsageField<'a> = lenient "usage",
        service_tier: Str<'a> = lenient "service_tier",
        incomplete: Incomplete<'a> = lenient "incomplete_details",
    }
}

wire_object! {
    struct Incomplete<'a> {
        reason: Str<'a> = lenient "reason",
    }
}

keys! {
    COMPLETED = "response.completed";
    INCOMPLETE = "response.incomplete";
    FAILED = "response.failed";
    DONE = "response.done";
    DELTA = "delta";
    ERROR = "error";
    TYPE = "type";
    ID = "id";
    CREATED_AT = "created_at";
    MODEL = "model";
}

/// What an event that is worth parsing has in it, as a whole JSON string.
static ENDINGS: [&Key; 4] = [&COMPLETED, &INCOMPLETE, &FAILED, &DONE];

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub struct UsageScanner {
    /// An event whose end has not come.
    partial: BytesMut,
    /// The event was too long: pass on, stop following.
    blind: bool,
    usage: Usage,
    finish_reason: Option<Box<str>>,
    output_bytes: u64,
    done: bool,
    error: bool,
    /// Of the response, as its first event tells it.
    begun: Begun,
}

// === impl UsageScanner ===

impl UsageScanner {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame and appends to `out` what the client gets of it, which is all of it.
    pub fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        if !self.blind {
            self.follow(&frame);
        }
        out.push(frame);
    }

    /// The upstream closed its end: an event without its blank line still counts.
    pub fn end(&mut self, _out: &mut Vec<Bytes>) {
        if !self.partial.is_empty() {
            let rest = self.partial.split();
            self.event(&rest);
        }
    }

    fn follow(&mut self, frame: &[u8]) {
        let mut start = 0;
        if !self.partial.is_empty() {
            let before = self.partial.len();
            if before + frame.len() > MAX_EVENT_BYTES {
                self.blind = true;
                self.partial = BytesMut::new();
                return;
            }
            self.partial.extend_from_slice(frame);
            // The blank line may itself be split: its first half can be the end of what was there.
            let from = before.saturating_sub(3);
            let Some(length) = event_end(&self.partial[from..]) else { return };
            let end = from + length;
            let event = self.partial.split_to(end);
            self.event(&event);
            self.partial.clear();
            start = end - before;
        }
        while let Some(length) = event_end(&frame[start..]) {
            self.event(&frame[start..start + length]);
            start += length;
        }
        if frame.len() - start > MAX_EVENT_BYTES {
            self.blind = true;
        } else {
            self.partial.extend_from_slice(&frame[start..]);
        }
    }

    /// Looks into one whole event.
    fn event(&mut self, event: &[u8]) {
        // Comments have no number.
        if !event.starts_with(b":") {
            if self.begun.next == 0 {
                self.begin(event);
            }
            self.begun.next += 1;
        }
        if ENDINGS.iter().any(|word| word.find(event).is_some()) {
            return self.ending(event);
        }
        if let Some([b'"', rest @ ..]) = value_behind(event, &DELTA) {
            self.output_bytes += string_length(rest);
            return;
        }
        let error = value_behind(event, &ERROR).is_some_and(|value| !value.starts_with(b"null"));
        if error || is_named_error(event) {
            self.ending(event);
        }
    }

    /// The first event has the whole response, which is long; it is known by what stands first in it.
    fn begin(&mut self, event: &[u8]) {
        let text = |key| {
            let string = value_behind(event, key)?.strip_prefix(b"\"")?;
            let end = memchr::memchr(b'"', string)?;
            std::str::from_utf8(&string[..end]).ok().filter(|text| !text.contains('\\')).map(Into::into)
        };
        self.begun.id = text(&ID);
        self.begun.model = text(&MODEL);
        let digits = value_behind(event, &CREATED_AT).unwrap_or_default();
        let digits = &digits[..digits.iter().take_while(|byte| byte.is_ascii_digit()).count()];
        self.begun.created = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    }

    fn ending(&mut self, event: &[u8]) {
        let Some(data) = data_of(event) else { return };
        let Ok(ending) = serde_json::from_slice::<Ending<'_>>(&data) else { return };
        let response = ending.response.unwrap_or_default();
        match ending.kind.as_deref() {
            Some("response.completed" | "response.done") => {
                self.done = true;
                self.finish_reason = Some("completed".into());
            }
            Some("response.incomplete") => {
                self.done = true;
                let reason = response.incomplete.and_then(|details| details.reason);
                self.finish_reason = Some(reason.as_deref().unwrap_or("incomplete").into());
            }
            Some("response.failed") => {
                self.error = true;
                self.finish_reason = Some("failed".into());
            }
            Some("error") => self.error = true,
            None if ending.error.is_some() => self.error = true,
            // Other events have an `error` or a `usage` too, that are null.
            _ => return,
        }
        if let Some(usage) = response.usage.map(|usage| usage.disjoint()).filter(|usage| !usage.is_unknown()) {
            let service = response.service_tier.and_then(|word| Service::parse(&word.0));
            self.usage = Usage { service, ..usage };
        }
    }

    /// The provider's own count, once it has come.
    pub const fn usage(&self) -> Option<&Usage> {
        match self.usage {
            Usage { input: None, output: None, .. } => None,
            _ => Some(&self.usage),
        }
    }

    /// What an error has to say of the response that it ends.
    pub const fn begun(&self) -> &Begun {
        &self.begun
    }

    /// `completed`, `failed`, or why the answer is incomplete.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    /// The event that ends a stream well has come.
    pub const fn done(&self) -> bool {
        self.done
    }

    /// The upstream sent an error inside the stream.
    pub const fn saw_error(&self) -> bool {
        self.error
    }

    /// Whether the answer is whole.
    pub const fn complete(&self) -> bool {
        self.done && !self.error
    }

    /// Whether the last frame ended between two events, where a comment may be put.
    pub fn between_events(&self) -> bool {
        self.partial.is_empty() && !self.blind
    }

    /// A guess at the output for a stream that was cut: four bytes of text a token.
    pub const fn estimated_output(&self) -> u64 {
        self.output_bytes.div_ceil(4)
    }
}

fn is_named_error(event: &[u8]) -> bool {
    value_behind(event, &TYPE).is_some_and(|value| value.starts_with(b"\"error\""))
        || lines(event).any(|line| line.strip_prefix(b"event:").is_some_and(|name| name.trim_ascii() == b"error"))
}

fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    event.split(|byte| matches!(byte, b'\n' | b'\r'))
}

/// The event's data. It is one line in practice; several are joined.
pub(super) fn data_of(event: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    let mut data = lines(event).filter_map(|line| line.strip_prefix(b"data:"));
    let first = data.next()?;
    let more: Vec<&[u8]> = data.collect();
    if more.is_empty() {
        return Some(first.into());
    }
    let mut all = first.to_vec();
    for line in more {
        all.push(b'\n');
        all.extend_from_slice(line);
    }
    Some(all.into())
}
