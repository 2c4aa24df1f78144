//! A `GenerateContentResponse` → [`Response`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    content::{Origin, push_part},
    error, finish, grounding,
    logprobs::{self, LogprobsResult},
    message::{OneOrMany, Said, WholeNumber},
    text_map::TextMap,
    usage::UsageField,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{Annotation, Choice, Extensions, FinishReason, Part, Response},
    object::{read, wire_object},
    text::Str,
};

wire_object! {
    pub(super) struct Body<'a> {
        candidates: OneOrMany<Candidate<'a>> = "candidates",
        prompt_feedback: &'a RawValue = "promptFeedback" | "prompt_feedback",
        usage: UsageField<'a> = lenient "usageMetadata" | "usage_metadata",
        model: Str<'a> = lenient "modelVersion" | "model_version",
        id: Str<'a> = lenient "responseId" | "response_id",
        error: &'a RawValue = "error",
    }
}

wire_object! {
    pub(super) struct Candidate<'a> {
        index: WholeNumber = lenient "index",
        content: Said<'a> = "content",
        finish_reason: Str<'a> = lenient "finishReason" | "finish_reason",
        grounding: &'a RawValue = "groundingMetadata" | "grounding_metadata",
        citations: &'a RawValue = "citationMetadata" | "citation_metadata",
        logprobs: LogprobsResult<'a> = lenient "logprobsResult" | "logprobs_result",
    }
}

wire_object! {
    struct PromptFeedback<'a> {
        block_reason: Str<'a> = lenient "blockReason" | "block_reason",
    }
}

/// Reads an answer.
///
/// # Errors
/// When it is no answer: no JSON, an error, or no candidates and no reason why.
pub fn decode_response<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Response<'a>, WireError> {
    let body: Body<'a> = read(body)?;
    if let Some(raw) = body.error {
        return Err(WireError::new("upstream_error", error::message_of(raw)));
    }
    let mut response = Response {
        id: body.id.unwrap_or_default().into(),
        model: body.model.unwrap_or_default().into(),
        usage: body.usage.map(|usage| usage.disjoint()).unwrap_or_default(),
        ..Response::default()
    };
    for candidate in body.candidates.unwrap_or_default().0 {
        let choice =
            decode_candidate(candidate, &response.id, response.choices.len(), &mut response.extensions, context)?;
        response.choices.push(choice);
    }
    if response.choices.is_empty() {
        if !body.prompt_feedback.is_some_and(is_blocked) {
            return Err(WireError::field("candidates", "the upstream's answer has no candidates"));
        }
        response.choices.push(Choice { finish: Some(FinishReason::ContentFilter), ..Choice::default() });
    }
    if let Some(raw) = body.prompt_feedback {
        response.extensions.push("promptFeedback", raw);
    }
    for (name, raw) in body.rest {
        response.extensions.push(name, raw);
    }
    Ok(response)
}

/// Whether the prompt itself was refused.
pub(super) fn is_blocked(feedback: &RawValue) -> bool {
    let feedback = serde_json::from_str::<PromptFeedback<'_>>(feedback.get()).unwrap_or_default();
    feedback.block_reason.is_some_and(|reason| !reason.is_empty() && !reason.ends_with("REASON_UNSPECIFIED"))
}

fn decode_candidate<'a>(
    candidate: Candidate<'a>,
    id: &str,
    number: usize,
    extensions: &mut Extensions<'a>,
    context: &DecodeContext<'_>,
) -> Result<Choice<'a>, WireError> {
    // Candidates of one answer may make the same call: their ids differ.
    let seed = if number == 0 { format!("{id}{}", context.answer) } else { format!("{id}{}/{number}", context.answer) };
    let mut origin = Origin { turn: &seed, calls: 0 };
    let mut parts = Vec::new();
    let mut map = TextMap::default();
    for (index, field) in candidate.content.unwrap_or_default().parts.unwrap_or_default().0.into_iter().enumerate() {
        map.begin_part();
        if let Some(text) = field.text.as_ref().filter(|_| field.thought != Some(true)) {
            map.push(text);
        }
        push_part(&mut parts, field, &mut origin, context).map_err(|error| WireError {
            param: error.param.map(|field| format!("candidates.{number}.content.parts.{index}.{field}")),
            ..error
        })?;
    }
    annotate(&mut parts, annotations(candidate.grounding, candidate.citations, &map));
    for (name, raw) in [("groundingMetadata", candidate.grounding), ("citationMetadata", candidate.citations)] {
        if let Some(raw) = raw {
            extensions.push(format!("candidates.{number}.{name}"), raw);
        }
    }
    for (name, raw) in candidate.rest {
        extensions.push(format!("candidates.{number}.{name}"), raw);
    }
    let finish = candidate.finish_reason.filter(|word| !word.is_empty()).map(|word| finish::finish_reason(&word));
    let finish = match (finish, origin.calls > 0) {
        (None, true) => Some(FinishReason::ToolCalls),
        (finish, called) => finish.map(|reason| finish::with_calls(reason, called)),
    };
    let logprobs = candidate.logprobs.as_ref().and_then(logprobs::decode);
    Ok(Choice { parts, finish, stop_sequence: None, logprobs })
}

/// Annotations go to the first text; their offsets count through all of them.
fn annotate<'a>(parts: &mut Vec<Part<'a>>, all: Vec<Annotation<'a>>) {
    if all.is_empty() {
        return;
    }
    let first = parts.iter_mut().find_map(|part| match part {
        Part::Text { annotations, .. } => Some(annotations),
        _ => None,
    });
    match first {
        Some(annotations) => annotations.extend(all),
        None => parts.push(Part::Text { text: Cow::Borrowed(""), annotations: all, cache: None }),
    }
}

pub(super) fn annotations<'a>(
    grounding: Option<&'a RawValue>,
    citations: Option<&'a RawValue>,
    map: &TextMap,
) -> Vec<Annotation<'a>> {
    // What is malformed here says nothing; the answer itself is still good.
    let grounding = grounding.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let citations = citations.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let mut all = grounding.map(|grounding| grounding::of_grounding(grounding, map)).unwrap_or_default();
    all.extend(citations.map(|citations| grounding::of_citations(citations, map)).unwrap_or_default());
    all
}
