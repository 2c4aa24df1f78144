//! System texts for targets that take them in front only.

use crate::ir::{Format, Losses, Part, Request, SystemPart, Turn};

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

/// System texts of mid-conversation as one of the user's; `None` when they say nothing.
pub(crate) fn as_user_texts(parts: &[SystemPart<'_>]) -> Option<String> {
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
