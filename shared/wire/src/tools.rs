//! What every target without free-form tools needs: a custom tool as a function with one string.

use crate::{
    ir::{CallKind, Family, Format, Json, Losses, Part},
    tree::Tree,
};

/// Schema of the function that stands for a custom tool.
pub(crate) const CUSTOM_SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// Arguments of a call for a target that knows only functions; [`crate::custom_input`] is the reverse.
pub(crate) fn arguments_as_object(arguments: &str, kind: CallKind) -> std::borrow::Cow<'_, str> {
    match kind {
        CallKind::Function if arguments.trim().is_empty() => "{}".into(),
        CallKind::Function => arguments.into(),
        CallKind::Custom => {
            let mut text = String::with_capacity(arguments.len() + 16);
            text.push_str("{\"input\":");
            text.push_str(&serde_json::Value::from(arguments).to_string());
            text.push('}');
            text.into()
        }
    }
}

/// A result whose call is not there, as a text that the model can read: clients cut their histories, and targets refuse
/// what is left over.
pub(crate) fn orphan_text(parts: &[Part<'_>], losses: &mut Losses) -> String {
    losses.drop_field("tool_result.tool_use_id");
    let mut text = String::from("[Result of a tool call that is not part of this conversation any more]");
    for part in parts {
        match part {
            Part::Text { text: piece, .. } => {
                text.push('\n');
                text.push_str(piece);
            }
            _ => losses.drop_field("tool_result.content"),
        }
    }
    text
}

/// The schema of a tool without parameters.
pub(crate) fn schema_or_empty<'j>(schema: Option<&'j Json<'_>>) -> &'j str {
    schema.map_or(r#"{"type":"object","properties":{}}"#, Json::as_str)
}

/// What `strict` may say to OpenAI, which refuses a schema that leaves anything open; other families are less strict.
pub(crate) fn strict_here(wanted: bool, schema: &str, from: Format, field: &'static str, losses: &mut Losses) -> bool {
    if !wanted || from.family() == Family::OpenAi || is_closed(&Tree::read(schema)) {
        return wanted;
    }
    losses.drop_field(field);
    false
}

/// Whether every object is closed and every property required, and no keyword is used that OpenAI's strict mode lacks.
fn is_closed(schema: &Tree) -> bool {
    let Some(object) = schema.as_object() else { return false };
    let all = |name: &str| match object.get(name) {
        None => true,
        Some(Tree::Object(map)) => map.0.iter().all(|(_, schema)| is_closed(schema)),
        Some(Tree::Array(list)) => list.iter().all(is_closed),
        Some(_) => false,
    };
    let unknown = ["allOf", "oneOf", "not", "if", "patternProperties", "dependentRequired", "prefixItems"];
    if unknown.into_iter().any(|keyword| object.get(keyword).is_some()) {
        return false;
    }
    let of_object = object.get("type").is_some_and(|kind| kind.to_string().contains("\"object\""));
    if of_object || object.get("properties").is_some() {
        let closed = object.get("additionalProperties").is_some_and(|value| value.is("false"));
        let required = |name: &str| match object.get("required") {
            Some(Tree::Array(names)) => names.iter().any(|own| own.as_str().as_deref() == Some(name)),
            _ => false,
        };
        let properties = object.get("properties").and_then(Tree::as_object);
        if !closed || !properties.is_none_or(|own| own.0.iter().all(|(name, _)| required(name))) {
            return false;
        }
    }
    let says_nothing = !["type", "anyOf", "$ref", "enum", "const"].into_iter().any(|own| object.get(own).is_some());
    if says_nothing {
        return false;
    }
    all("properties") && all("$defs") && all("definitions") && all("anyOf") && object.get("items").is_none_or(is_closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_input_survives_the_detour_through_a_function() {
        let text = "*** Begin Patch\n\"quoted\" \u{1F980}";
        let arguments = arguments_as_object(text, CallKind::Custom);
        assert_eq!(crate::custom_input::free_text(&arguments), text);
    }

    #[test]
    fn strict_is_said_of_closed_schemas_only() {
        let closed = r#"{"type":"object","properties":{"a":{"type":["object","null"],"properties":{},"additionalProperties":false},"b":{"anyOf":[{"type":"string"}]}},"required":["a","b"],"additionalProperties":false}"#;
        let mut losses = Losses::default();
        assert!(strict_here(true, closed, Format::Anthropic, "s", &mut losses) && losses.is_empty());
        for open in [
            closed.replace(r#","b"],"#, "],"),
            closed.replacen(",\"additionalProperties\":false", "", 1),
            closed.replace("anyOf", "oneOf"),
        ] {
            assert!(!strict_here(true, &open, Format::Anthropic, "s", &mut losses), "{open}");
            assert!(strict_here(true, &open, Format::OpenAiChat, "s", &mut losses), "the client's own fault");
        }
        assert!(!losses.is_empty());
    }

    #[test]
    fn function_arguments_are_never_reprinted() {
        assert_eq!(arguments_as_object("{\"a\": 1.0 }", CallKind::Function), "{\"a\": 1.0 }");
        assert_eq!(arguments_as_object(" ", CallKind::Function), "{}");
    }
}
