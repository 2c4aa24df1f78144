//! v2 Chat stream events → [`Event`]s.

use omniroute_core::error::ErrorClass;
use serde_json::value::RawValue;

use super::{
    Ending,
    citation::{self, CitedPart},
    ending, error,
    logprobs::{LogprobItem, as_openai},
    message::{Content, OneOrMany, ToolCall},
    records::RecordReader,
    usage::UsageField,
};
use crate::{
    codec::StreamDecoder,
    event_stream::TooLong,
    ir::{CallKind, Event, FinishReason, PartKind, StreamError},
    object::wire_object,
    stable_id::made_call_id,
    text::Str,
};

wire_object! {
    struct Record<'a> {
        kind: Str<'a> = lenient "type",
        id: Str<'a> = lenient "id",
        index: u64 = lenient "index",
        delta: Delta<'a> = "delta",
        logprobs: LogprobItem<'a> = lenient "logprobs",
        message: &'a RawValue = "message",
        error: &'a RawValue = "error",
    }
}

wire_object! {
    struct Delta<'a> {
        message: MessageDelta<'a> = "message",
        finish_reason: Str<'a> = lenient "finish_reason",
        usage: UsageField<'a> = lenient "usage",
        error: Str<'a> = lenient "error",
    }
}

wire_object! {
    struct MessageDelta<'a> {
        // A block; some hosts send the text alone, or a list.
        content: OneOrMany<Content<'a>> = "content",
        tool_plan: Str<'a> = "tool_plan",
        tool_calls: OneOrMany<ToolCall<'a>> = "tool_calls",
        citations: OneOrMany<&'a RawValue> = lenient "citations",
    }
}

/// Most calls that one stream may make.
const MAX_CALLS: usize = 4096;

/// Reads the stream of Cohere.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: RecordReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    answer: Box<str>,
    started: bool,
    finished: bool,
    failed: bool,
    next_part: u32,
    /// The open text or thinking. It stays open after its `content-end`, for the citations that follow.
    open: Option<(u32, Prose)>,
    calls: Vec<CallState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    Plan,
    Text(u64),
    Thinking(u64),
}

#[derive(Clone, Copy, Debug)]
struct CallState {
    index: u64,
    part: u32,
    open: bool,
    has_arguments: bool,
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
        if let Err(TooLong) = self.reader.feed(bytes, |record| state.record(record, emit)) {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if !state.failed
            && let Err(TooLong) = self.reader.end(|record| state.record(record, emit))
        {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
        if !state.finished {
            let message = "the upstream's stream ended before the answer was complete".to_owned();
            state.fail(ErrorClass::Upstream, "upstream_stream_cut", message, emit);
        }
    }

    fn done(&self) -> bool {
        self.state.finished || self.state.failed
    }

    fn complete(&self) -> bool {
        self.state.finished
    }
}

// === impl State ===

impl State {
    fn record(&mut self, json: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed || self.finished || json.trim_ascii() == b"[DONE]" {
            return;
        }
        let Ok(record) = serde_json::from_slice::<Record<'_>>(json) else {
            let message = "the upstream sent an event that is not valid JSON".to_owned();
            return self.fail(ErrorClass::Upstream, "upstream_malformed", message, emit);
        };
        let kind = record.kind.as_deref().unwrap_or_default();
        // An error where an event should be: `{"message": "…"}` without a type, or a type that says so.
        if kind == "error" || (kind.is_empty() && (record.message.is_some() || record.error.is_some())) {
            let understood = error::decode_error(500, json);
            return self.fail(understood.class, "upstream_error", understood.message, emit);
        }
        if !self.started {
            self.started = true;
            let id = if kind == "message-start" { record.id.as_deref().unwrap_or_default() } else { "" };
            emit(Event::Start { id: id.into(), model: "".into(), created: None });
        }
        let index = record.index.unwrap_or(0);
        let delta = record.delta.unwrap_or_default();
        let message = delta.message.unwrap_or_default();
        match kind {
            "content-start" | "content-delta" => {
                for content in message.content.into_iter().flat_map(|contents| contents.0) {
                    self.content(index, &content, emit);
                }
                if let Some(raw) = record.logprobs.and_then(|item| as_openai(&[item])) {
                    emit(Event::Logprobs { choice: 0, raw });
                }
            }
            "tool-plan-delta" => {
                if let Some(text) = message.tool_plan.filter(|text| !text.is_empty()) {
                    let part = self.prose(Prose::Plan, emit);
                    emit(Event::TextDelta { choice: 0, part, text: text.into() });
                }
            }
            "citation-start" => {
                for raw in message.citations.into_iter().flat_map(|citations| citations.0) {
                    self.citation(raw, emit);
                }
            }
            "tool-call-start" => {
                for call in message.tool_calls.into_iter().flat_map(|calls| calls.0) {
                    self.call_start(index, call, emit);
                }
            }
            "tool-call-delta" => {
                for call in message.tool_calls.into_iter().flat_map(|calls| calls.0) {
                    self.arguments(index, call.function.and_then(|function| function.arguments), emit);
                }
            }
            "tool-call-end" => {
                if let Some(at) = self.find_call(index) {
                    self.calls[at].stop(emit);
                }
            }
            "message-end" => {
                let usage = delta.usage.as_ref();
                self.finish(delta.finish_reason.as_deref(), delta.error.as_deref(), usage, emit);
            }
            // `message-start` has said what it says; `content-end` and `citation-end` say nothing more; `debug` and what
            // is invented later is nobody's loss.
            _ => {}
        }
    }

