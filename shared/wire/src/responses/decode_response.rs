//! A `response` → [`Response`].

use serde_json::value::RawValue;

use super::{
    error::decode_error,
    output_item::{OutputItem, chat_logprobs, finish_reason},
    usage::UsageField,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{Choice, Part, Response},
    object::{read, wire_object},
    text::Str,
};

wire_object! {
    pub(super) struct Body<'a> {
        id: Str<'a> = lenient "id",
        model: Str<'a> = lenient "model",
        created_at: u64 = lenient "created_at",
        status: Str<'a> = lenient "status",
        error: &'a RawValue = "error",
        incomplete_details: Incomplete<'a> = lenient "incomplete_details",
        output: Vec<&'a RawValue> = "output",
        usage: UsageField<'a> = lenient "usage",
        service_tier: Str<'a> = lenient "service_tier",
    }
}

wire_object! {
    pub(super) struct Incomplete<'a> {
        reason: Str<'a> = lenient "reason",
    }
}

/// Reads an answer.
///
/// # Errors
/// When it is no answer: no JSON, no output, failed (`upstream_failed`; [`decode_error`] tells why), or not finished.
pub fn decode_response<'a>(body: &'a [u8], _context: &DecodeContext<'_>) -> Result<Response<'a>, WireError> {
    let answer: Body<'a> = read(body)?;
    if answer.error.is_some() || matches!(answer.status.as_deref(), Some("failed" | "cancelled")) {
        return Err(WireError::new("upstream_failed", decode_error(500, body).message));
    }
    if matches!(answer.status.as_deref(), Some("queued" | "in_progress")) {
        return Err(WireError::field("status", "the upstream's answer is not finished"));
    }
    let incomplete = answer.incomplete();
    let Some(output) = answer.output else {
        return Err(WireError::field("output", "the upstream's answer has no output"));
    };
    let mut choice = Choice::default();
    let mut logprobs = Vec::new();
    for (index, raw) in output.into_iter().enumerate() {
        let path = format!("output.{index}");
        let item = OutputItem::read(raw).map_err(|error| super::decode_content::within(&path, error))?;
        let (parts, more) = item.parts(&path)?;
        choice.parts.extend(parts);
        logprobs.extend(more);
    }
    let has = |wanted: fn(&Part<'_>) -> bool| choice.parts.iter().any(wanted);
    choice.finish = Some(finish_reason(
        incomplete.as_deref(),
        has(|part| matches!(part, Part::ToolCall { .. })),
        has(|part| matches!(part, Part::Refusal { .. })),
        has(|part| matches!(part, Part::Text { .. })),
    ));
    choice.logprobs = chat_logprobs(&logprobs);
    Ok(Response {
        id: answer.id.unwrap_or_default().into(),
        model: answer.model.unwrap_or_default().into(),
        created: answer.created_at,
        choices: vec![choice],
        usage: answer.usage.map(|usage| usage.disjoint()).unwrap_or_default(),
        service_tier: answer.service_tier.map(Into::into),
        ..Response::default()
    })
}

// === impl Body ===

impl Body<'_> {
    /// Why the answer is cut short, when it is.
    pub(super) fn incomplete(&self) -> Option<String> {
        let reason = self.incomplete_details.as_ref().and_then(|details| details.reason.as_deref());
        match (self.status.as_deref(), reason) {
            (_, Some(reason)) => Some(reason.to_owned()),
            (Some("incomplete"), None) => Some("max_output_tokens".to_owned()),
            _ => None,
        }
    }
}
