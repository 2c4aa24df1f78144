//! `GenerateContentResponse` elements, as server-sent events or as one JSON array → [`Event`]s.

use omniroute_core::error::ErrorClass;
use serde_json::value::RawValue;

use super::{
    content::{Origin, push_part},
    decode_response::{Body, Candidate, annotations, is_blocked},
    error, finish, logprobs,
    text_map::TextMap,
    values::ValueReader,
};
use crate::{
    codec::{DecodeContext, Sealer, StreamDecoder},
    event_stream::{EventReader, TooLong},
    ir::{Event, FinishReason, Part, PartKind, Signature, Source, StreamError},
};

/// Most candidates that a stream may open. Of parts there may be any number: of a sound, each piece is one.
const MAX_CANDIDATES: u32 = 4096;
/// Most calls of one.
const MAX_CALLS: usize = 4096;

/// Reads the stream of a Gemini upstream. Which of the two framings it has shows in its first byte.
#[derive(Debug, Default)]
pub struct Decoder {
    framing: Detected,
    state: State,
}

#[derive(Debug, Default)]
enum Detected {
    #[default]
    Unknown,
    Events(EventReader),
    Values(ValueReader),
}

#[derive(Debug, Default)]
struct State {
    answer: Box<str>,
    started: bool,
    failed: bool,
    /// The upstream is at its end: an element that it began and did not finish stays so.
    over: bool,
    /// `[DONE]`, which some hosts add.
    done: bool,
    id: String,
    candidates: Vec<CandidateState>,
}

#[derive(Debug, Default)]
struct CandidateState {
    next_part: u32,
    /// The open text or thinking part: they follow each other.
    open: Option<(u32, Prose)>,
    /// The open thought has its signature: what follows is another one.
    signed: bool,
    /// A signature for the text before it, held back while the text may go on: annotations come last and belong inside.
    signature: Option<Signature<'static>>,
    calls: usize,
    /// The reason so far. Old models give one in every element, so only the stream's end makes it final.
    finish: Option<FinishReason>,
    /// Nothing was said after it.
    complete: bool,
    text: TextMap,
    grounding: Option<Box<RawValue>>,
    citations: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    Text,
    Thinking,
}

/// An upstream's signature is its own: nothing of ours is sealed in there.
struct Unsealed;

// === impl Unsealed ===

impl Sealer for Unsealed {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        signature.payload.to_string()
    }

    fn open(&self, _: &str) -> Option<Signature<'static>> {
        None
    }
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn of_answer(&mut self, answer: &str) {
        self.state.answer = answer.into();
    }

    fn feed(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if state.failed {
            return;
        }
        if let Detected::Unknown = self.framing {
            // What stands in front belongs to neither framing, in whatever pieces it comes.
            let blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf);
            let Some(start) = bytes.iter().position(|byte| !blank(byte)) else { return };
            bytes = &bytes[start..];
            self.framing = match bytes[0] {
                // An object alone is what an upstream says that has only an error to tell.
                b'[' | b'{' => Detected::Values(ValueReader::default()),
                _ => Detected::Events(EventReader::default()),
            };
        }
        let fed = match &mut self.framing {
            Detected::Events(reader) => reader.feed(bytes, |event| state.element(event.data, emit)),
            Detected::Values(reader) => reader.feed(bytes, |element| state.element(element, emit)),
            Detected::Unknown => Ok(()),
        };
        if let Err(TooLong) = fed {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        state.over = true;
        if let Detected::Events(reader) = &mut self.framing
            && let Err(TooLong) = reader.end(|event| state.element(event.data, emit))
        {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
        let cut = matches!(&self.framing, Detected::Values(reader) if !reader.is_between());
        state.end(cut, emit);
    }

    fn done(&self) -> bool {
        self.state.done || self.state.failed
    }

    fn complete(&self) -> bool {
        let cut = matches!(&self.framing, Detected::Values(reader) if !reader.is_between());
        !cut && !self.state.failed && self.state.all_finished()
    }
}

// === impl State ===

