//! [`Response`] → a whole answer of either API.

use omniroute_core::time::UnixMillis;

use super::{
    Shape, Timing, done_word,
    encode_request::{object_of, write_call},
    logprobs::list_of,
    unspoken,
};
use crate::{
    codec::ResponseContext,
    ir::{Choice, FinishReason, Part, Response, Source},
    write::Writer,
};

/// Writes an answer for an Ollama client. Only the first choice has a place.
pub fn encode_response(
    response: &Response<'_>,
    exchange: &ResponseContext,
    shape: Shape,
    timing: &Timing,
    out: &mut Vec<u8>,
) {
    let nothing = Choice::default();
    let choice = response.choices.first().unwrap_or(&nothing);
    Writer::new(out).object(|w| {
        write_head(w, response.created, exchange);
        match shape {
            Shape::Chat => w.key("message").object(|w| {
                w.field_str("role", "assistant");
                write_content(w, "content", choice, exchange);
            }),
            Shape::Generate => write_content(w, "response", choice, exchange),
        }
        w.field("done", &true);
        w.field_str("done_reason", done_word(choice.finish.unwrap_or(FinishReason::End)));
        if let Some(list) = choice.logprobs.as_ref().and_then(list_of) {
            w.field_raw("logprobs", list);
        }
        timing.write(w, &response.usage);
    });
}

/// The fields that every line begins with.
pub(super) fn write_head(w: &mut Writer<'_>, created: Option<u64>, exchange: &ResponseContext) {
    let created = created.unwrap_or(exchange.created);
    w.field_str("model", &exchange.model);
    w.field_str("created_at", &UnixMillis(created.saturating_mul(1000)).to_rfc3339());
}

fn write_content(w: &mut Writer<'_>, text_field: &str, choice: &Choice<'_>, exchange: &ResponseContext) {
    let parts = &choice.parts;
    let (mut text, mut thinking) = (String::new(), String::new());
    let mut media: Vec<&str> = Vec::new();
    for part in parts {
        match part {
            Part::Text { text: piece, .. } | Part::Refusal { text: piece } => text.push_str(piece),
            Part::Thinking { text: piece, .. } => thinking.push_str(piece),
            Part::Image { source: Source::Inline { data, .. }, .. }
            | Part::Audio { source: Source::Inline { data, .. }, .. } => media.push(data),
            _ => {}
        }
    }
    let refused = parts.iter().any(|part| matches!(part, Part::Refusal { .. }));
    if let Some(words) = choice.finish.and_then(|reason| unspoken(reason, refused, !text.is_empty())) {
        text.push_str(words);
    }
    w.field_str(text_field, &text);
    if exchange.show_thinking && !thinking.is_empty() {
        w.field_str("thinking", &thinking);
    }
    if !media.is_empty() {
        w.field("images", &media);
    }
    if parts.iter().any(|part| matches!(part, Part::ToolCall { .. })) {
        w.key("tool_calls").array(|w| {
            let calls = parts.iter().filter_map(|part| match part {
                Part::ToolCall { id, name, arguments, kind, .. } => Some((id, name, arguments, *kind)),
                _ => None,
            });
            for (index, (id, name, arguments, kind)) in calls.enumerate() {
                let (arguments, _) = object_of(arguments, kind);
                write_call(w, index, id, exchange.names.client_name(name), &arguments);
            }
        });
    }
}
