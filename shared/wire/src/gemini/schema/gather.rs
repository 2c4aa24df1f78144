//! Reads one node of a JSON Schema with everything that it refers to.

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use super::{MAX_DEPTH, MAX_NODES, Raw, list, object, text};
use crate::{codec::WireError, ir::Losses};

/// Keywords that pass as they are.
const PLAIN: [&str; 13] = [
    "title",
    "description",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "default",
    "example",
];

/// Keywords that say nothing about a value.
const SILENT: [&str; 12] = [
    "$schema",
    "$id",
    "id",
    "$comment",
    "$anchor",
    "$defs",
    "definitions",
    "readOnly",
    "writeOnly",
    "deprecated",
    "strict",
    "propertyOrdering",
];

pub(super) struct Lowering<'s, 'l> {
    root: Raw<'s>,
    param: &'l str,
    pub(super) ordering: bool,
    /// References being written out: one that comes again is a cycle.
    pub(super) active: Vec<Cow<'s, str>>,
    resolved: HashMap<Cow<'s, str>, Raw<'s>>,
    nodes: usize,
    pub(super) losses: &'l mut Losses,
}

/// One node with its references and `allOf` resolved.
#[derive(Default)]
pub(super) struct Gathered<'s> {
    pub(super) kinds: Vec<Cow<'s, str>>,
    pub(super) nullable: bool,
    pub(super) plain: Vec<(&'static str, Raw<'s>)>,
    pub(super) format: Option<Cow<'s, str>>,
    pub(super) values: Option<Vec<Raw<'s>>>,
    pub(super) properties: Vec<(Cow<'s, str>, Raw<'s>)>,
    pub(super) required: Vec<Cow<'s, str>>,
    pub(super) items: Option<Raw<'s>>,
    pub(super) tuple: Vec<Raw<'s>>,
    pub(super) variants: Vec<Raw<'s>>,
    pub(super) above: Option<f64>,
    pub(super) below: Option<f64>,
    /// References that this node was gathered through; its children may not use them again.
    pub(super) through: Vec<Cow<'s, str>>,
}

// === impl Lowering ===

impl<'s, 'l> Lowering<'s, 'l> {
    pub(super) fn new(root: Raw<'s>, param: &'l str, ordering: bool, losses: &'l mut Losses) -> Self {
        Self { root, param, ordering, active: Vec::new(), resolved: HashMap::new(), nodes: 0, losses }
    }

    pub(super) fn refuse<T>(&self, message: impl Into<String>) -> Result<T, WireError> {
        Err(WireError::unsupported(self.param, message))
    }

    pub(super) fn lose(&mut self, keyword: &str) {
        self.losses.drop_field(format!("schema.{keyword}"));
    }

    /// A node with everything that it refers to. The references stay active for its children.
    pub(super) fn gathered(&mut self, raw: Raw<'s>, depth: usize) -> Result<Gathered<'s>, WireError> {
        let mut node = Gathered::default();
        self.gather(raw, depth, &mut node)?;
        self.active.append(&mut node.through);
        Ok(node)
    }

    fn gather(&mut self, raw: Raw<'s>, depth: usize, node: &mut Gathered<'s>) -> Result<(), WireError> {
        if depth > MAX_DEPTH {
            return self.refuse(format!("the schema is nested more than {MAX_DEPTH} levels deep"));
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.refuse(format!("the schema has more than {MAX_NODES} nodes, its references written out"));
        }
        let Some(fields) = object(raw.get()) else {
            return match raw.get() {
                // "Anything".
                "true" => Ok(()),
                _ => self.refuse("a schema must be an object"),
            };
        };
        // What stands beside a reference wins over what the reference says, whatever the order.
        let (referring, own): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|(key, _)| matches!(key.as_ref(), "$ref" | "allOf"));
        for (key, raw) in referring.into_iter().chain(own) {
            self.keyword(&key, raw, depth, node)?;
        }
        Ok(())
    }

    fn keyword(&mut self, key: &str, raw: Raw<'s>, depth: usize, node: &mut Gathered<'s>) -> Result<(), WireError> {
        match key {
            "$ref" => {
                let mark = self.active.len();
                let target = self.resolve(raw)?;
                self.gather(target, depth + 1, node)?;
                node.through.extend(self.active.drain(mark..));
            }
            "allOf" => {
                for part in list(raw) {
                    self.gather(part, depth + 1, node)?;
                }
            }
            "anyOf" | "oneOf" => self.variants(raw, depth, node)?,
            "type" => node.kinds(raw),
            "nullable" => node.nullable |= raw.get() == "true",
            "const" => node.values = Some(vec![raw]),
            "enum" => node.values = Some(list(raw)),
            "format" => node.format = text(raw),
            "items" => match list(raw) {
                tuple if raw.get().starts_with('[') => node.tuple = tuple,
                _ => node.items = Some(raw),
            },
            "prefixItems" => node.tuple = list(raw),
            "properties" => {
                for (name, raw) in object(raw.get()).unwrap_or_default() {
                    node.properties.retain(|(own, _)| *own != name);
                    node.properties.push((name, raw));
                }
            }
            "required" => {
                for name in list(raw).into_iter().filter_map(text) {
                    if !node.required.contains(&name) {
                        node.required.push(name);
                    }
                }
            }
            // A closed object and an open one look the same to this format; a schema for the rest is lost.
            "additionalProperties" => {
                if raw.get().starts_with('{') && raw.get() != "{}" {
                    self.lose(key);
                }
            }
            "exclusiveMinimum" => node.above = raw.get().parse().ok(),
            "exclusiveMaximum" => node.below = raw.get().parse().ok(),
            _ if SILENT.contains(&key) || key.starts_with("x-") => {}
            _ => match PLAIN.into_iter().find(|plain| *plain == key) {
                Some(plain) => {
                    node.plain.retain(|(own, _)| *own != plain);
                    node.plain.push((plain, raw));
                }
                None => self.lose(key),
            },
        }
        Ok(())
    }

