//! JSON schemas as the service takes them, rewritten in one pass that keeps the order of the fields: models answer in it.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::vendor::Vendor;
use crate::{codec::WireError, ir::Losses, text::Str, write::Writer};

/// Deeper than any schema that a model could follow.
const MAX_DEPTH: usize = 64;

/// The fields of an object, in order.
#[derive(Debug, Default)]
pub(super) struct Fields<'a>(pub(super) Vec<(Str<'a>, &'a RawValue)>);

/// The schema of a tool's input: at its top the service wants an object and nothing but.
pub(super) fn write_input(
    w: &mut Writer<'_>,
    json: &str,
    vendor: Vendor,
    param: &str,
    losses: &mut Losses,
) -> Result<(), WireError> {
    let not_an_object = || WireError::field(param, "the parameters of a tool must be a schema of an object");
    let fields: Fields<'_> = serde_json::from_str(json).map_err(|_| not_an_object())?;
    let kind = fields.get("type");
    if kind.is_some_and(|kind| !matches!(kind, "\"object\"" | "null") && !kind.contains("\"object\"")) {
        return Err(not_an_object());
    }
    w.object(|w| {
        w.field_str("type", "object");
        if fields.get("properties").is_none() {
            w.key("properties").object(|_| {});
        }
        for (name, raw) in &fields.0 {
            match name.as_ref() {
                "type" => {}
                // Claude takes these anywhere but at the top.
                "anyOf" | "oneOf" | "allOf" if vendor == Vendor::Claude => {
                    losses.drop_field(format!("tools.parameters.{}", &**name));
                }
                "properties" | "required" | "$defs" | "definitions" => w.field_raw(name, raw.get()),
                "$schema" | "title" if vendor == Vendor::Nova => {}
                _ if vendor == Vendor::Nova => losses.drop_field(format!("tools.parameters.{}", &**name)),
                _ => w.field_raw(name, raw.get()),
            }
        }
    });
    Ok(())
}

/// The schema that an answer, or a strict tool's input, is held to: every object closed, no limits on numbers and lengths.
pub(super) fn closed(json: &str, what: &str, losses: &mut Losses) -> Result<String, WireError> {
    let mut out = Vec::with_capacity(json.len() + 64);
    close(&mut Writer::new(&mut out), json, what, 0, losses)?;
    String::from_utf8(out).map_err(|_| WireError::field(what.to_owned(), "the schema is not valid"))
}

fn close(w: &mut Writer<'_>, json: &str, what: &str, depth: usize, losses: &mut Losses) -> Result<(), WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::field(what.to_owned(), format!("the schema is nested deeper than {MAX_DEPTH} levels")));
    }
    // `true` and `false` are schemas too.
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(json) else {
        w.raw(json);
        return Ok(());
    };
    let is_object =
        fields.get("type").is_some_and(|kind| kind.contains("\"object\"")) || fields.get("properties").is_some();
    let mut result = Ok(());
    w.object(|w| {
        for (name, raw) in &fields.0 {
            let next = close_field(w, name, raw.get(), what, depth, losses);
            result = std::mem::replace(&mut result, Ok(())).and(next);
        }
        if is_object {
            w.field("additionalProperties", &false);
        }
    });
    result
}

