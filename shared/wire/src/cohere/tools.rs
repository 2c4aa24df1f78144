//! Tools, and how one is chosen where only `REQUIRED` and `NONE` can be said.

use super::extension::Extension;
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Losses, Request, Tool, ToolChoice, ToolKind},
    object::wire_object,
    text::Str,
    tool_schema::{self, Top},
    tools::CUSTOM_SCHEMA,
    write::Writer,
};

/// The tools that are sent, and the word for how they are chosen.
struct Offer<'r, 'a> {
    tools: Vec<&'r Tool<'a>>,
    word: Option<&'static str>,
}

/// Writes `tools`, `tool_choice` and `strict_tools`.
pub(super) fn write_tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(), WireError> {
    for tool in &request.vendor_tools {
        losses.drop_field(format!("tools.{}", tool.name));
    }
    let offer = offer(request, target, losses)?;
    if offer.tools.is_empty() {
        return Ok(());
    }
    if request.parallel_tool_calls == Some(false) {
        losses.drop_field("parallel_tool_calls");
    }
    w.key("tools").array(|w| {
        for tool in &offer.tools {
            write_tool(w, tool, target, losses);
        }
    });
    w.field_str_opt("tool_choice", offer.word);
    write_strict(w, request, &offer.tools, losses);
    Ok(())
}

fn offer<'r, 'a>(
    request: &'r Request<'a>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Offer<'r, 'a>, WireError> {
    let forced = match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Named(_)) => true,
        Some(ToolChoice::Allowed { required, .. }) => *required,
        Some(ToolChoice::Vendor(name)) => {
            let message = format!("this upstream does not run `{name}`");
            return Err(WireError::unsupported("tool_choice", message));
        }
        _ => false,
    };
    if forced && (!target.profile.tools || request.tools.is_empty()) {
        let message = if request.tools.is_empty() {
            "`tool_choice` demands a tool, but the request has none that this upstream takes"
        } else {
            "this model takes no tools"
        };
        return Err(WireError::unsupported("tool_choice", message));
    }
    if !target.profile.tools {
        if !request.tools.is_empty() {
            losses.drop_field("tools");
        }
        return Ok(Offer { tools: Vec::new(), word: None });
    }
    let named = |names: &[&str]| -> Result<Vec<&'r Tool<'a>>, WireError> {
        let tools: Vec<_> = request.tools.iter().filter(|tool| names.contains(&tool.name.as_ref())).collect();
        if tools.is_empty() {
            return Err(WireError::field("tool_choice", "`tool_choice` names a tool that the request does not have"));
        }
        Ok(tools)
    };
    let all = || request.tools.iter().collect();
    Ok(match &request.tool_choice {
        None | Some(ToolChoice::Auto | ToolChoice::Vendor(_)) => Offer { tools: all(), word: None },
        Some(ToolChoice::None) => Offer { tools: all(), word: Some("NONE") },
        Some(ToolChoice::Required) => Offer { tools: all(), word: Some("REQUIRED") },
        // One tool alone, and some tool required, is that tool required.
        Some(ToolChoice::Named(name)) => Offer { tools: named(&[name.as_ref()])?, word: Some("REQUIRED") },
        Some(ToolChoice::Allowed { names, required }) => {
            let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            Offer { tools: named(&names)?, word: required.then_some("REQUIRED") }
        }
    })
}

fn write_tool(w: &mut Writer<'_>, tool: &Tool<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    if tool.cache.is_some() {
        losses.drop_field("cache_control");
    }
    w.object(|w| {
        w.field_str("type", "function");
        w.key("function").object(|w| {
            w.field_str("name", target.names.upstream(&tool.name));
            w.field_str_opt("description", tool.description.as_deref());
            match &tool.kind {
                ToolKind::Function { schema, .. } => {
                    w.field_raw(
                        "parameters",
                        &tool_schema::of_tool(schema.as_ref(), &tool.name, Top::PlainObject, losses),
                    );
                }
                ToolKind::Custom { grammar } => {
                    if grammar.is_some() {
                        losses.drop_field("tools.format");
                    }
                    w.field_raw("parameters", CUSTOM_SCHEMA);
                }
            }
        });
    });
}

/// Strictness is for all tools or for none, and each must have a parameter that is required.
fn write_strict(w: &mut Writer<'_>, request: &Request<'_>, tools: &[&Tool<'_>], losses: &mut Losses) {
    if request.extensions.get(Extension::StrictTools.name()).is_some() {
        return;
    }
    let strict = |tool: &&Tool<'_>| matches!(tool.kind, ToolKind::Function { strict: Some(true), .. });
    if tools.iter().all(|tool| strict(tool) && has_required(tool)) {
        w.field("strict_tools", &true);
    } else if tools.iter().any(strict) {
        losses.drop_field("tools.strict");
    }
}

fn has_required(tool: &Tool<'_>) -> bool {
    wire_object! {
        struct Schema<'a> {
            required: Vec<Str<'a>> = "required",
        }
    }
    let ToolKind::Function { schema: Some(schema), .. } = &tool.kind else { return false };
    let schema: Result<Schema<'_>, _> = serde_json::from_str(schema.as_str());
    schema.is_ok_and(|schema| schema.required.is_some_and(|names| !names.is_empty()))
}
