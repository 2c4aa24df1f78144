//! The blocks of a stream: which are open, and what their pieces mean.

use serde_json::value::RawValue;

use super::{STRUCTURED_TOOL, content, server_block::PendingBlock};
use crate::{
    ir::{CallKind, Event, Family, PartKind, Signature},
    object::wire_object,
    text::Str,
};

wire_object! {
    pub(super) struct Delta<'a> {
        kind: Str<'a> = lenient "type",
        text: Str<'a> = "text",
        thinking: Str<'a> = "thinking",
        signature: Str<'a> = lenient "signature",
        partial_json: Str<'a> = "partial_json",
        citation: &'a RawValue = "citation",
        // Of a compaction.
        content: &'a RawValue = "content",
        encrypted_content: &'a RawValue = "encrypted_content",
        // Of the message.
        stop_reason: Str<'a> = lenient "stop_reason",
        stop_sequence: Str<'a> = lenient "stop_sequence",
        stop_details: super::decode_response::StopDetails<'a> = lenient "stop_details",
    }
}

wire_object! {
    struct Start<'a> {
        kind: Str<'a> = lenient "type",
        id: Str<'a> = lenient "id",
        name: Str<'a> = lenient "name",
        text: Str<'a> = lenient "text",
        thinking: Str<'a> = lenient "thinking",
        signature: Str<'a> = lenient "signature",
        data: Str<'a> = lenient "data",
        input: &'a RawValue = "input",
    }
}

/// Most blocks that a stream may have open.
const MAX_OPEN: usize = 4096;

/// The blocks of one message.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Vec<(u32, Block)>,
    next_part: u32,
    /// A tool of the client's was called.
    pub(super) called: bool,
    /// The tool that stands for structured output was.
    pub(super) structured: bool,
}

#[derive(Debug)]
enum Block {
    Text(u32),
    Thinking(u32),
    /// `whole`: some hosts give the arguments with the start and no pieces after it.
    Call {
        part: u32,
        whole: Option<String>,
    },
    Structured {
        part: u32,
        whole: Option<String>,
    },
    Pending(PendingBlock),
}

/// A block has become longer than can be kept, or there are more than can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

