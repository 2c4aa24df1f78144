//! One choice of a streamed answer: its words and thoughts in the order in which they come.

use std::borrow::Cow;

use super::{
    content,
    details::Marks,
    message::{Annotation, Audio, ContentPart, FunctionCall, ReasoningDetail, ToolCall},
    sound::Sound,
    stream_calls::Calls,
};
use crate::{
    event_stream::TooLong,
    ir::{Event, FinishReason, PartKind, Source},
    media,
    object::wire_object,
    text::{Str, TextOr},
};

wire_object! {
    pub(super) struct Delta<'a> {
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

#[derive(Debug, Default)]
pub(super) struct ChoiceState {
    answer: Box<str>,
    /// It is one of the answer's, and no gap in their numbers.
    pub(super) begun: bool,
    next_part: u32,
    /// The open text, refusal or thinking part: they follow each other.
    open: Option<(u32, Prose)>,
    /// Of the open thought, where details tell it.
    marks: Option<Marks>,
    calls: Calls,
    sound: Sound,
    /// The last reason to end. Some hosts give one in every chunk, so only the stream's own end makes it final.
    pub(super) reason: Option<FinishReason>,
    /// Nothing was said after it.
    pub(super) complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    Text,
    Refusal,
    Thinking,
}

// === impl ChoiceState ===

impl ChoiceState {
    pub(super) fn new(answer: &str) -> Self {
        Self { answer: answer.into(), ..Self::default() }
    }

    pub(super) fn delta(
        &mut self,
        choice: u32,
        delta: Delta<'_>,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TooLong> {
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
        self.close_prose(choice, emit);
        let says_something = self.calls.push((&self.answer, choice), delta, &mut self.next_part, emit)?;
        self.complete &= !says_something;
        Ok(())
    }

    pub(super) fn finish(&mut self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        self.close_prose(choice, emit);
        if let Some((media_type, data)) = self.sound.take() {
            self.whole(choice, PartKind::Media { media_type: media_type.into(), data: data.into() }, emit);
        }
        self.calls.stop(choice, emit);
        // Some hosts close with [DONE] and no reason.
        let reason = self.reason.unwrap_or(FinishReason::End);
        let reason =
            if !self.calls.is_empty() && reason == FinishReason::End { FinishReason::ToolCalls } else { reason };
        emit(Event::Finish { choice, reason, stop_sequence: None });
    }
}
