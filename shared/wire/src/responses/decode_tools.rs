//! `tools` and `tool_choice`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{decode_content::within, flat_name};
use crate::{
    codec::WireError,
    ir::{Family, Request, Tool, ToolChoice, ToolKind, VendorTool},
    object::{read, wire_object},
    text::Str,
};

/// Extension: the client's `tool_choice`, where the representation cannot say all of it.
pub(super) const RAW_CHOICE: &str = "tool_choice";

wire_object! {
    struct ToolField<'a> {
        kind: Str<'a> = "type",
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        parameters: &'a RawValue = "parameters",
        strict: bool = "strict",
        format: &'a RawValue = "format",
        // Of a group.
        tools: Vec<&'a RawValue> = "tools",
        // Chat's form, which some clients send.
        function: Box<FunctionField<'a>> = "function",
    }
}

wire_object! {
    struct FunctionField<'a> {
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        parameters: &'a RawValue = "parameters",
        strict: bool = "strict",
    }
}

wire_object! {
    struct TypeTag<'a> {
        kind: Str<'a> = "type",
    }
}

wire_object! {
    struct ChoiceField<'a> {
        kind: Str<'a> = "type",
        name: Str<'a> = "name",
        namespace: Str<'a> = "namespace",
        server_label: Str<'a> = "server_label",
        mode: Str<'a> = "mode",
        tools: Vec<ChoiceField<'a>> = "tools",
        function: NameField<'a> = "function",
    }
}

wire_object! {
    struct NameField<'a> {
        name: Str<'a> = "name",
    }
}

/// Name of the extension that keeps a field of a tool or a group, which the representation has no place for.
pub(super) fn extension_name(tool: &str, field: &str) -> String {
    format!("tools.{tool}.{field}")
}

/// Reads the declared tools; those of groups come out flat.
pub(super) fn tools<'a>(request: &mut Request<'a>, list: Vec<&'a RawValue>) -> Result<(), WireError> {
    for (index, raw) in list.into_iter().enumerate() {
        tool(request, raw, None, &format!("tools.{index}"))?;
    }
    Ok(())
}

fn tool<'a>(
    request: &mut Request<'a>,
    raw: &'a RawValue,
    namespace: Option<&Cow<'a, str>>,
    path: &str,
) -> Result<(), WireError> {
    let head: TypeTag<'a> = read(raw.get().as_bytes()).map_err(|error| within(path, error))?;
    let kind = head.kind.map_or(Cow::Borrowed("function"), Cow::from);
    if !matches!(kind.as_ref(), "function" | "custom" | "namespace") {
        request.vendor_tools.push(VendorTool { family: Family::OpenAi, name: kind, raw: raw.into() });
        return Ok(());
    }
    let mut field: ToolField<'a> = read(raw.get().as_bytes()).map_err(|error| within(path, error))?;
    if let Some(function) = field.function.take() {
        field.name = field.name.or(function.name);
        field.description = field.description.or(function.description);
        field.parameters = field.parameters.or(function.parameters);
        field.strict = field.strict.or(function.strict);
    }
    let Some(name) = field.name.take().filter(|name| !name.is_empty()) else {
        return Err(WireError::field(format!("{path}.name"), "a tool needs a `name`"));
    };
    if kind == "namespace" {
        if namespace.is_some() {
            return Err(WireError::field(path, "a namespace cannot stand inside a namespace"));
        }
        return group(request, name.into(), field, path);
    }
    let name = flat_name(namespace.map(AsRef::as_ref), name.into());
    for (key, raw) in field.rest.into_iter().filter(|(_, raw)| raw.get() != "null") {
        request.extensions.push(extension_name(&name, &key), raw);
    }
    request.tools.push(Tool {
        name,
        description: field.description.map(Into::into),
        kind: if kind == "custom" {
            ToolKind::Custom { grammar: field.format.map(Into::into) }
        } else {
            ToolKind::Function { schema: field.parameters.map(Into::into), strict: field.strict }
        },
        namespace: namespace.cloned(),
        cache: None,
    });
    Ok(())
}

fn group<'a>(request: &mut Request<'a>, name: Cow<'a, str>, field: ToolField<'a>, path: &str) -> Result<(), WireError> {
    let description = field.description.and_then(|text| crate::ir::Json::from_value(&text.0.into_owned().into()));
    if let Some(raw) = description {
        request.extensions.push(extension_name(&name, "description"), raw);
    }
    for (key, raw) in field.rest.into_iter().filter(|(_, raw)| raw.get() != "null") {
        request.extensions.push(extension_name(&name, &key), raw);
    }
    for (index, raw) in field.tools.into_iter().flatten().enumerate() {
        tool(request, raw, Some(&name), &format!("{path}.tools.{index}"))?;
    }
    Ok(())
}

/// Reads `tool_choice`, once the tools are known.
pub(super) fn choice<'a>(request: &mut Request<'a>, raw: &'a RawValue) -> Result<(), WireError> {
    let unknown = || WireError::field("tool_choice", "`tool_choice` must be auto, none, required or name a tool");
    if raw.get().starts_with('"') {
        let word: Str<'_> = serde_json::from_str(raw.get()).map_err(|_| unknown())?;
        request.tool_choice = Some(match word.as_ref() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" | "any" => ToolChoice::Required,
            _ => return Err(unknown()),
        });
        return Ok(());
    }
    let field: ChoiceField<'a> = serde_json::from_str(raw.get()).map_err(|_| unknown())?;
    match field.kind.as_deref() {
        Some("auto") => request.tool_choice = Some(ToolChoice::Auto),
        Some("none") => request.tool_choice = Some(ToolChoice::None),
        Some("required" | "any") => request.tool_choice = Some(ToolChoice::Required),
        Some("function" | "custom" | "tool") | None => {
            let name = named(request, field).ok_or_else(unknown)?;
            request.tool_choice = Some(ToolChoice::Named(name));
        }
        Some("allowed_tools") => {
            let required = field.mode.as_deref() == Some("required");
            let all = field.tools.unwrap_or_default();
            let wanted = all.len();
            let names: Vec<_> = all.into_iter().filter_map(|field| named(request, field)).collect();
            if names.len() < wanted {
                request.extensions.push(RAW_CHOICE, raw);
            }
            request.tool_choice = Some(ToolChoice::Allowed { names, required });
        }
        Some(kind) => {
            // A server or a tool of a server is named beside the type.
            if field.server_label.is_some() || field.name.is_some() {
                request.extensions.push(RAW_CHOICE, raw);
            }
            request.tool_choice = Some(ToolChoice::Vendor(Cow::Owned(kind.to_owned())));
        }
    }
    Ok(())
}

/// The flat name of a tool of the client's that a choice names; one of a group may be named without its group.
fn named<'a>(request: &Request<'a>, field: ChoiceField<'a>) -> Option<Cow<'a, str>> {
    if !matches!(field.kind.as_deref(), None | Some("function" | "custom" | "tool")) {
        return None;
    }
    let name: Cow<'a, str> = field.name.or(field.function.and_then(|function| function.name))?.into();
    if field.namespace.is_some() {
        return Some(flat_name(field.namespace.as_deref(), name));
    }
    if request.tools.iter().any(|tool| tool.name == name) {
        return Some(name);
    }
    let mut grouped = request.tools.iter().filter(|tool| {
        tool.namespace.as_deref().is_some_and(|namespace| super::short_name(namespace, &tool.name) == name)
    });
    match (grouped.next(), grouped.next()) {
        (Some(only), None) => Some(only.name.clone()),
        _ => Some(name),
    }
}
