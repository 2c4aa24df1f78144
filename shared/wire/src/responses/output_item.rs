//! Items of an answer → [`Part`]s.

use serde_json::value::RawValue;

use super::{
    decode_content::annotation,
    decode_input::{call, reasoning_text},
    item::{ContentPart, Item},
};
use crate::{
    codec::WireError,
    ir::{CallKind, Family, FinishReason, Part, Signature},
    object::{read, wire_object},
    text::{Str, TextOr},
};

wire_object! {
    pub(super) struct TypeTag<'a> {
        kind: Str<'a> = "type",
    }
}

/// An item of an answer, typed.
pub(super) enum OutputItem<'a> {
    Message(Vec<ContentPart<'a>>),
    Reasoning(Item<'a>),
    Call(Item<'a>, CallKind),
    /// Of a tool that the vendor runs, or of a kind that came after this was written.
    Other(&'a RawValue),
}

// === impl OutputItem ===

impl<'a> OutputItem<'a> {
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, WireError> {
        let head: TypeTag<'a> = read(raw.get().as_bytes())?;
        let kind = head.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "message" | "reasoning" | "function_call" | "custom_tool_call") {
            return Ok(Self::Other(raw));
        }
        let item: Item<'a> = read(raw.get().as_bytes())?;
        Ok(match kind {
            "message" => Self::Message(match item.content {
                Some(TextOr::List(parts)) => parts,
                Some(TextOr::Text(text)) => vec![ContentPart { text: Some(Str(text)), ..ContentPart::default() }],
                None => Vec::new(),
            }),
            "reasoning" => Self::Reasoning(item),
            "function_call" => Self::Call(item, CallKind::Function),
            _ => Self::Call(item, CallKind::Custom),
        })
    }

    /// The parts that it stands for, and the log probabilities of its texts.
    pub(super) fn parts(self, path: &str) -> Result<(Vec<Part<'a>>, Vec<&'a RawValue>), WireError> {
        let mut logprobs = Vec::new();
        let parts = match self {
            Self::Message(content) => {
                content.into_iter().filter_map(|part| message_part(part, &mut logprobs)).collect()
            }
            Self::Reasoning(item) => thought(item).into_iter().collect(),
            Self::Call(item, kind) => vec![call(item, kind, path)?],
            Self::Other(raw) => vec![Part::ServerTool { family: Family::OpenAi, raw: raw.into() }],
        };
        Ok((parts, logprobs))
    }
}

fn message_part<'a>(part: ContentPart<'a>, logprobs: &mut Vec<&'a RawValue>) -> Option<Part<'a>> {
    logprobs.extend(part.logprobs.filter(|raw| has_items(raw)));
    if let Some(refusal) = part.refusal {
        return Some(Part::Refusal { text: refusal.into() });
    }
    let text = part.text.filter(|text| !text.is_empty())?;
    let annotations = part.annotations.into_iter().flatten().filter_map(annotation).collect();
    Some(Part::Text { text: text.into(), annotations, cache: None })
}

fn thought(item: Item<'_>) -> Option<Part<'_>> {
    let text = reasoning_text(item.content, item.summary);
    let payload = item.encrypted_content.filter(|payload| !payload.is_empty());
    let signature = payload.map(|payload| Signature { family: Family::OpenAi, payload: payload.into() });
    match (text.is_empty(), signature) {
        (true, None) => None,
        (true, Some(data)) => Some(Part::RedactedThinking { data }),
        (false, signature) => Some(Part::Thinking { text, signature }),
    }
}

pub(super) fn has_items(raw: &RawValue) -> bool {
    raw.get().strip_prefix('[').is_some_and(|rest| !rest.trim_start().starts_with(']'))
}

/// Log probabilities in Chat's form, which the representation has.
pub(super) fn chat_logprobs(lists: &[&RawValue]) -> Option<crate::ir::Json<'static>> {
    if lists.is_empty() {
        return None;
    }
    let inner = |raw: &&RawValue| {
        let text = raw.get().trim();
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default().to_owned()
    };
    let all = lists.iter().map(inner).collect::<Vec<_>>().join(",");
    crate::ir::Json::from_string(format!("{{\"content\":[{all}]}}"))
}

/// How an answer ended.
pub(super) fn finish_reason(incomplete: Option<&str>, called: bool, refused: bool, said: bool) -> FinishReason {
    match incomplete {
        Some("content_filter") => FinishReason::ContentFilter,
        Some(_) => FinishReason::MaxTokens,
        None if called => FinishReason::ToolCalls,
        None if refused && !said => FinishReason::Refusal,
        None => FinishReason::End,
    }
}
