//! [`Response`] → a `text_completion`.

use super::{echoed, finish_word, logprobs::write_logprobs};
use crate::{
    codec::ResponseContext,
    ir::{Choice, FinishReason, Part, Response},
    openai::{REFUSED, write_usage},
    write::Writer,
};

/// Writes an answer for a Completions client. Thoughts have no place in it.
pub fn encode_response(response: &Response<'_>, exchange: &ResponseContext, out: &mut Vec<u8>) {
    let echo = echoed(exchange);
    Writer::new(out).object(|w| {
        write_head(w, response.created, exchange);
        w.key("choices").array(|w| {
            for (index, choice) in response.choices.iter().enumerate() {
                w.object(|w| write_choice(w, index, choice, &echo));
            }
        });
        write_usage(w.key("usage"), &response.usage);
        w.field_str_opt("system_fingerprint", response.system_fingerprint.as_deref());
    });
}

/// The fields that are the same in every chunk.
pub(super) fn write_head(w: &mut Writer<'_>, created: Option<u64>, exchange: &ResponseContext) {
    w.field_str("id", &format!("cmpl-{}", exchange.id));
    w.field_str("object", "text_completion");
    w.field("created", &created.unwrap_or(exchange.created));
    w.field_str("model", &exchange.model);
}

fn write_choice(w: &mut Writer<'_>, index: usize, choice: &Choice<'_>, echo: &str) {
    let mut text = echo.to_owned();
    for part in &choice.parts {
        if let Part::Text { text: piece, .. } | Part::Refusal { text: piece } = part {
            text.push_str(piece);
        }
    }
    let refused = choice.parts.iter().any(|part| matches!(part, Part::Refusal { .. }));
    if choice.finish == Some(FinishReason::Refusal) && !refused {
        text.push_str(REFUSED);
    }
    w.field_str("text", &text);
    w.field("index", &index);
    match &choice.logprobs {
        Some(raw) => write_logprobs(w.key("logprobs"), raw, &mut echo.chars().count()),
        None => w.field_null("logprobs"),
    }
    w.field_str("finish_reason", finish_word(choice.finish.unwrap_or(FinishReason::End)));
}
