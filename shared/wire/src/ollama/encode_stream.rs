//! [`Event`]s → lines.

use omniroute_core::error::ErrorClass;

use super::{
    Shape, Timing, done_word,
    encode_request::{is_json_object, write_call},
    encode_response::write_head,
    error::encode_stream_error,
    lines::end_line,
    logprobs::list_of,
    unspoken,
};
use crate::{
    codec::{ResponseContext, StreamEncoder},
    event_stream::MAX_EVENT_BYTES,
    ir::{CallKind, Event, FinishReason, PartKind, StreamError},
    tools::arguments_as_object,
    usage::Usage,
    write::Writer,
};

/// Writes the stream of an Ollama client. Calls are held back until their arguments are complete: they go out whole.
pub struct Encoder {
    exchange: ResponseContext,
    shape: Shape,
    timing: Timing,
    /// `{"model":…,"created_at":…`, the same in every line.
    head: Vec<u8>,
    open: Vec<OpenPart>,
    /// Bytes of arguments that are held back.
    held: usize,
    calls: usize,
    /// Words were said, and those of a refusal.
    said: bool,
    refused: bool,
    finish: FinishReason,
    usage: Usage,
    failed: bool,
}

struct OpenPart {
    part: u32,
    call: Option<OpenCall>,
}

struct OpenCall {
    id: String,
    name: String,
    kind: CallKind,
    arguments: String,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(exchange: ResponseContext, shape: Shape, timing: Timing) -> Self {
        Self {
            exchange,
            shape,
            timing,
            head: Vec::new(),
            open: Vec::new(),
            held: 0,
            calls: 0,
            said: false,
            refused: false,
            finish: FinishReason::End,
            usage: Usage::default(),
            failed: false,
        }
    }

    fn set_head(&mut self, created: Option<u64>) {
        self.head.clear();
        Writer::new(&mut self.head).object(|w| write_head(w, created, &self.exchange));
        self.head.pop();
    }

    fn line(&mut self, out: &mut Vec<u8>, rest: impl FnOnce(&mut Writer<'_>)) {
        if self.head.is_empty() {
            self.set_head(None);
        }
        let start = out.len();
        out.extend_from_slice(&self.head);
        out.push(b',');
        rest(&mut Writer::new(out));
        out.push(b'}');
        end_line(out, start);
    }

    /// A line of the answer: its text, and what stands beside it.
    fn content(&mut self, text: &str, out: &mut Vec<u8>, beside: impl FnOnce(&mut Writer<'_>)) {
        let shape = self.shape;
        self.line(out, |w| {
            match shape {
                Shape::Chat => w.key("message").object(|w| {
                    w.field_str("role", "assistant");
                    w.field_str("content", text);
                    beside(w);
                }),
                Shape::Generate => {
                    w.field_str("response", text);
                    beside(w);
                }
            }
            w.field("done", &false);
        });
    }

    fn part_start(&mut self, part: u32, kind: &PartKind<'_>, out: &mut Vec<u8>) {
        let call = match kind {
            PartKind::ToolCall { id, name, kind } => Some(OpenCall {
                id: id.clone().into_owned(),
                name: self.exchange.names.client_name(name).to_owned(),
                kind: *kind,
                arguments: String::new(),
            }),
            PartKind::Refusal => {
                self.refused = true;
                None
            }
            PartKind::Media { data, .. } => {
                self.content("", out, |w| w.field("images", &[data]));
                None
            }
            _ => None,
        };
        self.open.push(OpenPart { part, call });
    }

    fn arguments(&mut self, part: u32, text: &str, out: &mut Vec<u8>) {
        let Some(open) = self.open.iter_mut().find(|open| open.part == part) else { return };
        let Some(call) = &mut open.call else { return };
        self.held += text.len();
        if self.held > MAX_EVENT_BYTES {
            self.fail("tool_call_too_long", "the arguments of a tool call are longer than 16 MiB", out);
            return;
        }
        call.arguments.push_str(text);
    }

    fn part_stop(&mut self, part: u32, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|open| open.part == part) else { return };
        let Some(call) = self.open.swap_remove(at).call else { return };
        self.held = self.held.saturating_sub(call.arguments.len());
        let arguments = arguments_as_object(&call.arguments, call.kind);
        if !is_json_object(&arguments) {
            self.fail(
                "upstream_malformed_call",
                "the model called a tool with arguments that are not a JSON object",
                out,
            );
            return;
        }
        let index = self.calls;
        self.calls += 1;
        self.content("", out, |w| {
            w.key("tool_calls").array(|w| write_call(w, index, &call.id, &call.name, &arguments));
        });
    }

    fn fail(&mut self, code: &'static str, message: &str, out: &mut Vec<u8>) {
        let class = ErrorClass::Upstream;
        self.error(&StreamError { class, code, message: message.to_owned(), retry_after: None, request_id: None }, out);
    }

    fn error(&mut self, error: &StreamError, out: &mut Vec<u8>) {
        self.failed = true;
        encode_stream_error(error, out);
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        // Other choices have no place; a client of this dialect cannot ask for them.
        if self.failed || event.place().is_some_and(|(choice, _)| choice != 0) {
            return;
        }
        match event {
            Event::Start { created, .. } => self.set_head(*created),
            Event::PartStart { part, kind, .. } => self.part_start(*part, kind, out),
            Event::TextDelta { text, .. } if !text.is_empty() => {
                self.said = true;
                self.content(text, out, |_| {});
            }
            Event::ThinkingDelta { text, .. } if self.exchange.show_thinking && !text.is_empty() => {
                self.content("", out, |w| w.field_str("thinking", text));
            }
            Event::ArgsDelta { part, text, .. } => self.arguments(*part, text, out),
            Event::PartStop { part, .. } => self.part_stop(*part, out),
            Event::Logprobs { choice: 0, raw } => {
                if let Some(list) = list_of(raw) {
                    let shape = self.shape;
                    self.line(out, |w| {
                        write_empty(w, shape);
                        w.field("done", &false);
                        w.field_raw("logprobs", list);
                    });
                }
            }
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { choice: 0, reason, .. } => self.finish = *reason,
            Event::Error(error) => self.error(error, out),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        if let Some(words) = unspoken(self.finish, self.refused, self.said) {
            self.content(words, out, |_| {});
        }
        let (shape, finish, usage, timing) = (self.shape, self.finish, self.usage, self.timing.clone());
        self.line(out, |w| {
            write_empty(w, shape);
            w.field("done", &true);
            w.field_str("done_reason", done_word(finish));
            timing.write(w, &usage);
        });
    }

    /// A blank line breaks clients.
    fn keepalive(&self) -> Option<&'static [u8]> {
        None
    }
}

/// Both texts are demanded by clients' types, also where nothing is said.
fn write_empty(w: &mut Writer<'_>, shape: Shape) {
    match shape {
        Shape::Chat => w.key("message").object(|w| {
            w.field_str("role", "assistant");
            w.field_str("content", "");
        }),
        Shape::Generate => w.field_str("response", ""),
    }
}
