//! The whole response out of what a client is sent, be it a document or a stream.

use std::collections::BTreeMap;

use memchr::memmem;
use serde_json::value::RawValue;

use super::usage_scanner::data_of;
use crate::{
    event_scan::event_end,
    object::{read, wire_object},
    text::Str,
    write::Writer,
};

wire_object! {
    struct Event<'a> {
        kind: Str<'a> = lenient "type",
        response: &'a RawValue = "response",
        output_index: u64 = lenient "output_index",
        item: &'a RawValue = "item",
    }
}

wire_object! {
    struct Document<'a> {
        id: Str<'a> = lenient "id",
        status: Str<'a> = lenient "status",
        output: Vec<&'a RawValue> = "output",
    }
}

/// What an event that ends an answer well has in it.
const ENDINGS: [&[u8]; 2] = [b"\"response.completed\"", b"\"response.incomplete\""];
const ITEM: &[u8] = b"\"response.output_item.done\"";

/// Gathers a response while it passes.
#[derive(Debug)]
pub struct Harvest {
    is_stream: bool,
    /// The document so far, or the event so far.
    partial: Vec<u8>,
    /// Finished items, for upstreams whose last event has none.
    items: BTreeMap<u64, String>,
    items_bytes: usize,
    /// Of everything that is held.
    limit: usize,
    /// It got too large.
    given_up: bool,
    response: Option<Vec<u8>>,
}

// === impl Harvest ===

impl Harvest {
    /// Holds `limit` bytes at most; a response that is larger is not gathered.
    pub fn new(is_stream: bool, limit: usize) -> Self {
        Self {
            is_stream,
            partial: Vec::new(),
            items: BTreeMap::new(),
            items_bytes: 0,
            limit,
            given_up: false,
            response: None,
        }
    }

    /// Takes the next bytes that the client is sent; they may be split anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.given_up || self.response.is_some() {
            return;
        }
        if self.partial.len() + self.items_bytes + bytes.len() > self.limit {
            self.given_up = true;
            self.partial = Vec::new();
            self.items.clear();
            return;
        }
        // The blank line may itself be split: its first half can be the end of what was there.
        let mut from = self.partial.len().saturating_sub(3);
        self.partial.extend_from_slice(bytes);
        if !self.is_stream {
            return;
        }
        let mut buffer = std::mem::take(&mut self.partial);
        let mut start = 0;
        while let Some(length) = event_end(&buffer[from..]) {
            let end = from + length;
            self.event(&buffer[start..end]);
            (start, from) = (end, end);
        }
        buffer.drain(..start);
        self.partial = buffer;
    }

    /// The answer has ended: a document is whole now.
    pub fn end(&mut self) {
        if self.given_up || self.response.is_some() {
            return;
        }
        let rest = std::mem::take(&mut self.partial);
        if self.is_stream {
            self.event(&rest);
        } else if is_finished(&rest) {
            self.response = Some(rest);
        }
    }

    /// Whether the response is whole.
    pub const fn is_whole(&self) -> bool {
        self.response.is_some()
    }

    /// The response, once it is whole.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.response.take()
    }

    fn event(&mut self, event: &[u8]) {
        if memmem::find(event, ITEM).is_some() {
            self.item(event);
        } else if ENDINGS.iter().any(|word| memmem::find(event, word).is_some()) {
            self.ending(event);
        }
    }

    fn item(&mut self, event: &[u8]) {
        let Some(data) = data_of(event) else { return };
        let Ok(Event { kind: Some(kind), item: Some(item), output_index, .. }) = read::<Event<'_>>(&data) else {
            return;
        };
        if &*kind == "response.output_item.done" {
            let index = output_index.unwrap_or(self.items.len() as u64);
            self.items_bytes += item.get().len();
            self.items.insert(index, item.get().to_owned());
        }
    }

    fn ending(&mut self, event: &[u8]) {
        let Some(data) = data_of(event) else { return };
        let Ok(Event { kind: Some(kind), response: Some(response), .. }) = read::<Event<'_>>(&data) else { return };
        if matches!(&*kind, "response.completed" | "response.incomplete") {
            self.response = Some(self.completed(response.get()));
        }
    }

    /// Some upstreams leave the items out of the last event, since they have been sent.
    fn completed(&self, response: &str) -> Vec<u8> {
        let whole = response.as_bytes().to_vec();
        let Ok(document) = read::<Document<'_>>(response.as_bytes()) else { return whole };
        if self.items.is_empty() || document.output.as_ref().is_some_and(|output| !output.is_empty()) {
            return whole;
        }
        let mut out = Vec::with_capacity(response.len() + self.items_bytes);
        Writer::new(&mut out).object(|w| {
            w.field_str_opt("id", document.id.as_deref());
            w.field_str_opt("status", document.status.as_deref());
            w.key("output").array(|w| self.items.values().for_each(|item| w.raw(item)));
            for (name, raw) in &document.rest {
                w.field_raw(name, raw.get());
            }
        });
        out
    }
}

/// Whether a document is a response that came to an end.
fn is_finished(document: &[u8]) -> bool {
    let status = |document: Document<'_>| {
        document.id.is_some()
            && document.output.is_some()
            && document.status.is_none_or(|status| matches!(&*status, "completed" | "incomplete"))
    };
    read::<Document<'_>>(document).is_ok_and(status)
}
