//! `chat.completion.chunk` events → [`Event`]s.

use omniroute_core::error::ErrorClass;
use serde_json::value::RawValue;

use super::{
    error, finish_reason, is_failure,
    stream_choice::{ChoiceState, Delta},
    usage::UsageField,
};
use crate::{
    codec::{StreamDecoder, UpstreamError},
    event_stream::{EventReader, ServerEvent, TooLong},
    ir::{Event, FinishReason, StreamError},
    object::wire_object,
    text::Str,
};

wire_object! {
    struct Chunk<'a> {
        id: Str<'a> = lenient "id",
        model: Str<'a> = lenient "model",
        created: u64 = lenient "created",
        service_tier: Str<'a> = lenient "service_tier",
        system_fingerprint: Str<'a> = lenient "system_fingerprint",
        choices: Vec<ChoiceField<'a>> = "choices",
        usage: UsageField<'a> = lenient "usage",
        error: &'a RawValue = "error",
    }
}

wire_object! {
    struct ChoiceField<'a> {
        index: u32 = lenient "index",
        delta: Delta<'a> = lenient "delta",
        finish_reason: Str<'a> = lenient "finish_reason",
        logprobs: &'a RawValue = "logprobs",
        // OpenRouter's place for what went wrong.
        error: &'a RawValue = "error",
    }
}

/// Most choices that one stream may open.
const MAX_CHOICES: u32 = 4096;

const TOO_MUCH: &str = "the upstream's answer has more calls or sound than can be held";
const FAILED: &str = "the upstream ended its answer with an error";

/// Reads the stream of a Chat upstream.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: EventReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    answer: Box<str>,
    started: bool,
    done: bool,
    /// It has been told how the answer is served: that stands in every chunk.
    served: bool,
    failed: bool,
    /// The upstream is at its end: a chunk that it began and did not finish stays so.
    over: bool,
    /// The ends of the choices have been told.
    finished: bool,
    choices: Vec<ChoiceState>,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn of_answer(&mut self, answer: &str) {
        self.state.answer = answer.into();
    }

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
        state.over = true;
        if let Err(TooLong) = self.reader.end(|event| state.event(event, emit)) {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
        state.end(emit);
    }

    fn done(&self) -> bool {
        self.state.done || self.state.failed
    }

    fn complete(&self) -> bool {
        self.state.is_complete()
    }
}

// === impl State ===

impl State {
    fn event(&mut self, event: ServerEvent<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed || self.done {
            return;
        }
        if event.data.trim_ascii() == b"[DONE]" {
            self.done = true;
            if self.started {
                self.finish(emit);
            }
            return;
        }
        match serde_json::from_slice::<Chunk<'_>>(event.data) {
            Ok(chunk) => self.chunk(chunk, emit),
            // What breaks off behind a whole answer takes nothing from it.
            Err(_) if self.over && self.is_complete() => {}
            Err(_) => {
                let message = "the upstream sent a chunk that is not valid JSON".to_owned();
                self.fail(ErrorClass::Upstream, "upstream_malformed", message, emit);
            }
        }
    }

    fn chunk(&mut self, chunk: Chunk<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some(raw) = chunk.error.filter(|raw| raw.get() != "null") {
            return self.fail_with(raw, emit);
        }
        if !self.started {
            self.started = true;
            emit(Event::Start {
                id: chunk.id.unwrap_or_default().into(),
                model: chunk.model.unwrap_or_default().into(),
                created: chunk.created,
            });
        }
        if !self.served && (chunk.service_tier.is_some() || chunk.system_fingerprint.is_some()) {
            self.served = true;
            emit(Event::Served {
                service_tier: chunk.service_tier.map(Into::into),
                system_fingerprint: chunk.system_fingerprint.map(Into::into),
            });
        }
        let choices = chunk.choices.unwrap_or_default();
        for choice in choices {
            self.choice(choice, emit);
        }
        // Usage alone is no end: some hosts count behind every chunk.
        if let Some(usage) = chunk.usage.filter(|_| !self.failed) {
            emit(Event::Usage(usage.disjoint()));
        }
    }

    fn choice(&mut self, field: ChoiceField<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let index = field.index.unwrap_or(0);
        if index >= MAX_CHOICES || self.finished || self.failed {
            return;
        }
        if let Some(raw) = field.error.filter(|raw| raw.get() != "null") {
            return self.fail_with(raw, emit);
        }
        while self.choices.len() <= index as usize {
            self.choices.push(ChoiceState::new(&self.answer));
        }
        let choice = &mut self.choices[index as usize];
        choice.begun = true;
        if let Some(delta) = field.delta
            && let Err(TooLong) = choice.delta(index, delta, emit)
        {
            return self.fail(ErrorClass::Upstream, "stream_too_long", TOO_MUCH.to_owned(), emit);
        }
        if let Some(raw) = field.logprobs.filter(|raw| raw.get() != "null") {
            emit(Event::Logprobs { choice: index, raw: raw.into() });
        }
        if let Some(word) = field.finish_reason.filter(|word| !word.is_empty()) {
            if is_failure(&word) {
                return self.fail(ErrorClass::Upstream, "upstream_error", FAILED.to_owned(), emit);
            }
            choice.reason = Some(finish_reason(&word));
            choice.complete = true;
        }
    }

    fn fail_with(&mut self, error: &RawValue, emit: &mut dyn FnMut(Event<'_>)) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        let UpstreamError { class, message, retry_after, .. } = error::decode_field(500, error);
        emit(Event::Error(StreamError { class, code: "upstream_error", message, retry_after, request_id: None }));
    }

    fn fail(&mut self, class: ErrorClass, code: &'static str, message: String, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.failed {
            self.failed = true;
            emit(Event::Error(StreamError { class, code, message, retry_after: None, request_id: None }));
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed {
            return;
        }
        if !self.is_complete() {
            let message = "the upstream's stream ended before the answer was complete".to_owned();
            return self.fail(ErrorClass::Upstream, "upstream_stream_cut", message, emit);
        }
        self.finish(emit);
    }

    /// Some hosts leave out `[DONE]`: then every choice must have said why it ended.
    fn is_complete(&self) -> bool {
        let mut begun = self.choices.iter().filter(|choice| choice.begun).peekable();
        let all_ended = begun.peek().is_some() && begun.all(|choice| choice.complete);
        self.started && !self.failed && (self.done || all_ended)
    }

    /// Nothing of the answer comes any more.
    fn finish(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        for (index, choice) in (0_u32..).zip(&mut self.choices) {
            choice.finish(index, emit);
        }
        if self.choices.is_empty() {
            emit(Event::Finish { choice: 0, reason: FinishReason::End, stop_sequence: None });
        }
    }
}
