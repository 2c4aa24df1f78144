//! Writes one gathered node in the subset of OpenAPI.

use std::borrow::Cow;

use super::{
    MAX_BYTES, Raw,
    gather::{Gathered, Lowering, upper},
    text,
};
use crate::{codec::WireError, write::Writer};

// === impl Lowering ===

impl<'s> Lowering<'s, '_> {
    pub(super) fn node(&mut self, raw: Raw<'s>, depth: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let active = self.active.len();
        let node = self.gathered(raw, depth)?;
        self.write(node, depth, out)?;
        self.active.truncate(active);
        if out.len() > MAX_BYTES {
            return self.refuse("the schema is too long for this model once its references are written out");
        }
        Ok(())
    }

    fn write(&mut self, mut node: Gathered<'s>, depth: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let kind = node.kind();
        if !node.variants.is_empty() && (!node.kinds.is_empty() || kind.is_some()) {
            // Beside a type, `anyOf` only narrows; next to anything else this format refuses it.
            node.variants.clear();
            self.lose("anyOf");
        }
        if node.kinds.len() > 1 || !node.variants.is_empty() {
            return self.write_variants(&node, depth, out);
        }
        let kind = kind.unwrap_or_else(|| {
            self.lose("type");
            "STRING"
        });
        self.write_typed(node, kind, depth, out)
    }

    /// `anyOf` may stand alone only: title and description move into the variants.
    fn write_variants(&mut self, node: &Gathered<'s>, depth: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut variants: Vec<String> = Vec::new();
        for raw in &node.variants {
            let mut text = Vec::new();
            let mark = self.active.len();
            let mut variant = self.gathered(raw, depth + 1)?;
            variant.nullable |= node.nullable;
            if !variant.plain.iter().any(|(key, _)| *key == "description") {
                variant.plain.extend(node.plain.iter().filter(|(key, _)| *key == "description"));
            }
            self.write(variant, depth + 1, &mut text)?;
            self.active.truncate(mark);
            push_once(&mut variants, text);
        }
        for kind in &node.kinds {
            let mut text = Vec::new();
            let variant = Gathered {
                kinds: vec![kind.clone()],
                nullable: node.nullable,
                plain: node.plain.clone(),
                properties: node.properties.clone(),
                required: node.required.clone(),
                items: node.items,
                ..Gathered::default()
            };
            self.write_typed(variant, upper(kind), depth + 1, &mut text)?;
            push_once(&mut variants, text);
        }
        match variants.as_slice() {
            [only] => out.extend_from_slice(only.as_bytes()),
            all => Writer::new(out).object(|w| {
                w.key("anyOf").array(|w| all.iter().for_each(|variant| w.raw(variant)));
            }),
        }
        Ok(())
    }

    fn write_typed(
        &mut self,
        mut node: Gathered<'s>,
        kind: &'static str,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let is_object = kind == "OBJECT";
        let mut children: Vec<(Cow<'s, str>, String)> = Vec::new();
        if is_object {
            for (name, raw) in std::mem::take(&mut node.properties) {
                // `false` forbids the property.
                if raw.get() != "false" {
                    children.push((name, self.child(raw, depth)?));
                }
            }
        }
        let items = if kind == "ARRAY" { Some(self.items(&node, depth)?) } else { None };
        let (values, note) = self.values(&mut node, kind);
        let format = node.format.take().filter(|format| {
            let known = takes_format(kind, format);
            if !known {
                self.lose("format");
            }
            known
        });
        self.bounds(&node);
        Writer::new(out).object(|w| {
            w.field_str("type", kind);
            if node.nullable {
                w.field("nullable", &true);
            }
            node.write_plain(w, kind, note.as_deref());
            w.field_str_opt("format", format.as_deref());
            if let Some(values) = &values {
                w.field("enum", values);
            }
            if !children.is_empty() {
                w.key("properties").object(|w| children.iter().for_each(|(name, schema)| w.field_raw(name, schema)));
                let known = |name: &&Cow<'_, str>| children.iter().any(|(own, _)| own == *name);
                let required: Vec<&str> = node.required.iter().filter(known).map(AsRef::as_ref).collect();
                if !required.is_empty() {
                    w.field("required", &required);
                }
                if self.ordering {
                    let names: Vec<&str> = children.iter().map(|(name, _)| name.as_ref()).collect();
                    w.field("propertyOrdering", &names);
                }
            }
            if let Some(items) = &items {
                w.field_raw("items", items);
            }
        });
        Ok(())
    }

    fn child(&mut self, raw: Raw<'s>, depth: usize) -> Result<String, WireError> {
        let mut text = Vec::new();
        self.node(raw, depth + 1, &mut text)?;
        Ok(String::from_utf8(text).unwrap_or_default())
    }

    /// A list must say what it holds; a tuple becomes a list of anything that one of its places holds.
    fn items(&mut self, node: &Gathered<'s>, depth: usize) -> Result<String, WireError> {
        if node.tuple.is_empty() {
            return match node.items.filter(|raw| raw.get().starts_with('{')) {
                Some(raw) => self.child(raw, depth),
                None => Ok(r#"{"type":"STRING"}"#.to_owned()),
            };
        }
        self.lose("prefixItems");
        let mut places = Vec::new();
        for raw in &node.tuple {
            let place = self.child(raw, depth)?;
            push_once(&mut places, place.into_bytes());
        }
        Ok(match places.as_slice() {
            [only] => only.clone(),
            all => format!(r#"{{"anyOf":[{}]}}"#, all.join(",")),
        })
    }

    /// The values of an enum. Only strings are taken; others move into the description.
    fn values(&mut self, node: &mut Gathered<'s>, kind: &str) -> (Option<Vec<Cow<'s, str>>>, Option<String>) {
        let Some(values) = node.values.take() else { return (None, None) };
        let before = values.len();
        let values: Vec<Raw<'s>> = values.into_iter().filter(|raw| raw.get() != "null").collect();
        node.nullable |= values.len() < before;
        if kind == "STRING" && values.iter().all(|raw| raw.get().starts_with('"')) {
            let count = values.len();
            let words: Vec<_> = values.into_iter().filter_map(text).filter(|word| !word.is_empty()).collect();
            if words.len() < count {
                self.lose("enum");
            }
            return ((!words.is_empty()).then_some(words), None);
        }
        self.lose("enum");
        let shown: Vec<&str> = values.iter().map(|raw| raw.get()).filter(|raw| raw.len() < 64).take(64).collect();
        (None, Some(format!("One of: {}.", shown.join(", "))))
    }

    /// Exclusive bounds of whole numbers become inclusive ones (see [`Gathered::write_plain`]); of others they are lost.
    fn bounds(&mut self, node: &Gathered<'s>) {
        for (bound, keyword) in [(node.above, "exclusiveMinimum"), (node.below, "exclusiveMaximum")] {
            let whole = node.kinds.iter().any(|kind| kind == "integer");
            if bound.is_some_and(|bound| !whole || bound.fract() != 0.0) {
                self.lose(keyword);
            }
        }
    }
}

// === impl Gathered ===

impl Gathered<'_> {
    fn write_plain(&self, w: &mut Writer<'_>, kind: &str, note: Option<&str>) {
        for (key, raw) in &self.plain {
            if *key != "description" && suits(key, kind) {
                w.field_raw(key, raw.get());
            }
        }
        let description = self.plain.iter().find(|(key, _)| *key == "description").and_then(|(_, raw)| text(raw));
        match (description, note) {
            (Some(text), Some(note)) => w.field_str("description", &format!("{text} {note}")),
            (Some(text), None) => w.field_str("description", &text),
            (None, Some(note)) => w.field_str("description", note),
            (None, None) => {}
        }
        if kind != "INTEGER" {
            return;
        }
        for (bound, step, key) in [(self.above, 1.0, "minimum"), (self.below, -1.0, "maximum")] {
            let said = self.plain.iter().any(|(own, _)| *own == key);
            if let Some(bound) = bound.filter(|bound| bound.fract() == 0.0 && !said) {
                w.field_raw(key, &format!("{:.0}", bound + step));
            }
        }
    }
}

/// Whether a keyword says something about values of that type; beside another type it is refused.
fn suits(key: &str, kind: &str) -> bool {
    match key {
        "minItems" | "maxItems" => kind == "ARRAY",
        "minProperties" | "maxProperties" => kind == "OBJECT",
        "minLength" | "maxLength" | "pattern" => kind == "STRING",
        "minimum" | "maximum" => matches!(kind, "INTEGER" | "NUMBER"),
        _ => true,
    }
}

fn takes_format(kind: &str, format: &str) -> bool {
    matches!(
        (kind, format),
        ("STRING", "date-time" | "enum") | ("INTEGER", "int32" | "int64") | ("NUMBER", "float" | "double")
    )
}

fn push_once(all: &mut Vec<String>, text: Vec<u8>) {
    let text = String::from_utf8(text).unwrap_or_default();
    if !all.contains(&text) {
        all.push(text);
    }
}
