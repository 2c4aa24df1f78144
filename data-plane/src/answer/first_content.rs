//! Whether a stream that passes as it came has begun to say something.
//!
//! Formats begin with events that only name the answer. They are told by their own form: whatever is not one of them, known
//! here or not, is something that a client may show.

use std::{borrow::Cow, collections::HashMap};

use omniroute_wire::{
    event_stream::EventReader,
    ir::{Event, Format, StreamError},
    translate::decoder,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::AnswerKind;

/// Looks at the first events of a stream.
pub(crate) struct FirstContent {
    format: Format,
    reader: EventReader,
    /// Of a format of lines: one whose end has not come.
    line: Vec<u8>,
    seen: bool,
}

/// A value of which only the form matters.
type Raw<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Raw<'a>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow, default)]
    finish_reason: Raw<'a>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    message: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(default)]
    done: bool,
}

// === impl FirstContent ===

impl FirstContent {
    pub(crate) fn of(kind: AnswerKind) -> Self {
        let (format, seen) = match kind {
            AnswerKind::Chat(format) => (format, false),
            // Their first event is a picture.
            AnswerKind::Embeddings | AnswerKind::Images => (Format::OpenAiChat, true),
        };
        Self { format, reader: EventReader::default(), line: Vec::new(), seen }
    }

    /// Takes the next bytes of the upstream.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        if self.seen {
            return;
        }
        let Self { format, reader, line, seen } = self;
        if *format == Format::Ollama {
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    *seen |= !says_nothing(*format, line);
                    line.clear();
                }
            }
            return;
        }
        let whole = reader.feed(bytes, |event| *seen |= !says_nothing(*format, event.data));
        // An event that is too long for the reader says something.
        *seen |= whole.is_err();
    }

    /// Whether something that a client would show has come.
    pub(crate) const fn is_seen(&self) -> bool {
        self.seen
    }
}

/// Whether an event only names the answer.
fn says_nothing(format: Format, data: &[u8]) -> bool {
    let kind_in = |kinds: &[&str]| {
        serde_json::from_slice::<Typed<'_>>(data).is_ok_and(|event| kinds.contains(&event.kind.as_ref()))
    };
    match format {
        Format::OpenAiChat => serde_json::from_slice::<Chunk<'_>>(data).is_ok_and(|chunk| {
            let choices = chunk.choices.unwrap_or_default();
            is_empty(chunk.usage)
                && choices.iter().all(|choice| {
                    let delta = choice.delta.iter().flatten();
                    is_empty(choice.finish_reason) && are_empty(delta.map(|(name, value)| (name, *value)))
                })
        }),
        Format::OpenAiResponses => kind_in(&["response.created", "response.in_progress", "response.queued"]),
        Format::Anthropic => kind_in(&["message_start", "ping"]),
        Format::Ollama => serde_json::from_slice::<Line<'_>>(data).is_ok_and(|line| {
            let fields = line.message.iter().flatten();
            !line.done && are_empty(fields.map(|(name, value)| (name, *value)))
        }),
        // Its first element has the first words.
        Format::Gemini | Format::Cohere | Format::Bedrock => false,
    }
}

/// Whether no field says anything but whose turn it is.
fn are_empty<'f>(mut fields: impl Iterator<Item = (&'f Cow<'f, str>, &'f RawValue)>) -> bool {
    fields.all(|(name, value)| name == "role" || is_empty(Some(value)))
}

fn is_empty(value: Raw<'_>) -> bool {
    value.is_none_or(|value| matches!(value.get(), "null" | "\"\"" | "[]" | "{}"))
}

/// What an error among these whole events says.
pub(super) fn error_in(kind: AnswerKind, events: &[u8]) -> Option<StreamError> {
    let AnswerKind::Chat(format) = kind else { return None };
    let mut found = None;
    decoder(format).feed(events, &mut |event| {
        if let Event::Error(error) = event {
            found.get_or_insert(error);
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#;
    const LINE: &str = r#"{"model":"m","message":{"role":"assistant","content":""},"done":false}"#;

    #[test]
    fn only_what_names_the_answer_says_nothing() {
        for (format, data) in [
            (Format::OpenAiChat, ROLE),
            (Format::OpenAiChat, r#"{"id":"c","choices":[]}"#),
            (Format::OpenAiResponses, r#"{"type":"response.created","response":{"id":"r","output":[]}}"#),
            (Format::Anthropic, r#"{"type":"message_start","message":{"id":"m","content":[]}}"#),
            (Format::Anthropic, r#"{"type": "ping"}"#),
            (Format::Ollama, LINE),
        ] {
            assert!(says_nothing(format, data.as_bytes()), "{data}");
        }
        for (format, data) in [
            (Format::OpenAiChat, r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#),
            (Format::OpenAiChat, r#"{"choices":[{"delta":{"audio":{"data":"x"}}}]}"#),
            (Format::OpenAiChat, r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#),
            (Format::OpenAiChat, r#"{"choices":[],"usage":{"total_tokens":1}}"#),
            (Format::OpenAiChat, "[DONE]"),
            (Format::OpenAiChat, "no json"),
            (Format::OpenAiResponses, r#"{"type":"response.output_item.added","item":{"type":"web_search_call"}}"#),
            (Format::Anthropic, r#"{"type":"content_block_start","content_block":{"type":"server_tool_use"}}"#),
            (Format::Gemini, r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"x"}]}}]}"#),
            (Format::Ollama, r#"{"message":{"role":"assistant","thinking":"x"},"done":false}"#),
            (Format::Ollama, r#"{"done":true}"#),
        ] {
            assert!(!says_nothing(format, data.as_bytes()), "{data}");
        }
    }

    #[test]
    fn events_are_understood_wherever_they_are_split() {
        let events = format!(": PROCESSING\n\ndata: {ROLE}\n\ndata:\n\n");
        let lines = format!("{LINE}\n{LINE}\n");
        for (format, nothing, something) in [
            (Format::OpenAiChat, &events, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"),
            (Format::Ollama, &lines, "{\"done\":true}\n"),
        ] {
            for split in 1..nothing.len() {
                let mut content = FirstContent::of(AnswerKind::Chat(format));
                [&nothing[..split], &nothing[split..]].iter().for_each(|piece| content.see(piece.as_bytes()));
                assert!(!content.is_seen(), "{split}");
                content.see(something.as_bytes());
                assert!(content.is_seen(), "{split}");
            }
        }
        assert!(FirstContent::of(AnswerKind::Images).is_seen());
    }
}
