//! Parameters of a tool, in the part of JSON Schema that Ollama reads.
//!
//! Its server reads parameters into fixed types: a boolean where it wants a schema fails the whole request, and what it has
//! no field for (`$ref`, `oneOf`, `const`) vanishes, so that the model sees a property without any type. References are put
//! in place here and the rest is said with the words that it knows. Properties keep their order: prompts are made of it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{ir::Json, object::wire_object, text::Str, write::Writer};

/// Schemas nested deeper than this are cut: no model follows them.
const MAX_DEPTH: usize = 24;
/// Most schemas that one tool may unfold to.
const MAX_NODES: usize = 4096;

wire_object! {
    struct Node<'a> {
        reference: &'a RawValue = "$ref",
        kind: &'a RawValue = "type",
        description: &'a RawValue = "description",
        allowed: &'a RawValue = "enum",
        fixed: &'a RawValue = "const",
        any_of: &'a RawValue = "anyOf",
        one_of: &'a RawValue = "oneOf",
        all_of: &'a RawValue = "allOf",
        properties: &'a RawValue = "properties",
        required: &'a RawValue = "required",
        items: &'a RawValue = "items",
        defs: &'a RawValue = "$defs",
        definitions: &'a RawValue = "definitions",
    }
}

wire_object! {
    /// Any object, in order.
    struct Fields<'a> {
        schema: &'a RawValue = "$schema",
    }
}

struct Lowering<'a> {
    root: &'a RawValue,
    /// References that are being unfolded: one that comes again is a cycle.
    open: Vec<String>,
    nodes: usize,
}

/// Writes a tool's parameters.
pub(super) fn write_parameters(w: &mut Writer<'_>, schema: Option<&Json<'_>>) {
    let raw = schema.and_then(|schema| serde_json::from_str::<&RawValue>(schema.as_str()).ok());
    let Some(raw) = raw.filter(|raw| raw.get().starts_with('{')) else {
        return w.raw(r#"{"type":"object","properties":{}}"#);
    };
    let mut lowering = Lowering { root: raw, open: Vec::new(), nodes: 0 };
    let mut node = parse(raw);
    lowering.unfold(&mut node);
    w.object(|w| {
        // Elsewhere a type may be a list; at the top it is one word.
        w.field_str("type", "object");
        lowering.fields(w, &node, 0);
        if !node.properties.is_some_and(is_object) {
            w.key("properties").object(|_| {});
        }
    });
}

fn parse(raw: &RawValue) -> Node<'_> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

fn list(raw: Option<&RawValue>) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw?.get()).ok()
}

fn entries(raw: &RawValue) -> Vec<(Cow<'_, str>, &RawValue)> {
    serde_json::from_str::<Fields<'_>>(raw.get()).map(|fields| fields.rest).unwrap_or_default()
}

fn text(raw: &RawValue) -> Option<Str<'_>> {
    serde_json::from_str(raw.get()).ok()
}

// === impl Lowering ===

impl<'a> Lowering<'a> {
    fn node(&mut self, w: &mut Writer<'_>, raw: &'a RawValue, depth: usize) {
        self.nodes += 1;
        if !is_object(raw) || depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return w.raw("{}");
        }
        let mut node = parse(raw);
        let opened = self.unfold(&mut node);
        w.object(|w| {
            if let Some(kind) = node.kind.filter(|raw| is_type(raw)) {
                w.field_raw("type", kind.get());
            }
            self.fields(w, &node, depth);
        });
        self.open.truncate(self.open.len() - opened);
    }

    /// Fills a node with what it refers to; its own words win. Returns how many references stay open.
    fn unfold(&mut self, node: &mut Node<'a>) -> usize {
        let before = self.open.len();
        while let Some(target) = self.target(node) {
            let target = parse(target);
            node.kind = node.kind.or(target.kind);
            node.description = node.description.or(target.description);
            node.allowed = node.allowed.or(target.allowed);
            node.fixed = node.fixed.or(target.fixed);
            node.any_of = node.any_of.or(target.any_of);
            node.one_of = node.one_of.or(target.one_of);
            node.properties = node.properties.or(target.properties);
            node.required = node.required.or(target.required);
            node.items = node.items.or(target.items);
            node.reference = target.reference;
            node.all_of = target.all_of;
            node.rest.extend(target.rest);
            if self.open.len() > before + MAX_DEPTH {
                break;
            }
        }
        self.open.len() - before
    }

    /// What a node refers to: by `$ref`, or as the only member of `allOf`.
    fn target(&mut self, node: &Node<'a>) -> Option<&'a RawValue> {
        if let Some(path) = node.reference.and_then(text) {
            if self.open.iter().any(|open| *open == *path) {
                return None;
            }
            self.open.push(path.to_string());
            return self.resolve(&path);
        }
        match list(node.all_of)?.as_slice() {
            [only] if is_object(only) => {
                // Counted like a reference, so that nested ones end too.
                self.open.push(String::new());
                Some(only)
            }
            _ => None,
        }
    }

    fn resolve(&self, path: &str) -> Option<&'a RawValue> {
        let mut at = self.root;
        for step in path.strip_prefix('#')?.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            at = entries(at).into_iter().find(|(name, _)| *name == step)?.1;
        }
        is_object(at).then_some(at)
    }

    fn fields(&mut self, w: &mut Writer<'_>, node: &Node<'a>, depth: usize) {
        if let Some(raw) = node.description.filter(|raw| raw.get().starts_with('"')) {
            w.field_raw("description", raw.get());
        }
        match (node.allowed.filter(|raw| raw.get().starts_with('[')), node.fixed) {
            (Some(allowed), _) => w.field_raw("enum", allowed.get()),
            (None, Some(fixed)) => w.key("enum").array(|w| w.raw(fixed.get())),
            (None, None) => {}
        }
        if let Some(choices) = list(node.any_of).or_else(|| list(node.one_of)) {
            w.key("anyOf").array(|w| choices.into_iter().for_each(|choice| self.node(w, choice, depth + 1)));
        }
        if let Some(properties) = node.properties.filter(|raw| is_object(raw)) {
            w.key("properties").object(|w| {
                for (name, property) in entries(properties) {
                    self.node(w.key(&name), property, depth + 1);
                }
            });
        }
        if let Some(names) = node.required.and_then(|raw| serde_json::from_str::<Vec<Str<'_>>>(raw.get()).ok()) {
            w.key("required").array(|w| names.iter().for_each(|name| w.str(name)));
        }
        if let Some(items) = node.items.filter(|raw| is_object(raw)) {
            self.node(w.key("items"), items, depth + 1);
        }
        let mut seen: Vec<&str> = Vec::new();
        for (name, raw) in &node.rest {
            if !seen.contains(&name.as_ref()) {
                seen.push(name);
                w.field_raw(name, raw.get());
            }
        }
    }
}