    /// `anyOf` with its null variants taken out; a single one that is left is the node itself.
    fn variants(&mut self, raw: Raw<'s>, depth: usize, node: &mut Gathered<'s>) -> Result<(), WireError> {
        let all = list(raw);
        let count = all.len();
        let rest: Vec<Raw<'s>> = all.into_iter().filter(|raw| !is_null(raw)).collect();
        node.nullable |= rest.len() < count;
        match rest.as_slice() {
            [only] => self.gather(only, depth + 1, node),
            _ => {
                node.variants.extend(rest);
                Ok(())
            }
        }
    }

    /// Follows a reference inside the same schema.
    fn resolve(&mut self, raw: Raw<'s>) -> Result<Raw<'s>, WireError> {
        let Some(reference) = text(raw) else { return self.refuse("a `$ref` must be a string") };
        if self.active.contains(&reference) || reference == "#" {
            return self.refuse(format!("`{reference}` refers to itself, which this model's schemas cannot"));
        }
        let Some(pointer) = reference.strip_prefix("#/") else {
            return self.refuse(format!("`{reference}` is outside of the schema"));
        };
        if let Some(known) = self.resolved.get(&reference).copied() {
            self.active.push(reference);
            return Ok(known);
        }
        let mut at = self.root;
        for step in pointer.split('/') {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match at.get().starts_with('[') {
                true => step.parse().ok().and_then(|index: usize| list(at).get(index).copied()),
                false => object(at.get())
                    .and_then(|fields| fields.into_iter().find(|(key, _)| *key == step).map(|(_, raw)| raw)),
            };
            match next {
                Some(next) => at = next,
                None => return self.refuse(format!("`{reference}` does not exist")),
            }
        }
        self.resolved.insert(reference.clone(), at);
        self.active.push(reference);
        Ok(at)
    }
}

// === impl Gathered ===

impl<'s> Gathered<'s> {
    fn kinds(&mut self, raw: Raw<'s>) {
        let words = match text(raw) {
            Some(word) => vec![word],
            None => list(raw).into_iter().filter_map(text).collect(),
        };
        self.kinds.clear();
        for word in words {
            let word = Cow::Owned(word.to_ascii_lowercase());
            if word == "null" {
                self.nullable = true;
            } else if !self.kinds.contains(&word) {
                self.kinds.push(word);
            }
        }
    }

    /// The one type of the node, said or implied.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match self.kinds.as_slice() {
            [only] => return Some(upper(only)),
            [] => {}
            _ => return None,
        }
        if !self.properties.is_empty() {
            Some("OBJECT")
        } else if self.items.is_some() || !self.tuple.is_empty() {
            Some("ARRAY")
        } else {
            match self.values.as_deref()?.iter().map(|raw| raw.get()).find(|raw| *raw != "null")? {
                "true" | "false" => Some("BOOLEAN"),
                value if value.starts_with('"') => Some("STRING"),
                value if value.starts_with('{') => Some("OBJECT"),
                value if value.starts_with('[') => Some("ARRAY"),
                value if value.contains(['.', 'e', 'E']) => Some("NUMBER"),
                _ => Some("INTEGER"),
            }
        }
    }
}

pub(super) fn upper(kind: &str) -> &'static str {
    match kind {
        "object" => "OBJECT",
        "array" => "ARRAY",
        "integer" => "INTEGER",
        "number" => "NUMBER",
        "boolean" => "BOOLEAN",
        _ => "STRING",
    }
}

fn is_null(raw: &RawValue) -> bool {
    let null = |raw: &RawValue| text(raw).is_some_and(|word| word.eq_ignore_ascii_case("null")) || raw.get() == "null";
    object(raw.get()).is_some_and(|fields| {
        fields.iter().any(|(key, raw)| match key.as_ref() {
            "type" | "const" => null(raw),
            "enum" => matches!(list(raw).as_slice(), [only] if only.get() == "null"),
            _ => false,
        })
    })
}
