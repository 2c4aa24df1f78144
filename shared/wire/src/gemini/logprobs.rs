//! `logprobsResult` ↔ OpenAI's form, which the representation has.

use serde_json::value::RawValue;

use super::message::OneOrMany;
use crate::{
    ir::Json,
    object::{read_owned, wire_object},
    text::Str,
    write::Writer,
};

wire_object! {
    pub(super) struct LogprobsResult<'a> {
        chosen: OneOrMany<Candidate<'a>> = "chosenCandidates" | "chosen_candidates",
        top: OneOrMany<Top<'a>> = "topCandidates" | "top_candidates",
    }
}

wire_object! {
    pub(super) struct Top<'a> {
        candidates: OneOrMany<Candidate<'a>> = "candidates",
    }
}

wire_object! {
    pub(super) struct Candidate<'a> {
        token: Str<'a> = "token",
        log_probability: &'a RawValue = "logProbability" | "log_probability",
    }
}

#[derive(serde::Deserialize)]
struct OpenAi {
    content: Option<Vec<Token>>,
}

#[derive(serde::Deserialize)]
struct Token {
    token: String,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<Token>,
}

/// Into OpenAI's form; `None` when there is nothing in it.
pub(super) fn decode(result: &LogprobsResult<'_>) -> Option<Json<'static>> {
    let chosen = &result.chosen.as_ref()?.0;
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| {
        w.key("content").array(|w| {
            for (index, candidate) in chosen.iter().enumerate() {
                let top = result.top.as_ref().and_then(|top| top.0.get(index)).and_then(|top| top.candidates.as_ref());
                w.object(|w| {
                    write_token(w, candidate);
                    w.key("top_logprobs").array(|w| {
                        for other in top.iter().flat_map(|top| &top.0) {
                            w.object(|w| write_token(w, other));
                        }
                    });
                });
            }
        });
    });
    Json::from_string(String::from_utf8(out).ok()?)
}

fn write_token(w: &mut Writer<'_>, candidate: &Candidate<'_>) {
    let token = candidate.token.as_deref().unwrap_or_default();
    w.field_str("token", token);
    w.field_raw("logprob", candidate.log_probability.map_or("0", RawValue::get));
    w.field("bytes", token.as_bytes());
}

/// Writes the `logprobsResult` object, where there is one.
pub(super) fn write(w: &mut Writer<'_>, logprobs: &Json<'_>) {
    let Some(OpenAi { content: Some(tokens) }) = read_owned(logprobs.as_str()) else { return };
    w.key("logprobsResult").object(|w| {
        w.key("topCandidates").array(|w| {
            for token in &tokens {
                w.object(|w| w.key("candidates").array(|w| token.top_logprobs.iter().for_each(|top| top.write(w))));
            }
        });
        w.key("chosenCandidates").array(|w| tokens.iter().for_each(|token| token.write(w)));
    });
}

// === impl Token ===

impl Token {
    fn write(&self, w: &mut Writer<'_>) {
        w.object(|w| {
            w.field_str("token", &self.token);
            w.field("logProbability", &self.logprob);
        });
    }
}
