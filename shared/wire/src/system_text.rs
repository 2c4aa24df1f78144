//! System texts for targets that take them in front only.

use std::borrow::Cow;

use crate::ir::{Format, Losses, Part, Request, Role, SystemPart, Turn};

/// The system texts of a request, in the order in which an encoder comes by their places.
pub(crate) struct Systems<'r, 'a> {
    front: &'r [SystemPart<'a>],
    later: &'r [SystemPart<'a>],
}

// === impl Systems ===

impl<'r, 'a> Systems<'r, 'a> {
    pub(crate) fn of(request: &'r Request<'a>, losses: &mut Losses) -> Self {
        let mut all = request.system.as_slice();
        while let Some((_, rest)) = all.split_first().filter(|(first, _)| is_billing_line(request, first)) {
            losses.drop_field("system.billing_header");
            all = rest;
        }
        let (front, later) = all.split_at(all.iter().take_while(|part| part.position == 0).count());
        Self { front, later }
    }

    /// Those before the first turn.
    pub(crate) const fn front(&self) -> &'r [SystemPart<'a>] {
        self.front
    }

    /// Those before the first turn as one text; `None` when they say nothing.
    pub(crate) fn joined_front(&self) -> Option<String> {
        let texts: Vec<&str> =
            self.front.iter().map(|part| part.text.as_ref()).filter(|text| !text.trim().is_empty()).collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    }

    /// Those that stand before the turn of this number and have not been given yet.
    pub(crate) fn due(&mut self, turn: usize) -> &'r [SystemPart<'a>] {
        let count = self.later.iter().take_while(|part| part.position <= turn).count();
        let (due, rest) = self.later.split_at(count);
        self.later = rest;
        due
    }

    /// What is left behind the last turn.
    pub(crate) const fn rest(&self) -> &'r [SystemPart<'a>] {
        self.later
    }
}

/// Whether this turn is of results, and more of them follow: the results of a round stand in one run, and nothing may come
/// between.
pub(crate) fn is_within_results(turns: &[Turn<'_>], at: usize) -> bool {
    let is_result = |part: &Part<'_>| matches!(part, Part::ToolResult { .. });
    let of_results = turns.get(at).is_some_and(|turn| !turn.parts.is_empty() && turn.parts.iter().all(is_result));
    of_results && turns.get(at + 1).is_some_and(|next| next.parts.iter().any(is_result))
}

/// The request for a target whose template takes one system text, in front, and the two roles by turns: later system texts become
/// the user's, and turns of one side that stand next to each other one.
pub(crate) fn by_turns<'r, 'a>(request: &'r Request<'a>) -> Cow<'r, Request<'a>> {
    let front = request.system.iter().take_while(|part| part.position == 0).count();
    let (_, mut later) = request.system.split_at(front);
    let is_by_turns = |pair: &[Turn<'_>]| !pair.iter().any(is_silent) && !is_gone_on_by(&pair[0], &pair[1]);
    if later.is_empty() && request.turns.windows(2).all(is_by_turns) {
        return Cow::Borrowed(request);
    }
    let mut turns: Vec<Turn<'a>> = Vec::with_capacity(request.turns.len() + 1);
    for (position, turn) in request.turns.iter().enumerate() {
        let told = if is_within_results(&request.turns, position) { None } else { due_text(&mut later, position) };
        let mut turn = turn.clone();
        if let Some(told) = told {
            // Results stay directly behind their calls.
            let is_result = |part: &Part<'_>| matches!(part, Part::ToolResult { .. });
            if turn.parts.iter().any(is_result) {
                let (mut parts, rest): (Vec<_>, Vec<_>) =
                    std::mem::take(&mut turn.parts).into_iter().partition(is_result);
                join(&mut parts, vec![Part::text(told)]);
                join(&mut parts, rest);
                turn.parts = parts;
            } else {
                push(&mut turns, users(told));
            }
        }
        push(&mut turns, turn);
    }
    if let Some(told) = due_text(&mut later, usize::MAX) {
        push(&mut turns, users(told));
    }
    let mut request = request.clone();
    request.system.truncate(front);
    request.turns = turns;
    Cow::Owned(request)
}

/// The system texts that stand before the turn of this number, as one of the user's.
fn due_text(later: &mut &[SystemPart<'_>], turn: usize) -> Option<String> {
    let (due, rest) = later.split_at(later.iter().take_while(|part| part.position <= turn).count());
    *later = rest;
    as_user_texts(due)
}

fn users<'a>(text: String) -> Turn<'a> {
    Turn { role: Role::User, parts: vec![Part::text(text)], name: None }
}

fn push<'a>(turns: &mut Vec<Turn<'a>>, turn: Turn<'a>) {
    match turns.iter_mut().rfind(|turn| !is_silent(turn)) {
        Some(last) if last.role == Role::Assistant && turn.role == Role::Assistant => {
            say_on(&mut last.parts, turn.parts);
        }
        Some(last) if is_gone_on_by(last, &turn) => join(&mut last.parts, turn.parts),
        _ => turns.push(turn),
    }
}

/// Whether nothing is written of it: what a vendor's own tools did, or thoughts that only a vendor can read.
fn is_silent(turn: &Turn<'_>) -> bool {
    let is_unwritten = |part: &Part<'_>| matches!(part, Part::ServerTool { .. } | Part::RedactedThinking { .. });
    turn.role == Role::Assistant && turn.parts.iter().all(is_unwritten)
}

/// Whether a message would follow another one of the same side.
fn is_gone_on_by(turn: &Turn<'_>, next: &Turn<'_>) -> bool {
    if turn.role == Role::Assistant && next.role == Role::Assistant {
        return true;
    }
    let is_users = |part: &Part<'_>| match part {
        // Media of results follow as the user's.
        Part::ToolResult { parts, .. } => parts.iter().any(|part| !matches!(part, Part::Text { .. })),
        _ => true,
    };
    turn.role != Role::Assistant
        && next.role != Role::Assistant
        && turn.parts.iter().any(is_users)
        && !next.parts.iter().any(|part| matches!(part, Part::ToolResult { .. }))
}

/// Two texts become one: some hosts take no lists of parts.
fn join<'a>(parts: &mut Vec<Part<'a>>, more: Vec<Part<'a>>) {
    let mut own = parts.iter_mut().filter(|part| !matches!(part, Part::ToolResult { .. }));
    if let (Some(Part::Text { text, .. }), None, [Part::Text { text: next, .. }]) =
        (own.next(), own.next(), more.as_slice())
    {
        let text = text.to_mut();
        text.push_str("\n\n");
        text.push_str(next);
        return;
    }
    parts.extend(more);
}

