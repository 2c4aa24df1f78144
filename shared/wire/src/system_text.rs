//! System texts for targets that take them in front only.

use crate::ir::{Format, Request, SystemPart};

/// A system text of mid-conversation as a user's: marked, so that the model can tell it from the user's own words.
pub(crate) fn as_user_text(text: &str) -> String {
    format!("<system>\n{text}\n</system>")
}

/// The line that Claude Code puts in front of its system text. It changes with every request, which would break every
/// prompt cache but Anthropic's own.
pub(crate) fn is_billing_line(request: &Request<'_>, part: &SystemPart<'_>) -> bool {
    request.format == Format::Anthropic && part.text.starts_with("x-anthropic-billing-header:")
}
