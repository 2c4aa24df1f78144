//! Converse's answer → [`Response`].

use serde_json::value::RawValue;

use super::{block, finish_reason, usage::UsageField};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{Choice, FinishReason, Part, Response},
    object::{read, wire_object},
    text::Str,
};

wire_object! {
    struct Body<'a> {
        output: Output<'a> = "output",
        stop_reason: Str<'a> = lenient "stopReason",
        usage: UsageField<'a> = lenient "usage",
        service_tier: Tier<'a> = lenient "serviceTier",
        additional: &'a RawValue = "additionalModelResponseFields",
    }
}

wire_object! {
    struct Output<'a> {
        message: Message<'a> = "message",
    }
}

wire_object! {
    struct Message<'a> {
        content: Vec<&'a RawValue> = "content",
    }
}

wire_object! {
    struct Tier<'a> {
        kind: Str<'a> = lenient "type",
    }
}

wire_object! {
    pub(super) struct Additional<'a> {
        stop_sequence: Str<'a> = lenient "stop_sequence",
    }
}

/// Reads an answer. It has neither id nor model: the service has the one in a header, and the caller knows the other.
///
/// # Errors
/// When it is no answer: no JSON, or no message.
pub fn decode_response<'a>(body: &'a [u8], _: &DecodeContext<'_>) -> Result<Response<'a>, WireError> {
    let body: Body<'a> = read(body)?;
    let Some(message) = body.output.and_then(|output| output.message) else {
        return Err(WireError::field("output.message", "the upstream's answer has no message"));
    };
    let mut parts = Vec::new();
    for (index, raw) in message.content.into_iter().flatten().enumerate() {
        parts.extend(block::decode(raw, &format!("output.message.content.{index}"))?);
    }
    let called = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
    let finish = body.stop_reason.map(|word| corrected(finish_reason(&word), called));
    let mut response = Response {
        choices: vec![Choice {
            parts,
            finish,
            stop_sequence: stop_sequence(body.additional).map(Into::into),
            logprobs: None,
        }],
        usage: body.usage.map(|usage| usage.disjoint()).unwrap_or_default(),
        service_tier: body.service_tier.and_then(|tier| tier.kind).map(Into::into),
        ..Response::default()
    };
    if let Some(raw) = body.additional {
        response.extensions.push("additionalModelResponseFields", raw);
    }
    for (name, raw) in body.rest {
        response.extensions.push(name, raw);
    }
    Ok(response)
}

/// An end beside calls is a call.
pub(super) const fn corrected(reason: FinishReason, called: bool) -> FinishReason {
    match reason {
        FinishReason::End if called => FinishReason::ToolCalls,
        reason => reason,
    }
}

/// Which stop sequence it was, where the model says so.
pub(super) fn stop_sequence(additional: Option<&RawValue>) -> Option<Str<'_>> {
    let fields: Additional<'_> = serde_json::from_str(additional?.get()).ok()?;
    fields.stop_sequence
}
