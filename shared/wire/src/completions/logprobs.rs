//! Log probabilities as parallel lists, out of Chat's list of objects.

use serde_json::value::RawValue;

use crate::{ir::Json, object::wire_object, text::Str, write::Writer};

wire_object! {
    struct ChatLogprobs<'a> {
        content: Vec<Token<'a>> = "content",
    }
}

wire_object! {
    struct Token<'a> {
        token: Str<'a> = "token",
        logprob: &'a RawValue = "logprob",
        top: Vec<Token<'a>> = "top_logprobs",
    }
}

/// Writes the object and moves `offset`, which counts the characters of the answer's text, behind its tokens.
pub(super) fn write_logprobs(w: &mut Writer<'_>, raw: &Json<'_>, offset: &mut usize) {
    let Ok(ChatLogprobs { content: Some(tokens), .. }) = serde_json::from_str(raw.as_str()) else {
        return w.raw("null");
    };
    w.object(|w| {
        w.key("tokens").array(|w| tokens.iter().for_each(|token| w.str(text(token))));
        w.key("token_logprobs").array(|w| tokens.iter().for_each(|token| w.raw(number(token))));
        if tokens.iter().any(|token| token.top.as_ref().is_some_and(|top| !top.is_empty())) {
            w.key("top_logprobs").array(|w| tokens.iter().for_each(|token| write_top(w, token)));
        } else {
            w.field_null("top_logprobs");
        }
        w.key("text_offset").array(|w| {
            for token in &tokens {
                w.value(offset);
                *offset += text(token).chars().count();
            }
        });
    });
}

fn write_top(w: &mut Writer<'_>, token: &Token<'_>) {
    w.object(|w| {
        let mut seen: Vec<&str> = Vec::new();
        for other in token.top.iter().flatten() {
            // Two tokens of different bytes may look the same; the first is the likelier.
            if !seen.contains(&text(other)) {
                seen.push(text(other));
                w.field_raw(text(other), number(other));
            }
        }
    });
}

fn text<'t>(token: &'t Token<'_>) -> &'t str {
    token.token.as_deref().unwrap_or_default()
}

fn number<'t>(token: &Token<'t>) -> &'t str {
    token.logprob.map_or("null", RawValue::get)
}
