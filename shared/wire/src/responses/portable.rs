//! What a request may ask for that only its vendor can give.

use serde_json::value::RawValue;

use crate::{
    codec::WireError,
    ir::{Family, Format, Part, Request, ToolChoice},
    object::wire_object,
    text::Str,
};

wire_object! {
    struct TypeTag<'a> {
        kind: Str<'a> = "type",
        id: &'a RawValue = "id",
    }
}

/// Refuses a request (of Responses or Gemini clients mostly) that would lose its meaning in another format: its prompt lies with the vendor, or it forces a tool
/// that the vendor runs. What is merely left out is listed by the encoders.
///
/// # Errors
/// Names the field.
pub fn check_portable(request: &Request<'_>, target: Format) -> Result<(), WireError> {
    if request.format == Format::Gemini && target != Format::Gemini && request.extensions.get("cachedContent").is_some()
    {
        let message = "this model cannot take it: cached content lies with its vendor; send it in `contents`";
        return Err(WireError::unsupported("cachedContent", message));
    }
    // The others look at their own tools first.
    if let (Some(ToolChoice::Vendor(name)), Format::OpenAiChat) = (&request.tool_choice, target) {
        return Err(WireError::unsupported("tool_choice", format!("no tool `{name}` is run for this model")));
    }
    if request.format != Format::OpenAiResponses || target == Format::OpenAiResponses {
        return Ok(());
    }
    for (name, reason) in [
        ("prompt", "a stored prompt template lies with its vendor; send its text in `input`"),
        ("conversation", "a stored conversation lies with its vendor; send its items in `input`"),
        ("previous_response_id", "the earlier answer is not in the store; send its items in `input`"),
    ] {
        if request.extensions.get(name).is_some() {
            return Err(WireError::unsupported(name, format!("this model cannot take it: {reason}")));
        }
    }
    if let Some(ToolChoice::Vendor(name)) = &request.tool_choice {
        return Err(WireError::unsupported("tool_choice", format!("no tool `{name}` is run for this model")));
    }
    for turn in &request.turns {
        for part in &turn.parts {
            if let Part::ServerTool { family: Family::OpenAi, raw } = part
                && is_reference(raw.as_str())
            {
                return Err(WireError::unsupported(
                    "input",
                    "an `item_reference` points at an item that is not stored",
                ));
            }
        }
    }
    Ok(())
}

fn is_reference(item: &str) -> bool {
    serde_json::from_str::<TypeTag<'_>>(item)
        .is_ok_and(|item| item.kind.as_deref().is_none_or(|kind| kind == "item_reference") && item.id.is_some())
}
