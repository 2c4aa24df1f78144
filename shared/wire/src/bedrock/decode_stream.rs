//! ConverseStream's frames → [`Event`]s.

use omniroute_core::error::ErrorClass;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    citation,
    decode_response::{corrected, stop_sequence},
    error, finish_reason,
    frames::{Frame, FrameReader},
    stream_block::{BlockStart, Open},
    usage::UsageField,
};
use crate::{
    codec::StreamDecoder,
    ir::{Event, Family, FinishReason, PartKind, Signature, StreamError},
    object::wire_object,
    text::Str,
};

wire_object! {
    struct Start<'a> {
        index: u64 = lenient "contentBlockIndex",
        start: BlockStart<'a> = lenient "start",
    }
}

wire_object! {
    struct DeltaEvent<'a> {
        index: u64 = lenient "contentBlockIndex",
        delta: Delta<'a> = "delta",
    }
}

wire_object! {
    struct Delta<'a> {
        text: Str<'a> = "text",
        tool_use: ToolUseDelta<'a> = "toolUse",
        reasoning: ReasoningDelta<'a> = "reasoningContent",
        citation: &'a RawValue = "citation",
        image: ImageDelta<'a> = "image",
        tool_result: Vec<&'a RawValue> = "toolResult",
    }
}

wire_object! {
    struct ToolUseDelta<'a> {
        input: Str<'a> = "input",
    }
}

wire_object! {
    struct ReasoningDelta<'a> {
        text: Str<'a> = "text",
        signature: Str<'a> = "signature",
        redacted: Str<'a> = "redactedContent",
    }
}

wire_object! {
    struct ImageDelta<'a> {
        source: ImageSource<'a> = "source",
    }
}

wire_object! {
    struct ImageSource<'a> {
        bytes: Str<'a> = "bytes",
    }
}

wire_object! {
    struct Stop<'a> {
        reason: Str<'a> = lenient "stopReason",
        additional: &'a RawValue = "additionalModelResponseFields",
    }
}

wire_object! {
    struct Metadata<'a> {
        usage: UsageField<'a> = lenient "usage",
    }
}

/// Most blocks of one stream that are open.
const MAX_OPEN: usize = 4096;
/// Most bytes that are held at a time of blocks which are handed on whole.
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

/// Reads the stream of Bedrock.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: FrameReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    finished: bool,
    /// `metadata` has come, the last event.
    counted: bool,
    failed: bool,
    next_part: u32,
    /// Open blocks by their number in the stream.
    open: Vec<(u64, Open)>,
    held: usize,
    called: bool,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if state.failed {
            return;
        }
        if let Err(error) = self.reader.feed(bytes, |frame| state.frame(&frame, emit)) {
            state.fail(ErrorClass::Upstream, "upstream_malformed", error.to_string(), emit);
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.state.finished {
            let message = "the upstream's stream ended before the answer was complete".to_owned();
            self.state.fail(ErrorClass::Upstream, "upstream_stream_cut", message, emit);
        }
    }

    fn done(&self) -> bool {
        (self.state.finished && self.state.counted) || self.state.failed
    }

    fn complete(&self) -> bool {
        self.state.finished
    }
}

// === impl State ===

impl State {
    fn frame(&mut self, frame: &Frame<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed {
            return;
        }
        match frame.header(":message-type") {
            Some("exception") => self.exception(frame.header(":exception-type"), frame.payload, emit),
            Some("error") => {
                let message = frame.header(":error-message").unwrap_or("the upstream failed in mid-stream");
                let body = serde_json::json!({ "message": message }).to_string();
                self.exception(frame.header(":error-code"), body.as_bytes(), emit);
            }
            _ => self.event(frame.header(":event-type").unwrap_or_default(), frame.payload, emit),
        }
    }

    fn exception(&mut self, name: Option<&str>, payload: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        let understood = error::decode_error(500, name, payload);
        if !self.finished && !self.failed {
            self.failed = true;
            emit(Event::Error(StreamError {
                class: understood.class,
                code: "upstream_error",
                message: understood.message,
                retry_after: understood.retry_after,
                request_id: None,
            }));
        }
    }

