//! The parts of an answer → events of items: announced, in pieces, whole.

use super::{
    encode_stream::Encoder,
    stream_parts::{Call, Content, Message, Open, OpenPart, Thought},
    write_item::{self, Life, ToolName},
};
use crate::{
    ir::{Annotation, Family, Json, PartKind, Signature},
    write::Writer,
};

// === impl Encoder ===

impl Encoder {
    pub(super) fn part_start(&mut self, part: u32, kind: &PartKind<'_>, out: &mut Vec<u8>) {
        let open = match kind {
            PartKind::Text => self.content_start(false, out),
            PartKind::Refusal => self.content_start(true, out),
            PartKind::Thinking => {
                self.close_message(false, out);
                Open::Thought(Thought::default())
            }
            PartKind::ToolCall { id, name, kind } => {
                self.close_message(false, out);
                Open::Call(Box::new(Call::new(id, ToolName::of(name, *kind, &self.exchange))))
            }
            PartKind::RedactedThinking { data } => {
                let data = write_item::redacted(data, &self.exchange).into_owned();
                self.whole_item(out, "rs", |w, id| write_item::reasoning(w, id, "", Some(&data)));
                Open::Silent
            }
            PartKind::ServerTool { family: Family::OpenAi, raw } => {
                self.whole_item(out, "", |w, _| w.raw(raw.as_str()));
                Open::Silent
            }
            PartKind::Media { media_type, data } if media_type.starts_with("image/") => {
                self.whole_item(out, "ig", |w, id| write_item::image(w, id, data));
                Open::Silent
            }
            // A sound has no item: it comes in events of its own.
            PartKind::Media { media_type, data } if media_type.starts_with("audio/") => {
                self.frame(out, "response.audio.delta", |w| w.field_str("delta", data));
                self.frame(out, "response.audio.done", |_| {});
                Open::Silent
            }
            // Blocks of other vendors' tools and films have neither.
            PartKind::ServerTool { .. } | PartKind::Media { .. } => Open::Silent,
        };
        self.parts.push(OpenPart { part, open });
    }

    pub(super) fn content_start(&mut self, refusal: bool, out: &mut Vec<u8>) -> Open {
        self.refused |= refusal;
        if self.message.is_none() {
            let (index, id) = self.next_item("msg");
            self.item_added(out, index, |w| write_item::message(w, &id, Life::InProgress, |_| {}));
            self.message = Some(Message::new(index, id));
        }
        let Some(mut message) = self.message.take() else { return Open::Silent };
        let content = message.contents.len();
        message.contents.push(Content { refusal, ..Content::default() });
        self.frame(out, "response.content_part.added", |w| {
            message.place(w, content);
            message.contents[content].write(w.key("part"));
        });
        self.message = Some(message);
        Open::Content(content)
    }

    pub(super) fn text(&mut self, part: u32, text: &str, out: &mut Vec<u8>) {
        let Some(Open::Content(content)) = self.open(part) else { return };
        let (content, Some(mut message)) = (*content, self.message.take()) else { return };
        if !text.is_empty() {
            message.contents[content].text.push_str(text);
            let refusal = message.contents[content].refusal;
            let kind = if refusal { "response.refusal.delta" } else { "response.output_text.delta" };
            self.frame(out, kind, |w| {
                message.place(w, content);
                w.field_str("delta", text);
                if !refusal {
                    w.key("logprobs").array(|_| {});
                }
            });
        }
        self.message = Some(message);
    }

    pub(super) fn annotation(&mut self, part: u32, annotation: &Annotation<'_>, out: &mut Vec<u8>) {
        let Some(Open::Content(content)) = self.open(part) else { return };
        let (content, Some(mut message)) = (*content, self.message.take()) else { return };
        let mut raw = Vec::with_capacity(128);
        write_item::annotation(&mut Writer::new(&mut raw), annotation);
        let raw = String::from_utf8(raw).unwrap_or_default();
        let number = message.contents[content].annotate(&raw);
        self.frame(out, "response.output_text.annotation.added", |w| {
            message.place(w, content);
            w.field("annotation_index", &number);
            w.field_raw("annotation", &raw);
        });
        self.message = Some(message);
    }

