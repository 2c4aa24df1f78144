//! Calls of a streamed answer, put together from their pieces.

use serde::de::IgnoredAny;

use super::message::ToolCall;
use crate::{
    event_stream::{MAX_EVENT_BYTES, TooLong},
    ir::{CallKind, Event, Family, PartKind, Signature},
    stable_id::made_call_id,
};

/// Most calls of one choice.
const MAX_CALLS: usize = 4096;

/// The calls of one choice.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<CallState>);

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

// === impl Calls ===

impl Calls {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a piece of a call. Tells whether it says anything: a last word about a call that is known does not.
    ///
    /// # Errors
    /// When there are more calls, or more of one, than can be held.
    pub(super) fn push(
        &mut self,
        (answer, choice): (&str, u32),
        delta: ToolCall<'_>,
        next_part: &mut u32,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, TooLong> {
        if self.0.len() >= MAX_CALLS {
            return Err(TooLong);
        }
        let before = self.0.len();
        let at = self.find(answer, &delta);
        let is_new = self.0.len() > before;
        let call = &mut self.0[at];
        let signature = delta
            .extra_content
            .and_then(|extra| extra.google)
            .and_then(|google| google.thought_signature)
            .map(|payload| payload.0.into_owned());
        let (name, arguments) = match (delta.function, delta.custom) {
            (Some(function), _) => (function.name, function.arguments.map(|arguments| arguments.0)),
            (None, Some(custom)) => {
                call.kind = CallKind::Custom;
                (custom.name, custom.input.map(|input| input.0))
            }
            (None, None) => (None, None),
        };
        let arguments = arguments.filter(|text| !text.is_empty());
        let says_something = is_new || arguments.is_some();
        if call.part.is_none() {
            if let Some(name) = name {
                call.name.push_str(&name);
            }
            if !call.name.is_empty() {
                call.begin(choice, *next_part, emit);
                *next_part += 1;
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
        Ok(says_something)
    }

    /// By index; but hosts that give every call the index 0 give each its own id, and some give no index at all. Those that
    /// give no id either send whole calls, told apart by their names or by being whole.
    fn find(&mut self, answer: &str, delta: &ToolCall<'_>) -> usize {
        let id = delta.id.as_deref().filter(|id| !id.is_empty());
        let function = delta.function.as_ref();
        let name = function.and_then(|function| function.name.as_deref()).filter(|name| !name.is_empty());
        let index = delta.index.unwrap_or_else(|| match id {
            Some(id) if self.0.iter().all(|call| call.id != id) => self.0.len() as u32,
            _ => self.0.last().map_or(0, |call| call.index),
        });
        let found = self
            .0
            .iter()
            .rposition(|call| {
                // An id that comes late belongs to the call that has none.
                let late = call.unnamed && !call.whole && name.is_none();
                call.index == index && id.is_none_or(|id| late || call.id == id)
            })
            .filter(|at| id.is_some() || name.is_none_or(|name| !self.0[*at].is_followed_by(name)));
        found.unwrap_or_else(|| {
            let number = self.0.len();
            let arguments = function.and_then(|function| function.arguments.as_ref());
            self.0.push(CallState {
                unnamed: id.is_none(),
                whole: id.is_none()
                    && name.is_some()
                    && arguments.is_some_and(|text| serde_json::from_str::<IgnoredAny>(&text.0).is_ok()),
                index,
                id: id.map_or_else(|| made_call_id(answer, number), str::to_owned),
                name: String::new(),
                part: None,
                early: String::new(),
                signature: None,
                kind: CallKind::Function,
            });
            number
        })
    }

    /// No piece follows.
    pub(super) fn stop(&self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        // A call that never got a name cannot be made; it ends here unseen.
        for part in self.0.iter().filter_map(|call| call.part) {
            emit(Event::PartStop { choice, part });
        }
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
