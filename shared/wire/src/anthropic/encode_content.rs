//! One block of a message, written.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    document::{is_image, write_document_source, write_image_source},
    extras::Extras,
    message::{Item, Slot},
};
use crate::{
    codec::{NameTable, WireError},
    ir::{Annotation, CacheMark, CallKind, Family, Losses, Part},
    tools::arguments_as_object,
    write::Writer,
};

/// What the blocks of one request have in common.
pub(super) struct Blocks<'b> {
    pub(super) extras: &'b Extras<'b>,
    pub(super) names: &'b NameTable,
    pub(super) losses: &'b mut Losses,
}

/// Writes a mark, in the client's own form where that says more.
pub(super) fn write_mark(w: &mut Writer<'_>, mark: Option<CacheMark>, extras: &Extras<'_>, place: &str) {
    let Some(mark) = mark else { return };
    // The empty place is the whole request, which has a field of that name too.
    if let Some(raw) = extras.get(place, "cache_control").filter(|_| !place.is_empty()) {
        w.field_raw("cache_control", raw.as_str());
        return;
    }
    w.key("cache_control").object(|w| {
        w.field_str("type", "ephemeral");
        if mark == CacheMark::OneHour {
            w.field_str("ttl", "1h");
        }
    });
}

/// A call's arguments as the object that `input` must be; false when they were none and had to be wrapped.
pub(super) fn input_object(arguments: &str, kind: CallKind) -> (Cow<'_, str>, bool) {
    if kind == CallKind::Function && !arguments.trim().is_empty() {
        let text = arguments.trim();
        let valid = text.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok();
        return if valid { (text.into(), true) } else { (arguments_as_object(arguments, CallKind::Custom), false) };
    }
    (arguments_as_object(arguments, kind), true)
}

// === impl Blocks ===

