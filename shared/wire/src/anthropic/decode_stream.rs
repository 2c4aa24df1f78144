//! The stream of an Anthropic upstream → [`Event`]s.

use omniroute_core::error::ErrorClass;
use serde_json::value::RawValue;

use super::{
    decode_response::settle,
    error, finish_reason,
    stream_blocks::{Blocks, Delta},
    usage::UsageField,
};
use crate::{
    codec::StreamDecoder,
    event_stream::{EventReader, ServerEvent, TooLong},
    ir::{Event, FinishReason, StreamError},
    object::wire_object,
    text::Str,
    usage::Usage,
};

wire_object! {
    struct Frame<'a> {
        kind: Str<'a> = lenient "type",
        message: Message<'a> = lenient "message",
        index: u32 = lenient "index",
        content_block: &'a RawValue = "content_block",
        delta: Delta<'a> = "delta",
        usage: UsageField<'a> = lenient "usage",
        error: &'a RawValue = "error",
    }
}

wire_object! {
    struct Message<'a> {
        id: Str<'a> = lenient "id",
        model: Str<'a> = lenient "model",
        usage: UsageField<'a> = lenient "usage",
    }
}

/// Reads the stream of an Anthropic upstream.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: EventReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    /// The end has been told.
    finished: bool,
    /// `message_stop` has come.
    done: bool,
    failed: bool,
    /// The last reason to stop. Only `message_stop` or the stream's own end makes it final.
    ending: Option<Ending>,
    /// Nothing was said after it.
    complete: bool,
    blocks: Blocks,
    usage: Usage,
    /// Output, as the beginning tells it: of the first token only, unless nothing else comes.
    announced: Option<u64>,
}

/// Why an answer stopped.
#[derive(Debug)]
struct Ending {
    reason: FinishReason,
    stop_sequence: Option<String>,
    /// Why the model declined.
    explanation: Option<String>,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if state.failed {
            return;
        }
        if let Err(TooLong) = self.reader.feed(bytes, |event| state.event(event, emit)) {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if let Err(TooLong) = self.reader.end(|event| state.event(event, emit)) {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
        state.end(emit);
    }

    fn done(&self) -> bool {
        self.state.done || self.state.failed
    }

    fn complete(&self) -> bool {
        let state = &self.state;
        !state.failed && (state.finished || state.complete)
    }
}

// === impl State ===

impl State {
    fn event(&mut self, event: ServerEvent<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed || self.done {
            return;
        }
        // Compatible hosts close like OpenAI does.
        if event.data.trim_ascii() == b"[DONE]" {
            if self.started {
                self.stop(emit);
            }
            self.done = true;
            return;
        }
        let Ok(frame) = serde_json::from_slice::<Frame<'_>>(event.data) else {
            let message = "the upstream sent an event that is not valid JSON".to_owned();
            return self.fail(ErrorClass::Upstream, "upstream_malformed", message, emit);
        };
        let kind = frame.kind.as_deref().or(std::str::from_utf8(event.name).ok()).unwrap_or_default();
        match kind {
            "message_start" => self.start(frame.message.unwrap_or_default(), emit),
            "ping" => emit(Event::Ping),
            "error" => self.upstream_error(frame.error, event.data, emit),
            "content_block_start" => {
                self.ensure_started(emit);
                self.complete = false;
                let started = frame.content_block.map(|raw| self.blocks.start(frame.index, raw, emit));
                if started.is_some_and(|started| started.is_err()) {
                    let message = "the upstream's stream has more open blocks than can be followed".to_owned();
                    self.fail(ErrorClass::Upstream, "stream_too_long", message, emit);
                }
            }
            "content_block_delta" => {
                self.complete = false;
                let delta = frame.delta.unwrap_or_default();
                if self.blocks.delta(frame.index, delta, emit).is_err() {
                    let message = "a block of the upstream's stream is longer than 16 MiB".to_owned();
                    self.fail(ErrorClass::Upstream, "stream_too_long", message, emit);
                }
            }
            "content_block_stop" => self.blocks.stop(frame.index, emit),
            "message_delta" => self.message_delta(frame.delta.unwrap_or_default(), frame.usage, emit),
            "message_stop" => {
                self.ensure_started(emit);
                self.stop(emit);
            }
            _ if frame.error.is_some_and(|raw| raw.get() != "null") => {
                self.upstream_error(frame.error, event.data, emit);
            }
            // Events made after this was written.
            _ => {}
        }
    }