    /// Log probabilities come behind the text that they are of: an empty piece of text brings them.
    pub(super) fn logprobs(&mut self, raw: &Json<'_>, out: &mut Vec<u8>) {
        let list = write_item::logprob_items(raw);
        let Some(mut message) = self.message.take() else { return };
        if let Some(content) = message.contents.iter().rposition(|content| !content.refusal)
            && !list.is_empty()
        {
            message.contents[content].add_logprobs(&list);
            self.frame(out, "response.output_text.delta", |w| {
                message.place(w, content);
                w.field_str("delta", "");
                w.key("logprobs").array(|w| write_item::items(w, &list));
            });
        }
        self.message = Some(message);
    }

    fn content_stop(&mut self, content: usize, out: &mut Vec<u8>) {
        let Some(mut message) = self.message.take() else { return };
        let own = &mut message.contents[content];
        own.done = true;
        let (refusal, text, logprobs) = (own.refusal, own.text.clone(), own.logprobs.clone());
        let kind = if refusal { "response.refusal.done" } else { "response.output_text.done" };
        self.frame(out, kind, |w| {
            message.place(w, content);
            if refusal {
                w.field_str("refusal", &text);
            } else {
                w.field_str("text", &text);
                w.key("logprobs").array(|w| write_item::items(w, &logprobs));
            }
        });
        self.frame(out, "response.content_part.done", |w| {
            message.place(w, content);
            message.contents[content].write(w.key("part"));
        });
        let close = message.closing;
        self.message = Some(message);
        if close {
            self.close_message(false, out);
        }
    }

    /// Something else than text begins: the message ends, once its texts have.
    pub(super) fn close_message(&mut self, even_open: bool, out: &mut Vec<u8>) {
        let Some(mut message) = self.message.take() else { return };
        if !even_open && message.contents.iter().any(|content| !content.done) {
            message.closing = true;
            self.message = Some(message);
            return;
        }
        self.item_done(out, message.index, |w| {
            write_item::message(w, &message.id, Life::Completed, |w| {
                message.contents.iter().for_each(|content| content.write(w));
            });
        });
    }

    pub(super) fn thinking(&mut self, part: u32, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() || !self.exchange.show_thinking {
            return;
        }
        let Some(mut thought) = self.take_thought(part) else { return };
        if thought.item.is_none() {
            let (index, id) = self.next_item("rs");
            self.item_added(out, index, |w| write_item::reasoning(w, &id, "", None));
            thought.item = Some((index, id));
            self.frame(out, "response.reasoning_summary_part.added", |w| {
                thought.place(w);
                write_item::summary_text(w.key("part"), "");
            });
        }
        thought.text.push_str(text);
        self.frame(out, "response.reasoning_summary_text.delta", |w| {
            thought.place(w);
            w.field_str("delta", text);
        });
        self.put(part, Open::Thought(thought));
    }

    fn thought_stop(&mut self, thought: Thought, out: &mut Vec<u8>) {
        let signature = thought.signature.as_deref();
        let Some((index, id)) = &thought.item else {
            if let Some(signature) = signature {
                self.whole_item(out, "rs", |w, id| write_item::reasoning(w, id, "", Some(signature)));
            }
            return;
        };
        self.frame(out, "response.reasoning_summary_text.done", |w| {
            thought.place(w);
            w.field_str("text", &thought.text);
        });
        self.frame(out, "response.reasoning_summary_part.done", |w| {
            thought.place(w);
            write_item::summary_text(w.key("part"), &thought.text);
        });
        self.item_done(out, *index, |w| write_item::reasoning(w, id, &thought.text, signature));
    }

    fn take_thought(&mut self, part: u32) -> Option<Thought> {
        match &mut self.parts.iter_mut().find(|open| open.part == part)?.open {
            Open::Thought(thought) => Some(std::mem::take(thought)),
            _ => None,
        }
    }