type Emit<'e> = &'e mut dyn FnMut(Event<'_>);

// === impl Blocks ===

impl Blocks {
    const fn take_part(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        part
    }

    pub(super) fn start(&mut self, index: Option<u32>, raw: &RawValue, emit: Emit<'_>) -> Result<(), TooLong> {
        if self.open.len() >= MAX_OPEN {
            return Err(TooLong);
        }
        let index = index.unwrap_or_else(|| self.open.last().map_or(0, |(index, _)| index + 1));
        // An index that is given again: the one before was not closed.
        self.stop(Some(index), emit);
        let start: Start<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        let block = match start.kind.as_deref() {
            Some("text") => {
                let part = self.begin(PartKind::Text, emit);
                if let Some(text) = start.text.filter(|text| !text.is_empty()) {
                    emit(Event::TextDelta { choice: 0, part, text: text.into() });
                }
                Block::Text(part)
            }
            Some("thinking") => {
                let part = self.begin(PartKind::Thinking, emit);
                if let Some(text) = start.thinking.filter(|text| !text.is_empty()) {
                    emit(Event::ThinkingDelta { choice: 0, part, text: text.into() });
                }
                sign(part, start.signature, emit);
                Block::Thinking(part)
            }
            Some("redacted_thinking") => {
                let data = Signature { family: Family::Anthropic, payload: start.data.unwrap_or_default().into() };
                let part = self.begin(PartKind::RedactedThinking { data }, emit);
                emit(Event::PartStop { choice: 0, part });
                return Ok(());
            }
            Some("tool_use") => {
                let whole = start.input.map(RawValue::get).filter(|input| !is_empty_object(input)).map(str::to_owned);
                let name = start.name.unwrap_or_default();
                if &*name == STRUCTURED_TOOL {
                    self.structured = true;
                    Block::Structured { part: self.begin(PartKind::Text, emit), whole }
                } else {
                    self.called = true;
                    let id = start.id.unwrap_or_default().into();
                    let kind = PartKind::ToolCall { id, name: name.into(), kind: CallKind::Function };
                    Block::Call { part: self.begin(kind, emit), whole }
                }
            }
            _ => Block::Pending(PendingBlock::new(raw)),
        };
        self.open.push((index, block));
        Ok(())
    }

    fn begin(&mut self, kind: PartKind<'_>, emit: Emit<'_>) -> u32 {
        let part = self.take_part();
        emit(Event::PartStart { choice: 0, part, kind });
        part
    }

    pub(super) fn delta(&mut self, index: Option<u32>, delta: Delta<'_>, emit: Emit<'_>) -> Result<(), TooLong> {
        let open = match index {
            Some(index) => self.open.iter_mut().rev().find(|(own, _)| *own == index),
            None => self.open.last_mut(),
        };
        let Some((_, block)) = open else { return Ok(()) };
        match block {
            Block::Text(part) => {
                let part = *part;
                if let Some(text) = delta.text.filter(|text| !text.is_empty()) {
                    emit(Event::TextDelta { choice: 0, part, text: text.into() });
                }
                if let Some(annotation) = delta.citation.and_then(content::annotation) {
                    emit(Event::Annotation { choice: 0, part, annotation });
                }
            }
            Block::Thinking(part) => {
                let part = *part;
                if let Some(text) = delta.thinking.filter(|text| !text.is_empty()) {
                    emit(Event::ThinkingDelta { choice: 0, part, text: text.into() });
                }
                sign(part, delta.signature, emit);
            }
            Block::Call { part, whole } => {
                if let Some(text) = delta.partial_json.filter(|text| !text.is_empty()) {
                    *whole = None;
                    emit(Event::ArgsDelta { choice: 0, part: *part, text: text.into() });
                }
            }
            Block::Structured { part, whole } => {
                if let Some(text) = delta.partial_json.filter(|text| !text.is_empty()) {
                    *whole = Some(String::new());
                    emit(Event::TextDelta { choice: 0, part: *part, text: text.into() });
                }
            }
            Block::Pending(pending) => {
                let mut fits = delta.partial_json.is_none_or(|piece| pending.push_input(&piece));
                for (field, raw) in [("content", delta.content), ("encrypted_content", delta.encrypted_content)] {
                    fits &= raw.is_none_or(|raw| pending.replace(field, raw));
                }
                if !fits {
                    return Err(TooLong);
                }
            }
        }
        Ok(())
    }

    pub(super) fn stop(&mut self, index: Option<u32>, emit: Emit<'_>) {
        let at = match index {
            Some(index) => self.open.iter().rposition(|(own, _)| *own == index),
            None => self.open.len().checked_sub(1),
        };
        let Some(at) = at else { return };
        let (_, block) = self.open.remove(at);
        self.close(block, emit);
    }

    pub(super) fn stop_all(&mut self, emit: Emit<'_>) {
        for (_, block) in std::mem::take(&mut self.open) {
            self.close(block, emit);
        }
    }

    fn close(&mut self, block: Block, emit: Emit<'_>) {
        let part = match block {
            Block::Text(part) | Block::Thinking(part) => part,
            Block::Call { part, whole } => {
                if let Some(whole) = whole {
                    emit(Event::ArgsDelta { choice: 0, part, text: whole.into() });
                }
                part
            }
            Block::Structured { part, whole } => {
                let text = whole.unwrap_or_else(|| "{}".to_owned());
                if !text.is_empty() {
                    emit(Event::TextDelta { choice: 0, part, text: text.into() });
                }
                part
            }
            Block::Pending(pending) => {
                let Some(raw) = pending.finish() else { return };
                self.begin(PartKind::ServerTool { family: Family::Anthropic, raw }, emit)
            }
        };
        emit(Event::PartStop { choice: 0, part });
    }

    /// A refusal's explanation, as a part of its own at the end.
    pub(super) fn refusal(&mut self, text: &str, emit: Emit<'_>) {
        let part = self.begin(PartKind::Refusal, emit);
        emit(Event::TextDelta { choice: 0, part, text: text.into() });
        emit(Event::PartStop { choice: 0, part });
    }
}

fn sign(part: u32, payload: Option<Str<'_>>, emit: Emit<'_>) {
    if let Some(payload) = payload.filter(|payload| !payload.is_empty()) {
        let signature = Signature { family: Family::Anthropic, payload: payload.into() };
        emit(Event::SignatureDelta { choice: 0, part, signature });
    }
}

fn is_empty_object(json: &str) -> bool {
    json == "null" || json.strip_prefix('{').is_some_and(|rest| rest.trim_start() == "}")
}
