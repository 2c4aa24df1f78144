//! What one message is made of: blocks with exactly one field each.

use serde_json::value::RawValue;

use super::{
    cache_point::write_point,
    conversation::{Content, Item, Message, Side},
    media::{self, write_media, write_source},
    names::{DocumentNames, tool_use_id},
    vendor::Vendor,
};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Annotation, CallKind, Family, Losses, Part, Signature, Source},
    tools::arguments_as_object,
    write::Writer,
};

/// What stands for a result that says nothing: an empty one is refused when it is an error.
const NO_OUTPUT: &str = "(no output)";

/// Writes the blocks of a conversation.
pub(super) struct ContentWriter<'x> {
    pub(super) target: &'x EncodeTarget<'x>,
    pub(super) vendor: Vendor,
    pub(super) losses: &'x mut Losses,
    pub(super) names: DocumentNames,
}

// === impl ContentWriter ===

impl ContentWriter<'_> {
    pub(super) fn write_message(&mut self, w: &mut Writer<'_>, message: &Message<'_, '_>) -> Result<(), WireError> {
        let mut result = Ok(());
        w.object(|w| {
            w.field_str(
                "role",
                match message.side {
                    Side::User => "user",
                    Side::Assistant => "assistant",
                    Side::System => "system",
                },
            );
            w.key("content").array(|w| result = message.items.iter().try_for_each(|item| self.write_item(w, item)));
        });
        result
    }

    fn write_item(&mut self, w: &mut Writer<'_>, item: &Item<'_, '_>) -> Result<(), WireError> {
        match item.content {
            Content::Note(ref text) => write_text(w, text),
            Content::Part(part) => self.write_part(w, part)?,
        }
        write_point(w, item.cache);
        Ok(())
    }

    fn write_part(&mut self, w: &mut Writer<'_>, part: &Part<'_>) -> Result<(), WireError> {
        match part {
            Part::Text { text, annotations, .. } => self.write_cited(w, text, annotations),
            Part::Refusal { text } => write_text(w, text),
            Part::Image { source, detail, .. } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.losses.drop_field("image_url.detail");
                }
                write_media(w, "image", source)?;
            }
            Part::Audio { source, .. } => write_media(w, "audio", source)?,
            Part::Video { source } => write_media(w, "video", source)?,
            Part::Document { source, name, context, citations, .. } => {
                self.write_document(w, source, name.as_deref(), context.as_deref(), *citations)?;
            }
            Part::Thinking { text, signature } => write_thinking(w, text, signature.as_ref()),
            Part::RedactedThinking { data } => w.object(|w| {
                w.key("reasoningContent").object(|w| w.field_str("redactedContent", &data.payload));
            }),
            Part::ToolCall { id, name, arguments, kind, signature, .. } => {
                if signature.is_some() {
                    self.losses.drop_field("thought_signature");
                }
                self.write_call(w, id, name, arguments, *kind);
            }
            Part::ToolResult { call_id, parts, is_error, .. } => self.write_result(w, call_id, parts, *is_error)?,
            Part::ServerTool { raw, .. } => w.raw(raw.as_str()),
        }
        Ok(())
    }

    /// A text with the service's own citations goes back as it came; others have no place.
    fn write_cited(&mut self, w: &mut Writer<'_>, text: &str, annotations: &[Annotation<'_>]) {
        let own = |annotation: &Annotation<'_>| annotation.family == Family::Bedrock && annotation.raw.is_some();
        if !annotations.iter().all(own) {
            self.losses.drop_field("annotations");
        }
        if !annotations.iter().any(own) {
            return write_text(w, text);
        }
        w.object(|w| {
            w.key("citationsContent").object(|w| {
                w.key("content").array(|w| write_text(w, text));
                w.key("citations").array(|w| {
                    let raws = annotations.iter().filter(|annotation| own(annotation));
                    raws.filter_map(|annotation| annotation.raw.as_ref()).for_each(|raw| w.raw(raw.as_str()));
                });
            });
        });
    }

    fn write_document(
        &mut self,
        w: &mut Writer<'_>,
        source: &Source<'_>,
        name: Option<&str>,
        context: Option<&str>,
        citations: bool,
    ) -> Result<(), WireError> {
        media::check("document", source)?;
        let Some(format) = media::document_format_of_source(source, name) else {
            let message = "this upstream takes PDF, Word, Excel, CSV, HTML, Markdown and plain text as documents";
            return Err(WireError::unsupported("document", message));
        };
        let claude = self.vendor == Vendor::Claude;
        for (field, given) in [("document.context", context.is_some()), ("document.citations", citations)] {
            if given && !claude {
                self.losses.drop_field(field);
            }
        }
        let name = self.names.take(name);
        w.object(|w| {
            w.key("document").object(|w| {
                w.field_str("format", format);
                w.field_str("name", &name);
                w.key("source").object(|w| match source {
                    // Citations by character need the text itself.
                    Source::Text(text) if citations && claude => w.field_str("text", text),
                    source => write_source(w, source),
                });
                if claude {
                    w.field_str_opt("context", context);
                    if citations {
                        w.key("citations").object(|w| w.field("enabled", &true));
                    }
                }
            });
        });
        Ok(())
    }

    fn write_call(&mut self, w: &mut Writer<'_>, id: &str, name: &str, arguments: &str, kind: CallKind) {
        let input = arguments_as_object(arguments, kind);
        let valid = input.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(&input).is_ok();
        w.object(|w| {
            w.key("toolUse").object(|w| {
                w.field_str("toolUseId", &tool_use_id(id));
                w.field_str("name", self.target.names.upstream(name));
                if valid {
                    w.field_raw("input", &input);
                } else {
                    // A model's slip in an earlier turn must not make every later request fail.
                    self.losses.drop_field("tool_calls.arguments");
                    w.key("input").object(|w| w.field_str("invalid_arguments", &input));
                }
            });
        });
    }

    fn write_result(
        &mut self,
        w: &mut Writer<'_>,
        call_id: &str,
        parts: &[Part<'_>],
        is_error: bool,
    ) -> Result<(), WireError> {
        let full = self.vendor.is_full();
        let mut result = Ok(());
        w.object(|w| {
            w.key("toolResult").object(|w| {
                w.field_str("toolUseId", &tool_use_id(call_id));
                w.key("content").array(|w| result = self.write_result_parts(w, parts, is_error && !full));
                if is_error && full {
                    w.field_str("status", "error");
                }
            });
        });
        result
    }

    fn write_result_parts(&mut self, w: &mut Writer<'_>, parts: &[Part<'_>], say_error: bool) -> Result<(), WireError> {
        let mut count = 0;
        if say_error {
            write_text(w, "Error:");
        }
        for part in parts {
            match part {
                Part::Text { text, .. } if text.trim().is_empty() => continue,
                Part::Text { text, .. } => write_text(w, text),
                Part::Image { .. } if !self.vendor.is_full() => write_text(w, "[image: see below]"),
                Part::Document { .. } | Part::Video { .. } if !self.vendor.is_full() => {
                    write_text(w, "[file: see below]");
                }
                Part::Image { .. } | Part::Document { .. } | Part::Video { .. } => self.write_part(w, part)?,
                Part::Audio { .. } if !self.vendor.is_full() => write_text(w, "[file: see below]"),
                _ => {
                    self.losses.drop_field("tool_result.content");
                    continue;
                }
            }
            count += 1;
        }
        if count == 0 {
            write_text(w, NO_OUTPUT);
        }
        Ok(())
    }
}

fn write_text(w: &mut Writer<'_>, text: &str) {
    w.object(|w| w.field_str("text", text));
}

fn write_thinking(w: &mut Writer<'_>, text: &str, signature: Option<&Signature<'_>>) {
    let signature = signature.filter(|signature| matches!(signature.family, Family::Bedrock | Family::Anthropic));
    w.object(|w| {
        w.key("reasoningContent").object(|w| {
            w.key("reasoningText").object(|w| {
                w.field_str("text", text);
                w.field_str_opt("signature", signature.map(|signature| signature.payload.as_ref()));
            });
        });
    });
}