fn is_type(raw: &RawValue) -> bool {
    raw.get().starts_with('"') || serde_json::from_str::<Vec<Str<'_>>>(raw.get()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(schema: &str) -> serde_json::Value {
        let schema = Json::from_string(schema.to_owned()).expect("JSON");
        let mut out = Vec::new();
        write_parameters(&mut Writer::new(&mut out), Some(&schema));
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn references_are_put_in_place_with_their_own_words_first() {
        let schema = lowered(
            r##"{"type":["object","null"],"$defs":{"Unit":{"type":"string","enum":["C","F"],"description":"theirs"}},
                "properties":{"z":{"$ref":"#/$defs/Unit","description":"mine"},"a":{"allOf":[{"$ref":"#/$defs/Unit"}]}}}"##,
        );
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["properties"]["z"]["description"], "mine");
        assert_eq!(schema["properties"]["a"]["enum"], serde_json::json!(["C", "F"]));
        assert!(schema.get("$defs").is_none());
    }

    #[test]
    fn what_its_types_cannot_hold_is_said_otherwise() {
        let schema = lowered(
            r#"{"properties":{"any":true,"one":{"oneOf":[{"type":"string"},false]},"c":{"const":7},
                "old":{"type":"string","required":true,"description":3}},"required":["c"],"additionalProperties":false}"#,
        );
        let expected = serde_json::json!({"type":"object","properties":{"any":{},"one":{"anyOf":[{"type":"string"},{}]},
            "c":{"enum":[7]},"old":{"type":"string"}},"required":["c"],"additionalProperties":false});
        assert_eq!(schema, expected);
    }

    #[test]
    fn properties_keep_their_order() {
        let schema =
            Json::from_string(r#"{"type":"object","properties":{"z":{},"a":{},"m":{}}}"#.into()).expect("JSON");
        let mut out = Vec::new();
        write_parameters(&mut Writer::new(&mut out), Some(&schema));
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains(r#""properties":{"z":{},"a":{},"m":{}}"#), "{text}");
    }

    #[test]
    fn cycles_and_bombs_end() {
        let list = lowered(r##"{"properties":{"next":{"$ref":"#"}}}"##);
        assert_eq!(list["type"], "object");
        let chain = lowered(
            r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"properties":{"x":{"$ref":"#/$defs/a"}}}"##,
        );
        assert_eq!(chain["properties"]["x"], serde_json::json!({}));
        let mut defs = String::new();
        for level in 0..30 {
            let next = level + 1;
            defs.push_str(&format!(
                r##""d{level}":{{"properties":{{"l":{{"$ref":"#/$defs/d{next}"}},"r":{{"$ref":"#/$defs/d{next}"}}}}}},"##
            ));
        }
        let bomb = format!(r##"{{"$defs":{{{defs}"d30":{{}}}},"properties":{{"x":{{"$ref":"#/$defs/d0"}}}}}}"##);
        assert!(lowered(&bomb).to_string().len() < 1024 * 1024);
        let deep = format!("{}{}", r#"{"items":"#.repeat(5000), "true".to_owned() + &"}".repeat(5000));
        assert_eq!(lowered(&deep)["type"], "object");
    }
}
