//! `chat.completion.chunk` events → [`Event`]s.

use std::borrow::Cow;

use omniroute_core::error::ErrorClass;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{
    content,
    details::Marks,
    error, finish_reason, is_failure,
    message::{Annotation, Audio, ContentPart, FunctionCall, ReasoningDetail, ToolCall},
    sound::Sound,
    usage::UsageField,
};
use crate::{
    codec::{StreamDecoder, UpstreamError},
    event_stream::{EventReader, MAX_EVENT_BYTES, ServerEvent, TooLong},
    ir::{CallKind, Event, Family, FinishReason, PartKind, Signature, Source, StreamError},
    media,
    object::wire_object,
    stable_id::made_call_id,
    text::{Str, TextOr},
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

wire_object! {
    struct Delta<'a> {
        // Mistral's models that think send a list of parts.
        content: TextOr<'a, ContentPart<'a>> = "content",
        refusal: Str<'a> = lenient "refusal",
        reasoning_content: Str<'a> = lenient "reasoning_content",
        reasoning: Str<'a> = lenient "reasoning",
        reasoning_details: Vec<ReasoningDetail<'a>> = lenient "reasoning_details",
        tool_calls: Vec<ToolCall<'a>> = lenient "tool_calls",
        function_call: FunctionCall<'a> = lenient "function_call",
        annotations: Vec<Annotation<'a>> = lenient "annotations",
        audio: Audio<'a> = lenient "audio",
        images: Vec<ContentPart<'a>> = lenient "images",
    }
}

/// Most choices that one stream may open, and most calls of one.
const MAX_CHOICES: u32 = 4096;
const MAX_CALLS: usize = 4096;

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

#[derive(Debug, Default)]
struct ChoiceState {
    answer: Box<str>,
    /// It is one of the answer's, and no gap in their numbers.
    begun: bool,
    next_part: u32,
    /// The open text, refusal or thinking part: they follow each other.
    open: Option<(u32, Prose)>,
    /// Of the open thought, where details tell it.
    marks: Option<Marks>,
    calls: Vec<CallState>,
    called: bool,
    sound: Sound,
    /// The last reason to end. Some hosts give one in every chunk, so only the stream's own end makes it final.
    reason: Option<FinishReason>,
    /// Nothing was said after it.
    complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    Text,
    Refusal,
    Thinking,
}

#[derive(Debug)]
struct CallState {
    index: u32,
    id: String,
    name: String,
    /// Set once the name is known and the part has begun.
    part: Option<u32>,
    /// Arguments and signature that came before the name.
    early: String,
    signature: Option<String>,
    kind: CallKind,
    /// Its first delta had no id: the one it has is ours.
    unnamed: bool,
    /// Nor did that delta leave anything to come: it had a name and complete arguments.
    whole: bool,
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
        for choice in chunk.choices.unwrap_or_default() {
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
            self.choices.push(ChoiceState { answer: self.answer.clone(), ..ChoiceState::default() });
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

    /// Some hosts leave out [DONE]: then every choice must have said why it ended.
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

// === impl ChoiceState ===

impl ChoiceState {
    fn delta(&mut self, choice: u32, delta: Delta<'_>, emit: &mut dyn FnMut(Event<'_>)) -> Result<(), TooLong> {
        // `reasoning_details` repeats what `reasoning` says, with signatures: one of the two is enough.
        let details = delta.reasoning_details.unwrap_or_default();
        if details.is_empty() {
            let plain = delta.reasoning_content.or(delta.reasoning).filter(|text| !text.is_empty());
            if let Some(text) = plain {
                let part = self.prose(choice, Prose::Thinking, emit);
                emit(Event::ThinkingDelta { choice, part, text: text.into() });
            }
        }
        for detail in details {
            self.detail(choice, detail, emit);
        }
        match delta.content {
            Some(TextOr::Text(text)) => self.say(choice, Prose::Text, text, emit),
            Some(TextOr::List(pieces)) => pieces.into_iter().for_each(|piece| self.piece(choice, piece, emit)),
            None => {}
        }
        if let Some(text) = delta.refusal {
            self.say(choice, Prose::Refusal, text.into(), emit);
        }
        for picture in delta.images.into_iter().flatten() {
            self.picture(choice, picture, emit);
        }
        if let Some(audio) = delta.audio {
            // What is said is the answer where a client takes no sound.
            self.complete &= audio.data.is_none() && audio.transcript.is_none();
            self.sound.push(audio.data.as_deref().unwrap_or_default())?;
            self.say(choice, Prose::Text, audio.transcript.unwrap_or_default().into(), emit);
        }
        for annotation in delta.annotations.into_iter().flatten().filter_map(content::annotation) {
            // Sources of what was said may come last.
            let complete = self.complete;
            let part = self.prose(choice, Prose::Text, emit);
            emit(Event::Annotation { choice, part, annotation });
            self.complete = complete;
        }
        for call in delta.tool_calls.into_iter().flatten() {
            self.call(choice, call, emit)?;
        }
        if let Some(function) = delta.function_call {
            let id = function.name.as_deref().map(super::legacy_call_id);
            let call = ToolCall {
                index: Some(0),
                id: id.map(|id| Str(id.into())),
                function: Some(function),
                ..ToolCall::default()
            };
            self.call(choice, call, emit)?;
        }
        Ok(())
    }

    /// A piece of text or of a refusal.
    fn say(&mut self, choice: u32, kind: Prose, text: Cow<'_, str>, emit: &mut dyn FnMut(Event<'_>)) {
        if text.is_empty() {
            return;
        }
        let part = self.prose(choice, kind, emit);
        match kind {
            Prose::Thinking => emit(Event::ThinkingDelta { choice, part, text }),
            Prose::Text | Prose::Refusal => emit(Event::TextDelta { choice, part, text }),
        }
    }

