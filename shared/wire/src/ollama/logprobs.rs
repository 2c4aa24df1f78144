//! Log probabilities: the same entries as OpenAI's, in another place and with optional fields left out.

use serde_json::value::RawValue;

use crate::{ir::Json, object::wire_object, text::Str, write::Writer};

wire_object! {
    struct Token<'a> {
        token: Str<'a> = "token",
        logprob: f64 = "logprob",
        bytes: &'a RawValue = "bytes",
        top: Vec<Token<'a>> = "top_logprobs",
    }
}

wire_object! {
    struct OpenAiLogprobs<'a> {
        content: &'a RawValue = "content",
    }
}

/// A list of Ollama's → OpenAI's object. `None` for an empty list and for what is no list.
pub(super) fn decode_logprobs(raw: &RawValue) -> Option<Json<'static>> {
    let tokens: Vec<Token<'_>> = serde_json::from_str(raw.get()).ok()?;
    if tokens.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(raw.get().len() + 64);
    Writer::new(&mut out).object(|w| {
        w.key("content").array(|w| {
            for token in &tokens {
                w.object(|w| {
                    write_token(w, token);
                    w.key("top_logprobs").array(|w| {
                        for other in token.top.iter().flatten() {
                            w.object(|w| write_token(w, other));
                        }
                    });
                });
            }
        });
    });
    Json::from_string(String::from_utf8(out).ok()?)
}

fn write_token(w: &mut Writer<'_>, token: &Token<'_>) {
    w.field_str("token", token.token.as_deref().unwrap_or_default());
    w.field("logprob", &token.logprob.unwrap_or(0.0));
    w.field_raw("bytes", token.bytes.map_or("null", RawValue::get));
}

/// OpenAI's object → the list, as it stands.
pub(super) fn list_of<'j>(logprobs: &'j Json<'_>) -> Option<&'j str> {
    let fields: OpenAiLogprobs<'j> = serde_json::from_str(logprobs.as_str()).ok()?;
    fields.content.map(RawValue::get).filter(|list| list.starts_with('['))
}
