//! Declarations of functions, and the subset of JSON Schema that Gemini takes.

use serde_json::Value;

use crate::mock_provider::{
    ask::{Choice, Tool},
    shape::{Checked, Fault, Fields, Is, Problem, is_name, list, may, must, object, path},
};

const SCHEMA: [&str; 22] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
];
const TYPES: [&str; 7] = ["STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"];

pub(super) fn tools(fields: &Fields) -> Checked<Vec<Tool>> {
    let mut tools: Vec<Tool> = Vec::new();
    for (index, value) in list(fields, "tools").iter().enumerate() {
        let at = format!("tools[{index}]");
        let own = [
            may("functionDeclarations", Is::List),
            may("googleSearch", Is::Object),
            may("codeExecution", Is::Object),
            may("urlContext", Is::Object),
            may("googleMaps", Is::Object),
            may("computerUse", Is::Object),
            may("fileSearch", Is::Object),
        ];
        let group = object(value, &at, &own)?;
        for (number, one) in list(group, "functionDeclarations").iter().enumerate() {
            let at = format!("{at}.function_declarations[{number}]");
            let own = [
                must("name", Is::Text),
                may("description", Is::Text),
                may("parameters", Is::Object),
                may("parametersJsonSchema", Is::Any),
                may("response", Is::Object),
                may("responseJsonSchema", Is::Any),
                may("behavior", Is::Text),
            ];
            let one = object(one, &at, &own)?;
            let name = one["name"].as_str().unwrap_or_default();
            let starts_right = !name.starts_with(|first: char| !(first.is_ascii_alphabetic() || first == '_'));
            if !is_name(name, 64, "_.:-") || !starts_right || tools.iter().any(|tool| tool.name == name) {
                return Err(Fault::said(
                    "",
                    format!(
                        "Invalid function name `{name}`. Must be unique, start with a letter or an underscore, and have \
                         letters, digits, underscores, dots, colons or dashes, with a maximum length of 64."
                    ),
                ));
            }
            if one.contains_key("parameters") && one.contains_key("parametersJsonSchema") {
                return Err(Fault::said("", "only one of parameters and parameters_json_schema may be set"));
            }
            if let Some(parameters) = one.get("parameters") {
                schema(parameters, &path(&at, "parameters"))?;
            }
            let declared = one.get("parameters").or_else(|| one.get("parametersJsonSchema"));
            tools.push(Tool { name: name.to_owned(), schema: declared.cloned().unwrap_or_default(), free: false });
        }
    }
    let has = |name: &str| list(fields, "tools").iter().any(|tool| tool.get(name).is_some());
    if has("functionDeclarations") && (has("googleSearch") || has("codeExecution")) {
        return Err(Fault::said("", "Tool use with function calling is unsupported"));
    }
    Ok(tools)
}

/// The OpenAPI subset: other words of JSON Schema are unknown fields.
pub(super) fn schema(value: &Value, at: &str) -> Checked {
    let fields = value.as_object().ok_or_else(|| Fault::expected(at, "an object"))?;
    if let Some(name) = fields.keys().find(|name| !SCHEMA.contains(&name.as_str())) {
        return Err(Fault::new(path(at, name), Problem::Unknown));
    }
    let kind = fields.get("type").and_then(Value::as_str).map(str::to_ascii_uppercase);
    if fields.contains_key("type") && !kind.as_deref().is_some_and(|kind| TYPES.contains(&kind)) {
        return Err(Fault::expected(path(at, "type"), "type.googleapis.com/google.ai.generativelanguage.v1beta.Type"));
    }
    if kind.as_deref() == Some("ARRAY") && !fields.contains_key("items") {
        return Err(Fault::said("", format!("* GenerateContentRequest.{at}.items: missing field.")));
    }
    if fields.contains_key("enum")
        && (kind.as_deref() != Some("STRING") || !list(fields, "enum").iter().all(Value::is_string))
    {
        return Err(Fault::said("", format!("* GenerateContentRequest.{at}.enum: only allowed for STRING type")));
    }
    let properties = fields.get("properties").and_then(Value::as_object);
    for (name, inner) in properties.into_iter().flatten() {
        schema(inner, &format!("{at}.properties[{name}]"))?;
    }
    if let Some(name) = list(fields, "required").iter().find(|name| {
        !name.as_str().is_some_and(|name| properties.is_some_and(|properties| properties.contains_key(name)))
    }) {
        return Err(Fault::said("", format!("* GenerateContentRequest.{at}.required: property {name} is not defined")));
    }
    if let Some(items) = fields.get("items") {
        schema(items, &path(at, "items"))?;
    }
    list(fields, "anyOf").iter().try_for_each(|one| schema(one, &path(at, "any_of")))
}

pub(super) fn choice(fields: &Fields) -> Checked<Choice> {
    let Some(config) = fields.get("toolConfig") else { return Ok(Choice::Auto) };
    let at = "tool_config";
    let config = object(config, at, &[may("functionCallingConfig", Is::Object), may("retrievalConfig", Is::Object)])?;
    let Some(calling) = config.get("functionCallingConfig") else { return Ok(Choice::Auto) };
    let modes = Is::Word(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"]);
    let at = "tool_config.function_calling_config";
    let calling = object(calling, at, &[may("mode", modes), may("allowedFunctionNames", Is::Texts)])?;
    let allowed = list(calling, "allowedFunctionNames");
    match calling.get("mode").and_then(Value::as_str) {
        Some("NONE") => Ok(Choice::Forbidden),
        Some("ANY" | "VALIDATED") => {
            Ok(allowed.first().and_then(Value::as_str).map_or(Choice::Auto, |name| Choice::Named(name.to_owned())))
        }
        _ if !allowed.is_empty() => {
            Err(Fault::said("", "Function calling config is set without ANY mode but has allowed_function_names."))
        }
        _ => Ok(Choice::Auto),
    }
}
