//! Tools and the choice among them, as a client declares them.

use serde_json::value::RawValue;

use super::block::{TypeTag, cache_mark, read_at};
use crate::{
    codec::WireError,
    ir::{Family, Request, Tool, ToolChoice, ToolKind, VendorTool},
    object::wire_object,
    text::Str,
};

wire_object! {
    struct ToolField<'a> {
        kind: Str<'a> = "type",
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        input_schema: &'a RawValue = "input_schema",
        strict: bool = "strict",
        cache_control: &'a RawValue = "cache_control",
    }
}

wire_object! {
    pub(super) struct ChoiceField<'a> {
        kind: Str<'a> = "type",
        name: Str<'a> = "name",
        disable_parallel_tool_use: bool = "disable_parallel_tool_use",
    }
}

wire_object! {
    struct Named<'a> {
        name: Str<'a> = "name",
    }
}

pub(super) fn decode_tools<'a>(request: &mut Request<'a>, tools: Option<Vec<&'a RawValue>>) -> Result<(), WireError> {
    for (index, raw) in tools.into_iter().flatten().enumerate() {
        let path = format!("tools.{index}");
        let kind: TypeTag<'a> = read_at(raw, &path)?;
        if let Some(kind) = kind.kind.filter(|kind| &**kind != "custom") {
            request.vendor_tools.push(VendorTool { family: Family::Anthropic, name: kind.into(), raw: raw.into() });
            continue;
        }
        let tool: ToolField<'a> = read_at(raw, &path)?;
        let Some(name) = tool.name.filter(|name| !name.is_empty()) else {
            return Err(WireError::field(format!("{path}.name"), "a tool needs a `name`"));
        };
        let (cache, scoped) = cache_mark(tool.cache_control);
        if let Some(raw) = tool.cache_control.filter(|_| scoped) {
            request.extensions.push(format!("tools.{}.cache_control", &*name), raw);
        }
        for (field, raw) in tool.rest {
            request.extensions.push(format!("tools.{}.{field}", &*name), raw);
        }
        request.tools.push(Tool {
            name: name.into(),
            description: tool.description.map(Into::into),
            kind: ToolKind::Function { schema: tool.input_schema.map(Into::into), strict: tool.strict },
            namespace: None,
            cache,
        });
    }
    Ok(())
}

pub(super) fn decode_choice<'a>(request: &mut Request<'a>, choice: Option<ChoiceField<'a>>) -> Result<(), WireError> {
    let Some(choice) = choice else { return Ok(()) };
    request.parallel_tool_calls = choice.disable_parallel_tool_use.map(|disabled| !disabled);
    request.tool_choice = Some(match choice.kind.as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => {
            let Some(name) = choice.name else {
                return Err(WireError::field("tool_choice.name", "a choice of type `tool` needs a `name`"));
            };
            match vendor_tool_named(request, &name) {
                Some(tool) => ToolChoice::Vendor(tool.name.clone()),
                None => ToolChoice::Named(name.into()),
            }
        }
        other => {
            let message = format!("`{}` is no choice; use auto, any, tool or none", other.unwrap_or(""));
            return Err(WireError::field("tool_choice.type", message));
        }
    });
    Ok(())
}

fn vendor_tool_named<'r, 'a>(request: &'r Request<'a>, name: &str) -> Option<&'r VendorTool<'a>> {
    if request.tools.iter().any(|tool| tool.name == name) {
        return None;
    }
    request.vendor_tools.iter().find(|tool| name_of(tool).as_deref() == Some(name))
}

/// The name that calls of a vendor's tool carry (`web_search`), beside its type (`web_search_20250305`).
pub(super) fn name_of(tool: &VendorTool<'_>) -> Option<String> {
    let named: Named<'_> = serde_json::from_str(tool.raw.as_str()).ok()?;
    named.name.map(|name| name.0.into_owned())
}
