//! Citations ↔ annotations.

use serde_json::{Value, value::RawValue};

use crate::{
    ir::{Annotation, Family},
    object::wire_object,
    text::Str,
};

wire_object! {
    struct CitationField<'a> {
        start: u64 = "start",
        end: u64 = "end",
        kind: Str<'a> = "type",
        content_index: u64 = "content_index",
        sources: &'a RawValue = "sources",
    }
}

/// Which text a citation points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CitedPart {
    /// A block of the content, by its index where it is given.
    Content(Option<u64>),
    Plan,
    /// Thinking carries no annotations in any client's format.
    Thinking,
}

/// Reads one citation; `None` for one that makes no sense, which is no reason to lose the answer.
pub(super) fn decode(raw: &RawValue) -> Option<(CitedPart, Annotation<'_>)> {
    let field: CitationField<'_> = serde_json::from_str(raw.get()).ok()?;
    let place = match field.kind.as_deref() {
        Some("PLAN") => CitedPart::Plan,
        Some("THINKING_CONTENT") => CitedPart::Thinking,
        _ => CitedPart::Content(field.content_index),
    };
    let source = field.sources.map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap_or(Value::Null));
    let first = &source[0];
    // A document's fields are the client's own; these names are what Cohere's guides recommend.
    let text_of = |names: &[&str]| -> Option<String> {
        let found = |place: &Value, name: &&str| place.get(*name).and_then(Value::as_str).map(str::to_owned);
        names.iter().find_map(|name| found(&first["document"], name).or_else(|| found(&first["tool_output"], name)))
    };
    let title = text_of(&["title"]).or_else(|| first["id"].as_str().map(str::to_owned));
    let annotation = Annotation {
        url: text_of(&["url"]).map(Into::into),
        title: title.map(Into::into),
        cited_text: text_of(&["snippet", "text", "content"]).map(Into::into),
        start: field.start,
        end: field.end,
        family: Family::Cohere,
        raw: Some(raw.into()),
    };
    Some((place, annotation))
}