    fn event(&mut self, kind: &str, payload: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        match kind {
            "messageStart" => self.begin(emit),
            "contentBlockStart" => {
                if let Some(event) = self.read::<Start<'_>>(payload, emit) {
                    self.block_start(event, emit);
                }
            }
            "contentBlockDelta" => {
                if let Some(event) = self.read::<DeltaEvent<'_>>(payload, emit) {
                    self.delta(event.index.unwrap_or(0), event.delta.unwrap_or_default(), emit);
                }
            }
            "contentBlockStop" => {
                if let Some(event) = self.read::<Start<'_>>(payload, emit) {
                    self.block_stop(event.index.unwrap_or(0), emit);
                }
            }
            "messageStop" => {
                if let Some(event) = self.read::<Stop<'_>>(payload, emit) {
                    self.finish(&event, emit);
                }
            }
            "metadata" => {
                self.counted = true;
                if let Some(usage) = self.read::<Metadata<'_>>(payload, emit).and_then(|event| event.usage) {
                    self.begin(emit);
                    emit(Event::Usage(usage.disjoint()));
                }
            }
            // What is invented later.
            _ => {}
        }
    }

    fn read<'p, T: Deserialize<'p>>(&mut self, payload: &'p [u8], emit: &mut dyn FnMut(Event<'_>)) -> Option<T> {
        let read = serde_json::from_slice(payload);
        if read.is_err() {
            let message = "the upstream sent an event that is not valid JSON".to_owned();
            self.fail(ErrorClass::Upstream, "upstream_malformed", message, emit);
        }
        read.ok()
    }

    fn begin(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.started {
            self.started = true;
            emit(Event::Start { id: "".into(), model: "".into(), created: None });
        }
    }

    fn block_start(&mut self, event: Start<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let index = event.index.unwrap_or(0);
        if self.finished {
            return;
        }
        self.begin(emit);
        self.block_stop(index, emit);
        if self.is_full(emit) {
            return;
        }
        let next = &mut self.next_part;
        let Some(open) = Open::begin(event.start.unwrap_or_default(), || take(next), emit) else { return };
        self.called |= matches!(open, Open::Call { .. });
        self.open.push((index, open));
    }

    fn delta(&mut self, index: u64, delta: Delta<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.finished {
            return;
        }
        self.begin(emit);
        if let Some(text) = delta.text.filter(|text| !text.is_empty())
            && let Some(part) = self.text(index, emit)
        {
            emit(Event::TextDelta { choice: 0, part, text: text.into() });
        }
        if let Some(annotation) = delta.citation.and_then(citation::decode)
            && let Some(part) = self.text(index, emit)
        {
            emit(Event::Annotation { choice: 0, part, annotation });
        }
        if let Some(input) = delta.tool_use.and_then(|delta| delta.input) {
            if let Some((_, Open::ServerCall { .. })) = self.at(index) {
                self.hold(input.len(), emit);
            }
            if let Some((_, open)) = self.at(index) {
                open.input(&input, emit);
            }
        }
        if let Some(reasoning) = delta.reasoning {
            self.reasoning(index, reasoning, emit);
        }
        if let Some(bytes) = delta.image.and_then(|image| image.source).and_then(|source| source.bytes) {
            self.hold(bytes.len(), emit);
            if let Some((_, Open::Image { pieces, .. })) = self.at(index) {
                pieces.push(bytes.0.into_owned());
            }
        }
        for raw in delta.tool_result.into_iter().flatten() {
            self.hold(raw.get().len(), emit);
            if let Some((_, Open::ServerResult { content, .. })) = self.at(index) {
                content.push(raw.get().to_owned());
            }
        }
    }

    fn reasoning(&mut self, index: u64, delta: ReasoningDelta<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some(text) = delta.text.filter(|text| !text.is_empty())
            && let Some(part) = self.thinking(index, emit)
        {
            emit(Event::ThinkingDelta { choice: 0, part, text: text.into() });
        }
        if let Some(payload) = delta.signature.filter(|payload| !payload.is_empty())
            && let Some(part) = self.thinking(index, emit)
        {
            let signature = Signature { family: Family::Bedrock, payload: payload.into() };
            emit(Event::SignatureDelta { choice: 0, part, signature });
        }
        if let Some(data) = delta.redacted {
            self.hold(data.len(), emit);
            if !matches!(self.at(index), Some((_, Open::Redacted(_)))) && !self.is_full(emit) {
                self.block_stop(index, emit);
                self.open.push((index, Open::Redacted(Vec::new())));
            }
            if let Some((_, Open::Redacted(pieces))) = self.at(index) {
                pieces.push(data.0.into_owned());
            }
        }
    }

    fn at(&mut self, index: u64) -> Option<&mut (u64, Open)> {
        self.open.iter_mut().find(|(own, _)| *own == index)
    }

    /// The text of that number; texts begin without saying so.
    fn text(&mut self, index: u64, emit: &mut dyn FnMut(Event<'_>)) -> Option<u32> {
        if let Some((_, Open::Text(part))) = self.at(index) {
            return Some(*part);
        }
        self.begin_prose(index, PartKind::Text, Open::Text, emit)
    }

    fn thinking(&mut self, index: u64, emit: &mut dyn FnMut(Event<'_>)) -> Option<u32> {
        if let Some((_, Open::Thinking(part))) = self.at(index) {
            return Some(*part);
        }
        self.begin_prose(index, PartKind::Thinking, Open::Thinking, emit)
    }

    fn begin_prose(
        &mut self,
        index: u64,
        kind: PartKind<'_>,
        open: fn(u32) -> Open,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Option<u32> {
        if self.is_full(emit) {
            return None;
        }
        self.block_stop(index, emit);
        let part = take(&mut self.next_part);
        emit(Event::PartStart { choice: 0, part, kind });
        self.open.push((index, open(part)));
        Some(part)
    }

    /// Whether no other block can be followed. Then the stream has failed.
    fn is_full(&mut self, emit: &mut dyn FnMut(Event<'_>)) -> bool {
        let full = self.open.len() >= MAX_OPEN;
        if full {
            let message = "the upstream's stream has more open blocks than can be followed".to_owned();
            self.fail(ErrorClass::Upstream, "stream_too_long", message, emit);
        }
        full
    }

    fn hold(&mut self, bytes: usize, emit: &mut dyn FnMut(Event<'_>)) {
        self.held = self.held.saturating_add(bytes);
        if self.held > MAX_HELD_BYTES {
            let message = "the upstream's stream has more media than 32 MiB".to_owned();
            self.fail(ErrorClass::Upstream, "stream_too_long", message, emit);
        }
    }

    fn block_stop(&mut self, index: u64, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed {
            return;
        }
        if let Some(at) = self.open.iter().position(|(own, _)| *own == index) {
            let (_, open) = self.open.remove(at);
            self.held = self.held.saturating_sub(open.held());
            let next = &mut self.next_part;
            open.stop(|| take(next), emit);
        }
    }

    fn finish(&mut self, event: &Stop<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.finished {
            return;
        }
        let word = event.reason.as_deref().unwrap_or_default();
        let reason = corrected(finish_reason(word), self.called);
        if reason == FinishReason::MalformedCall {
            let message = "the model made a call that cannot be read".to_owned();
            return self.fail(ErrorClass::Upstream, "malformed_tool_call", message, emit);
        }
        self.begin(emit);
        for (_, open) in std::mem::take(&mut self.open) {
            let next = &mut self.next_part;
            open.stop(|| take(next), emit);
        }
        self.finished = true;
        let stop_sequence = stop_sequence(event.additional).map(Into::into);
        emit(Event::Finish { choice: 0, reason, stop_sequence });
    }

    fn fail(&mut self, class: ErrorClass, code: &'static str, message: String, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.failed && !self.finished {
            self.failed = true;
            emit(Event::Error(StreamError { class, code, message, retry_after: None, request_id: None }));
        }
    }
}

const fn take(next: &mut u32) -> u32 {
    let part = *next;
    *next += 1;
    part
}
