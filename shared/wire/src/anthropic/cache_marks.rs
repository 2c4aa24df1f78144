//! Where the prompt may be cached.
//!
//! A client of another format cannot say it, so marks are set for it where they pay: behind the tools, the system text
//! and the last two messages of the user's. A client that sets marks itself knows better, and keeps exactly its own.

use super::message::{Message, Slot, Speaker};
use crate::{
    codec::EncodeTarget,
    ir::{CacheMark, Request, Role},
};

/// Most marks that the API takes.
const MAX_MARKS: usize = 4;

/// What becomes of the marks outside the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Mark the last of them, though the client did not.
    pub(super) last_tool: bool,
    pub(super) last_system: bool,
    /// Client's marks to leave out, from the front: there are too many.
    pub(super) skip_tools: usize,
    pub(super) skip_system: usize,
}

/// Decides, and sets or takes away the marks in the messages.
pub(super) fn place(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    messages: &mut [Message<'_>],
    own: bool,
) -> Marks {
    let mut marks = Marks::default();
    if own {
        return marks;
    }
    let tools = request.tools.iter().filter(|tool| tool.cache.is_some()).count();
    let system = request.system.iter().filter(|part| part.position == 0 && part.cache.is_some()).count();
    let inside = messages.iter().flat_map(|message| &message.slots).filter(|slot| is_marked(slot)).count();
    let all = tools + system + inside;
    if all > 0 {
        // The last ones cover what the first ones did.
        let mut excess = all.saturating_sub(MAX_MARKS);
        marks.skip_tools = excess.min(tools);
        excess -= marks.skip_tools;
        marks.skip_system = excess.min(system);
        excess -= marks.skip_system;
        let marked = messages.iter_mut().flat_map(|message| &mut message.slots).filter(|slot| is_marked(slot));
        marked.take(excess).for_each(|slot| slot.mark = None);
        return marks;
    }
    let answers = request.turns.iter().filter(|turn| turn.role == Role::Assistant).count();
    if !target.profile.automatic_cache_marks || (request.tools.is_empty() && answers < 2) {
        return marks;
    }
    marks.last_tool = true;
    marks.last_system = true;
    let users = messages.iter_mut().rev().filter(|message| message.speaker == Speaker::User);
    for message in users.take(2) {
        if let Some(slot) = message.slots.iter_mut().rev().find(|slot| slot.can_be_marked()) {
            slot.mark = Some(CacheMark::FiveMinutes);
        }
    }
    marks
}

fn is_marked(slot: &Slot<'_>) -> bool {
    slot.mark.is_some() && slot.can_be_marked()
}
