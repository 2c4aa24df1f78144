//! [`Event`]s → the stream of an Anthropic client.
//!
//! One block is open at a time. Pieces of parts that run beside it (parallel calls) wait until it closes, up to
//! [`MAX_HELD_BYTES`] each. Blocks open with their first content, so that none is empty.

use omniroute_core::error::ErrorClass;

use super::{
    block_writer::{BlockWriter, Piece},
    encode_response::message_id,
    error::encode_stream_error,
    event::event,
    stop_word,
    usage::write_counts,
};
use crate::{
    codec::{ResponseContext, StreamEncoder},
    ir::{Event, FinishReason, PartKind, StreamError},
    usage::Usage,
};

/// Most that one part may bring before its turn.
const MAX_HELD_BYTES: usize = 1024 * 1024;

/// Writes the stream of an Anthropic client.
pub struct Encoder {
    exchange: ResponseContext,
    started: bool,
    failed: bool,
    /// Parts that have begun, in order. The first is the one that is being written.
    parts: Vec<OpenPart>,
    /// Of the next block.
    index: u32,
    /// The last part was media: a sound comes as many pieces, and one note is enough for all.
    after_media: bool,
    usage: Usage,
    finish: Option<(FinishReason, Option<String>)>,
}

struct OpenPart {
    part: u32,
    writer: BlockWriter,
    held: Vec<Piece<'static>>,
    held_bytes: usize,
    stopped: bool,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(exchange: ResponseContext) -> Self {
        Self {
            exchange,
            started: false,
            failed: false,
            parts: Vec::new(),
            index: 0,
            after_media: false,
            usage: Usage::default(),
            finish: None,
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        event(out, "message_start", |w| {
            w.key("message").object(|w| {
                w.field_str("id", &message_id(&self.exchange));
                w.field_str("type", "message");
                w.field_str("role", "assistant");
                w.field_str("model", &self.exchange.model);
                w.key("content").array(|_| {});
                w.field_null("stop_reason");
                w.field_null("stop_sequence");
                w.key("usage").object(|w| {
                    let announced =
                        Usage { input: Some(self.exchange.estimated_input), output: Some(1), ..Usage::default() };
                    write_counts(w, &announced);
                });
            });
        });
    }

    fn part_start(&mut self, part: u32, kind: &PartKind<'_>) {
        let is_media = matches!(kind, PartKind::Media { .. });
        let is_noted = std::mem::replace(&mut self.after_media, is_media) && is_media;
        let writer = if is_noted { BlockWriter::silent() } else { BlockWriter::new(kind, &self.exchange) };
        self.parts.push(OpenPart { part, writer, held: Vec::new(), held_bytes: 0, stopped: false });
    }

    /// Writes a piece of the part whose turn it is, or keeps it.
    fn piece(&mut self, part: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.parts.iter().position(|open| open.part == part) else { return };
        let open = &mut self.parts[at];
        if at == 0 {
            open.writer.piece(piece, &mut self.index, &self.exchange, out);
            return;
        }
        open.held_bytes += piece.bytes();
        if open.held_bytes <= MAX_HELD_BYTES {
            piece.hold(&mut open.held);
            return;
        }
        let error = StreamError {
            class: ErrorClass::Upstream,
            code: "part_too_long",
            message: "the upstream ran several long tool calls at once, more than can be put in order".to_owned(),
            retry_after: None,
            request_id: None,
        };
        self.fail(&error, out);
    }

    fn part_stop(&mut self, part: u32, out: &mut Vec<u8>) {
        if let Some(open) = self.parts.iter_mut().find(|open| open.part == part) {
            open.stopped = true;
        }
        while self.parts.first().is_some_and(|first| first.stopped) {
            let first = self.parts.remove(0);
            first.writer.close(&mut self.index, &self.exchange, out);
            if let Some(next) = self.parts.first_mut() {
                for piece in std::mem::take(&mut next.held) {
                    next.writer.piece(piece, &mut self.index, &self.exchange, out);
                }
            }
        }
    }

    fn fail(&mut self, error: &StreamError, out: &mut Vec<u8>) {
        self.failed = true;
        encode_stream_error(error, out);
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        match event {
            Event::Error(error) => return self.fail(error, out),
            Event::Ping => return out.extend_from_slice(PING),
            Event::Usage(usage) => {
                self.usage = *usage;
                return;
            }
            _ => self.start(out),
        }
        // This format has one answer.
        if event.place().is_some_and(|(choice, _)| choice != 0) {
            return;
        }
        match event {
            Event::PartStart { part, kind, .. } => self.part_start(*part, kind),
            Event::TextDelta { part, text, .. } => self.piece(*part, Piece::Text(text.as_ref().into()), out),
            Event::ThinkingDelta { part, text, .. } => self.piece(*part, Piece::Thinking(text.as_ref().into()), out),
            Event::ArgsDelta { part, text, .. } => self.piece(*part, Piece::Arguments(text.as_ref().into()), out),
            Event::SignatureDelta { part, signature, .. } => {
                self.piece(*part, Piece::Signature(signature.clone()), out);
            }
            Event::Annotation { part, annotation, .. } => {
                self.piece(*part, Piece::Citation(Box::new(annotation.clone())), out);
            }
            Event::PartStop { part, .. } => self.part_stop(*part, out),
            Event::Finish { choice: 0, reason, stop_sequence } => {
                self.finish = Some((*reason, stop_sequence.as_deref().map(str::to_owned)));
            }
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.failed || !self.started {
            return;
        }
        while let Some(part) = self.parts.first().map(|first| first.part) {
            self.part_stop(part, out);
        }
        let (reason, stop) = self.finish.take().unwrap_or((FinishReason::End, None));
        event(out, "message_delta", |w| {
            w.key("delta").object(|w| {
                w.field_str("stop_reason", stop_word(reason));
                match stop.filter(|_| reason == FinishReason::StopSequence) {
                    Some(text) => w.field_str("stop_sequence", &text),
                    None => w.field_null("stop_sequence"),
                }
            });
            w.key("usage").object(|w| {
                let unknown = self.usage.total_input() == 0 && self.usage.input.is_none();
                let input = self.usage.input.or(unknown.then_some(self.exchange.estimated_input));
                write_counts(w, &Usage { input, ..self.usage });
            });
        });
        event(out, "message_stop", |_| {});
    }

    fn keepalive(&self) -> Option<&'static [u8]> {
        Some(PING)
    }
}

const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";
