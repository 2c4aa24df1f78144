//! One part of an answer as content blocks of a stream.

use std::borrow::Cow;

use super::{
    encode_response::{MEDIA_NOTE, thinking_signature, write_citation},
    event::event,
};
use crate::{
    codec::{ResponseContext, signature_for},
    ir::{Annotation, CallKind, Family, PartKind, Signature},
    write::Writer,
};

/// What a part is made of.
#[derive(Clone, Debug)]
pub(super) enum Piece<'a> {
    Text(Cow<'a, str>),
    Thinking(Cow<'a, str>),
    Arguments(Cow<'a, str>),
    Signature(Signature<'a>),
    Citation(Box<Annotation<'a>>),
}

/// Writes the blocks of one part.
pub(super) struct BlockWriter {
    kind: BlockKind,
    /// Number of the open block; `None` until there is something to put into it.
    index: Option<u32>,
    /// For thinking: what stands at its end. For calls: what came after the block had begun.
    signature: Option<String>,
}

enum BlockKind {
    Text,
    Thinking,
    Call {
        id: String,
        name: String,
        custom: bool,
    },
    /// A block that has no pieces, as it stands on the wire.
    Whole(String),
    /// Nothing that the client can or wants to see.
    Silent,
}

// === impl Piece ===

impl Piece<'_> {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Thinking(text) | Self::Arguments(text) => text.len(),
            Self::Signature(signature) => signature.payload.len(),
            Self::Citation(annotation) => annotation.raw.as_ref().map_or(256, |raw| raw.as_str().len() + 256),
        }
    }

    /// Keeps it behind what is kept already; texts grow together.
    pub(super) fn hold(self, held: &mut Vec<Piece<'static>>) {
        let owned = match (self, held.last_mut()) {
            (Self::Arguments(text), Some(Piece::Arguments(last)))
            | (Self::Text(text), Some(Piece::Text(last)))
            | (Self::Thinking(text), Some(Piece::Thinking(last))) => return last.to_mut().push_str(&text),
            (Self::Text(text), _) => Piece::Text(text.into_owned().into()),
            (Self::Thinking(text), _) => Piece::Thinking(text.into_owned().into()),
            (Self::Arguments(text), _) => Piece::Arguments(text.into_owned().into()),
            (Self::Signature(signature), _) => {
                Piece::Signature(Signature { family: signature.family, payload: signature.payload.into_owned().into() })
            }
            (Self::Citation(annotation), _) => Piece::Citation(Box::new(annotation.into_owned())),
        };
        held.push(owned);
    }
}

// === impl BlockWriter ===

impl BlockWriter {
    pub(super) fn new(kind: &PartKind<'_>, exchange: &ResponseContext) -> Self {
        let kind = match kind {
            PartKind::Text | PartKind::Refusal => BlockKind::Text,
            PartKind::Thinking if exchange.show_thinking => BlockKind::Thinking,
            PartKind::RedactedThinking { data } if exchange.show_thinking => {
                BlockKind::Whole(redacted(&signature_for(data, Family::Anthropic, exchange)))
            }
            PartKind::ToolCall { id, name, kind } => BlockKind::Call {
                id: id.as_ref().to_owned(),
                name: exchange.names.client_name(name).to_owned(),
                custom: *kind == CallKind::Custom,
            },
            PartKind::ServerTool { family: Family::Anthropic, raw } => BlockKind::Whole(raw.as_str().to_owned()),
            PartKind::Media { .. } => BlockKind::Whole(block_text(|w| {
                w.field_str("type", "text");
                w.field_str("text", MEDIA_NOTE);
            })),
            PartKind::Thinking | PartKind::RedactedThinking { .. } | PartKind::ServerTool { .. } => BlockKind::Silent,
        };
        Self { kind, index: None, signature: None }
    }

    /// A part of which nothing is shown.
    pub(super) const fn silent() -> Self {
        Self { kind: BlockKind::Silent, index: None, signature: None }
    }

    pub(super) fn piece(&mut self, piece: Piece<'_>, next: &mut u32, exchange: &ResponseContext, out: &mut Vec<u8>) {
        match (&self.kind, piece) {
            (BlockKind::Text, Piece::Text(text)) if !text.is_empty() => {
                let index = self.open(next, out);
                delta(out, index, "text_delta", |w| w.field_str("text", &text));
            }
            (BlockKind::Text, Piece::Citation(annotation)) => {
                let index = self.open(next, out);
                delta(out, index, "citations_delta", |w| write_citation(w.key("citation"), &annotation));
            }
            (BlockKind::Thinking, Piece::Thinking(text)) if !text.is_empty() => {
                let index = self.open(next, out);
                delta(out, index, "thinking_delta", |w| w.field_str("thinking", &text));
            }
            (BlockKind::Thinking, Piece::Signature(signature)) => {
                self.open(next, out);
                self.signature = Some(thinking_signature(Some(&signature), exchange).into_owned());
            }
            (BlockKind::Call { .. }, Piece::Signature(signature)) if exchange.show_thinking => {
                self.signature = Some(signature_for(&signature, Family::Anthropic, exchange).into_owned());
            }
            (BlockKind::Call { custom, .. }, Piece::Arguments(text)) if !text.is_empty() => {
                let custom = *custom;
                let index = self.open(next, out);
                if custom {
                    // Free text inside a JSON string: escaped, without the quotes that serde puts around it.
                    let quoted = serde_json::Value::from(text.as_ref()).to_string();
                    let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
                    input_delta(out, index, inside);
                } else {
                    input_delta(out, index, &text);
                }
            }
            _ => {}
        }
    }

    /// The block's number; it begins now if it has not.
    fn open(&mut self, next: &mut u32, out: &mut Vec<u8>) -> u32 {
        if let Some(index) = self.index {
            return index;
        }
        if let BlockKind::Call { .. } = self.kind
            && let Some(payload) = self.signature.take()
        {
            // Calls have no field for it; the request's reader puts it back on the call.
            whole(out, next, &redacted(&payload));
        }
        let index = take(next);
        self.index = Some(index);
        start(out, index, |w| match &self.kind {
            BlockKind::Text => w.object(|w| {
                w.field_str("type", "text");
                w.field_str("text", "");
            }),
            BlockKind::Thinking => w.object(|w| {
                w.field_str("type", "thinking");
                w.field_str("thinking", "");
                w.field_str("signature", "");
            }),
            BlockKind::Call { id, name, .. } => w.object(|w| {
                w.field_str("type", "tool_use");
                w.field_str("id", id);
                w.field_str("name", name);
                w.key("input").object(|_| {});
            }),
            BlockKind::Whole(_) | BlockKind::Silent => w.raw("null"),
        });
        if let BlockKind::Call { custom: true, .. } = self.kind {
            input_delta(out, index, "{\"input\":\"");
        }
        index
    }

    pub(super) fn close(mut self, next: &mut u32, exchange: &ResponseContext, out: &mut Vec<u8>) {
        match &self.kind {
            BlockKind::Whole(block) => return whole(out, next, block),
            BlockKind::Silent => return,
            // A call without arguments is still a call.
            BlockKind::Call { .. } => {
                self.open(next, out);
            }
            BlockKind::Text | BlockKind::Thinking => {}
        }
        let Some(index) = self.index else { return };
        match &self.kind {
            BlockKind::Thinking => {
                let payload = self.signature.take();
                let payload = payload.unwrap_or_else(|| thinking_signature(None, exchange).into_owned());
                delta(out, index, "signature_delta", |w| w.field_str("signature", &payload));
            }
            BlockKind::Call { custom: true, .. } => input_delta(out, index, "\"}"),
            _ => {}
        }
        stop(out, index);
        if let Some(payload) = self.signature {
            whole(out, next, &redacted(&payload));
        }
    }
}

const fn take(next: &mut u32) -> u32 {
    let index = *next;
    *next += 1;
    index
}

fn redacted(payload: &str) -> String {
    block_text(|w| {
        w.field_str("type", "redacted_thinking");
        w.field_str("data", payload);
    })
}

fn block_text(fields: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut block = Vec::new();
    Writer::new(&mut block).object(fields);
    String::from_utf8(block).unwrap_or_default()
}

fn start(out: &mut Vec<u8>, index: u32, block: impl FnOnce(&mut Writer<'_>)) {
    event(out, "content_block_start", |w| {
        w.field("index", &index);
        block(w.key("content_block"));
    });
}

fn stop(out: &mut Vec<u8>, index: u32) {
    event(out, "content_block_stop", |w| w.field("index", &index));
}

fn whole(out: &mut Vec<u8>, next: &mut u32, block: &str) {
    let index = take(next);
    start(out, index, |w| w.raw(block));
    stop(out, index);
}

fn delta(out: &mut Vec<u8>, index: u32, kind: &str, fields: impl FnOnce(&mut Writer<'_>)) {
    event(out, "content_block_delta", |w| {
        w.field("index", &index);
        w.key("delta").object(|w| {
            w.field_str("type", kind);
            fields(w);
        });
    });
}

fn input_delta(out: &mut Vec<u8>, index: u32, json: &str) {
    delta(out, index, "input_json_delta", |w| w.field_str("partial_json", json));
}
