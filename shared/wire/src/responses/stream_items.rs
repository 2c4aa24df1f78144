//! The items of a stream while they arrive, by their place in the output.
//!
//! Some hosts exchange the ids of an item between its events, so only the place is relied on; some leave out events, so what
//! an item says when it is done is compared with what came before.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{
    decode_content::{annotation, text_field},
    item::{ContentPart, Item},
    output_item::OutputItem,
};
use crate::ir::{CallKind, Event, Family, PartKind, Signature};

/// Most contents of an item that are looked at, and most items of a stream.
const MAX_PARTS: u32 = 4096;
const MAX_ITEMS: u32 = 4096;

/// The items so far.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: BTreeMap<u32, ItemState>,
    last: u32,
    next_part: u32,
    seen: Seen,
    /// There were more items than can be followed.
    full: bool,
}

/// What the answer is made of, which decides how it ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) called: bool,
    pub(super) refused: bool,
    pub(super) said: bool,
}

/// Where in an item a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextPosition {
    Content(u32),
    Summary(u32),
}

#[derive(Debug, Default)]
struct ItemState {
    /// Texts of a message.
    texts: BTreeMap<TextPosition, TextState>,
    thought: Option<Thought>,
    call: Option<OpenPart>,
    done: bool,
}

#[derive(Debug)]
struct TextState {
    part: OpenPart,
    annotations: usize,
}

/// A thought, in one of its two forms: whichever comes first.
#[derive(Debug)]
struct Thought {
    part: OpenPart,
    place: TextPosition,
    /// Bytes of the text at this place.
    here: usize,
}

/// A part that has begun.
#[derive(Clone, Copy, Debug)]
struct OpenPart {
    number: u32,
    /// Bytes of its text so far.
    sent: usize,
    open: bool,
}

// === impl Items ===

impl Items {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) const fn seen(&self) -> Seen {
        self.seen
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// The item that an event belongs to: without a place, the one before it.
    pub(super) fn index(&self, index: Option<u32>) -> u32 {
        index.unwrap_or(self.last)
    }

    pub(super) fn added(&mut self, index: u32, item: OutputItem<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        // Some hosts give every item the same place.
        if self.items.get(&index).is_some_and(|state| state.done) {
            self.items.remove(&index);
        }
        if let OutputItem::Call(item, kind) = item {
            self.call(index, &item, kind, emit);
        } else {
            self.item(index);
        }
    }

    fn item(&mut self, index: u32) -> Option<&mut ItemState> {
        if index >= MAX_ITEMS {
            self.full = true;
            return None;
        }
        self.last = index;
        let item = self.items.entry(index).or_default();
        (!item.done).then_some(item)
    }

    /// An item of which more comes: that it was called done was not its end.
    fn reopen(&mut self, index: u32) {
        if let Some(state) = self.items.get_mut(&index) {
            state.done = false;
        }
    }

