//! Schemas: JSON Schema, which the other formats speak, and the subset of OpenAPI that `parameters` and `responseSchema`
//! take.
//!
//! The upstream refuses the whole request for one keyword that it does not know, so only known ones are written. What a
//! dropped keyword said is listed; references are written out in place, which bounds depth and size.

mod gather;
mod raise;
mod write;

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;

use self::gather::Lowering;
pub(super) use self::raise::raise;
use super::message::AnyObject;
use crate::{
    codec::WireError,
    ir::{Json, Losses},
    text::Str,
};

/// Deepest nesting, references written out.
const MAX_DEPTH: usize = 64;
/// Longest schema, references written out.
const MAX_BYTES: usize = 512 * 1024;
/// Most nodes that are looked at: references that fan out must not cost more than they can write.
const MAX_NODES: usize = 10_000;

type Raw<'s> = &'s RawValue;

/// Lowers the schema of a field of the client's, `param`. `ordering` adds the order of properties, which old models need
/// to answer in it.
pub(in crate::gemini) fn lower(
    schema: &Json<'_>,
    param: &str,
    ordering: bool,
    losses: &mut Losses,
) -> Result<String, WireError> {
    let root: Raw<'_> = serde_json::from_str(schema.as_str())
        .map_err(|_| WireError::field(param, format!("`{param}` is not valid JSON")))?;
    let mut lowering = Lowering::new(root, param, ordering, losses);
    let mut out = Vec::with_capacity(schema.as_str().len());
    lowering.node(root, 0, &mut out)?;
    // The writer writes nothing but the text of JSON values.
    String::from_utf8(out).map_err(|_| WireError::field(param, "the schema is not valid UTF-8"))
}

/// Whether the schema of a function asks for anything at all. One that does not is left out.
pub(in crate::gemini) fn has_properties(schema: &Json<'_>) -> bool {
    object(schema.as_str()).is_some_and(|fields| {
        fields.iter().any(|(key, raw)| match key.as_ref() {
            "properties" => object(raw.get()).is_some_and(|fields| !fields.is_empty()),
            "$ref" | "allOf" | "anyOf" | "oneOf" => true,
            _ => false,
        })
    })
}

/// Whether it describes an object with properties, which the parameters of a function have to be.
pub(in crate::gemini) fn is_of_object(schema: &Json<'_>) -> bool {
    object(schema.as_str()).is_some_and(|fields| {
        let get = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, raw)| raw.get());
        get("type").is_none_or(|kind| kind == "\"object\"") && get("properties").is_some_and(|raw| raw != "{}")
    })
}

/// Whether it is an object of any names, which JSON Schema can say and the subset cannot.
pub(in crate::gemini) fn is_map(schema: &Json<'_>) -> bool {
    object(schema.as_str()).is_some_and(|fields| {
        fields.iter().any(|(key, raw)| match key.as_ref() {
            "additionalProperties" => raw.get() != "false" && raw.get() != "null",
            "patternProperties" => true,
            _ => false,
        })
    })
}

/// The fields of an object in their order; of two with one name the last.
pub(in crate::gemini) fn object(json: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    let mut fields = serde_json::from_str::<AnyObject<'_>>(json).ok()?.rest;
    let mut seen = HashSet::new();
    fields.reverse();
    fields.retain(|(key, _)| seen.insert(key.clone()));
    fields.reverse();
    Some(fields)
}

pub(in crate::gemini) fn list(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

pub(in crate::gemini) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Str<'_>>(raw.get()).ok().map(Into::into)
}

#[cfg(test)]
mod tests;
