//! Text between two texts, asked of a model that only chats.
//!
//! Completion APIs know a `suffix`; chat has none. Dropping it would make editors insert text that does not fit, so the
//! chat request says in words what the completion request said in fields.

use std::borrow::Cow;

use crate::ir::{Part, Request, Role, SystemPart, SystemRole, Turn};

const INSTRUCTION: &str = "You complete text at a cursor. The user gives what stands before it in <prefix> and what stands \
     after it in <suffix>. Answer with exactly the text that belongs between the two: no explanation, no code fence, \
     nothing of the prefix or the suffix repeated.";

/// Appends the instruction and a turn with both texts.
pub(crate) fn push_fill_in<'a>(request: &mut Request<'a>, images: Vec<Part<'a>>, prefix: &str, suffix: &str) {
    let position = request.turns.len();
    let text = Cow::Borrowed(INSTRUCTION);
    request.system.push(SystemPart { text, role: SystemRole::System, position, cache: None });
    let mut parts = images;
    parts.push(Part::text(format!("<prefix>{prefix}</prefix><suffix>{suffix}</suffix>")));
    request.turns.push(Turn { role: Role::User, parts, name: None });
}
