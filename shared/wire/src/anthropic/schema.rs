//! JSON Schemas in the form that the API takes.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::{
    ir::{Json, Losses},
    object::wire_object,
    tools::schema_or_empty,
};

wire_object! {
    struct Top<'a> {
        kind: Value = "type",
        any_of: Value = "anyOf",
        one_of: Value = "oneOf",
        all_of: Value = "allOf",
    }
}

/// String formats that constrained output knows.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// Keywords that it takes as they are.
const PLAIN: [&str; 6] = ["$ref", "enum", "const", "title", "description", "required"];

/// A tool's schema: an object at the top, without alternatives there.
pub(super) fn of_tool<'j>(schema: Option<&'j Json<'_>>, name: &str, losses: &mut Losses) -> Cow<'j, str> {
    let raw = schema_or_empty(schema);
    let Ok(top) = serde_json::from_str::<Top<'_>>(raw) else {
        // `null`, `true`: anything goes.
        return Cow::Borrowed(schema_or_empty(None));
    };
    let combined = top.any_of.is_some() || top.one_of.is_some() || top.all_of.is_some();
    if !combined && top.kind.as_ref().and_then(Value::as_str) == Some("object") {
        return Cow::Borrowed(raw);
    }
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(raw) else {
        return Cow::Borrowed(schema_or_empty(None));
    };
    object.insert("type".to_owned(), json!("object"));
    if combined {
        losses.drop_field(format!("tools.{name}.anyOf"));
        merge_alternatives(&mut object);
    }
    object.entry("properties").or_insert_with(|| json!({}));
    Cow::Owned(Value::Object(object).to_string())
}

/// Every property that any alternative has; required is only what all demand.
fn merge_alternatives(object: &mut Map<String, Value>) {
    let mut properties = match object.remove("properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    for (keyword, all) in [("allOf", true), ("anyOf", false), ("oneOf", false)] {
        let Some(Value::Array(variants)) = object.remove(keyword) else { continue };
        for variant in variants {
            let Value::Object(mut variant) = variant else { continue };
            if let Some(Value::Object(own)) = variant.remove("properties") {
                for (name, schema) in own {
                    properties.entry(name).or_insert(schema);
                }
            }
            if let (true, Some(Value::Array(more))) = (all, variant.remove("required")) {
                match object.entry("required").or_insert_with(|| json!([])) {
                    Value::Array(required) => required.extend(more),
                    other => *other = Value::Array(more),
                }
            }
        }
    }
    object.insert("properties".to_owned(), Value::Object(properties));
}

/// A schema for constrained output: keywords that it does not know move into the description, where the model may still
/// follow them.
pub(super) fn constrained(schema: &Json<'_>, field: &str, losses: &mut Losses) -> String {
    let lowered = lower(schema.to_value(), &mut |keyword| losses.drop_field(format!("{field}.{keyword}")));
    lowered.to_string()
}

/// Whether the schema describes an object, which the arguments of a tool must be.
pub(super) fn is_object(schema: &Json<'_>) -> bool {
    let top = serde_json::from_str::<Top<'_>>(schema.as_str());
    top.is_ok_and(|top| top.kind.is_none_or(|kind| kind.as_str() == Some("object")))
}

/// Depth is bounded by the reader of the tree.
fn lower(schema: Value, lose: &mut dyn FnMut(&str)) -> Value {
    let Value::Object(mut given) = schema else { return schema };
    if let Some(Value::Array(kinds)) = given.get("type") {
        let kinds = kinds.clone();
        return lower(alternatives_of_types(given, kinds), lose);
    }
    let mut out = Map::new();
    let is_object = given.get("type").and_then(Value::as_str) == Some("object") || given.contains_key("properties");
    if is_object {
        given.entry("type").or_insert_with(|| json!("object"));
    }
    let mut notes = Vec::new();
    for (keyword, value) in given {
        match (keyword.as_str(), value) {
            ("type", value) => {
                out.insert(keyword, value);
            }
            (plain, value) if PLAIN.contains(&plain) => {
                out.insert(keyword, value);
            }
            ("$defs" | "definitions" | "properties", Value::Object(map)) => {
                let lowered = map.into_iter().map(|(name, schema)| (name, lower(schema, lose))).collect();
                out.insert(keyword, Value::Object(lowered));
            }
            ("anyOf" | "oneOf", Value::Array(variants)) => {
                let lowered = variants.into_iter().map(|variant| lower(variant, lose)).collect();
                out.insert("anyOf".to_owned(), Value::Array(lowered));
            }
            ("allOf", Value::Array(variants)) => {
                let lowered = variants.into_iter().map(|variant| lower(variant, lose)).collect();
                out.insert(keyword, Value::Array(lowered));
            }
            ("items", value @ Value::Object(_)) => {
                out.insert(keyword, lower(value, lose));
            }
            ("format", Value::String(format)) if FORMATS.contains(&format.as_str()) => {
                out.insert(keyword, Value::String(format));
            }
            ("minItems", value) if value.as_u64().is_some_and(|least| least <= 1) => {
                out.insert(keyword, value);
            }
            ("additionalProperties", Value::Bool(false)) | ("$schema" | "$id", _) => {}
            ("additionalProperties", _) => lose("additionalProperties"),
            (_, value) => {
                lose(&keyword);
                notes.push(format!("{keyword}: {value}"));
            }
        }
    }
    if is_object {
        out.insert("additionalProperties".to_owned(), json!(false));
    }
    if !notes.is_empty() {
        let note = format!("{{{}}}", notes.join(", "));
        let description = match out.get("description").and_then(Value::as_str) {
            Some(description) => format!("{description}\n\n{note}"),
            None => note,
        };
        out.insert("description".to_owned(), Value::String(description));
    }
    Value::Object(out)
}

