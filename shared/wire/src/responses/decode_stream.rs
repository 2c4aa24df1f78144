//! The events of a Responses stream → [`Event`]s.

use omniroute_core::error::ErrorClass;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{
    decode_response::Body,
    error::decode_error,
    output_item::{OutputItem, chat_logprobs, finish_reason, has_items},
    stream_items::{Items, TextPosition},
};
use crate::{
    codec::StreamDecoder,
    event_stream::{EventReader, ServerEvent, TooLong},
    ir::{Event, StreamError},
    object::wire_object,
    text::Str,
};

wire_object! {
    /// What events have that matter here. Fields whose type differs between events stay raw.
    pub(super) struct Chunk<'a> {
        kind: Str<'a> = lenient "type",
        response: &'a RawValue = "response",
        item: &'a RawValue = "item",
        part: &'a RawValue = "part",
        delta: &'a RawValue = "delta",
        text: &'a RawValue = "text",
        refusal: &'a RawValue = "refusal",
        arguments: &'a RawValue = "arguments",
        input: &'a RawValue = "input",
        annotation: &'a RawValue = "annotation",
        logprobs: &'a RawValue = "logprobs",
        error: &'a RawValue = "error",
        output_index: u32 = lenient "output_index",
        content_index: u32 = lenient "content_index",
        summary_index: u32 = lenient "summary_index",
        // Listed so that they are passed over: an answer has thousands of each.
        sequence_number: IgnoredAny = "sequence_number",
        item_id: IgnoredAny = "item_id",
        obfuscation: IgnoredAny = "obfuscation",
    }
}

/// Reads the stream of a Responses upstream.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: EventReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    done: bool,
    failed: bool,
    /// The service tier that was told; empty before.
    tier: String,
    items: Items,
}

// === impl Decoder ===

impl StreamDecoder for Decoder {
    fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if state.failed {
            return;
        }
        if let Err(TooLong) = self.reader.feed(bytes, |event| state.event(event, emit)) {
            state.fail("stream_too_long", TooLong.to_string(), emit);
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let state = &mut self.state;
        if !state.failed
            && let Err(TooLong) = self.reader.end(|event| state.event(event, emit))
        {
            state.fail("stream_too_long", TooLong.to_string(), emit);
        }
        if !state.done {
            let message = "the upstream's stream ended before the answer was complete".to_owned();
            state.fail("upstream_stream_cut", message, emit);
        }
    }

    fn done(&self) -> bool {
        self.state.done || self.state.failed
    }

    fn complete(&self) -> bool {
        self.state.done
    }
}

// === impl State ===

