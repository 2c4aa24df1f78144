//! [`Event`]s → the events of a Responses stream.
//!
//! SDKs and Codex rely on the order: an item is announced, its contents come and end, the item comes whole; the last event
//! carries the whole response. Items of parallel calls may be open at once.

use super::{
    compact::compaction_item,
    error::{event, write_event_fields},
    stream_parts::{Message, Open, OpenPart},
    write_item::item_id,
    write_response::{Own, Status, write_response},
};
use crate::{
    codec::{ResponseContext, StreamEncoder},
    ir::{Event, FinishReason, Json, PartKind, StreamError},
    openai::{REFUSED, tier_word},
    usage::Usage,
    write::Writer,
};
use omniroute_core::error::ErrorClass;

/// Writes the stream of a Responses client.
pub struct Encoder {
    pub(super) exchange: ResponseContext,
    created: u64,
    sequence: u64,
    begun: bool,
    /// Items by their place in the output; empty until they are whole.
    output: Vec<Vec<u8>>,
    pub(super) parts: Vec<OpenPart>,
    /// The message that texts go to until something else comes.
    pub(super) message: Option<Message>,
    pub(super) refused: bool,
    /// What the answer says, where it is a summary.
    summary: String,
    usage: Usage,
    tier: Option<&'static str>,
    finish: Option<FinishReason>,
    failed: bool,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(exchange: ResponseContext) -> Self {
        Self {
            created: exchange.created,
            exchange,
            sequence: 0,
            begun: false,
            output: Vec::new(),
            parts: Vec::new(),
            message: None,
            refused: false,
            summary: String::new(),
            usage: Usage::default(),
            tier: None,
            finish: None,
            failed: false,
        }
    }

