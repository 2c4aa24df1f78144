//! A whole answer of either API → [`Response`].

use super::{
    decode_request::{content_parts, tool_call},
    finish_reason,
    logprobs::decode_logprobs,
    message::Answer,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{Choice, Part, Response},
    object::read,
};

/// Reads an answer.
///
/// # Errors
/// When it is no answer: no JSON, an error, or neither a message nor a text.
pub fn decode_response<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Response<'a>, WireError> {
    let mut answer: Answer<'a> = read(body)?;
    if answer.error.is_some() {
        return Err(WireError::new("upstream_error", super::decode_error(500, body).message));
    }
    if answer.message.is_none() && answer.response.is_none() {
        return Err(WireError::field("message", "the upstream's answer has no message"));
    }
    let usage = answer.usage();
    let created = answer.created();
    let mut message = answer.take_message();
    let mut parts = Vec::new();
    if let Some(text) = message.thinking.take().filter(|text| !text.is_empty()) {
        parts.push(Part::Thinking { text: text.into(), signature: None });
    }
    let calls = message.tool_calls.take().unwrap_or_default();
    parts.extend(content_parts(message.images.take(), message.content.take()));
    let before = parts.len();
    // The moment of the answer tells its calls from the same ones of another round.
    let seed = [answer.created_at.as_deref().unwrap_or_default(), context.answer].concat();
    parts.extend(calls.into_iter().enumerate().filter_map(|(number, call)| tool_call(call, &seed, number)));
    let called = parts.len() > before;
    let finish = finish_reason(answer.done_reason.as_deref(), called);
    let choice = Choice {
        parts,
        finish: (answer.done != Some(false)).then_some(finish),
        stop_sequence: None,
        logprobs: answer.logprobs.and_then(decode_logprobs),
    };
    let mut response = Response {
        model: answer.model.map(Into::into).unwrap_or_default(),
        created,
        choices: vec![choice],
        usage,
        ..Response::default()
    };
    for (name, raw) in answer.rest {
        response.extensions.push(name, raw);
    }
    Ok(response)
}
