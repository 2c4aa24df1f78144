//! Messages on their way out: laid out, paired and marked before they are written.

use std::borrow::Cow;

use crate::ir::{CacheMark, Part, SystemPart};

/// A message to write.
#[derive(Debug)]
pub(super) struct Message<'p> {
    pub(super) speaker: Speaker,
    pub(super) slots: Vec<Slot<'p>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Assistant,
    /// A system turn in mid-conversation.
    System,
}

/// A block to write, and whether a cache may end behind it.
#[derive(Debug)]
pub(super) struct Slot<'p> {
    pub(super) item: Item<'p>,
    pub(super) mark: Option<CacheMark>,
}

#[derive(Debug)]
pub(super) enum Item<'p> {
    /// With its place in the request: turn and part.
    Part(&'p Part<'p>, (usize, usize)),
    /// A call or a result, with the id that it has on the wire.
    Call(&'p Part<'p>, Cow<'p, str>),
    Result(&'p Part<'p>, Cow<'p, str>),
    /// Stands for the result of a call that has none.
    Unanswered(Cow<'p, str>),
    System(&'p SystemPart<'p>),
    /// Text that no part says as it stands.
    Note(Cow<'p, str>),
}

// === impl Message ===

impl<'p> Message<'p> {
    pub(super) fn of_note(text: Cow<'p, str>) -> Self {
        Self { speaker: Speaker::User, slots: vec![Slot { item: Item::Note(text), mark: None }] }
    }

    pub(super) fn has_results(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.item, Item::Result(..) | Item::Unanswered(_)))
    }
}

// === impl Slot ===

impl Slot<'_> {
    pub(super) fn is_thinking(&self) -> bool {
        matches!(self.item, Item::Part(Part::Thinking { .. } | Part::RedactedThinking { .. }, _))
    }

    /// Whether a cache mark may stand on it.
    pub(super) fn can_be_marked(&self) -> bool {
        match &self.item {
            Item::Part(part, _) => {
                matches!(part, Part::Text { .. } | Part::Refusal { .. } | Part::Image { .. } | Part::Document { .. })
            }
            Item::Call(..) | Item::Result(..) | Item::Note(_) | Item::System(_) => true,
            Item::Unanswered(_) => false,
        }
    }
}
