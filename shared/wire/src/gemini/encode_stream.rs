//! [`Event`]s → `GenerateContentResponse` elements, as server-sent events or as one JSON array.

use std::collections::BTreeMap;

use omniroute_core::error::ErrorClass;

use super::{
    error::write_stream_error,
    finish::finish_word,
    grounding, logprobs,
    path::Framing,
    piece::{Media, Piece, PieceKind, object_arguments},
    signature,
    text_map::TextMap,
    usage::write_usage,
};
use crate::{
    codec::{ResponseContext, StreamEncoder},
    ir::{Annotation, CallKind, Event, Family, FinishReason, PartKind, Signature, StreamError},
    usage::Usage,
    write::Writer,
};

/// Longest arguments of one call.
const MAX_ARGUMENTS: usize = 16 * 1024 * 1024;

/// Writes the stream of a Gemini client.
pub struct Encoder {
    exchange: ResponseContext,
    framing: Framing,
    /// `,"modelVersion":…,"responseId":…}`, the same in every element.
    tail: Vec<u8>,
    /// Whether the array has its first element.
    begun: bool,
    choices: BTreeMap<u32, ChoiceState>,
    usage: Usage,
    failed: bool,
}

#[derive(Default)]
struct ChoiceState {
    open: Vec<OpenPart>,
    text: TextMap,
    annotations: Vec<Annotation<'static>>,
    finish: Option<FinishReason>,
}

struct OpenPart {
    part: u32,
    kind: OpenKind,
}

enum OpenKind {
    Text,
    Thinking,
    /// Calls are sent whole.
    Call {
        id: String,
        name: String,
        kind: CallKind,
        arguments: String,
        signature: Option<String>,
    },
    Silent,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(exchange: ResponseContext, framing: Framing) -> Self {
        let mut tail = Vec::with_capacity(128);
        Writer::new(&mut tail).object(|w| {
            w.field_str("modelVersion", &exchange.model);
            w.field_str("responseId", &exchange.id);
        });
        // The element's own fields stand before these.
        tail[0] = b',';
        Self { exchange, framing, tail, begun: false, choices: BTreeMap::new(), usage: Usage::default(), failed: false }
    }

    /// What stands before an element.
    fn open_element(&mut self, out: &mut Vec<u8>) {
        let first = !std::mem::replace(&mut self.begun, true);
        out.extend_from_slice(match (self.framing, first) {
            (Framing::Sse, _) => b"data: ",
            (Framing::JsonArray, true) => b"[",
            (Framing::JsonArray, false) => b",\r\n",
        });
    }

