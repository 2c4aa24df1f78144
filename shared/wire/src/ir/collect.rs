//! Events back into one answer: for clients that do not stream on upstreams that do.

use std::{borrow::Cow, collections::BTreeMap};

use super::{CallKind, Choice, Event, FinishReason, Json, Part, PartKind, Response, Signature, StreamError};

/// Gathers a stream. Memory is bounded by the caller, who feeds it a bounded stream.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    response: Response<'static>,
    choices: BTreeMap<u32, Gathering>,
    error: Option<StreamError>,
}

#[derive(Clone, Debug, Default)]
struct Gathering {
    parts: Vec<Part<'static>>,
    finish: Option<FinishReason>,
    stop_sequence: Option<String>,
    logprobs: Vec<Json<'static>>,
}

fn own(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

fn own_signature(signature: &Signature<'_>) -> Signature<'static> {
    Signature { family: signature.family, payload: own(&signature.payload) }
}

// === impl Collector ===

impl Collector {
    /// Takes the next event. Events that are out of order are ignored; [`super::Validator`] is where they are caught.
    pub fn push(&mut self, event: &Event<'_>) {
        match event {
            Event::Start { id, model, created } => {
                self.response.id = own(id);
                self.response.model = own(model);
                self.response.created = *created;
            }
            Event::Served { service_tier, system_fingerprint } => {
                for (known, said) in [
                    (&mut self.response.service_tier, service_tier),
                    (&mut self.response.system_fingerprint, system_fingerprint),
                ] {
                    if let Some(said) = said {
                        *known = Some(own(said));
                    }
                }
            }
            Event::PartStart { choice, kind, .. } => {
                self.choices.entry(*choice).or_default().parts.push(empty_part(kind));
            }
            Event::TextDelta { choice, part, text: delta } => {
                if let Some(Part::Text { text, .. } | Part::Refusal { text }) = self.part(*choice, *part) {
                    text.to_mut().push_str(delta);
                }
            }
            Event::ThinkingDelta { choice, part, text: delta } => {
                if let Some(Part::Thinking { text, .. }) = self.part(*choice, *part) {
                    text.to_mut().push_str(delta);
                }
            }
            Event::ArgsDelta { choice, part, text: delta } => {
                if let Some(Part::ToolCall { arguments, .. }) = self.part(*choice, *part) {
                    arguments.to_mut().push_str(delta);
                }
            }
            Event::SignatureDelta { choice, part, signature: new } => {
                if let Some(Part::Thinking { signature, .. } | Part::ToolCall { signature, .. }) =
                    self.part(*choice, *part)
                {
                    *signature = Some(own_signature(new));
                }
            }
            Event::Annotation { choice, part, annotation } => {
                if let Some(Part::Text { annotations, .. }) = self.part(*choice, *part) {
                    annotations.push(annotation.clone().into_owned());
                }
            }
            Event::Logprobs { choice, raw } => {
                self.choices.entry(*choice).or_default().logprobs.push(raw.clone().into_owned());
            }
            Event::Usage(usage) => self.response.usage = *usage,
            Event::Finish { choice, reason, stop_sequence } => {
                let gathering = self.choices.entry(*choice).or_default();
                gathering.finish = Some(*reason);
                gathering.stop_sequence = stop_sequence.as_deref().map(str::to_owned);
            }
            Event::Error(error) => self.error = Some(error.clone()),
            Event::PartStop { .. } | Event::Ping => {}
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// The stream's own error, when it ended with one.
    pub fn finish(mut self) -> Result<Response<'static>, StreamError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.response.choices = self
            .choices
            .into_values()
            .map(|gathering| Choice {
                parts: gathering.parts,
                finish: gathering.finish,
                stop_sequence: gathering.stop_sequence.map(Cow::Owned),
                logprobs: merge_logprobs(gathering.logprobs),
            })
            .collect();
        Ok(self.response)
    }

    fn part(&mut self, choice: u32, part: u32) -> Option<&mut Part<'static>> {
        self.choices.get_mut(&choice)?.parts.get_mut(usize::try_from(part).ok()?)
    }
}

fn empty_part(kind: &PartKind<'_>) -> Part<'static> {
    match kind {
        PartKind::Text => Part::text(""),
        PartKind::Refusal => Part::Refusal { text: Cow::Borrowed("") },
        PartKind::Thinking => Part::Thinking { text: Cow::Borrowed(""), signature: None },
        PartKind::RedactedThinking { data } => Part::RedactedThinking { data: own_signature(data) },
        PartKind::ToolCall { id, name, kind } => Part::ToolCall {
            id: own(id),
            name: own(name),
            arguments: Cow::Borrowed(""),
            kind: *kind,
            signature: None,
            cache: None,
        },
        PartKind::ServerTool { family, raw } => Part::ServerTool { family: *family, raw: raw.clone().into_owned() },
        PartKind::Media { media_type, data } => media_part(media_type, data),
    }
}

fn media_part(media_type: &str, data: &str) -> Part<'static> {
    let source = super::Source::Inline { media_type: own(media_type), data: own(data) };
    if media_type.starts_with("audio/") {
        Part::Audio { source, format: None, transcript: None }
    } else if media_type.starts_with("video/") {
        Part::Video { source }
    } else {
        Part::Image { source, detail: None, cache: None }
    }
}

/// Chat's chunks carry `{"content": […], "refusal": […]}`; the whole answer carries the lists joined.
fn merge_logprobs(chunks: Vec<Json<'static>>) -> Option<Json<'static>> {
    let mut merged = serde_json::Map::new();
    for chunk in chunks {
        let serde_json::Value::Object(fields) = chunk.to_value() else { continue };
        for (name, value) in fields {
            match (merged.get_mut(&name), value) {
                (Some(serde_json::Value::Array(all)), serde_json::Value::Array(more)) => all.extend(more),
                (_, value) => {
                    merged.insert(name, value);
                }
            }
        }
    }
    if merged.is_empty() { None } else { Json::from_value(&serde_json::Value::Object(merged)) }
}

/// Arguments of a call must be an object wherever they are shown as one; an empty text means no arguments.
pub(crate) fn arguments_or_empty_object(arguments: &str, kind: CallKind) -> &str {
    if kind == CallKind::Function && arguments.trim().is_empty() { "{}" } else { arguments }
}