impl Blocks<'_> {
    /// Writes a slot as one block.
    ///
    /// # Errors
    /// When it holds media that the API does not take.
    pub(super) fn write(&mut self, w: &mut Writer<'_>, slot: &Slot<'_>) -> Result<(), WireError> {
        let mark = slot.mark.filter(|_| slot.can_be_marked());
        match &slot.item {
            Item::Part(part, (turn, index)) => {
                let place = self.place(|| format!("messages.{turn}.content.{index}"));
                self.part(w, part, mark, &place)
            }
            Item::Call(part, id) => {
                self.call(w, part, id, mark);
                Ok(())
            }
            Item::Result(part, id) => self.result(w, part, id, mark),
            Item::Unanswered(id) => {
                w.object(|w| {
                    w.field_str("type", "tool_result");
                    w.field_str("tool_use_id", id);
                    w.field_str("content", "No result of this call was recorded.");
                    w.field("is_error", &true);
                });
                Ok(())
            }
            Item::System(system) => {
                self.text(w, &system.text, mark, "");
                Ok(())
            }
            Item::Note(text) => {
                self.text(w, text, mark, "");
                Ok(())
            }
        }
    }

    /// A place is spelled out only where there is something to look up.
    fn place(&self, spell: impl FnOnce() -> String) -> String {
        if self.extras.is_empty() { String::new() } else { spell() }
    }

    fn text(&self, w: &mut Writer<'_>, text: &str, mark: Option<CacheMark>, place: &str) {
        w.object(|w| {
            w.field_str("type", "text");
            w.field_str("text", text);
            write_mark(w, mark, self.extras, place);
        });
    }

    /// What no field says, at the end of a block. Without a place there is nothing: that would be the whole request's.
    fn close(&self, w: &mut Writer<'_>, mark: Option<CacheMark>, place: &str) {
        write_mark(w, mark, self.extras, place);
        if !place.is_empty() {
            self.extras.write(w, place);
        }
    }

    fn part(
        &mut self,
        w: &mut Writer<'_>,
        part: &Part<'_>,
        mark: Option<CacheMark>,
        place: &str,
    ) -> Result<(), WireError> {
        let mut failure = None;
        match part {
            Part::Text { text, annotations, .. } => w.object(|w| {
                w.field_str("type", "text");
                w.field_str("text", text);
                self.citations(w, annotations);
                self.close(w, mark, place);
            }),
            Part::Refusal { text } => self.text(w, text, mark, place),
            Part::Image { source, detail, .. } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.losses.drop_field("image_url.detail");
                }
                w.object(|w| {
                    w.field_str("type", "image");
                    failure = write_image_source(w.key("source"), source).err();
                    self.close(w, mark, place);
                });
            }
            Part::Document { source, .. } if is_image(source) => w.object(|w| {
                w.field_str("type", "image");
                failure = write_image_source(w.key("source"), source).err();
                self.close(w, mark, place);
            }),
            Part::Document { .. } if self.extras.get(place, "search_result").is_some() => {
                if let Some(raw) = self.extras.get(place, "search_result") {
                    w.raw(raw.as_str());
                }
            }
            Part::Document { source, name, context, citations, .. } => w.object(|w| {
                w.field_str("type", "document");
                match self.extras.get(place, "source") {
                    Some(raw) => w.field_raw("source", raw.as_str()),
                    None => failure = write_document_source(w.key("source"), source).err(),
                }
                w.field_str_opt("title", name.as_deref());
                w.field_str_opt("context", context.as_deref());
                if *citations {
                    w.key("citations").object(|w| w.field("enabled", &true));
                }
                self.close(w, mark, place);
            }),
            Part::Thinking { text, signature } => w.object(|w| {
                w.field_str("type", "thinking");
                w.field_str("thinking", text);
                w.field_str("signature", signature.as_ref().map_or("", |signature| &signature.payload));
                self.close(w, None, place);
            }),
            Part::RedactedThinking { data } => w.object(|w| {
                w.field_str("type", "redacted_thinking");
                w.field_str("data", &data.payload);
            }),
            Part::ServerTool { raw, .. } => w.raw(raw.as_str()),
            // Calls and results have slots of their own; the rest was refused or dropped before.
            Part::ToolCall { .. } | Part::ToolResult { .. } | Part::Audio { .. } | Part::Video { .. } => {}
        }
        failure.map_or(Ok(()), Err)
    }

    /// Citations go back only in the form that Anthropic gave them.
    fn citations(&mut self, w: &mut Writer<'_>, annotations: &[Annotation<'_>]) {
        let own = |annotation: &&Annotation<'_>| annotation.family == Family::Anthropic && annotation.raw.is_some();
        let count = annotations.iter().filter(own).count();
        if count < annotations.len() {
            self.losses.drop_field("annotations");
        }
        if count == 0 {
            return;
        }
        w.key("citations").array(|w| {
            for raw in annotations.iter().filter(own).filter_map(|annotation| annotation.raw.as_ref()) {
                w.raw(raw.as_str());
            }
        });
    }

    fn call(&mut self, w: &mut Writer<'_>, part: &Part<'_>, id: &str, mark: Option<CacheMark>) {
        let Part::ToolCall { id: original, name, arguments, kind, .. } = part else { return };
        let (input, valid) = input_object(arguments, *kind);
        if !valid {
            self.losses.drop_field("tool_calls.arguments");
        }
        let place = self.place(|| format!("tool_use.{original}"));
        w.object(|w| {
            w.field_str("type", "tool_use");
            w.field_str("id", id);
            w.field_str("name", self.names.upstream(name));
            w.field_raw("input", &input);
            self.close(w, mark, &place);
        });
    }

    fn result(
        &mut self,
        w: &mut Writer<'_>,
        part: &Part<'_>,
        id: &str,
        mark: Option<CacheMark>,
    ) -> Result<(), WireError> {
        let Part::ToolResult { call_id, parts, is_error, .. } = part else { return Ok(()) };
        let place = self.place(|| format!("tool_result.{call_id}"));
        let mut failure = None;
        w.object(|w| {
            w.field_str("type", "tool_result");
            w.field_str("tool_use_id", id);
            failure = self.result_content(w, parts, *is_error, &place).err();
            if *is_error {
                w.field("is_error", &true);
            }
            self.close(w, mark, &place);
        });
        failure.map_or(Ok(()), Err)
    }

    fn result_content(
        &mut self,
        w: &mut Writer<'_>,
        parts: &[Part<'_>],
        is_error: bool,
        place: &str,
    ) -> Result<(), WireError> {
        let filled = |part: &&Part<'_>| !matches!(part, Part::Text { text, .. } if text.trim().is_empty());
        match parts.iter().filter(filled).collect::<Vec<_>>().as_slice() {
            // A failure must be said in words.
            [] if is_error => w.field_str("content", "Error"),
            [] => {}
            [Part::Text { text, cache: None, .. }] if parts.len() == 1 => w.field_str("content", text),
            _ => {
                let mut failure = None;
                w.key("content").array(|w| {
                    for (index, part) in parts.iter().enumerate().filter(|(_, part)| filled(part)) {
                        if let Err(error) = self.inside_result(w, index, part, place) {
                            failure = Some(error);
                            return;
                        }
                    }
                });
                return failure.map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    fn inside_result(
        &mut self,
        w: &mut Writer<'_>,
        index: usize,
        part: &Part<'_>,
        place: &str,
    ) -> Result<(), WireError> {
        match part {
            Part::Text { cache, .. } | Part::Image { cache, .. } | Part::Document { cache, .. } => {
                let place = self.place(|| format!("{place}.content.{index}"));
                self.part(w, part, *cache, &place)
            }
            Part::ServerTool { family: Family::Anthropic, raw } => {
                w.raw(raw.as_str());
                Ok(())
            }
            Part::Audio { .. } | Part::Video { .. } => {
                self.losses.drop_field("tool_result.content");
                self.text(w, "[sound or film: this model cannot take it]", None, "");
                Ok(())
            }
            _ => {
                self.losses.drop_field("tool_result.content");
                Ok(())
            }
        }
    }
}
