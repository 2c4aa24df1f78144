//! [`Response`] → a `chat.completion`.

use super::{details::write_told, finish_word, reasoning_format, usage::write_usage};
use crate::{
    codec::{ResponseContext, signature_for},
    custom_input::free_text,
    ir::{Annotation, CallKind, Choice, Family, FinishReason, Part, Response, Source},
    media,
    write::Writer,
};

/// Writes an answer for a Chat client.
pub fn encode_response(response: &Response<'_>, exchange: &ResponseContext, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.field_str("id", &format!("chatcmpl-{}", exchange.id));
        w.field_str("object", "chat.completion");
        w.field("created", &response.created.unwrap_or(exchange.created));
        w.field_str("model", &exchange.model);
        w.key("choices").array(|w| {
            for (index, choice) in response.choices.iter().enumerate() {
                write_choice(w, index, choice, exchange);
            }
        });
        write_usage(w.key("usage"), &response.usage);
        w.field_str_opt("service_tier", response.service_tier.as_deref().and_then(super::tier_word));
        w.field_str_opt("system_fingerprint", response.system_fingerprint.as_deref());
    });
}

fn write_choice(w: &mut Writer<'_>, index: usize, choice: &Choice<'_>, exchange: &ResponseContext) {
    w.object(|w| {
        w.field("index", &index);
        w.key("message").object(|w| write_message(w, choice, exchange));
        match &choice.logprobs {
            Some(raw) => w.field_raw("logprobs", raw.as_str()),
            None => w.field_null("logprobs"),
        }
        w.field_str("finish_reason", finish_word(choice.finish.unwrap_or(FinishReason::End)));
    });
}

