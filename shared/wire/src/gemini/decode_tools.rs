//! Tools and their choice.

use serde_json::value::RawValue;

use super::{message::OneOrMany, schema};
use crate::{
    codec::WireError,
    ir::{Family, Request, Tool, ToolChoice, ToolKind, VendorTool},
    object::wire_object,
    text::Str,
};

wire_object! {
    pub(super) struct ToolField<'a> {
        functions: OneOrMany<FunctionDeclaration<'a>> = "functionDeclarations" | "function_declarations",
    }
}

wire_object! {
    pub(super) struct FunctionDeclaration<'a> {
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        parameters: &'a RawValue = "parameters",
        json_schema: &'a RawValue = "parametersJsonSchema" | "parameters_json_schema",
    }
}

wire_object! {
    pub(super) struct ToolConfig<'a> {
        calling: CallingConfig<'a> = "functionCallingConfig" | "function_calling_config",
    }
}

wire_object! {
    pub(super) struct CallingConfig<'a> {
        mode: Str<'a> = "mode",
        allowed: OneOrName<'a> = "allowedFunctionNames" | "allowed_function_names",
    }
}

/// A list of names, or the only one.
pub(super) type OneOrName<'a> = crate::text::TextOr<'a, Str<'a>>;

/// Extensions of a function declaration stand under this path and the function's name.
pub(super) const FUNCTION_PATH: &str = "tools.functionDeclarations.";

pub(super) fn decode_tools<'a>(request: &mut Request<'a>, tools: Vec<ToolField<'a>>) -> Result<(), WireError> {
    for (index, tool) in tools.into_iter().enumerate() {
        for (number, function) in tool.functions.unwrap_or_default().0.into_iter().enumerate() {
            push_function(request, function, &format!("tools.{index}.functionDeclarations.{number}"))?;
        }
        for (name, raw) in tool.rest {
            request.vendor_tools.push(VendorTool {
                family: Family::Gemini,
                name: vendor_name(&name).map_or(name, Into::into),
                raw: raw.into(),
            });
        }
    }
    Ok(())
}

fn push_function<'a>(
    request: &mut Request<'a>,
    function: FunctionDeclaration<'a>,
    path: &str,
) -> Result<(), WireError> {
    let Some(name) = function.name.filter(|name| !name.is_empty()) else {
        return Err(WireError::field(format!("{path}.name"), "a function needs a `name`"));
    };
    let schema = match (function.json_schema, function.parameters) {
        (Some(raw), _) if !raw.get().starts_with('{') => {
            return Err(WireError::field(format!("{path}.parametersJsonSchema"), "a schema must be an object"));
        }
        (Some(raw), _) => Some(raw.into()),
        (None, Some(raw)) => Some(schema::raise(raw, &format!("{path}.parameters"))?),
        (None, None) => None,
    };
    for (field, raw) in function.rest {
        request.extensions.push(format!("{FUNCTION_PATH}{}.{field}", &*name), raw);
    }
    request.tools.push(Tool {
        name: name.into(),
        description: function.description.map(Into::into),
        kind: ToolKind::Function { schema, strict: None },
        namespace: None,
        cache: None,
    });
    Ok(())
}

/// The usual spelling of a vendor tool's name.
fn vendor_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "google_search" => "googleSearch",
        "google_search_retrieval" => "googleSearchRetrieval",
        "code_execution" => "codeExecution",
        "url_context" => "urlContext",
        "google_maps" => "googleMaps",
        "file_search" => "fileSearch",
        "computer_use" => "computerUse",
        "enterprise_web_search" => "enterpriseWebSearch",
        _ => return None,
    })
}

pub(super) fn decode_tool_config<'a>(request: &mut Request<'a>, config: ToolConfig<'a>) -> Result<(), WireError> {
    for (name, raw) in config.rest {
        request.extensions.push(format!("toolConfig.{name}"), raw);
    }
    let Some(calling) = config.calling else { return Ok(()) };
    for (name, raw) in calling.rest {
        request.extensions.push(format!("toolConfig.functionCallingConfig.{name}"), raw);
    }
    let names: Vec<_> = match calling.allowed {
        Some(OneOrName::Text(name)) => vec![name],
        Some(OneOrName::List(names)) => names.into_iter().map(Into::into).collect(),
        None => Vec::new(),
    };
    let mode = calling.mode.as_deref().unwrap_or_default().to_ascii_uppercase();
    request.tool_choice = match (mode.as_str(), names.len()) {
        ("" | "MODE_UNSPECIFIED", 0) => None,
        // Names mean something only where a call is forced or checked; Google ignores them elsewhere.
        ("" | "MODE_UNSPECIFIED" | "AUTO", _) => Some(ToolChoice::Auto),
        // No names are all names.
        ("VALIDATED", 0) => {
            let names = request.tools.iter().map(|tool| tool.name.clone()).collect();
            Some(ToolChoice::Allowed { names, required: false })
        }
        ("VALIDATED", _) => Some(ToolChoice::Allowed { names, required: false }),
        ("NONE", _) => Some(ToolChoice::None),
        ("ANY", 0) => Some(ToolChoice::Required),
        ("ANY", 1) => names.into_iter().next().map(ToolChoice::Named),
        ("ANY", _) => Some(ToolChoice::Allowed { names, required: true }),
        _ => {
            return Err(WireError::field(
                "toolConfig.functionCallingConfig.mode",
                format!("`{mode}` is no mode; use AUTO, ANY, NONE or VALIDATED"),
            ));
        }
    };
    Ok(())
}
