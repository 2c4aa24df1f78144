//! One answer as events: for clients that stream on upstreams that do not.

use super::{CallKind, Choice, Event, FinishReason, Part, PartKind, Response, Source};

/// Emits the events of a whole answer, in the order that [`super::Validator`] checks.
pub fn replay<'a>(response: &'a Response<'a>, emit: &mut dyn FnMut(Event<'a>)) {
    emit(Event::Start {
        id: response.id.as_ref().into(),
        model: response.model.as_ref().into(),
        created: response.created,
    });
    if response.service_tier.is_some() || response.system_fingerprint.is_some() {
        emit(Event::Served {
            service_tier: response.service_tier.as_deref().map(Into::into),
            system_fingerprint: response.system_fingerprint.as_deref().map(Into::into),
        });
    }
    for (choice, content) in (0_u32..).zip(&response.choices) {
        for (part, content) in (0_u32..).zip(&content.parts) {
            replay_part(choice, part, content, emit);
        }
        if let Some(raw) = &content.logprobs {
            emit(Event::Logprobs { choice, raw: raw.clone() });
        }
        emit(finish_of(choice, content));
    }
    emit(Event::Usage(response.usage));
}

fn finish_of<'a>(choice: u32, content: &'a Choice<'a>) -> Event<'a> {
    Event::Finish {
        choice,
        reason: content.finish.unwrap_or(FinishReason::End),
        stop_sequence: content.stop_sequence.as_deref().map(Into::into),
    }
}

fn replay_part<'a>(choice: u32, part: u32, content: &'a Part<'a>, emit: &mut dyn FnMut(Event<'a>)) {
    let kind = match content {
        Part::Text { .. } => PartKind::Text,
        Part::Refusal { .. } => PartKind::Refusal,
        Part::Thinking { .. } => PartKind::Thinking,
        Part::RedactedThinking { data } => PartKind::RedactedThinking { data: data.clone() },
        Part::ToolCall { id, name, kind, .. } => {
            PartKind::ToolCall { id: id.as_ref().into(), name: name.as_ref().into(), kind: *kind }
        }
        Part::ServerTool { family, raw } => PartKind::ServerTool { family: *family, raw: raw.clone() },
        Part::Image { source: Source::Inline { media_type, data }, .. }
        | Part::Audio { source: Source::Inline { media_type, data }, .. }
        | Part::Video { source: Source::Inline { media_type, data } } => {
            PartKind::Media { media_type: media_type.as_ref().into(), data: data.as_ref().into() }
        }
        // An answer has no other media, and no tool results: those are a user's parts.
        Part::Image { .. }
        | Part::Audio { .. }
        | Part::Video { .. }
        | Part::Document { .. }
        | Part::ToolResult { .. } => PartKind::Text,
    };
    emit(Event::PartStart { choice, part, kind });
    match content {
        Part::Text { text, annotations, .. } => {
            emit(Event::TextDelta { choice, part, text: text.as_ref().into() });
            for annotation in annotations {
                emit(Event::Annotation { choice, part, annotation: annotation.clone() });
            }
        }
        Part::Refusal { text } => emit(Event::TextDelta { choice, part, text: text.as_ref().into() }),
        Part::Thinking { text, signature } => {
            emit(Event::ThinkingDelta { choice, part, text: text.as_ref().into() });
            if let Some(signature) = signature {
                emit(Event::SignatureDelta { choice, part, signature: signature.clone() });
            }
        }
        Part::ToolCall { arguments, signature, kind, .. } => {
            if let Some(signature) = signature {
                emit(Event::SignatureDelta { choice, part, signature: signature.clone() });
            }
            let text = if *kind == CallKind::Function {
                super::collect::arguments_or_empty_object(arguments, *kind)
            } else {
                arguments
            };
            emit(Event::ArgsDelta { choice, part, text: text.into() });
        }
        _ => {}
    }
    emit(Event::PartStop { choice, part });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Collector, Validator};

    #[test]
    fn a_replayed_answer_is_in_order_and_collects_to_itself() {
        let response = Response {
            id: "r1".into(),
            model: "m".into(),
            created: Some(7),
            choices: vec![Choice {
                parts: vec![
                    Part::Thinking { text: "hm".into(), signature: None },
                    Part::text("hello"),
                    Part::ToolCall {
                        id: "c1".into(),
                        name: "f".into(),
                        arguments: "{\"a\": 1}".into(),
                        kind: CallKind::Function,
                        signature: None,
                        cache: None,
                    },
                ],
                finish: Some(FinishReason::ToolCalls),
                stop_sequence: None,
                logprobs: None,
            }],
            ..Response::default()
        };
        let (mut validator, mut collector) = (Validator::default(), Collector::default());
        replay(&response, &mut |event| {
            validator.check(&event).expect("in order");
            collector.push(&event);
        });
        validator.end().expect("complete");
        assert_eq!(collector.finish().expect("an answer"), response);
    }
}