    fn close_element(&self, out: &mut Vec<u8>) {
        if self.framing == Framing::Sse {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    /// One element; `fields` writes at least one.
    fn element(&mut self, out: &mut Vec<u8>, fields: impl FnOnce(&mut Writer<'_>)) {
        self.open_element(out);
        out.push(b'{');
        fields(&mut Writer::new(out));
        out.extend_from_slice(&self.tail);
        self.close_element(out);
    }

    fn piece(&mut self, choice: u32, piece: &Piece<'_>, out: &mut Vec<u8>) {
        self.element(out, |w| {
            w.key("candidates").array(|w| {
                w.object(|w| {
                    write_content(w, piece);
                    w.field("index", &choice);
                });
            });
        });
    }

    fn part_start(&mut self, choice: u32, part: u32, kind: &PartKind<'_>, out: &mut Vec<u8>) {
        let open = match kind {
            PartKind::Text | PartKind::Refusal => OpenKind::Text,
            PartKind::Thinking => OpenKind::Thinking,
            PartKind::ToolCall { id, name, kind } => OpenKind::Call {
                id: id.as_ref().to_owned(),
                name: self.exchange.names.client_name(name).to_owned(),
                kind: *kind,
                arguments: String::new(),
                signature: None,
            },
            PartKind::RedactedThinking { data } => {
                let mut piece = Piece::text("");
                piece.signature = Some(signature::write(data, &self.exchange).into_owned().into());
                self.piece(choice, &piece, out);
                OpenKind::Silent
            }
            PartKind::Media { media_type, data } => {
                self.piece(choice, &Piece::new(PieceKind::Media(Media::Inline { media_type, data })), out);
                OpenKind::Silent
            }
            PartKind::ServerTool { family, raw } => {
                if *family == Family::Gemini {
                    self.piece(choice, &Piece::new(PieceKind::Raw(raw.as_str())), out);
                }
                OpenKind::Silent
            }
        };
        self.choices.entry(choice).or_default().open.push(OpenPart { part, kind: open });
    }

    fn open(&mut self, choice: u32, part: u32) -> Option<&mut OpenKind> {
        let open = &mut self.choices.get_mut(&choice)?.open;
        open.iter_mut().find(|open| open.part == part).map(|open| &mut open.kind)
    }

    fn arguments(&mut self, choice: u32, part: u32, text: &str, out: &mut Vec<u8>) {
        let Some(OpenKind::Call { arguments, .. }) = self.open(choice, part) else { return };
        if arguments.len() + text.len() > MAX_ARGUMENTS {
            return self.fail("stream_too_long", "the arguments of a call are longer than 16 MiB", out);
        }
        arguments.push_str(text);
    }

    fn signature(&mut self, choice: u32, part: u32, signature: &Signature<'_>, out: &mut Vec<u8>) {
        let payload = signature::write(signature, &self.exchange).into_owned();
        let show_thinking = self.exchange.show_thinking;
        match self.open(choice, part) {
            Some(OpenKind::Call { signature, .. }) => *signature = Some(payload),
            Some(OpenKind::Thinking) if show_thinking => {
                let mut piece = Piece::new(PieceKind::Thought("".into()));
                piece.signature = Some(payload.into());
                self.piece(choice, &piece, out);
            }
            Some(OpenKind::Text) => {
                let mut piece = Piece::text("");
                piece.signature = Some(payload.into());
                self.piece(choice, &piece, out);
            }
            _ => {}
        }
    }

    fn part_stop(&mut self, choice: u32, part: u32, out: &mut Vec<u8>) {
        let Some(state) = self.choices.get_mut(&choice) else { return };
        let Some(at) = state.open.iter().position(|open| open.part == part) else { return };
        let OpenKind::Call { id, name, kind, arguments, signature } = state.open.remove(at).kind else { return };
        let Some(arguments) = object_arguments(&arguments, kind) else {
            return self.fail("malformed_tool_call", "the model made a call whose arguments are no JSON object", out);
        };
        let mut piece = Piece::new(PieceKind::Call { id: &id, name: &name, arguments });
        piece.signature = signature.map(Into::into);
        self.piece(choice, &piece, out);
    }

    fn fail(&mut self, code: &'static str, message: &str, out: &mut Vec<u8>) {
        let (class, message) = (ErrorClass::Upstream, message.to_owned());
        self.error(&StreamError { class, code, message, retry_after: None, request_id: None }, out);
    }

    fn error(&mut self, error: &StreamError, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        self.open_element(out);
        write_stream_error(error, out);
        self.close_element(out);
    }

    /// The last element: why it ended, what it cost, whom it cites.
    fn last(&mut self, out: &mut Vec<u8>) {
        let (choices, usage) = (std::mem::take(&mut self.choices), self.usage);
        self.element(out, |w| {
            w.key("candidates").array(|w| {
                for (index, state) in &choices {
                    w.object(|w| state.write_end(w, *index));
                }
            });
            write_usage(w.key("usageMetadata"), &usage);
        });
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        match event {
            Event::PartStart { choice, part, kind } => self.part_start(*choice, *part, kind, out),
            Event::TextDelta { choice, text, .. } => {
                if !text.is_empty() {
                    self.choices.entry(*choice).or_default().text.push(text);
                    self.piece(*choice, &Piece::text(text.as_ref()), out);
                }
            }
            Event::ThinkingDelta { choice, text, .. } => {
                if self.exchange.show_thinking && !text.is_empty() {
                    self.piece(*choice, &Piece::new(PieceKind::Thought(text.as_ref().into())), out);
                }
            }
            Event::SignatureDelta { choice, part, signature } => self.signature(*choice, *part, signature, out),
            Event::ArgsDelta { choice, part, text } => self.arguments(*choice, *part, text, out),
            Event::Annotation { choice, annotation, .. } => {
                self.choices.entry(*choice).or_default().annotations.push(annotation.clone().into_owned());
            }
            Event::Logprobs { choice, raw } => self.element(out, |w| {
                w.key("candidates").array(|w| {
                    w.object(|w| {
                        w.field("index", choice);
                        logprobs::write(w, raw);
                    });
                });
            }),
            Event::PartStop { choice, part } => self.part_stop(*choice, *part, out),
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { choice, reason, .. } => {
                self.choices.entry(*choice).or_default().finish = Some(*reason);
            }
            Event::Error(error) => self.error(error, out),
            Event::Start { .. } | Event::Served { .. } | Event::Ping => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.failed {
            self.last(out);
        }
        if self.framing == Framing::JsonArray {
            out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
        }
    }

    fn keepalive(&self) -> Option<&'static [u8]> {
        match self.framing {
            // Google's own clients take a comment for an answer that they cannot read.
            Framing::Sse => None,
            // White space may stand anywhere between the elements of an array.
            Framing::JsonArray => Some(b"\r\n"),
        }
    }
}

// === impl ChoiceState ===

impl ChoiceState {
    fn write_end(&self, w: &mut Writer<'_>, index: u32) {
        // Clients look for a content in every element that ends one.
        write_content(w, &Piece::text(""));
        w.field_str("finishReason", finish_word(self.finish.unwrap_or(FinishReason::End)));
        w.field("index", &index);
        if !self.annotations.is_empty() {
            let all: Vec<&Annotation<'_>> = self.annotations.iter().collect();
            grounding::write_grounding(w.key("groundingMetadata"), &all, |char| self.text.byte_at(char));
        }
    }
}

fn write_content(w: &mut Writer<'_>, piece: &Piece<'_>) {
    w.key("content").object(|w| {
        w.key("parts").array(|w| piece.write(w));
        w.field_str("role", "model");
    });
}
