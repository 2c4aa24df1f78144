//! What every target without free-form tools needs: a custom tool as a function with one string.

use crate::ir::{CallKind, Json};

/// Schema of the function that stands for a custom tool.
pub(crate) const CUSTOM_SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// Arguments of a call for a target that knows only functions.
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

/// The reverse: the free text inside a function call's arguments.
pub(crate) fn custom_input(arguments: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Input {
        input: String,
    }
    crate::object::read_owned::<Input>(arguments).map(|input| input.input)
}

/// The schema of a tool without parameters.
pub(crate) fn schema_or_empty<'j>(schema: Option<&'j Json<'_>>) -> &'j str {
    schema.map_or(r#"{"type":"object","properties":{}}"#, Json::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_input_survives_the_detour_through_a_function() {
        let text = "*** Begin Patch\n\"quoted\" \u{1F980}";
        let arguments = arguments_as_object(text, CallKind::Custom);
        assert_eq!(custom_input(&arguments).as_deref(), Some(text));
    }

    #[test]
    fn function_arguments_are_never_reprinted() {
        assert_eq!(arguments_as_object("{\"a\": 1.0 }", CallKind::Function), "{\"a\": 1.0 }");
        assert_eq!(arguments_as_object(" ", CallKind::Function), "{}");
    }
}