impl State {
    fn element(&mut self, data: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed || self.done {
            return;
        }
        if data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return;
        }
        match serde_json::from_slice::<Body<'_>>(data) {
            Ok(body) => self.body(body, emit),
            // What breaks off behind a whole answer takes nothing from it.
            Err(_) if self.over && self.all_finished() => {}
            Err(_) => {
                let message = "the upstream sent an element that is not valid JSON".to_owned();
                self.fail(ErrorClass::Upstream, "upstream_malformed", message, emit);
            }
        }
    }

    fn body(&mut self, body: Body<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some(raw) = body.error {
            let error = error::decode_raw(500, raw);
            self.failed = true;
            let (class, message, retry_after) = (error.class, error.message, error.retry_after);
            return emit(Event::Error(StreamError {
                class,
                code: "upstream_error",
                message,
                retry_after,
                request_id: None,
            }));
        }
        if !self.started {
            self.started = true;
            let id = body.id.unwrap_or_default();
            self.id.push_str(&id);
            self.id.push_str(&self.answer);
            emit(Event::Start { id: id.into(), model: body.model.unwrap_or_default().into(), created: None });
        }
        // Before the candidates: one of them may be the end of the stream, and what it cost is still billed.
        if let Some(usage) = body.usage {
            emit(Event::Usage(usage.disjoint()));
        }
        for candidate in body.candidates.unwrap_or_default().0 {
            self.candidate(candidate, emit);
        }
        if body.prompt_feedback.is_some_and(is_blocked) && self.candidates.is_empty() {
            let finish = Some(FinishReason::ContentFilter);
            self.candidates.push(CandidateState { finish, complete: true, ..Default::default() });
        }
    }

    fn candidate(&mut self, field: Candidate<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let index = field.index.map_or(0, |index| u32::try_from(index.0).unwrap_or(MAX_CANDIDATES));
        if self.failed || index >= MAX_CANDIDATES {
            return;
        }
        while self.candidates.len() <= index as usize {
            self.candidates.push(CandidateState::default());
        }
        let seed =
            if index == 0 { self.id.as_str().into() } else { std::borrow::Cow::from(format!("{}/{index}", self.id)) };
        let state = &mut self.candidates[index as usize];
        let mut parts = Vec::new();
        let mut origin = Origin { turn: &seed, calls: state.calls };
        for part in field.content.unwrap_or_default().parts.unwrap_or_default().0 {
            if push_part(&mut parts, part, &mut origin, &DecodeContext { sealer: &Unsealed, answer: "" }).is_err() {
                let message = "the upstream sent a part that is not valid".to_owned();
                return self.fail(ErrorClass::Upstream, "upstream_malformed", message, emit);
            }
        }
        state.calls = origin.calls;
        if state.calls > MAX_CALLS {
            let message = "the upstream's answer has more calls than can be followed".to_owned();
            return self.fail(ErrorClass::Upstream, "stream_too_long", message, emit);
        }
        for part in parts {
            state.part(index, part, emit);
        }
        if let Some(raw) = field.logprobs.as_ref().and_then(logprobs::decode) {
            emit(Event::Logprobs { choice: index, raw });
        }
        if let Some(raw) = field.grounding {
            state.grounding = Some(raw.to_owned());
        }
        if let Some(raw) = field.citations {
            state.citations = Some(raw.to_owned());
        }
        if let Some(word) =
            field.finish_reason.filter(|word| !word.is_empty() && &**word != "FINISH_REASON_UNSPECIFIED")
        {
            state.finish = Some(finish::finish_reason(&word));
            state.complete = true;
            if state.finish == Some(FinishReason::MalformedCall) {
                let message = format!("the model made a call that is not valid ({})", &*word);
                self.fail(ErrorClass::Upstream, "malformed_tool_call", message, emit);
            }
        }
    }

    fn fail(&mut self, class: ErrorClass, code: &'static str, message: String, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.failed {
            self.failed = true;
            emit(Event::Error(StreamError { class, code, message, retry_after: None, request_id: None }));
        }
    }

    /// Whether every candidate that said something has said why it ended.
    fn all_finished(&self) -> bool {
        let mut begun =
            self.candidates.iter().filter(|candidate| candidate.next_part > 0 || candidate.complete).peekable();
        begun.peek().is_some() && begun.all(|candidate| candidate.complete)
    }

    fn end(&mut self, cut: bool, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed {
            return;
        }
        if cut || !self.started || !self.all_finished() {
            let message = "the upstream's stream ended before the answer was complete".to_owned();
            return self.fail(ErrorClass::Upstream, "upstream_stream_cut", message, emit);
        }
        for (index, candidate) in (0_u32..).zip(&mut self.candidates) {
            candidate.end(index, emit);
        }
    }
}

