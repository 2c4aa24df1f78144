//! A `chat.completion` → [`Response`].

use serde_json::value::RawValue;

use super::{content, error, finish_reason, is_failure, message::Answered, usage::UsageField};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{CallKind, Choice, FinishReason, Part, Response, Signature},
    object::{read, wire_object},
    stable_id::made_call_id,
    text::Str,
};

wire_object! {
    struct Body<'a> {
        id: Str<'a> = lenient "id",
        object: Str<'a> = lenient "object",
        created: u64 = lenient "created",
        model: Str<'a> = lenient "model",
        choices: Vec<ChoiceField<'a>> = "choices",
        usage: UsageField<'a> = lenient "usage",
        service_tier: Str<'a> = lenient "service_tier",
        system_fingerprint: Str<'a> = lenient "system_fingerprint",
    }
}

wire_object! {
    struct ChoiceField<'a> {
        index: u32 = lenient "index",
        message: Answered<'a> = "message",
        finish_reason: Str<'a> = lenient "finish_reason",
        logprobs: &'a RawValue = "logprobs",
        // OpenRouter's place for what went wrong.
        error: &'a RawValue = "error",
    }
}

/// Reads an answer.
///
/// # Errors
/// When it is no answer: no JSON, no choices, or one that ended with an error (`upstream_error`; `decode_error` tells why).
pub fn decode_response<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Response<'a>, WireError> {
    let body: Body<'a> = read(body)?;
    let Some(choices) = body.choices else {
        return Err(WireError::field("choices", "the upstream's answer has no choices"));
    };
    let mut response = Response {
        id: body.id.unwrap_or_default().into(),
        model: body.model.unwrap_or_default().into(),
        created: body.created,
        usage: body.usage.map(|usage| usage.disjoint()).unwrap_or_default(),
        service_tier: body.service_tier.map(Into::into),
        system_fingerprint: body.system_fingerprint.map(Into::into),
        ..Response::default()
    };
    for choice in choices {
        response.choices.push(decode_choice(choice, context)?);
    }
    for (name, raw) in body.rest {
        response.extensions.push(name, raw);
    }
    Ok(response)
}

fn decode_choice<'a>(choice: ChoiceField<'a>, context: &DecodeContext<'_>) -> Result<Choice<'a>, WireError> {
    if let Some(raw) = choice.error.filter(|raw| raw.get() != "null") {
        return Err(WireError::new("upstream_error", error::decode_field(500, raw).message));
    }
    if choice.finish_reason.as_deref().is_some_and(is_failure) {
        return Err(WireError::new("upstream_error", "the upstream ended its answer with an error"));
    }
    let mut message = choice.message.unwrap_or_default();
    let mut parts = Vec::new();
    content::push_told(&mut parts, &mut message);
    let calls = message.tool_calls.take();
    let legacy = message.function_call.take();
    let refusal = message.refusal.take().filter(|text| !text.is_empty());
    let annotations = message.annotations.take();
    let audio = message.audio.take();
    let text_at = parts.len();
    let images = message.images.take();
    parts.extend(content::answer_parts(message, "choices.message.content", context));
    let text = parts[text_at..].iter_mut().find_map(|part| match part {
        Part::Text { annotations, .. } => Some(annotations),
        _ => None,
    });
    if let (Some(fields), Some(annotations)) = (annotations, text) {
        annotations.extend(fields.into_iter().filter_map(content::annotation));
    }
    parts.extend(images.into_iter().flatten().filter_map(|image| content::picture(image, context)));
    if let Some(audio) = audio {
        // What is said is the answer where a client takes no sound.
        let is_silent = !parts[text_at..].iter().any(|part| matches!(part, Part::Text { .. }));
        let spoken = audio.transcript.as_ref().filter(|text| is_silent && !text.is_empty());
        parts.extend(spoken.map(|text| Part::text(text.0.clone())));
        parts.extend(content::audio_part(audio));
    }
    parts.extend(refusal.map(|text| Part::Refusal { text: text.into() }));
    let mut called = false;
    for (number, call) in calls.into_iter().flatten().enumerate() {
        let signature = call
            .extra_content
            .and_then(|extra| extra.google)
            .and_then(|google| google.thought_signature)
            .map(|payload| Signature { family: crate::ir::Family::Gemini, payload: payload.into() });
        let (name, arguments, kind) = match (call.function, call.custom) {
            (Some(function), _) => (function.name, function.arguments.unwrap_or_default().0, CallKind::Function),
            (None, Some(custom)) => (custom.name, custom.input.unwrap_or_default().0, CallKind::Custom),
            (None, None) => continue,
        };
        let Some(name) = name else { continue };
        // As a stream names calls that have no id.
        let id =
            call.id.filter(|id| !id.is_empty()).map_or_else(|| made_call_id(context.answer, number).into(), Into::into);
        parts.push(Part::ToolCall { id, name: name.into(), arguments, kind, signature, cache: None });
        called = true;
    }
    if let Some(name) = legacy.as_ref().and_then(|call| call.name.clone()) {
        parts.push(Part::ToolCall {
            id: super::legacy_call_id(&name).into(),
            name: name.into(),
            arguments: legacy.and_then(|call| call.arguments).unwrap_or_default().0,
            kind: CallKind::Function,
            signature: None,
            cache: None,
        });
        called = true;
    }
    let finish = choice.finish_reason.map(|word| finish_reason(&word));
    // Some hosts say "stop" beside tool calls.
    let finish =
        if called && matches!(finish, Some(FinishReason::End) | None) { Some(FinishReason::ToolCalls) } else { finish };
    let logprobs = choice.logprobs.filter(|raw| raw.get() != "null").map(Into::into);
    Ok(Choice { parts, finish, stop_sequence: None, logprobs })
}