impl State {
    fn event(&mut self, event: ServerEvent<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed || self.done || event.data.trim_ascii() == b"[DONE]" {
            return;
        }
        match serde_json::from_slice::<Chunk<'_>>(event.data) {
            Ok(mut chunk) => {
                // A host that leaves the type out of the data names the event instead.
                let named = std::str::from_utf8(event.name).unwrap_or_default();
                let kind = chunk.kind.take().unwrap_or(Str(named.into()));
                self.chunk(&kind, chunk, event.data, emit);
            }
            Err(_) => {
                let message = "the upstream sent an event that is not valid JSON".to_owned();
                self.fail("upstream_malformed", message, emit);
            }
        }
    }

    fn chunk(&mut self, kind: &str, chunk: Chunk<'_>, data: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        match kind {
            "error" => return self.fail_with(data, emit),
            "" if chunk.error.is_some() => return self.fail_with(data, emit),
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => return self.ending(kind, &chunk, emit),
            "response.created" | "response.queued" | "response.in_progress" => return self.start(chunk.response, emit),
            _ => {}
        }
        if kind.starts_with("response.") {
            self.start(None, emit);
            self.inside(kind, chunk, emit);
        }
    }

    fn start(&mut self, response: Option<&RawValue>, emit: &mut dyn FnMut(Event<'_>)) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let response = response.and_then(|raw| serde_json::from_str::<Body<'_>>(raw.get()).ok()).unwrap_or_default();
        emit(Event::Start {
            id: response.id.unwrap_or_default().into(),
            model: response.model.unwrap_or_default().into(),
            created: response.created_at,
        });
        // Until the end, this may be what was asked for.
        self.served(response.service_tier.filter(|tier| &**tier != "auto"), emit);
    }

    fn served(&mut self, tier: Option<Str<'_>>, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some(tier) = tier.filter(|tier| self.tier != **tier) {
            str::clone_into(&tier, &mut self.tier);
            emit(Event::Served { service_tier: Some(tier.into()), system_fingerprint: None });
        }
    }

    fn inside(&mut self, kind: &str, chunk: Chunk<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let items = &mut self.items;
        let output = items.index(chunk.output_index);
        let content = TextPosition::Content(chunk.content_index.unwrap_or(0));
        let summary = TextPosition::Summary(chunk.summary_index.unwrap_or(0));
        match kind {
            "response.output_item.added" => {
                if let Some(item) = read_item(chunk.item) {
                    items.added(output, item, emit);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = read_item(chunk.item) {
                    items.done(output, item, emit);
                }
            }
            "response.output_text.delta" => {
                items.text(output, content, string(chunk.delta).as_ref(), false, emit);
                if let Some(raw) = chunk.logprobs.filter(|raw| has_items(raw)).and_then(|raw| chat_logprobs(&[raw])) {
                    emit(Event::Logprobs { choice: 0, raw });
                }
            }
            "response.output_text.done" => items.whole_text(output, content, string(chunk.text).as_ref(), false, emit),
            "response.refusal.delta" => items.text(output, content, string(chunk.delta).as_ref(), true, emit),
            "response.refusal.done" => items.whole_text(output, content, string(chunk.refusal).as_ref(), true, emit),
            "response.content_part.done" => items.content_done(output, content, chunk.part, emit),
            "response.output_text.annotation.added" => {
                if let Some(raw) = chunk.annotation {
                    items.annotation(output, content, raw, emit);
                }
            }
            "response.reasoning_summary_text.delta" => {
                items.thought(output, summary, string(chunk.delta).as_ref(), emit);
            }
            "response.reasoning_summary_text.done" => {
                items.whole_thought(output, summary, string(chunk.text).as_ref(), emit);
            }
            "response.reasoning_text.delta" => items.thought(output, content, string(chunk.delta).as_ref(), emit),
            "response.reasoning_text.done" => items.whole_thought(output, content, string(chunk.text).as_ref(), emit),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                items.arguments(output, string(chunk.delta).as_ref(), emit);
            }
            "response.function_call_arguments.done" => {
                items.whole_arguments(output, string(chunk.arguments).as_ref(), emit);
            }
            "response.custom_tool_call_input.done" => {
                items.whole_arguments(output, string(chunk.input).as_ref(), emit);
            }
            // What tools of the vendor's do meanwhile stands in their item when it is done.
            _ => {}
        }
        if self.items.is_full() {
            let message = "the upstream's answer has more items than can be followed".to_owned();
            self.fail("stream_too_long", message, emit);
        }
    }

    /// The event that carries the whole response.
    fn ending(&mut self, kind: &str, chunk: &Chunk<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let raw = chunk.response.map_or("{}", RawValue::get);
        let Ok(response) = serde_json::from_str::<Body<'_>>(raw) else {
            let message = "the upstream ended its stream with a response that cannot be read".to_owned();
            return self.fail("upstream_malformed", message, emit);
        };
        let failed = matches!(kind, "response.failed" | "response.cancelled");
        if failed || response.error.is_some() || matches!(response.status.as_deref(), Some("failed" | "cancelled")) {
            return self.fail_with(raw.as_bytes(), emit);
        }
        self.start(chunk.response, emit);
        let incomplete = match (response.incomplete(), kind) {
            (None, "response.incomplete") => Some("max_output_tokens".to_owned()),
            (reason, _) => reason,
        };
        if self.items.is_empty() {
            // Some hosts send nothing before the end.
            for (index, raw) in (0_u32..).zip(response.output.iter().flatten()) {
                if let Some(item) = read_item(Some(raw)) {
                    self.items.done(index, item, emit);
                }
            }
        }
        self.items.close(emit);
        self.served(response.service_tier, emit);
        if let Some(usage) = response.usage {
            emit(Event::Usage(usage.disjoint()));
        }
        self.done = true;
        let seen = self.items.seen();
        let reason = finish_reason(incomplete.as_deref(), seen.called, seen.refused, seen.said);
        emit(Event::Finish { choice: 0, reason, stop_sequence: None });
    }

    /// Fails with what an error body says.
    fn fail_with(&mut self, body: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        if self.failed {
            return;
        }
        self.failed = true;
        let error = decode_error(500, body);
        let message = if error.message == "the upstream answered 500" {
            "the upstream failed without saying why".to_owned()
        } else {
            error.message
        };
        emit(Event::Error(StreamError {
            class: error.class,
            code: "upstream_error",
            message,
            retry_after: error.retry_after,
            request_id: None,
        }));
    }

    fn fail(&mut self, code: &'static str, message: String, emit: &mut dyn FnMut(Event<'_>)) {
        if !self.failed {
            self.failed = true;
            emit(Event::Error(StreamError {
                class: ErrorClass::Upstream,
                code,
                message,
                retry_after: None,
                request_id: None,
            }));
        }
    }
}

/// An item that cannot be read is passed over: the end of the stream shows whether something is missing.
fn read_item(raw: Option<&RawValue>) -> Option<OutputItem<'_>> {
    OutputItem::read(raw?).ok()
}

fn string(raw: Option<&RawValue>) -> std::borrow::Cow<'_, str> {
    super::decode_content::text_field(raw)
}