// === impl CandidateState ===

impl CandidateState {
    fn part(&mut self, choice: u32, part: Part<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        // The proof of a thought comes last, also behind the reason.
        self.complete &= matches!(part, Part::RedactedThinking { .. });
        match part {
            Part::Text { text, .. } => {
                self.text.push(&text);
                let part = self.prose(choice, Prose::Text, emit);
                emit(Event::TextDelta { choice, part, text });
            }
            Part::Thinking { text, signature } => {
                let part = self.prose(choice, Prose::Thinking, emit);
                if !text.is_empty() {
                    emit(Event::ThinkingDelta { choice, part, text });
                }
                if let Some(signature) = signature {
                    emit(Event::SignatureDelta { choice, part, signature });
                    self.signed = true;
                }
            }
            Part::RedactedThinking { data } => {
                self.flush_signature(choice, emit);
                self.signature = Some(Signature { family: data.family, payload: data.payload.into_owned().into() });
            }
            Part::ToolCall { id, name, arguments, kind, signature, .. } => {
                self.close(choice, emit);
                let part = self.take_part();
                emit(Event::PartStart { choice, part, kind: PartKind::ToolCall { id, name, kind } });
                if let Some(signature) = signature {
                    emit(Event::SignatureDelta { choice, part, signature });
                }
                emit(Event::ArgsDelta { choice, part, text: arguments });
                emit(Event::PartStop { choice, part });
            }
            Part::ServerTool { family, raw } => self.whole(choice, PartKind::ServerTool { family, raw }, emit),
            Part::Image { source, .. }
            | Part::Audio { source, .. }
            | Part::Video { source }
            | Part::Document { source, .. } => self.media(choice, source, emit),
            Part::Refusal { .. } | Part::ToolResult { .. } => {}
        }
    }

    fn media(&mut self, choice: u32, source: Source<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        match source {
            Source::Inline { media_type, data } => self.whole(choice, PartKind::Media { media_type, data }, emit),
            // A file that the model made and that lies elsewhere: what can be shown of it is where.
            Source::Url(text) | Source::Text(text) | Source::File { id: text, .. } => {
                let part = self.prose(choice, Prose::Text, emit);
                emit(Event::TextDelta { choice, part, text });
            }
        }
    }

    /// A part that is complete at its start.
    fn whole(&mut self, choice: u32, kind: PartKind<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        self.close(choice, emit);
        let part = self.take_part();
        emit(Event::PartStart { choice, part, kind });
        emit(Event::PartStop { choice, part });
    }

    /// The open part of this kind, begun if need be.
    fn prose(&mut self, choice: u32, kind: Prose, emit: &mut dyn FnMut(Event<'_>)) -> u32 {
        if let Some((part, open)) = self.open
            && open == kind
            && self.signature.is_none()
            && !self.signed
        {
            return part;
        }
        self.close(choice, emit);
        let part = self.take_part();
        self.open = Some((part, kind));
        let kind = match kind {
            Prose::Text => PartKind::Text,
            Prose::Thinking => PartKind::Thinking,
        };
        emit(Event::PartStart { choice, part, kind });
        part
    }

    /// Ends the open part, and the signature that waits behind it.
    fn close(&mut self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        self.signed = false;
        if let Some((part, _)) = self.open.take() {
            emit(Event::PartStop { choice, part });
        }
        if let Some(data) = self.signature.take() {
            let part = self.take_part();
            emit(Event::PartStart { choice, part, kind: PartKind::RedactedThinking { data } });
            emit(Event::PartStop { choice, part });
        }
    }

    fn flush_signature(&mut self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        if self.signature.is_some() {
            self.close(choice, emit);
        }
    }

    const fn take_part(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        part
    }

    fn end(&mut self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        let (grounding, citations) = (self.grounding.take(), self.citations.take());
        let all = annotations(grounding.as_deref(), citations.as_deref(), &self.text);
        if !all.is_empty() {
            let part = match self.open {
                Some((part, Prose::Text)) => part,
                _ => self.prose(choice, Prose::Text, emit),
            };
            for annotation in all {
                emit(Event::Annotation { choice, part, annotation });
            }
        }
        self.close(choice, emit);
        // Only a gap in the numbers has none.
        let reason = finish::with_calls(self.finish.unwrap_or(FinishReason::End), self.calls > 0);
        emit(Event::Finish { choice, reason, stop_sequence: None });
    }
}
