//! A v2 Chat answer → [`Response`].

use serde_json::value::RawValue;

use super::{
    Ending,
    citation::{self, CitedPart},
    ending,
    logprobs::{LogprobItem, as_openai},
    message::{Content, ToolCall},
    usage::UsageField,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{CallKind, Choice, FinishReason, Part, Response},
    object::{read, wire_object},
    stable_id::made_call_id,
    text::{Str, TextOr},
};

wire_object! {
    struct Body<'a> {
        id: Str<'a> = lenient "id",
        message: MessageField<'a> = "message",
        finish_reason: Str<'a> = lenient "finish_reason",
        usage: UsageField<'a> = lenient "usage",
        logprobs: Vec<LogprobItem<'a>> = lenient "logprobs",
    }
}

wire_object! {
    struct MessageField<'a> {
        content: TextOr<'a, Content<'a>> = "content",
        tool_plan: Str<'a> = lenient "tool_plan",
        tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        citations: Vec<&'a RawValue> = lenient "citations",
    }
}

/// Reads an answer.
///
/// # Errors
/// When it is no answer: no JSON, no message, or one that says that it failed.
pub fn decode_response<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Response<'a>, WireError> {
    let body: Body<'a> = read(body)?;
    let Some(message) = body.message else {
        return Err(WireError::field("message", "the upstream's answer has no message"));
    };
    let finish = match body.finish_reason.as_deref().map(ending) {
        Some(Ending::Failed) => return Err(WireError::new("upstream_error", "the upstream failed to make an answer")),
        Some(Ending::TimedOut) => return Err(WireError::new("upstream_timeout", "the upstream ran out of time")),
        Some(Ending::Finish(reason)) => Some(reason),
        None => None,
    };
    let called = message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
    let finish =
        if called && matches!(finish, Some(FinishReason::End) | None) { Some(FinishReason::ToolCalls) } else { finish };
    let choice = Choice {
        parts: decode_parts(message, context),
        finish,
        stop_sequence: None,
        logprobs: body.logprobs.filter(|items| !items.is_empty()).and_then(|items| as_openai(&items)),
    };
    let mut response = Response {
        id: body.id.unwrap_or_default().into(),
        choices: vec![choice],
        usage: body.usage.map(|usage| usage.disjoint()).unwrap_or_default(),
        ..Response::default()
    };
    for (name, raw) in body.rest {
        response.extensions.push(name, raw);
    }
    Ok(response)
}

fn decode_parts<'a>(message: MessageField<'a>, context: &DecodeContext<'_>) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    // Which part each block of the content became.
    let mut places: Vec<Option<usize>> = Vec::new();
    match message.content {
        None => {}
        Some(TextOr::Text(text)) if text.is_empty() => {}
        Some(TextOr::Text(text)) => {
            places.push(Some(0));
            parts.push(Part::text(text));
        }
        Some(TextOr::List(blocks)) => {
            for block in blocks {
                let before = parts.len();
                let thinking = block.thinking.filter(|text| !text.is_empty());
                parts.extend(thinking.map(|text| Part::Thinking { text: text.into(), signature: None }));
                parts.extend(block.text.filter(|text| !text.is_empty()).map(|text| Part::text(text.0)));
                places.push((parts.len() > before).then(|| parts.len() - 1));
            }
        }
    }
    let plan = message.tool_plan.filter(|text| !text.is_empty()).map(|text| {
        parts.push(Part::text(text.0));
        parts.len() - 1
    });
    for (place, annotation) in message.citations.into_iter().flatten().filter_map(citation::decode) {
        let at = match place {
            CitedPart::Content(Some(index)) => {
                usize::try_from(index).ok().and_then(|index| places.get(index).copied().flatten())
            }
            CitedPart::Content(None) => parts.iter().position(|part| matches!(part, Part::Text { .. })),
            CitedPart::Plan => plan,
            CitedPart::Thinking => None,
        };
        if let Some(Part::Text { annotations, .. }) = at.and_then(|at| parts.get_mut(at)) {
            annotations.push(annotation);
        }
    }
    let mut number = 0;
    for call in message.tool_calls.into_iter().flatten() {
        let call = tool_call(call, || made_call_id(context.answer, number));
        number += usize::from(call.is_some());
        parts.extend(call);
    }
    parts
}

/// A call without a name cannot be made.
fn tool_call(call: ToolCall<'_>, made: impl FnOnce() -> String) -> Option<Part<'_>> {
    let function = call.function?;
    let name = function.name.filter(|name| !name.is_empty())?;
    let arguments = function.arguments.unwrap_or_default();
    let id = call.id.filter(|id| !id.is_empty()).map_or_else(|| made().into(), Into::into);
    Some(Part::ToolCall {
        id,
        name: name.into(),
        arguments: arguments.into(),
        kind: CallKind::Function,
        signature: None,
        cache: None,
    })
}