    /// The items that are whole so far, to be stored once the stream is over.
    pub fn output_items(&self) -> Vec<Json<'static>> {
        let texts = self.output.iter().filter(|item| !item.is_empty());
        texts.filter_map(|item| Json::from_string(String::from_utf8(item.clone()).ok()?)).collect()
    }

    pub(super) fn frame(&mut self, out: &mut Vec<u8>, kind: &str, fields: impl FnOnce(&mut Writer<'_>)) {
        let number = self.sequence;
        self.sequence += 1;
        event(out, kind, |w| {
            w.field("sequence_number", &number);
            fields(w);
        });
    }

    /// An event that carries the response as it stands.
    fn response_frame(&mut self, out: &mut Vec<u8>, kind: &str, status: Status<'_>) {
        let number = self.sequence;
        self.sequence += 1;
        let whole = !matches!(status, Status::InProgress);
        let usage = (whole && !(matches!(status, Status::Failed(_)) && self.usage.is_unknown())).then_some(&self.usage);
        let own = Own { created: self.created, status, service_tier: self.tier, usage };
        event(out, kind, |w| {
            w.field("sequence_number", &number);
            write_response(w.key("response"), &self.exchange, &own, |w| {
                for item in self.output.iter().filter(|item| !item.is_empty()) {
                    w.raw(std::str::from_utf8(item).unwrap_or("null"));
                }
            });
        });
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.response_frame(out, "response.created", Status::InProgress);
            self.response_frame(out, "response.in_progress", Status::InProgress);
        }
    }

    /// A new place in the output, and the id of the item there.
    pub(super) fn next_item(&mut self, prefix: &str) -> (usize, String) {
        let index = self.output.len();
        self.output.push(Vec::new());
        (index, item_id(prefix, &self.exchange, index))
    }

    pub(super) fn item_added(&mut self, out: &mut Vec<u8>, index: usize, item: impl FnOnce(&mut Writer<'_>)) {
        self.frame(out, "response.output_item.added", |w| {
            w.field("output_index", &index);
            item(w.key("item"));
        });
    }

    pub(super) fn item_done(&mut self, out: &mut Vec<u8>, index: usize, item: impl FnOnce(&mut Writer<'_>)) {
        let mut whole = Vec::with_capacity(256);
        item(&mut Writer::new(&mut whole));
        self.frame(out, "response.output_item.done", |w| {
            w.field("output_index", &index);
            w.field_raw("item", std::str::from_utf8(&whole).unwrap_or("null"));
        });
        self.output[index] = whole;
    }

    /// An item that is whole from the start.
    pub(super) fn whole_item(&mut self, out: &mut Vec<u8>, prefix: &str, item: impl Fn(&mut Writer<'_>, &str)) {
        self.close_message(false, out);
        let (index, id) = self.next_item(prefix);
        self.item_added(out, index, |w| item(w, &id));
        self.item_done(out, index, |w| item(w, &id));
    }

    fn inside(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::PartStart { part, kind, .. } => self.part_start(*part, kind, out),
            Event::TextDelta { part, text, .. } => self.text(*part, text, out),
            Event::ThinkingDelta { part, text, .. } => self.thinking(*part, text, out),
            Event::SignatureDelta { part, signature, .. } => self.signature(*part, signature, out),
            Event::ArgsDelta { part, text, .. } => self.arguments(*part, text, out),
            Event::Annotation { part, annotation, .. } => self.annotation(*part, annotation, out),
            Event::Logprobs { choice: 0, raw } => self.logprobs(raw, out),
            Event::PartStop { part, .. } => self.part_stop(*part, out),
            Event::Finish { choice: 0, reason, .. } => self.finish(*reason, out),
            _ => {}
        }
    }

    /// A summary is told once it is whole.
    fn gather(&mut self, event: &Event<'_>) {
        match event {
            Event::PartStart { kind: PartKind::Refusal, .. } => self.refused = true,
            Event::TextDelta { text, .. } => self.summary.push_str(text),
            Event::Finish { choice: 0, reason, .. } => self.finish = Some(*reason),
            _ => {}
        }
    }

    fn compaction(&mut self, out: &mut Vec<u8>) {
        let (summary, exchange) = (std::mem::take(&mut self.summary), self.exchange.clone());
        self.whole_item(out, "cmp", |w, id| compaction_item(w, id, &summary, &exchange));
    }

    fn finish(&mut self, reason: FinishReason, out: &mut Vec<u8>) {
        if reason == FinishReason::Refusal && !self.refused {
            let Open::Content(content) = self.content_start(true, out) else { return };
            self.parts.push(OpenPart { part: u32::MAX, open: Open::Content(content) });
            self.text(u32::MAX, REFUSED, out);
            self.part_stop(u32::MAX, out);
        }
        self.close_message(true, out);
        self.finish = Some(reason);
    }

    fn fail(&mut self, error: &StreamError, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        self.begin(out);
        self.frame(out, "error", |w| write_event_fields(w, error));
        self.response_frame(out, "response.failed", Status::Failed(error));
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        // There is one choice: more cannot be asked for.
        if self.failed || event.place().is_some_and(|(choice, _)| choice > 0) {
            return;
        }
        match event {
            Event::Start { created, .. } => {
                self.created = created.unwrap_or(self.exchange.created);
                self.begin(out);
            }
            Event::Usage(usage) => self.usage = *usage,
            Event::Served { service_tier, .. } => {
                self.tier = service_tier.as_deref().and_then(tier_word).or(self.tier);
            }
            Event::Error(error) => self.fail(error, out),
            Event::Ping => {}
            other => {
                self.begin(out);
                if self.exchange.compacts {
                    self.gather(other);
                } else {
                    self.inside(other, out);
                }
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let failure = |code, message: &str| StreamError {
            class: ErrorClass::Upstream,
            code,
            message: message.to_owned(),
            retry_after: None,
            request_id: None,
        };
        match self.finish {
            _ if self.failed => {}
            None => self.fail(&failure("upstream_stream_cut", "the answer ended before it was complete"), out),
            Some(FinishReason::MalformedCall) => {
                self.fail(&failure("malformed_tool_call", "the model made a tool call that cannot be read"), out);
            }
            Some(reason) => {
                let status = Status::of(reason);
                if self.exchange.compacts && matches!(status, Status::Completed) {
                    if self.refused || self.summary.trim().is_empty() {
                        return self.fail(&failure("upstream_malformed", "the model gave no summary"), out);
                    }
                    self.compaction(out);
                }
                let kind = match status {
                    Status::Incomplete(_) => "response.incomplete",
                    _ => "response.completed",
                };
                self.response_frame(out, kind, status);
            }
        }
    }

    fn keepalive(&self) -> Option<&'static [u8]> {
        Some(b": keep-alive\n\n")
    }
}
