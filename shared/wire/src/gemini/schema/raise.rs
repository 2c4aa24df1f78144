//! The OpenAPI subset of `parameters` and `responseSchema` → JSON Schema, which the other formats speak.

use super::{list, object, text};
use crate::{codec::WireError, ir::Json, write::Writer};
use serde_json::value::RawValue;

const MAX_DEPTH: usize = 64;

/// Raises a schema of the field `param`. JSON Schema that stands there already passes.
pub(in crate::gemini) fn raise<'a>(schema: &'a RawValue, param: &str) -> Result<Json<'a>, WireError> {
    if !schema.get().starts_with('{') {
        return Err(WireError::field(param, format!("`{param}` must be a schema object")));
    }
    let mut out = Vec::with_capacity(schema.get().len() + 16);
    let mut deepest = false;
    node(&mut Writer::new(&mut out), schema, 0, &mut deepest);
    if deepest {
        return Err(WireError::field(param, format!("`{param}` is nested more than {MAX_DEPTH} levels deep")));
    }
    String::from_utf8(out)
        .ok()
        .and_then(Json::from_string)
        .ok_or_else(|| WireError::field(param, format!("`{param}` is no valid schema")))
}

fn node(w: &mut Writer<'_>, raw: &RawValue, depth: usize, deepest: &mut bool) {
    let fields = object(raw.get()).filter(|_| depth < MAX_DEPTH);
    let Some(fields) = fields else {
        *deepest |= depth >= MAX_DEPTH;
        return w.raw(if depth >= MAX_DEPTH { "null" } else { raw.get() });
    };
    let nullable = fields.iter().any(|(key, raw)| key == "nullable" && raw.get() == "true");
    let typed = fields.iter().any(|(key, _)| key == "type");
    w.object(|w| {
        for (key, raw) in &fields {
            keyword(w, camel(key), raw, nullable, typed, depth, deepest);
        }
    });
}

fn keyword(
    w: &mut Writer<'_>,
    key: &str,
    raw: &RawValue,
    nullable: bool,
    typed: bool,
    depth: usize,
    deepest: &mut bool,
) {
    match key {
        "nullable" | "propertyOrdering" => {}
        "type" => match text(raw) {
            Some(word) if word.eq_ignore_ascii_case("TYPE_UNSPECIFIED") => {}
            Some(word) if nullable => w.field("type", &[word.to_ascii_lowercase().as_str(), "null"]),
            Some(word) => w.field_str("type", &word.to_ascii_lowercase()),
            None => w.field_raw("type", raw.get()),
        },
        // A word of this format's own.
        "format" if raw.get() == "\"enum\"" => {}
        "enum" if nullable => w.key("enum").array(|w| {
            list(raw).into_iter().for_each(|value| w.raw(value.get()));
            w.raw("null");
        }),
        "example" => w.key("examples").array(|w| w.raw(raw.get())),
        "properties" | "$defs" | "definitions" | "patternProperties" => match object(raw.get()) {
            Some(children) => w.key(key).object(|w| {
                for (name, raw) in &children {
                    node(w.key(name), raw, depth + 1, deepest);
                }
            }),
            None => w.field_raw(key, raw.get()),
        },
        "items" | "additionalProperties" | "not" if raw.get().starts_with('{') => {
            node(w.key(key), raw, depth + 1, deepest);
        }
        "anyOf" | "oneOf" | "allOf" | "prefixItems" => w.key(key).array(|w| {
            for raw in list(raw) {
                node(w, raw, depth + 1, deepest);
            }
            if nullable && !typed && key == "anyOf" {
                w.raw(r#"{"type":"null"}"#);
            }
        }),
        // Protocol buffers write 64-bit counts as strings.
        "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minLength" | "maxLength" => {
            match text(raw).and_then(|text| text.parse::<u64>().ok()) {
                Some(number) => w.field(key, &number),
                None => w.field_raw(key, raw.get()),
            }
        }
        key => w.field_raw(key, raw.get()),
    }
}

/// The other spelling of the schema's own fields. Names of properties are not among them.
fn camel(key: &str) -> &str {
    match key {
        "any_of" => "anyOf",
        "min_items" => "minItems",
        "max_items" => "maxItems",
        "min_properties" => "minProperties",
        "max_properties" => "maxProperties",
        "min_length" => "minLength",
        "max_length" => "maxLength",
        "property_ordering" => "propertyOrdering",
        key => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(schema: &str) -> Result<String, WireError> {
        let raw: &RawValue = serde_json::from_str(schema).expect("JSON");
        raise(raw, "parameters").map(|json| json.as_str().to_owned())
    }

    #[test]
    fn the_subset_becomes_json_schema_in_the_same_order() {
        let schema = r#"{"type":"OBJECT","propertyOrdering":["z","a"],"properties":{"z":{"type":"STRING","nullable":true,"enum":["x"],"format":"enum"},"nullable":{"type":"ARRAY","min_items":"1","items":{"type":"INTEGER","format":"int32"}},"u":{"any_of":[{"type":"STRING"},{"type":"NUMBER"}],"nullable":true}}}"#;
        assert_eq!(
            raised(schema).expect("raised"),
            r#"{"type":"object","properties":{"z":{"type":["string","null"],"enum":["x",null]},"nullable":{"type":"array","minItems":1,"items":{"type":"integer","format":"int32"}},"u":{"anyOf":[{"type":"string"},{"type":"number"},{"type":"null"}]}}}"#
        );
    }

    #[test]
    fn json_schema_passes_untouched() {
        let schema = r##"{"type":"object","$defs":{"a":{"type":["string","null"]}},"properties":{"b":{"$ref":"#/$defs/a"}},"additionalProperties":false}"##;
        assert_eq!(raised(schema).expect("raised"), schema);
    }

    #[test]
    fn no_schema_and_a_bottomless_one_are_refused() {
        assert_eq!(raised("[]").expect_err("no object").param.as_deref(), Some("parameters"));
        let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(200), "}".repeat(200));
        assert!(raised(&deep).expect_err("too deep").message.contains("nested"));
    }
}
