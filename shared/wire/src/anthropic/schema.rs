//! JSON Schemas in the form that the API takes. Fields keep their order: models answer in it.

use std::borrow::Cow;

use crate::{
    ir::{Json, Losses},
    tool_schema::object_at_top,
    tools::schema_or_empty,
    tree::{Object, Tree},
};

/// String formats that constrained output knows.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// Keywords that it takes as they are.
const PLAIN: [&str; 6] = ["$ref", "enum", "const", "title", "description", "required"];

/// A tool's schema: an object at the top, without alternatives there.
pub(super) fn of_tool<'j>(schema: Option<&'j Json<'_>>, name: &str, losses: &mut Losses) -> Cow<'j, str> {
    let raw = schema_or_empty(schema);
    let Tree::Object(mut object) = Tree::read(raw) else {
        // `null`, `true`: anything goes.
        return Cow::Borrowed(schema_or_empty(None));
    };
    let combined = ["anyOf", "oneOf", "allOf"].into_iter().any(|keyword| object.get(keyword).is_some());
    if !combined && is_type(&object, "object") {
        return Cow::Borrowed(raw);
    }
    object_at_top(&mut object, name, losses);
    Cow::Owned(Tree::Object(object).to_string())
}

fn is_type(object: &Object, word: &str) -> bool {
    object.get("type").and_then(Tree::as_str).as_deref() == Some(word)
}

/// A schema for constrained output: keywords that it does not know move into the description, where the model may still
/// follow them.
pub(super) fn constrained(schema: &Json<'_>, field: &str, losses: &mut Losses) -> String {
    let lose = &mut |keyword: &str| losses.drop_field(format!("{field}.{keyword}"));
    lower(Tree::read(schema.as_str()), lose).to_string()
}

/// Whether the schema describes an object, which the arguments of a tool must be.
pub(super) fn is_object(schema: &Json<'_>) -> bool {
    let tree = Tree::read(schema.as_str());
    tree.as_object().is_some_and(|object| object.get("type").is_none() || is_type(object, "object"))
}

/// Depth is bounded by the reader of the tree.
fn lower(schema: Tree, lose: &mut dyn FnMut(&str)) -> Tree {
    let Tree::Object(mut given) = schema else { return schema };
    if let Some(Tree::Array(kinds)) = given.get("type") {
        let kinds = kinds.clone();
        return lower(alternatives_of_types(given, kinds), lose);
    }
    let is_object = is_type(&given, "object") || given.get("properties").is_some();
    if is_object && given.get("type").is_none() {
        given.0.insert(0, ("type".to_owned(), Tree::string("object")));
    }
    let mut out = Object::default();
    let mut notes = Vec::new();
    for (keyword, value) in given.0 {
        match (keyword.as_str(), value) {
            ("type", value) => out.set("type", value),
            (plain, value) if PLAIN.contains(&plain) => out.set(plain, value),
            ("$defs" | "definitions" | "properties", Tree::Object(map)) => {
                let lowered = map.0.into_iter().map(|(name, schema)| (name, lower(schema, lose))).collect();
                out.set(&keyword, Tree::Object(Object(lowered)));
            }
            ("anyOf" | "oneOf", Tree::Array(variants)) => {
                out.set("anyOf", Tree::Array(variants.into_iter().map(|variant| lower(variant, lose)).collect()));
            }
            ("allOf", Tree::Array(variants)) => {
                out.set("allOf", Tree::Array(variants.into_iter().map(|variant| lower(variant, lose)).collect()));
            }
            ("items", value @ Tree::Object(_)) => out.set("items", lower(value, lose)),
            ("format", value) if value.as_str().is_some_and(|format| FORMATS.contains(&format.as_str())) => {
                out.set("format", value);
            }
            ("minItems", value) if value.is("0") || value.is("1") => out.set("minItems", value),
            ("additionalProperties", value) if value.is("false") => {}
            ("$schema" | "$id", _) => {}
            ("additionalProperties", _) => lose("additionalProperties"),
            (_, value) => {
                lose(&keyword);
                notes.push(format!("{keyword}: {value}"));
            }
        }
    }
    if is_object {
        out.set("additionalProperties", Tree::Text("false".to_owned()));
    }
    if !notes.is_empty() {
        let note = format!("{{{}}}", notes.join(", "));
        let description = match out.get("description").and_then(Tree::as_str) {
            Some(description) => format!("{description}\n\n{note}"),
            None => note,
        };
        out.set("description", Tree::string(&description));
    }
    Tree::Object(out)
}

/// `type: ["string", "null"]` → one alternative per type.
fn alternatives_of_types(mut schema: Object, kinds: Vec<Tree>) -> Tree {
    schema.remove("type");
    let description = schema.remove("description");
    let variants = kinds.into_iter().map(|kind| {
        let mut variant = Object(vec![("type".to_owned(), kind)]);
        if !is_type(&variant, "null") {
            variant.0.extend(schema.0.iter().cloned());
            if let Some(Tree::Array(values)) = variant.get_mut("enum") {
                values.retain(|value| !value.is("null"));
            }
        }
        Tree::Object(variant)
    });
    let mut out = Object(vec![("anyOf".to_owned(), Tree::Array(variants.collect()))]);
    out.0.extend(description.map(|description| ("description".to_owned(), description)));
    Tree::Object(out)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
    fn properties_stay_in_their_order() {
        let given = r#"{"type":"object","properties":{"why":{"type":"string"},"answer":{"type":["number","null"]}},"required":["why"]}"#;
        let schema = Json::from_string(given.to_owned()).expect("valid");
        assert_eq!(
            constrained(&schema, "schema", &mut Losses::default()),
            r#"{"type":"object","properties":{"why":{"type":"string"},"answer":{"anyOf":[{"type":"number"},{"type":"null"}]}},"required":["why"],"additionalProperties":false}"#
        );
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