fn write_message(w: &mut Writer<'_>, choice: &Choice<'_>, exchange: &ResponseContext) {
    let parts = &choice.parts;
    let mut text: Option<String> = None;
    let mut refusal: Option<&str> = None;
    let mut thinking = String::new();
    let mut annotations: Vec<(&Annotation<'_>, Span)> = Vec::new();
    let mut said = 0;
    let calls: Vec<&Part<'_>> = parts.iter().filter(|part| matches!(part, Part::ToolCall { .. })).collect();
    for part in parts {
        match part {
            Part::Text { text: piece, annotations: own, .. } => {
                text.get_or_insert_default().push_str(piece);
                let end = said + count_chars(piece);
                annotations.extend(own.iter().map(|own| (own, span_of(own, said, end))));
                said = end;
            }
            Part::Refusal { text } => refusal = Some(text),
            Part::Thinking { text, .. } => thinking.push_str(text),
            _ => {}
        }
    }
    if choice.finish == Some(FinishReason::Refusal) {
        refusal = refusal.or(Some(super::REFUSED));
    }
    w.field_str("role", "assistant");
    match &text {
        Some(text) => w.field_str("content", text),
        None => w.field_null("content"),
    }
    match refusal {
        Some(refusal) => w.field_str("refusal", refusal),
        None => w.field_null("refusal"),
    }
    if exchange.show_thinking && !thinking.is_empty() {
        w.field_str("reasoning_content", &thinking);
    }
    let has_reasoning = parts.iter().any(|part| matches!(part, Part::Thinking { .. } | Part::RedactedThinking { .. }));
    if exchange.show_thinking && has_reasoning {
        w.key("reasoning_details").array(|w| {
            for (index, part) in parts.iter().enumerate() {
                write_reasoning_detail(w, index, part);
            }
        });
    }
    if !annotations.is_empty() {
        w.key("annotations").array(|w| {
            for (annotation, span) in annotations {
                write_annotation(w, annotation, span);
            }
        });
    }
    // However many there are, each has one place.
    let (mut images, mut sounds, mut transcript) = (Vec::new(), Vec::new(), String::new());
    for part in parts {
        match part {
            Part::Audio { source: Source::Inline { data, .. }, transcript: own, .. } => {
                sounds.push(data);
                transcript.push_str(own.as_deref().unwrap_or_default());
            }
            Part::Image { source: Source::Inline { media_type, data }, .. } => {
                images.push(media::data_url(media_type, data));
            }
            _ => {}
        }
    }
    if !sounds.is_empty() {
        w.key("audio").object(|w| {
            w.field_str("id", &format!("audio_{}", exchange.id));
            w.field_str("data", &media::join_base64(&sounds));
            w.field_str("transcript", &transcript);
        });
    }
    if !images.is_empty() {
        w.key("images").array(|w| {
            for url in &images {
                w.object(|w| {
                    w.field_str("type", "image_url");
                    w.key("image_url").object(|w| w.field_str("url", url));
                });
            }
        });
    }
    if !calls.is_empty() {
        w.key("tool_calls").array(|w| {
            for call in calls {
                write_call(w, call, exchange);
            }
        });
    }
}

/// A thought with its signature, so that a client that sends it back loses nothing.
pub(super) fn write_reasoning_detail(w: &mut Writer<'_>, index: usize, part: &Part<'_>) {
    match part {
        Part::Thinking { text, signature: Some(told) } if told.family == Family::OpenRouter => {
            write_told(w, &told.payload, text);
        }
        Part::RedactedThinking { data } if data.family == Family::OpenRouter => write_told(w, &data.payload, ""),
        Part::Thinking { text, signature } => w.object(|w| {
            w.field_str("type", "reasoning.text");
            w.field_str("text", text);
            if let Some(signature) = signature {
                w.field_str("signature", &signature.payload);
            }
            // Whose it is shows in the signature only.
            w.field_str_opt("format", signature.as_ref().map(|signature| reasoning_format(signature.family)));
            w.field("index", &index);
        }),
        Part::RedactedThinking { data } => w.object(|w| {
            w.field_str("type", "reasoning.encrypted");
            w.field_str("data", &data.payload);
            w.field_str("format", reasoning_format(data.family));
            w.field("index", &index);
        }),
        _ => {}
    }
}

/// Characters of the message's text, from and to.
pub(super) type Span = (u64, u64);

/// Where a citation stands in the message's text: the texts of all parts are one here. `from` and `to` are its part's; a
/// citation that does not say which words it is for is for all of them.
pub(super) fn span_of(annotation: &Annotation<'_>, from: u64, to: u64) -> Span {
    match (annotation.start, annotation.end) {
        (Some(start), Some(end)) => (from.saturating_add(start), from.saturating_add(end)),
        _ => (from, to),
    }
}

pub(super) fn count_chars(text: &str) -> u64 {
    text.chars().count() as u64
}

pub(super) fn write_annotation(w: &mut Writer<'_>, annotation: &Annotation<'_>, (start, end): Span) {
    w.object(|w| {
        w.field_str("type", "url_citation");
        w.key("url_citation").object(|w| {
            w.field_str("url", annotation.url.as_deref().unwrap_or_default());
            w.field_str("title", annotation.title.as_deref().unwrap_or_default());
            w.field("start_index", &start);
            w.field("end_index", &end);
        });
    });
}

fn write_call(w: &mut Writer<'_>, call: &Part<'_>, exchange: &ResponseContext) {
    let Part::ToolCall { id, name, arguments, kind, signature, .. } = call else { return };
    let tool = exchange.names.client(name);
    let custom = *kind == CallKind::Custom || tool.is_some_and(|tool| tool.kind == CallKind::Custom);
    let name = exchange.names.client_name(name);
    w.object(|w| {
        w.field_str("id", id);
        if custom {
            w.field_str("type", "custom");
            w.key("custom").object(|w| {
                w.field_str("name", name);
                if *kind == CallKind::Custom {
                    w.field_str("input", arguments);
                } else {
                    w.field_str("input", &free_text(arguments));
                }
            });
        } else {
            w.field_str("type", "function");
            w.key("function").object(|w| {
                w.field_str("name", name);
                w.field_str("arguments", if arguments.trim().is_empty() { "{}" } else { arguments });
            });
        }
        if let Some(signature) = signature {
            w.key("extra_content").object(|w| {
                w.key("google").object(|w| {
                    w.field_str("thought_signature", &signature_for(signature, Family::Gemini, exchange));
                });
            });
        }
    });
}
