//! A message of an upstream → [`Response`].

use serde_json::value::RawValue;

use super::{
    STRUCTURED_TOOL,
    content::{self, Piece},
    finish_reason,
    usage::UsageField,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{Choice, Extensions, FinishReason, Part, Response},
    object::{read, wire_object},
    text::{Str, TextOr},
};

wire_object! {
    struct Body<'a> {
        id: Str<'a> = lenient "id",
        kind: Str<'a> = lenient "type",
        role: Str<'a> = lenient "role",
        model: Str<'a> = lenient "model",
        // Compatible hosts may send a text where a list belongs.
        content: TextOr<'a, &'a RawValue> = "content",
        stop_reason: Str<'a> = lenient "stop_reason",
        stop_sequence: Str<'a> = lenient "stop_sequence",
        stop_details: &'a RawValue = "stop_details",
        usage: UsageField<'a> = lenient "usage",
    }
}

wire_object! {
    pub(super) struct StopDetails<'a> {
        explanation: Str<'a> = lenient "explanation",
    }
}

/// Reads an answer.
///
/// # Errors
/// When it is no answer: no JSON, or no content.
pub fn decode_response<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Response<'a>, WireError> {
    let body: Body<'a> = read(body)?;
    let mut extensions = Extensions::default();
    let mut parts = Vec::new();
    let blocks = match body.content {
        None => return Err(WireError::field("content", "the upstream's answer has no content")),
        Some(TextOr::Text(text)) => {
            parts.extend((!text.is_empty()).then(|| Part::text(text)));
            Vec::new()
        }
        Some(TextOr::List(blocks)) => blocks,
    };
    let (mut called, mut structured) = (false, false);
    for (index, raw) in blocks.into_iter().enumerate() {
        let path = format!("content.{index}");
        let Piece::Part(part, extras) = content::block(raw, &path, context)? else { continue };
        for extra in extras {
            extensions.push(format!("{}.{}", extra.place.as_deref().unwrap_or(&path), extra.field), extra.raw);
        }
        parts.push(match part {
            Part::ToolCall { name, arguments, .. } if name == STRUCTURED_TOOL => {
                structured = true;
                Part::text(arguments)
            }
            part => {
                called |= matches!(part, Part::ToolCall { .. });
                part
            }
        });
    }
    let finish = body.stop_reason.map(|word| settle(finish_reason(&word), called, structured));
    if let Some(raw) = body.stop_details.filter(|raw| raw.get() != "null") {
        extensions.push("stop_details", raw);
        parts.extend(explanation(raw).filter(|_| finish == Some(FinishReason::Refusal)));
    }
    for (name, raw) in body.rest {
        if raw.get() != "null" {
            extensions.push(name, raw);
        }
    }
    let usage = body.usage.unwrap_or_default();
    let choice = Choice {
        parts,
        finish: finish.or_else(|| called.then_some(FinishReason::ToolCalls)),
        stop_sequence: body.stop_sequence.map(Into::into),
        logprobs: None,
    };
    Ok(Response {
        id: body.id.unwrap_or_default().into(),
        model: body.model.unwrap_or_default().into(),
        usage: usage.disjoint(),
        service_tier: usage.service_tier.map(Into::into),
        choices: vec![choice],
        extensions,
        ..Response::default()
    })
}

/// Some hosts say "end" beside calls; and the call that stands for structured output is none.
pub(super) const fn settle(reason: FinishReason, called: bool, structured: bool) -> FinishReason {
    match reason {
        FinishReason::End if called => FinishReason::ToolCalls,
        FinishReason::ToolCalls if structured && !called => FinishReason::End,
        reason => reason,
    }
}

fn explanation(raw: &RawValue) -> Option<Part<'_>> {
    let details: StopDetails<'_> = serde_json::from_str(raw.get()).ok()?;
    details.explanation.filter(|text| !text.is_empty()).map(|text| Part::Refusal { text: text.into() })
}
