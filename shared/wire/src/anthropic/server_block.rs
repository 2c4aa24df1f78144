//! Blocks that go through whole: those of tools that Anthropic runs, and those of kinds not known here. On a stream they
//! come in pieces and are put together before they are shown.

use serde_json::value::RawValue;

use crate::{ir::Json, object::wire_object, write::Writer};

/// Longest block that is put together.
pub(super) const MAX_BLOCK_BYTES: usize = 16 * 1024 * 1024;

wire_object! {
    struct Fields<'a> {}
}

/// A block whose rest has not come.
#[derive(Debug, Default)]
pub(super) struct PendingBlock {
    start: String,
    input: String,
    /// Fields that a later piece brought whole.
    replaced: Vec<(&'static str, String)>,
    bytes: usize,
}

// === impl PendingBlock ===

impl PendingBlock {
    pub(super) fn new(start: &RawValue) -> Self {
        let start = start.get().to_owned();
        Self { bytes: start.len(), start, ..Self::default() }
    }

    /// More of its input's JSON text; false when it has become too long.
    pub(super) fn push_input(&mut self, piece: &str) -> bool {
        self.bytes += piece.len();
        if self.bytes > MAX_BLOCK_BYTES {
            return false;
        }
        self.input.push_str(piece);
        true
    }

    pub(super) fn replace(&mut self, field: &'static str, raw: &RawValue) -> bool {
        self.bytes += raw.get().len();
        self.replaced.push((field, raw.get().to_owned()));
        self.bytes <= MAX_BLOCK_BYTES
    }

    /// The whole block; its start alone when what followed is no JSON.
    pub(super) fn finish(mut self) -> Option<Json<'static>> {
        if !self.input.trim().is_empty() && serde_json::from_str::<&RawValue>(self.input.trim()).is_ok() {
            self.replaced.push(("input", std::mem::take(&mut self.input)));
        }
        if self.replaced.is_empty() {
            return Json::from_string(self.start);
        }
        let fields: Fields<'_> = serde_json::from_str(&self.start).ok()?;
        let mut out = Vec::with_capacity(self.bytes + 32);
        Writer::new(&mut out).object(|w| {
            for (name, raw) in &fields.rest {
                if self.replaced.iter().all(|(field, _)| field != name) {
                    w.field_raw(name, raw.get());
                }
            }
            for (field, raw) in &self.replaced {
                w.field_raw(field, raw.trim());
            }
        });
        Json::from_string(String::from_utf8(out).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    #[test]
    fn pieces_of_an_input_take_the_place_of_the_empty_one() {
        let mut block =
            PendingBlock::new(&raw(r#"{"type":"server_tool_use","id":"s","input":{},"name":"web_search"}"#));
        assert!(block.push_input("{\"query\": ") && block.push_input("1.0}"));
        let whole = block.finish().expect("JSON");
        assert_eq!(whole.as_str(), r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query": 1.0}}"#);
    }

    #[test]
    fn an_input_that_is_no_json_leaves_the_start() {
        let start = r#"{"type":"server_tool_use","input":{}}"#;
        let mut block = PendingBlock::new(&raw(start));
        block.push_input("{\"query");
        assert_eq!(block.finish().expect("JSON").as_str(), start);
    }

    #[test]
    fn an_endless_block_is_noticed() {
        let mut block = PendingBlock::new(&raw("{}"));
        let piece = "x".repeat(1024 * 1024);
        assert!((0..17).any(|_| !block.push_input(&piece)));
    }
}
