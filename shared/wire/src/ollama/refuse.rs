//! What Ollama cannot say and what matters too much to drop: refused before anything is written.

use super::media_type::text_of;
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Modality, Part, Request, Source, ToolChoice},
};

/// Checks a request.
///
/// # Errors
/// Names the first thing that the request needs and this format lacks.
pub(super) fn refuse(request: &Request<'_>, target: &EncodeTarget<'_>) -> Result<(), WireError> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(WireError::unsupported("n", "this upstream gives one answer per request"));
    }
    if request.modalities.iter().any(|modality| *modality != Modality::Text) {
        return Err(WireError::unsupported("modalities", "this upstream answers in text only"));
    }
    if let Some(ToolChoice::Vendor(name)) = &request.tool_choice {
        return Err(WireError::unsupported("tool_choice", format!("this upstream does not run the tool `{name}`")));
    }
    if !target.profile.tools && is_forced(request) {
        return Err(WireError::unsupported("tool_choice", "this model cannot call tools"));
    }
    request.turns.iter().try_for_each(|turn| check_parts(&turn.parts))
}

/// Whether the client insists on a call.
pub(super) const fn is_forced(request: &Request<'_>) -> bool {
    matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
    )
}

fn check_parts(parts: &[Part<'_>]) -> Result<(), WireError> {
    for part in parts {
        match part {
            Part::ToolResult { parts, .. } => check_parts(parts)?,
            Part::Image { source, .. } => check_bytes(source, "image")?,
            Part::Audio { source, .. } => check_bytes(source, "audio")?,
            Part::Video { .. } => return Err(WireError::unsupported("video", "this upstream takes no video")),
            Part::Document { source, .. } if text_of(source).is_none() => {
                return Err(WireError::unsupported("document", "this upstream takes documents as plain text only"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_bytes(source: &Source<'_>, what: &str) -> Result<(), WireError> {
    match source {
        Source::Inline { .. } => Ok(()),
        Source::Url(_) => {
            Err(WireError::unsupported(what, format!("this upstream takes an {what} as base64, not as a URL")))
        }
        Source::File { .. } | Source::Text(_) => {
            Err(WireError::unsupported(what, format!("this upstream takes an {what} as base64, not as a file id")))
        }
    }
}