    fn content(&mut self, index: u64, content: &Content<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some(text) = content.thinking.as_deref().filter(|text| !text.is_empty()) {
            let part = self.prose(Prose::Thinking(index), emit);
            emit(Event::ThinkingDelta { choice: 0, part, text: text.into() });
        }
        if let Some(text) = content.text.as_deref().filter(|text| !text.is_empty()) {
            let part = self.prose(Prose::Text(index), emit);
            emit(Event::TextDelta { choice: 0, part, text: text.into() });
        }
    }

    fn citation(&mut self, raw: &RawValue, emit: &mut dyn FnMut(Event<'_>)) {
        let Some((place, annotation)) = citation::decode(raw) else { return };
        let part = match (self.open, place) {
            (Some((part, Prose::Text(_))), CitedPart::Content(_)) | (Some((part, Prose::Plan)), CitedPart::Plan) => {
                part
            }
            // Cohere's stream does not always say that a citation is of the plan.
            (Some((part, Prose::Plan)), CitedPart::Content(None)) => part,
            _ => return,
        };
        emit(Event::Annotation { choice: 0, part, annotation });
    }

    /// The open part of this kind, begun if need be.
    fn prose(&mut self, kind: Prose, emit: &mut dyn FnMut(Event<'_>)) -> u32 {
        if let Some((part, open)) = self.open
            && open == kind
        {
            return part;
        }
        self.close_prose(emit);
        let part = self.take_part();
        self.open = Some((part, kind));
        let kind = if matches!(kind, Prose::Thinking(_)) { PartKind::Thinking } else { PartKind::Text };
        emit(Event::PartStart { choice: 0, part, kind });
        part
    }

    fn close_prose(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some((part, _)) = self.open.take() {
            emit(Event::PartStop { choice: 0, part });
        }
    }

    const fn take_part(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        part
    }

    fn call_start(&mut self, index: u64, call: ToolCall<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let function = call.function.unwrap_or_default();
        let Some(name) = function.name.filter(|name| !name.is_empty()) else { return };
        if self.calls.len() >= MAX_CALLS {
            let message = "the upstream's answer has more calls than can be followed".to_owned();
            return self.fail(ErrorClass::Upstream, "stream_too_long", message, emit);
        }
        self.close_prose(emit);
        let part = self.take_part();
        let id = call
            .id
            .filter(|id| !id.is_empty())
            .map_or_else(|| made_call_id(&self.answer, self.calls.len()).into(), Into::into);
        let kind = PartKind::ToolCall { id, name: name.into(), kind: CallKind::Function };
        emit(Event::PartStart { choice: 0, part, kind });
        self.calls.push(CallState { index, part, open: true, has_arguments: false });
        self.arguments(index, function.arguments, emit);
    }

    fn arguments(&mut self, index: u64, text: Option<Str<'_>>, emit: &mut dyn FnMut(Event<'_>)) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let Some(at) = self.find_call(index) else { return };
        let call = &mut self.calls[at];
        call.has_arguments = true;
        emit(Event::ArgsDelta { choice: 0, part: call.part, text: text.into() });
    }

    /// The open call of that index.
    fn find_call(&self, index: u64) -> Option<usize> {
        self.calls.iter().rposition(|call| call.open && call.index == index)
    }

    fn finish(
        &mut self,
        word: Option<&str>,
        message: Option<&str>,
        usage: Option<&UsageField<'_>>,
        emit: &mut dyn FnMut(Event<'_>),
    ) {
        let message = message.filter(|text| !text.is_empty());
        let reason = match (word.map(ending), message) {
            (Some(Ending::TimedOut), message) => {
                let message = message.unwrap_or("the upstream ran out of time").to_owned();
                return self.fail(ErrorClass::UpstreamTimeout, "upstream_timeout", message, emit);
            }
            (Some(Ending::Failed), message) => {
                let message = message.unwrap_or("the upstream failed to make an answer").to_owned();
                return self.fail(ErrorClass::Upstream, "upstream_error", message, emit);
            }
            (None, Some(message)) => {
                return self.fail(ErrorClass::Upstream, "upstream_error", message.to_owned(), emit);
            }
            (Some(Ending::Finish(reason)), _) => reason,
            (None, None) => FinishReason::End,
        };
        self.close_prose(emit);
        for call in &mut self.calls {
            call.stop(emit);
        }
        if let Some(usage) = usage.map(UsageField::disjoint).filter(|usage| !usage.is_unknown()) {
            emit(Event::Usage(usage));
        }
        let called = !self.calls.is_empty() && reason == FinishReason::End;
        self.finished = true;
        let reason = if called { FinishReason::ToolCalls } else { reason };
        emit(Event::Finish { choice: 0, reason, stop_sequence: None });
    }

    fn fail(&mut self, class: ErrorClass, code: &'static str, message: String, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.failed && !self.finished {
            self.failed = true;
            emit(Event::Error(StreamError { class, code, message, retry_after: None, request_id: None }));
        }
    }
}

// === impl CallState ===

impl CallState {
    fn stop(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.open {
            return;
        }
        self.open = false;
        // A call without parameters has no deltas; clients parse the arguments all the same.
        if !self.has_arguments {
            emit(Event::ArgsDelta { choice: 0, part: self.part, text: "{}".into() });
        }
        emit(Event::PartStop { choice: 0, part: self.part });
    }
}