    /// A part of a content that is a list. What is none of these (references to sources) shows nothing by itself.
    fn piece(&mut self, choice: u32, piece: ContentPart<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        match piece.kind.as_deref().unwrap_or("text") {
            "thinking" => {
                let text = piece.thinking.map(content::thought_text).unwrap_or_default();
                self.say(choice, Prose::Thinking, text, emit);
            }
            "image_url" => self.picture(choice, piece, emit),
            "refusal" => self.say(choice, Prose::Refusal, piece.refusal.unwrap_or_default().into(), emit),
            _ => self.say(choice, Prose::Text, piece.text.unwrap_or_default().into(), emit),
        }
    }

    fn picture(&mut self, choice: u32, piece: ContentPart<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let Some(url) = piece.image_url.and_then(|image| image.0.url) else { return };
        match media::source_of_url(url.into()) {
            Source::Inline { media_type, data } => self.whole(choice, PartKind::Media { media_type, data }, emit),
            // One that lies elsewhere: what can be shown of it is where.
            Source::Url(text) | Source::Text(text) | Source::File { id: text, .. } => {
                self.say(choice, Prose::Text, text, emit);
            }
        }
    }

    /// A part that is complete at its start.
    fn whole(&mut self, choice: u32, kind: PartKind<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        self.complete = false;
        self.close_prose(choice, emit);
        let part = self.take_part();
        emit(Event::PartStart { choice, part, kind });
        emit(Event::PartStop { choice, part });
    }

    fn detail(&mut self, choice: u32, detail: ReasoningDetail<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        // The proof of a thought may come last, also behind the reason to end.
        let says = |text: &Option<Str<'_>>| text.as_deref().is_some_and(|text| !text.is_empty());
        let complete = self.complete && !says(&detail.text) && !says(&detail.summary);
        self.proven_thought(choice, &detail, emit);
        self.complete = complete;
    }

    fn proven_thought(&mut self, choice: u32, detail: &ReasoningDetail<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.marks.as_ref().is_some_and(|open| open.is_followed_by(detail)) {
            self.close_prose(choice, emit);
        }
        if detail.kind.as_deref() == Some("reasoning.encrypted") {
            let Some(data) = Marks::of(detail).signature().filter(|_| detail.data.is_some()) else { return };
            return self.whole(choice, PartKind::RedactedThinking { data }, emit);
        }
        let is_signature = detail.signature.as_deref().is_some_and(|payload| !payload.is_empty());
        let text = detail.text.as_ref().or(detail.summary.as_ref()).filter(|text| !text.is_empty());
        if text.is_some() || is_signature {
            let part = self.prose(choice, Prose::Thinking, emit);
            if let Some(text) = text {
                emit(Event::ThinkingDelta { choice, part, text: (**text).into() });
            }
            self.marks.get_or_insert_default().add(detail);
        }
    }