    fn start(&mut self, message: Message<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        emit(Event::Start {
            id: message.id.unwrap_or_default().into(),
            model: message.model.unwrap_or_default().into(),
            created: None,
        });
        if let Some(usage) = message.usage {
            usage.update(&mut self.usage);
            self.announced = self.usage.output.take();
            if let Some(tier) = &usage.service_tier {
                emit(Event::Served { service_tier: Some((&**tier).into()), system_fingerprint: None });
            }
            emit(Event::Usage(self.usage));
        }
    }

    fn ensure_started(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.started {
            self.start(Message::default(), emit);
        }
    }

    /// Nothing comes any more.
    fn stop(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        self.done = true;
        self.finish(emit);
        if let Some(announced) = self.announced.take().filter(|_| self.usage.output.is_none()) {
            self.usage.output = Some(announced);
            emit(Event::Usage(self.usage));
        }
    }

    fn message_delta(&mut self, delta: Delta<'_>, usage: Option<UsageField<'_>>, emit: &mut dyn FnMut(Event<'_>)) {
        self.ensure_started(emit);
        if let Some(word) = delta.stop_reason.filter(|word| !word.is_empty()) {
            let explanation = delta.stop_details.and_then(|details| details.explanation);
            self.ending = Some(Ending {
                reason: finish_reason(&word),
                stop_sequence: delta.stop_sequence.map(|text| text.0.into_owned()),
                explanation: explanation.map(|text| text.0.into_owned()),
            });
            self.complete = true;
        }
        if let Some(usage) = usage {
            usage.update(&mut self.usage);
            emit(Event::Usage(self.usage));
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.blocks.stop_all(emit);
        let ending = self.ending.take();
        let reason = ending.as_ref().map_or(FinishReason::End, |ending| ending.reason);
        let explanation = ending.as_ref().and_then(|ending| ending.explanation.as_deref());
        if let Some(text) = explanation.filter(|text| reason == FinishReason::Refusal && !text.is_empty()) {
            self.blocks.refusal(text, emit);
        }
        let reason = settle(reason, self.blocks.called, self.blocks.structured);
        let stop_sequence = ending.and_then(|ending| ending.stop_sequence).map(Into::into);
        emit(Event::Finish { choice: 0, reason, stop_sequence });
    }

    fn upstream_error(&mut self, raw: Option<&RawValue>, data: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        // With a reason to stop the answer is whole, whatever the upstream says afterwards.
        if self.complete {
            return self.stop(emit);
        }
        let wrapped = raw.map(|raw| format!("{{\"error\":{}}}", raw.get()));
        let understood = error::decode_error(500, wrapped.as_ref().map_or(data, |text| text.as_bytes()));
        self.fail(understood.class, "upstream_error", understood.message, emit);
    }

    fn fail(&mut self, class: ErrorClass, code: &'static str, message: String, emit: &mut dyn FnMut(Event<'_>)) {
        if self.complete {
            return self.stop(emit);
        }
        if self.finished {
            return;
        }
        if !std::mem::replace(&mut self.failed, true) {
            emit(Event::Error(StreamError { class, code, message, retry_after: None, request_id: None }));
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed || self.finished {
            return;
        }
        let message = "the upstream's stream ended before the answer was complete".to_owned();
        self.fail(ErrorClass::Upstream, "upstream_stream_cut", message, emit);
    }
}
