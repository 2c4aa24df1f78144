//! Lines of a streamed answer → [`Event`]s.

use omniroute_core::error::ErrorClass;

use super::{
    decode_request::tool_call,
    finish_reason,
    lines::LineReader,
    logprobs::decode_logprobs,
    message::{Answer, ToolCall},
};
use crate::{
    codec::StreamDecoder,
    event_stream::TooLong,
    ir::{Event, FinishReason, Part, PartKind, Source, StreamError},
    usage::Usage,
};

/// Reads the stream of an Ollama upstream.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: LineReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    answer: Box<str>,
    started: bool,
    ended: bool,
    /// The upstream is at its end: a line that it began and did not finish stays so.
    over: bool,
    next_part: u32,
    /// Pieces so far.
    said: u64,
    /// The open text or thinking part: they follow each other.
    open: Option<(u32, Prose)>,
    calls: usize,
    /// How the answer ends. Some hosts call every line the last, so that only the stream's own end shows which one was.
    ending: Option<(FinishReason, Usage)>,
    /// A line was called the last.
    called_last: bool,
    /// That was the first such line, and it said nothing itself, as those of hosts do who mean it.
    is_last: bool,
    /// Moment of the first line: it tells this answer's calls from the same ones of another round.
    seed: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    Text,
    Thinking,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn of_answer(&mut self, answer: &str) {
        self.state.answer = answer.into();
    }

    fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if state.ended {
            return;
        }
        if let Err(TooLong) = self.reader.feed(bytes, |line| state.line(line, emit)) {
            state.fail(ErrorClass::Upstream, "stream_too_long", TooLong.to_string(), emit);
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        state.over = true;
        self.reader.end(|line| state.line(line, emit));
        if let Some(ending) = state.ending.take() {
            state.finish(ending, emit);
        }
        let message = "the upstream's stream ended before the answer was complete".to_owned();
        state.fail(ErrorClass::Upstream, "upstream_stream_cut", message, emit);
    }

    fn done(&self) -> bool {
        self.state.is_last || self.state.ended
    }

    fn complete(&self) -> bool {
        self.state.ending.is_some() && !self.state.ended
    }
}

// === impl State ===

impl State {
    fn line(&mut self, line: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        if self.ended {
            return;
        }
        match serde_json::from_slice::<Answer<'_>>(line) {
            Ok(answer) => self.answer(answer, line, emit),
            // What breaks off behind a whole answer takes nothing from it.
            Err(_) if self.over && self.ending.is_some() => {}
            Err(_) => {
                let message = "the upstream sent a line that is not valid JSON".to_owned();
                self.fail(ErrorClass::Upstream, "upstream_malformed", message, emit);
            }
        }
    }

    fn answer(&mut self, mut answer: Answer<'_>, line: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        if answer.error.is_some() {
            let understood = super::decode_error(answer.status.unwrap_or(500), line);
            self.fail(understood.class, "upstream_error", understood.message, emit);
            return;
        }
        if !self.started {
            self.started = true;
            self.seed.push_str(answer.created_at.as_deref().unwrap_or_default());
            self.seed.push_str(&self.answer);
            let created = answer.created();
            let model = answer.model.take().map(Into::into).unwrap_or_default();
            emit(Event::Start { id: "".into(), model, created });
        }
        let mut message = answer.take_message();
        let before = self.said;
        if let Some(text) = message.thinking.take().filter(|text| !text.is_empty()) {
            let part = self.prose(Prose::Thinking, emit);
            emit(Event::ThinkingDelta { choice: 0, part, text: text.into() });
        }
        if let Some(text) = message.content.take().map(|content| content.0).filter(|text| !text.is_empty()) {
            let part = self.prose(Prose::Text, emit);
            emit(Event::TextDelta { choice: 0, part, text });
        }
        for entry in message.images.take().into_iter().flatten() {
            self.media(entry.into(), emit);
        }
        for call in message.tool_calls.take().into_iter().flatten() {
            self.call(call, emit);
        }
        if let Some(raw) = answer.logprobs.and_then(decode_logprobs) {
            emit(Event::Logprobs { choice: 0, raw });
        }
        if self.said > before {
            self.ending = None;
        }
        if answer.done == Some(true) {
            let is_first = !std::mem::replace(&mut self.called_last, true);
            self.is_last = is_first && self.said > 0 && self.said == before;
            let usage = answer.usage();
            // At once: whoever waits for the stream's end knows that nothing is missing but that.
            if !usage.is_unknown() {
                emit(Event::Usage(usage));
            }
            self.ending = Some((finish_reason(answer.done_reason.as_deref(), self.calls > 0), usage));
        }
    }

    fn finish(&mut self, (reason, usage): (FinishReason, Usage), emit: &mut dyn FnMut(Event<'_>)) {
        self.ended = true;
        self.close_prose(emit);
        emit(Event::Finish { choice: 0, reason, stop_sequence: None });
        emit(Event::Usage(usage));
    }

    /// The open part of this kind, begun if need be.
    fn prose(&mut self, kind: Prose, emit: &mut dyn FnMut(Event<'_>)) -> u32 {
        self.said += 1;
        if let Some((part, open)) = self.open
            && open == kind
        {
            return part;
        }
        self.close_prose(emit);
        let part = self.take_part();
        self.open = Some((part, kind));
        let kind = match kind {
            Prose::Text => PartKind::Text,
            Prose::Thinking => PartKind::Thinking,
        };
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

    fn media(&mut self, entry: std::borrow::Cow<'_, str>, emit: &mut dyn FnMut(Event<'_>)) {
        let (Part::Image { source, .. } | Part::Audio { source, .. }) = super::media_type::media_part(entry) else {
            return;
        };
        let Source::Inline { media_type, data } = source else { return };
        self.said += 1;
        self.close_prose(emit);
        let part = self.take_part();
        emit(Event::PartStart { choice: 0, part, kind: PartKind::Media { media_type, data } });
        emit(Event::PartStop { choice: 0, part });
    }

    fn call(&mut self, call: ToolCall<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let Some(Part::ToolCall { id, name, arguments, kind, .. }) = tool_call(call, &self.seed, self.calls) else {
            return;
        };
        self.calls += 1;
        self.said += 1;
        self.close_prose(emit);
        let part = self.take_part();
        emit(Event::PartStart { choice: 0, part, kind: PartKind::ToolCall { id, name, kind } });
        emit(Event::ArgsDelta { choice: 0, part, text: arguments });
        emit(Event::PartStop { choice: 0, part });
    }

    fn fail(&mut self, class: ErrorClass, code: &'static str, message: String, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.ended {
            self.ended = true;
            emit(Event::Error(StreamError { class, code, message, retry_after: None, request_id: None }));
        }
    }
}