/// What an assistant said in two turns, as one. Their texts would run into each other where calls stand beside a single text.
fn say_on<'a>(parts: &mut Vec<Part<'a>>, mut more: Vec<Part<'a>>) {
    let is_text = |part: &Part<'_>| matches!(part, Part::Text { .. });
    if parts.iter().any(is_text)
        && let Some(Part::Text { text, .. }) = more.iter_mut().find(|part| is_text(part))
    {
        text.to_mut().insert_str(0, "\n\n");
    }
    if let (Some(Part::Text { text, annotations, .. }), Some(Part::Text { .. })) = (parts.last_mut(), more.first())
        && annotations.is_empty()
        && let Part::Text { text: next, .. } = more.remove(0)
    {
        text.to_mut().push_str(&next);
    }
    parts.extend(more);
}

/// System texts of mid-conversation as one of the user's; `None` when they say nothing.
fn as_user_texts(parts: &[SystemPart<'_>]) -> Option<String> {
    let texts: Vec<String> =
        parts.iter().filter(|part| !part.text.trim().is_empty()).map(|part| as_user_text(&part.text)).collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// A system text of mid-conversation as a user's: marked, so that the model can tell it from the user's own words.
pub(crate) fn as_user_text(text: &str) -> String {
    format!("<system>\n{text}\n</system>")
}

/// What the line begins with that Claude Code puts in front of its system text. It changes with every request, which would
/// break every prompt cache but Anthropic's own.
const BILLING_LINE: &str = "x-anthropic-billing-header:";

/// That line, and the text that stands behind it.
pub(crate) fn split_billing_line(text: &str) -> Option<(&str, &str)> {
    text.starts_with(BILLING_LINE).then(|| text.split_once('\n').unwrap_or((text, "")))
}

/// Whether a text is that line and nothing else.
pub(crate) fn is_billing_line(request: &Request<'_>, part: &SystemPart<'_>) -> bool {
    request.format == Format::Anthropic
        && split_billing_line(&part.text).is_some_and(|(_, behind)| behind.trim().is_empty())
}