/// `type: ["string", "null"]` → one alternative per type.
fn alternatives_of_types(mut schema: Map<String, Value>, kinds: Vec<Value>) -> Value {
    schema.remove("type");
    let description = schema.remove("description");
    let variants = kinds.into_iter().map(|kind| {
        if kind == "null" {
            return json!({"type": "null"});
        }
        let mut variant = schema.clone();
        if let Some(Value::Array(values)) = variant.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        variant.insert("type".to_owned(), kind);
        Value::Object(variant)
    });
    let mut out = Map::new();
    out.insert("anyOf".to_owned(), variants.collect());
    if let Some(description) = description {
        out.insert("description".to_owned(), description);
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &Value) -> Json<'static> {
        Json::from_value(value).expect("valid")
    }

    #[test]
    fn a_tool_schema_that_is_fine_is_passed_to_the_byte() {
        let raw = Json::from_string("{ \"type\" : \"object\", \"x\": 1.0 }".to_owned()).expect("valid");
        let mut losses = Losses::default();
        assert!(matches!(
            of_tool(Some(&raw), "t", &mut losses),
            Cow::Borrowed("{ \"type\" : \"object\", \"x\": 1.0 }")
        ));
        assert!(losses.is_empty());
    }

    #[test]
    fn a_tool_schema_gets_an_object_at_its_top() {
        let mut losses = Losses::default();
        let given = json(&json!({"properties": {"a": {}}}));
        let fixed: Value = serde_json::from_str(&of_tool(Some(&given), "t", &mut losses)).expect("JSON");
        assert_eq!(fixed, json!({"type": "object", "properties": {"a": {}}}));
        assert!(losses.is_empty());
        let given = json(&json!({"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]}));
        let fixed: Value = serde_json::from_str(&of_tool(Some(&given), "t", &mut losses)).expect("JSON");
        assert_eq!(fixed, json!({"type": "object", "properties": {"a": {}, "b": {}}}));
        assert_eq!(losses.names().collect::<Vec<_>>(), ["tools.t.anyOf"]);
        for odd in [json!(null), json!(true), json!([])] {
            assert_eq!(of_tool(Some(&json(&odd)), "t", &mut losses), schema_or_empty(None));
        }
    }

    #[test]
    fn unknown_keywords_move_into_the_description() {
        let mut losses = Losses::default();
        let schema = json(&json!({
            "$schema": "x", "type": "object", "required": ["n"],
            "properties": {
                "n": {"type": "integer", "minimum": 1, "description": "A number"},
                "s": {"type": ["string", "null"], "enum": ["a", null], "description": "d"},
                "l": {"type": "array", "minItems": 3, "items": {"oneOf": [{"type": "object"}, {"type": "string", "format": "regex"}]}},
            },
        }));
        let lowered: Value = serde_json::from_str(&constrained(&schema, "schema", &mut losses)).expect("JSON");
        assert_eq!(
            lowered,
            json!({
                "type": "object", "required": ["n"], "additionalProperties": false,
                "properties": {
                    "n": {"type": "integer", "description": "A number\n\n{minimum: 1}"},
                    "s": {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}], "description": "d"},
                    "l": {"type": "array", "description": "{minItems: 3}", "items": {"anyOf": [
                        {"type": "object", "additionalProperties": false}, {"type": "string", "description": "{format: \"regex\"}"},
                    ]}},
                },
            })
        );
        let names: Vec<_> = losses.names().collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }

    #[test]
    fn a_schema_nested_ten_thousand_deep_is_no_panic() {
        let deep = ["{\"items\":".repeat(10_000), "{}".to_owned(), "}".repeat(10_000)].concat();
        let Some(schema) = Json::from_string(deep) else { return };
        let mut losses = Losses::default();
        let _ = constrained(&schema, "schema", &mut losses);
        let _ = of_tool(Some(&schema), "t", &mut losses);
    }
}