    pub(super) fn signature(&mut self, part: u32, signature: &Signature<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.parts.iter_mut().find(|open| open.part == part) else { return };
        match &mut open.open {
            Open::Thought(thought) => {
                thought.signature = Some(write_item::thought_signature(signature, &self.exchange).into_owned());
            }
            Open::Call(call) => {
                let Some(sealed) = write_item::call_signature(signature, &call.call_id, &self.exchange) else { return };
                if call.item.is_some() {
                    call.late_signature = Some(sealed);
                } else {
                    self.whole_item(out, "rs", |w, id| write_item::reasoning(w, id, "", Some(&sealed)));
                }
            }
            Open::Content(_) | Open::Silent => {}
        }
    }

    pub(super) fn arguments(&mut self, part: u32, text: &str, out: &mut Vec<u8>) {
        let Some(mut call) = self.take_call(part) else { return };
        self.announce(&mut call, out);
        let piece = call.take_in(text);
        self.argument_delta(&call, &piece, out);
        self.put(part, Open::Call(call));
    }

    /// A call is announced with its first piece: a signature, which belongs in front of it, may come before that.
    fn announce(&mut self, call: &mut Call, out: &mut Vec<u8>) {
        if call.item.is_none() {
            let (index, id) = self.next_item(call.tool.prefix());
            self.item_added(out, index, |w| {
                write_item::call(w, &id, Life::InProgress, &call.call_id, &call.tool, "");
            });
            call.item = Some((index, id));
        }
    }

    fn argument_delta(&mut self, call: &Call, piece: &str, out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        let kind = if call.tool.custom {
            "response.custom_tool_call_input.delta"
        } else {
            "response.function_call_arguments.delta"
        };
        self.frame(out, kind, |w| {
            call.place(w);
            w.field_str("delta", piece);
        });
    }

    fn call_stop(&mut self, mut call: Box<Call>, out: &mut Vec<u8>) {
        self.announce(&mut call, out);
        let missing = call.complete();
        self.argument_delta(&call, &missing, out);
        let text = call.text();
        let (kind, field) = if call.tool.custom {
            ("response.custom_tool_call_input.done", "input")
        } else {
            ("response.function_call_arguments.done", "arguments")
        };
        self.frame(out, kind, |w| {
            call.place(w);
            if !call.tool.custom {
                w.field_str("name", &call.tool.name);
            }
            w.field_str(field, text);
        });
        if let Some((index, id)) = &call.item {
            self.item_done(out, *index, |w| {
                write_item::call(w, id, Life::Completed, &call.call_id, &call.tool, text);
            });
        }
        if let Some(sealed) = call.late_signature.as_deref() {
            self.whole_item(out, "rs", |w, id| write_item::reasoning(w, id, "", Some(sealed)));
        }
    }

    fn take_call(&mut self, part: u32) -> Option<Box<Call>> {
        let open = self.parts.iter_mut().find(|open| open.part == part)?;
        match std::mem::replace(&mut open.open, Open::Silent) {
            Open::Call(call) => Some(call),
            other => {
                open.open = other;
                None
            }
        }
    }

    fn open(&self, part: u32) -> Option<&Open> {
        self.parts.iter().find(|open| open.part == part).map(|open| &open.open)
    }

    fn put(&mut self, part: u32, back: Open) {
        if let Some(open) = self.parts.iter_mut().find(|open| open.part == part) {
            open.open = back;
        }
    }

    pub(super) fn part_stop(&mut self, part: u32, out: &mut Vec<u8>) {
        let Some(at) = self.parts.iter().position(|open| open.part == part) else { return };
        match self.parts.remove(at).open {
            Open::Content(content) => self.content_stop(content, out),
            Open::Thought(thought) => self.thought_stop(thought, out),
            Open::Call(call) => self.call_stop(call, out),
            Open::Silent => {}
        }
    }
}
