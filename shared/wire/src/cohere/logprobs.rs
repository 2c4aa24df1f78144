//! Log probabilities, into OpenAI's form.

use crate::{ir::Json, object::wire_object, text::Str, write::Writer};

wire_object! {
    pub(super) struct LogprobItem<'a> {
        text: Str<'a> = lenient "text",
        logprobs: Vec<f64> = lenient "logprobs",
    }
}

/// `{"content": [{"token", "logprob", "bytes", "top_logprobs"}]}`. A piece of several tokens stands as one, whose log
/// probability is their sum: where one token's text ends and the next begins is not told.
pub(super) fn as_openai(items: &[LogprobItem<'_>]) -> Option<Json<'static>> {
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| {
        w.key("content").array(|w| {
            for item in items {
                let text = item.text.as_deref().unwrap_or_default();
                let sum: f64 = item.logprobs.iter().flatten().sum();
                w.object(|w| {
                    w.field_str("token", text);
                    w.field("logprob", &sum);
                    w.field("bytes", text.as_bytes());
                    w.key("top_logprobs").array(|_| {});
                });
            }
        });
    });
    String::from_utf8(out).ok().and_then(Json::from_string)
}
