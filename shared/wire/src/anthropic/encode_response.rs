//! [`Response`] → a message for a client.

use super::{encode_content::input_object, stop_word, usage::write_counts};
use crate::{
    codec::{ResponseContext, signature_for},
    ir::{Annotation, Choice, Extensions, Family, FinishReason, Part, Response, Signature},
    usage::Usage,
    write::Writer,
};

/// Writes an answer for an Anthropic client. It has one choice: the request could not ask for more.
pub fn encode_response(response: &Response<'_>, exchange: &ResponseContext, out: &mut Vec<u8>) {
    let nothing = Choice::default();
    let choice = response.choices.first().unwrap_or(&nothing);
    let extensions = &response.extensions;
    Writer::new(out).object(|w| {
        w.field_str("id", &message_id(exchange));
        w.field_str("type", "message");
        w.field_str("role", "assistant");
        w.field_str("model", &exchange.model);
        w.key("content").array(|w| {
            for (index, part) in choice.parts.iter().enumerate() {
                // What Anthropic said of a refusal goes back in its own field.
                let said = matches!(part, Part::Refusal { .. }) && extensions.get("stop_details").is_some();
                // One note is enough for media that follow each other, as the pieces of a sound do.
                let noted =
                    is_media(part) && index.checked_sub(1).is_some_and(|before| is_media(&choice.parts[before]));
                if !said && !noted {
                    write_block(w, index, part, extensions, exchange);
                }
            }
        });
        let reason = choice.finish.unwrap_or(FinishReason::End);
        w.field_str("stop_reason", stop_word(reason));
        match choice.stop_sequence.as_deref().filter(|_| reason == FinishReason::StopSequence) {
            Some(text) => w.field_str("stop_sequence", text),
            None => w.field_null("stop_sequence"),
        }
        for (name, raw) in extensions.iter() {
            if matches!(name, "stop_details" | "container" | "context_management" | "diagnostics") {
                w.field_raw(name, raw.as_str());
            }
        }
        w.key("usage").object(|w| {
            // A stream says the same: it has told the estimate at its start.
            let input = response.usage.input.or(Some(exchange.estimated_input));
            write_counts(w, &Usage { input, ..response.usage });
            if let Some(tier) = response.service_tier.as_deref().and_then(tier_word) {
                w.field_str("service_tier", tier);
            }
        });
    });
}

const fn is_media(part: &Part<'_>) -> bool {
    matches!(part, Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. })
}

pub(super) fn message_id(exchange: &ResponseContext) -> String {
    format!("msg_{}", exchange.id)
}

fn tier_word(tier: &str) -> Option<&'static str> {
    Some(match tier {
        "standard" | "default" => "standard",
        "priority" => "priority",
        "batch" => "batch",
        _ => return None,
    })
}

fn write_block(
    w: &mut Writer<'_>,
    index: usize,
    part: &Part<'_>,
    extensions: &Extensions<'_>,
    exchange: &ResponseContext,
) {
    match part {
        Part::Text { text, annotations, .. } if !text.is_empty() => w.object(|w| {
            w.field_str("type", "text");
            w.field_str("text", text);
            if !annotations.is_empty() {
                w.key("citations").array(|w| {
                    for annotation in annotations {
                        write_citation(w, annotation);
                    }
                });
            }
            write_rest(w, extensions, &format!("content.{index}"));
        }),
        Part::Refusal { text } if !text.is_empty() => w.object(|w| {
            w.field_str("type", "text");
            w.field_str("text", text);
        }),
        Part::Thinking { text, signature } if exchange.show_thinking => w.object(|w| {
            w.field_str("type", "thinking");
            w.field_str("thinking", text);
            w.field_str("signature", &thinking_signature(signature.as_ref(), exchange));
        }),
        Part::RedactedThinking { data } if exchange.show_thinking => w.object(|w| {
            w.field_str("type", "redacted_thinking");
            w.field_str("data", &signature_for(data, Family::Anthropic, exchange));
        }),
        Part::ToolCall { id, name, arguments, kind, signature, .. } => {
            if let Some(signature) = signature.as_ref().filter(|_| exchange.show_thinking) {
                // Calls have no field for it; the request's reader puts it back on the call.
                w.object(|w| {
                    w.field_str("type", "redacted_thinking");
                    w.field_str("data", &signature_for(signature, Family::Anthropic, exchange));
                });
            }
            w.object(|w| {
                w.field_str("type", "tool_use");
                w.field_str("id", id);
                w.field_str("name", exchange.names.client_name(name));
                w.field_raw("input", &input_object(arguments, *kind).0);
                write_rest(w, extensions, &format!("tool_use.{id}"));
            });
        }
        Part::ServerTool { family: Family::Anthropic, raw } => w.raw(raw.as_str()),
        Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. } => w.object(|w| {
            w.field_str("type", "text");
            w.field_str("text", MEDIA_NOTE);
        }),
        // Another vendor's own tools leave nothing that this format could show.
        Part::Text { .. }
        | Part::Refusal { .. }
        | Part::Thinking { .. }
        | Part::RedactedThinking { .. }
        | Part::ServerTool { .. }
        | Part::ToolResult { .. } => {}
    }
}

/// Said where the model made an image or a sound: this format has no block for it.
pub(super) const MEDIA_NOTE: &str = "[The model made media that this API cannot carry.]";

fn write_rest(w: &mut Writer<'_>, extensions: &Extensions<'_>, place: &str) {
    for (path, raw) in extensions.iter() {
        if let Some((own, field)) = path.rsplit_once('.')
            && own == place
        {
            w.field_raw(field, raw.as_str());
        }
    }
}

/// A client gets a signature with every thought: Claude Code refuses one without. Where the maker has none, a sealed
/// token around nothing stands for it.
pub(super) fn thinking_signature<'s>(
    signature: Option<&'s Signature<'s>>,
    exchange: &ResponseContext,
) -> std::borrow::Cow<'s, str> {
    match signature {
        Some(signature) => signature_for(signature, Family::Anthropic, exchange),
        None => {
            let nothing = Signature { family: Family::OpenAi, payload: "".into() };
            exchange.sealer.seal(&nothing, &exchange.model).into()
        }
    }
}

/// A citation in Anthropic's form; another family's becomes one of a web page.
pub(super) fn write_citation(w: &mut Writer<'_>, annotation: &Annotation<'_>) {
    if let (Family::Anthropic, Some(raw)) = (annotation.family, &annotation.raw) {
        w.raw(raw.as_str());
        return;
    }
    w.object(|w| {
        w.field_str("type", "web_search_result_location");
        w.field_str("cited_text", annotation.cited_text.as_deref().unwrap_or_default());
        w.field_str("encrypted_index", "");
        w.field_str("title", annotation.title.as_deref().unwrap_or_default());
        w.field_str("url", annotation.url.as_deref().unwrap_or_default());
    });
}