fn close_field(
    w: &mut Writer<'_>,
    name: &str,
    raw: &str,
    what: &str,
    depth: usize,
    losses: &mut Losses,
) -> Result<(), WireError> {
    let mut result = Ok(());
    match name {
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" | "minLength" | "maxLength"
        | "maxItems" | "uniqueItems" | "minProperties" | "maxProperties" => {
            losses.drop_field(format!("{what}.{name}"));
        }
        "minItems" if !matches!(raw, "0" | "1") => losses.drop_field(format!("{what}.{name}")),
        // Written at the end of the object, closed whatever it was.
        "additionalProperties" => {
            if raw != "false" {
                losses.drop_field(format!("{what}.{name}"));
            }
        }
        "properties" | "$defs" | "definitions" => match serde_json::from_str::<Fields<'_>>(raw) {
            Ok(schemas) => w.key(name).object(|w| {
                for (name, raw) in &schemas.0 {
                    let next = close(w.key(name), raw.get(), what, depth + 1, losses);
                    result = std::mem::replace(&mut result, Ok(())).and(next);
                }
            }),
            Err(_) => w.field_raw(name, raw),
        },
        "anyOf" | "oneOf" | "allOf" | "prefixItems" => match serde_json::from_str::<Vec<&RawValue>>(raw) {
            Ok(schemas) => w.key(name).array(|w| {
                for raw in &schemas {
                    let next = close(w, raw.get(), what, depth + 1, losses);
                    result = std::mem::replace(&mut result, Ok(())).and(next);
                }
            }),
            Err(_) => w.field_raw(name, raw),
        },
        "items" | "contains" | "not" => result = close(w.key(name), raw, what, depth + 1, losses),
        _ => w.field_raw(name, raw),
    }
    result
}

// === impl Fields ===

impl Fields<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| &**own == name).map(|(_, raw)| raw.get())
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: &str, vendor: Vendor) -> Result<(String, Vec<String>), WireError> {
        let (mut out, mut losses) = (Vec::new(), Losses::default());
        write_input(&mut Writer::new(&mut out), json, vendor, "tools.0.parameters", &mut losses)?;
        Ok((String::from_utf8(out).expect("text"), losses.names().map(str::to_owned).collect()))
    }

    #[test]
    fn a_tool_s_schema_is_an_object_s_at_its_top() {
        let own = r#"{"z":1,"properties":{"b":{"type":"string"},"a":{}},"$schema":"x"}"#;
        let (json, losses) = input(own, Vendor::Claude).expect("written");
        assert_eq!(json, r#"{"type":"object","z":1,"properties":{"b":{"type":"string"},"a":{}},"$schema":"x"}"#);
        assert!(losses.is_empty());
        let (json, losses) = input(own, Vendor::Nova).expect("written");
        assert_eq!(json, r#"{"type":"object","properties":{"b":{"type":"string"},"a":{}}}"#);
        assert_eq!(losses, ["tools.parameters.z"]);
        let (json, losses) = input(r#"{"type":["object","null"],"anyOf":[{}]}"#, Vendor::Claude).expect("written");
        assert_eq!(
            (json.as_str(), losses),
            (r#"{"type":"object","properties":{}}"#, vec!["tools.parameters.anyOf".to_owned()])
        );
        for odd in ["[]", "7", "\"x\"", r#"{"type":"string"}"#, "null"] {
            assert_eq!(input(odd, Vendor::Other).expect_err(odd).param.as_deref(), Some("tools.0.parameters"));
        }
    }

    #[test]
    fn a_closed_schema_keeps_its_order_and_loses_what_is_refused() {
        let mut losses = Losses::default();
        let json = closed(
            r#"{"type":"object","properties":{"z":{"type":"integer","minimum":1},"a":{"type":"array","minItems":1,"items":{"properties":{}}},
                "additionalProperties":{"anyOf":[{"type":"object","additionalProperties":true},true]}},"required":["z"]}"#,
            "response_format",
            &mut losses,
        )
        .expect("closed");
        assert_eq!(
            json,
            concat!(
                r#"{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"array","minItems":1,"items":"#,
                r#"{"properties":{},"additionalProperties":false}},"additionalProperties":{"anyOf":[{"type":"object","#,
                r#""additionalProperties":false},true]}},"required":["z"],"additionalProperties":false}"#
            )
        );
        let names: Vec<_> = losses.names().collect();
        assert_eq!(names, ["response_format.minimum", "response_format.additionalProperties"]);
    }

    #[test]
    fn a_schema_without_end_is_refused_and_does_not_eat_the_stack() {
        let deep = format!("{}{}{}", r#"{"items":"#.repeat(10_000), "true", "}".repeat(10_000));
        assert!(closed(&deep, "response_format", &mut Losses::default()).is_err());
    }
}