    fn begin(&mut self, kind: PartKind<'_>, emit: &mut dyn FnMut(Event<'_>)) -> OpenPart {
        let number = self.next_part;
        self.next_part += 1;
        emit(Event::PartStart { choice: 0, part: number, kind });
        OpenPart { number, sent: 0, open: true }
    }

    fn call(&mut self, index: u32, item: &Item<'_>, kind: CallKind, emit: &mut dyn FnMut(Event<'_>)) {
        if self.item(index).is_none_or(|state| state.call.is_some()) {
            return;
        }
        let id = item.call_id.as_deref().or(item.id.as_deref());
        let (Some(id), Some(name)) = (id, item.name.as_deref()) else { return };
        let name = super::flat_name(item.namespace.as_deref(), name.into());
        let part = self.begin(PartKind::ToolCall { id: id.into(), name, kind }, emit);
        self.seen.called = true;
        if let Some(state) = self.item(index) {
            state.call = Some(part);
        }
    }

    pub(super) fn arguments(&mut self, index: u32, delta: &str, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some(part) = self.item(index).and_then(|state| state.call.as_mut())
            && part.open
            && !delta.is_empty()
        {
            part.sent += delta.len();
            emit(Event::ArgsDelta { choice: 0, part: part.number, text: delta.into() });
        }
    }

    /// What the deltas left out of a call's arguments.
    pub(super) fn whole_arguments(&mut self, index: u32, whole: &str, emit: &mut dyn FnMut(Event<'_>)) {
        let sent = self.item(index).and_then(|state| state.call).map_or(usize::MAX, |part| part.sent);
        if let Some(rest) = whole.get(sent..) {
            self.arguments(index, rest, emit);
        }
    }

    /// A piece of a message's text, or of a refusal.
    pub(super) fn text(
        &mut self,
        index: u32,
        at: TextPosition,
        delta: &str,
        refusal: bool,
        emit: &mut dyn FnMut(Event<'_>),
    ) {
        if delta.is_empty() {
            return;
        }
        self.reopen(index);
        if let Some(part) = self.open_text(index, at, refusal, emit) {
            part.sent += delta.len();
            emit(Event::TextDelta { choice: 0, part: part.number, text: delta.into() });
        }
    }

    fn open_text(
        &mut self,
        index: u32,
        at: TextPosition,
        refusal: bool,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Option<&mut OpenPart> {
        let known = self.item(index)?.texts.get(&at).map(|text| (text.part, text.annotations));
        if known.is_none_or(|(part, _)| !part.open) {
            let part = self.begin(if refusal { PartKind::Refusal } else { PartKind::Text }, emit);
            self.seen.refused |= refusal;
            self.seen.said |= !refusal;
            // What was sent of a text that goes on after its end still counts.
            let (sent, annotations) = known.map_or((0, 0), |(part, annotations)| (part.sent, annotations));
            self.item(index)?.texts.insert(at, TextState { part: OpenPart { sent, ..part }, annotations });
        }
        self.item(index)?.texts.get_mut(&at).map(|text| &mut text.part)
    }

    /// What the deltas left out of a text.
    pub(super) fn whole_text(
        &mut self,
        index: u32,
        at: TextPosition,
        whole: &str,
        refusal: bool,
        emit: &mut dyn FnMut(Event<'_>),
    ) {
        let Some(state) = self.item(index) else { return };
        let sent = state.texts.get(&at).map_or(0, |text| text.part.sent);
        if let Some(rest) = whole.get(sent..) {
            self.text(index, at, rest, refusal, emit);
        }
    }

    pub(super) fn annotation(&mut self, index: u32, at: TextPosition, raw: &RawValue, emit: &mut dyn FnMut(Event<'_>)) {
        let Some(annotation) = annotation(raw) else { return };
        let closed = self.item(index).and_then(|state| state.texts.get(&at)).is_some_and(|text| !text.part.open);
        if closed {
            return;
        }
        let Some(part) = self.open_text(index, at, false, emit) else { return };
        let number = part.number;
        if let Some(text) = self.item(index).and_then(|state| state.texts.get_mut(&at)) {
            text.annotations += 1;
        }
        emit(Event::Annotation { choice: 0, part: number, annotation });
    }

    pub(super) fn content_done(
        &mut self,
        index: u32,
        at: TextPosition,
        raw: Option<&RawValue>,
        emit: &mut dyn FnMut(Event<'_>),
    ) {
        let part = raw.and_then(|raw| serde_json::from_str::<ContentPart<'_>>(raw.get()).ok());
        // A thought's contents end with their item.
        if let Some(part) = part.filter(|part| part.kind.as_deref() != Some("reasoning_text")) {
            self.content(index, at, &part, emit);
        }
    }

    /// Compares a whole content with what came of it, and closes it.
    fn content(&mut self, index: u32, at: TextPosition, part: &ContentPart<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        match &part.refusal {
            Some(refusal) => self.whole_text(index, at, refusal, true, emit),
            None => self.whole_text(index, at, part.text.as_deref().unwrap_or_default(), false, emit),
        }
        let seen = self.item(index).and_then(|state| state.texts.get(&at)).map_or(0, |text| text.annotations);
        for raw in part.annotations.iter().flatten().skip(seen) {
            self.annotation(index, at, raw, emit);
        }
        if let Some(text) = self.item(index).and_then(|state| state.texts.get_mut(&at)) {
            text.part.stop(emit);
        }
    }

    /// A piece of a thought. The pieces of a summary are paragraphs.
    pub(super) fn thought(&mut self, index: u32, at: TextPosition, delta: &str, emit: &mut dyn FnMut(Event<'_>)) {
        if delta.is_empty() {
            return;
        }
        self.reopen(index);
        let Some(state) = self.item(index) else { return };
        let known = state.thought.as_ref().map(|thought| (thought.part.open, thought.place, thought.here));
        if known.is_none_or(|(open, ..)| !open) {
            let part = self.begin(PartKind::Thinking, emit);
            let Some(state) = self.item(index) else { return };
            let (place, here) = known.map_or((at, 0), |(_, place, here)| (place, here));
            state.thought = Some(Thought { part, place, here });
        }
        let Some(thought) = self.item(index).and_then(|state| state.thought.as_mut()) else { return };
        if std::mem::discriminant(&thought.place) != std::mem::discriminant(&at) {
            return;
        }
        let number = thought.part.number;
        if thought.place != at {
            thought.place = at;
            thought.here = 0;
            if matches!(at, TextPosition::Summary(_)) {
                emit(Event::ThinkingDelta { choice: 0, part: number, text: "\n\n".into() });
            }
        }
        thought.here += delta.len();
        emit(Event::ThinkingDelta { choice: 0, part: number, text: delta.into() });
    }

    /// What the deltas left out of a thought.
    pub(super) fn whole_thought(&mut self, index: u32, at: TextPosition, whole: &str, emit: &mut dyn FnMut(Event<'_>)) {
        let here = self.item(index).and_then(|state| state.thought.as_ref()).map(|own| (own.place, own.here));
        let sent = match here {
            Some((place, here)) if place == at => here,
            // An earlier paragraph has been sent whole.
            Some((place, _)) if place > at => return,
            _ => 0,
        };
        if let Some(rest) = whole.get(sent..) {
            self.thought(index, at, rest, emit);
        }
    }

    /// An item is whole: what has not come of it comes now.
    pub(super) fn done(&mut self, index: u32, item: OutputItem<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.item(index).is_none() {
            return;
        }
        match item {
            OutputItem::Message(contents) => {
                for (at, part) in (0_u32..MAX_PARTS).zip(&contents) {
                    self.content(index, TextPosition::Content(at), part, emit);
                }
            }
            OutputItem::Reasoning(item) => self.reasoning_done(index, item, emit),
            OutputItem::Call(item, kind) => {
                self.call(index, &item, kind, emit);
                let whole = text_field(if kind == CallKind::Custom { item.input } else { item.arguments });
                self.whole_arguments(index, &whole, emit);
            }
            OutputItem::Other(raw) => {
                let mut part = self.begin(PartKind::ServerTool { family: Family::OpenAi, raw: raw.into() }, emit);
                part.stop(emit);
            }
        }
        if let Some(state) = self.items.get_mut(&index) {
            state.close(emit);
        }
    }

    fn reasoning_done(&mut self, index: u32, item: Item<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some(crate::text::TextOr::List(contents)) = &item.content {
            for (at, part) in (0_u32..MAX_PARTS).zip(contents) {
                self.whole_thought(index, TextPosition::Content(at), part.text.as_deref().unwrap_or_default(), emit);
            }
        }
        for (at, part) in (0_u32..MAX_PARTS).zip(item.summary.iter().flatten()) {
            self.whole_thought(index, TextPosition::Summary(at), part.text.as_deref().unwrap_or_default(), emit);
        }
        let Some(payload) = item.encrypted_content.filter(|payload| !payload.is_empty()) else { return };
        let signature = Signature { family: Family::OpenAi, payload: payload.into() };
        match self.item(index).and_then(|state| state.thought.as_ref()).map(|thought| thought.part) {
            Some(part) if part.open => emit(Event::SignatureDelta { choice: 0, part: part.number, signature }),
            // It has been signed before.
            Some(_) => {}
            None => {
                let mut part = self.begin(PartKind::RedactedThinking { data: signature }, emit);
                part.stop(emit);
            }
        }
    }

    /// The stream is over: whatever is open ends.
    pub(super) fn close(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        for state in self.items.values_mut() {
            state.close(emit);
        }
    }
}

// === impl ItemState ===

impl ItemState {
    fn close(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        self.done = true;
        let texts = self.texts.values_mut().map(|text| &mut text.part);
        let thought = self.thought.as_mut().map(|thought| &mut thought.part);
        texts.chain(thought).chain(self.call.as_mut()).for_each(|part| part.stop(emit));
    }
}

// === impl OpenPart ===

impl OpenPart {
    fn stop(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if std::mem::replace(&mut self.open, false) {
            emit(Event::PartStop { choice: 0, part: self.number });
        }
    }
}