    /// The open part of this kind, begun if need be. Text, refusal and thinking follow each other, so another kind closes.
    fn prose(&mut self, choice: u32, kind: Prose, emit: &mut dyn FnMut(Event<'_>)) -> u32 {
        self.complete = false;
        if let Some((part, open)) = self.open
            && open == kind
        {
            return part;
        }
        self.close_prose(choice, emit);
        let part = self.take_part();
        self.open = Some((part, kind));
        let kind = match kind {
            Prose::Text => PartKind::Text,
            Prose::Refusal => PartKind::Refusal,
            Prose::Thinking => PartKind::Thinking,
        };
        emit(Event::PartStart { choice, part, kind });
        part
    }

    fn close_prose(&mut self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        let marks = self.marks.take();
        if let Some((part, _)) = self.open.take() {
            if let Some(signature) = marks.and_then(|marks| marks.signature()) {
                emit(Event::SignatureDelta { choice, part, signature });
            }
            emit(Event::PartStop { choice, part });
        }
    }

    const fn take_part(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        part
    }

    fn call(&mut self, choice: u32, delta: ToolCall<'_>, emit: &mut dyn FnMut(Event<'_>)) -> Result<(), TooLong> {
        if self.calls.len() >= MAX_CALLS {
            return Err(TooLong);
        }
        self.close_prose(choice, emit);
        self.called = true;
        let before = self.calls.len();
        let at = self.find_call(&delta);
        // A last word about a call that is known says nothing.
        self.complete &= self.calls.len() == before;
        let signature = delta
            .extra_content
            .and_then(|extra| extra.google)
            .and_then(|google| google.thought_signature)
            .map(|payload| payload.0.into_owned());
        let (name, arguments) = match (delta.function, delta.custom) {
            (Some(function), _) => (function.name, function.arguments.map(|arguments| arguments.0)),
            (None, Some(custom)) => {
                self.calls[at].kind = CallKind::Custom;
                (custom.name, custom.input.map(|input| input.0))
            }
            (None, None) => (None, None),
        };
        let arguments = arguments.filter(|text| !text.is_empty());
        self.complete &= arguments.is_none();
        let call = &mut self.calls[at];
        if call.part.is_none() {
            if let Some(name) = name {
                call.name.push_str(&name);
            }
            if !call.name.is_empty() {
                let part = self.next_part;
                self.next_part += 1;
                call.begin(choice, part, emit);
            }
        }
        if signature.is_some() {
            call.signature = signature;
        }
        match call.part {
            Some(part) => {
                if let Some(payload) = call.signature.take() {
                    let signature = Signature { family: Family::Gemini, payload: payload.into() };
                    emit(Event::SignatureDelta { choice, part, signature });
                }
                if let Some(text) = arguments {
                    emit(Event::ArgsDelta { choice, part, text });
                }
            }
            None => {
                let early = arguments.unwrap_or_default();
                if call.early.len() + early.len() > MAX_EVENT_BYTES {
                    return Err(TooLong);
                }
                call.early.push_str(&early);
            }
        }
        Ok(())
    }

    /// By index; but hosts that give every call the index 0 give each its own id, and some give no index at all. Those that
    /// give no id either send whole calls, told apart by their names or by being whole.
    fn find_call(&mut self, delta: &ToolCall<'_>) -> usize {
        let id = delta.id.as_deref().filter(|id| !id.is_empty());
        let function = delta.function.as_ref();
        let name = function.and_then(|function| function.name.as_deref()).filter(|name| !name.is_empty());
        let index = delta.index.unwrap_or_else(|| match id {
            Some(id) if self.calls.iter().all(|call| call.id != id) => self.calls.len() as u32,
            _ => self.calls.last().map_or(0, |call| call.index),
        });
        let found = self
            .calls
            .iter()
            .rposition(|call| {
                // An id that comes late belongs to the call that has none.
                let late = call.unnamed && !call.whole && name.is_none();
                call.index == index && id.is_none_or(|id| late || call.id == id)
            })
            .filter(|at| id.is_some() || name.is_none_or(|name| !self.calls[*at].is_followed_by(name)));
        found.unwrap_or_else(|| {
            let number = self.calls.len();
            let arguments = function.and_then(|function| function.arguments.as_ref());
            self.calls.push(CallState {
                unnamed: id.is_none(),
                whole: id.is_none()
                    && name.is_some()
                    && arguments.is_some_and(|text| serde_json::from_str::<IgnoredAny>(&text.0).is_ok()),
                index,
                id: id.map_or_else(|| made_call_id(&self.answer, number), str::to_owned),
                name: String::new(),
                part: None,
                early: String::new(),
                signature: None,
                kind: CallKind::Function,
            });
            number
        })
    }

    fn finish(&mut self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        self.close_prose(choice, emit);
        if let Some((media_type, data)) = self.sound.take() {
            self.whole(choice, PartKind::Media { media_type: media_type.into(), data: data.into() }, emit);
        }
        for call in &self.calls {
            // A call that never got a name cannot be made; it ends here unseen.
            if let Some(part) = call.part {
                emit(Event::PartStop { choice, part });
            }
        }
        // Some hosts close with [DONE] and no reason.
        let reason = self.reason.unwrap_or(FinishReason::End);
        let reason = if self.called && reason == FinishReason::End { FinishReason::ToolCalls } else { reason };
        emit(Event::Finish { choice, reason, stop_sequence: None });
    }
}

// === impl CallState ===

impl CallState {
    /// Whether a delta with this name and without an id begins another call. Some hosts repeat the name in every delta.
    fn is_followed_by(&self, name: &str) -> bool {
        self.part.is_some() && (self.whole || self.name != name)
    }

    fn begin(&mut self, choice: u32, part: u32, emit: &mut dyn FnMut(Event<'_>)) {
        self.part = Some(part);
        let kind = PartKind::ToolCall { id: self.id.as_str().into(), name: self.name.as_str().into(), kind: self.kind };
        emit(Event::PartStart { choice, part, kind });
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            emit(Event::ArgsDelta { choice, part, text: early.into() });
        }
    }
}
