//! The forced tool that stands for a format of the answer, on models that have none, or none beside tools (Bedrock, Gemini): its
//! arguments are the answer's text, and what a model says beside that call is not part of the answer.
//!
//! Decoders read it as the call that it is. [`unwrap`] makes the answer of it, in a stream [`Unwrapping`], which holds texts back
//! until it is clear what they are: in front of a client's own tool they stand, in front of the answer they would spoil its JSON.

use crate::{
    codec::StreamDecoder,
    event_stream::MAX_EVENT_BYTES,
    ir::{Event, FinishReason, Part, PartKind, Response},
};

/// Its name; the prefix keeps it apart from every client's tools.
pub(crate) const ANSWER_TOOL: &str = "omniroute_json_answer";

pub(crate) const ANSWER_DESCRIPTION: &str =
    "Gives the final answer to the user. Call it exactly once, with the whole answer as its input.";

/// Said to models that cannot be held to any JSON object.
pub(crate) const JSON_NOTE: &str = "Answer with one JSON object and nothing else.";

/// Said where the tools must be declared, because the history has calls, but must not be called.
pub(crate) const NO_CALLS_NOTE: &str = "Answer without calling any tool.";

/// Reads a stream in which the answer may come as a call of that tool.
pub(crate) struct Unwrapping {
    decoder: Box<dyn StreamDecoder>,
    choices: Vec<Unwrapped>,
}

/// One choice of such a stream.
#[derive(Debug, Default)]
struct Unwrapped {
    /// What became of the decoder's parts that are open, by their numbers.
    open: Vec<(u32, Fate)>,
    next_part: u32,
    /// Texts of which it is not known yet whether they stand.
    held: String,
    /// Texts stand as they come: some call was made, or too much would be held.
    stands: bool,
    answered: bool,
    called: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes on under this number.
    Part(u32),
    /// The call whose arguments are the answer.
    Answer {
        part: u32,
        has_arguments: bool,
    },
    Held,
    Dropped,
}

/// Makes the answer of the call that stands for it.
pub(crate) fn unwrap(response: &mut Response<'_>) {
    for choice in &mut response.choices {
        let is_answer = |part: &Part<'_>| matches!(part, Part::ToolCall { name, .. } if name == ANSWER_TOOL);
        if !choice.parts.iter().any(is_answer) {
            continue;
        }
        choice.parts.retain(|part| !matches!(part, Part::Text { .. }));
        for part in &mut choice.parts {
            if let Part::ToolCall { name, arguments, .. } = part
                && name == ANSWER_TOOL
            {
                let text = std::mem::take(arguments);
                *part = Part::text(if text.trim().is_empty() { "{}".into() } else { text });
            }
        }
        let called = choice.parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
        if choice.finish == Some(FinishReason::ToolCalls) && !called {
            choice.finish = Some(FinishReason::End);
        }
    }
}

// === impl Unwrapping ===

impl Unwrapping {
    pub(crate) fn new(decoder: Box<dyn StreamDecoder>) -> Self {
        Self { decoder, choices: Vec::new() }
    }
}

impl StreamDecoder for Unwrapping {
    fn of_answer(&mut self, answer: &str) {
        self.decoder.of_answer(answer);
    }

    fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event<'_>)) {
        let Self { decoder, choices } = self;
        decoder.feed(bytes, &mut |event| pass(choices, event, emit));
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        let Self { decoder, choices } = self;
        decoder.end(&mut |event| pass(choices, event, emit));
    }

    fn done(&self) -> bool {
        self.decoder.done()
    }

    fn complete(&self) -> bool {
        self.decoder.complete()
    }
}

fn pass(choices: &mut Vec<Unwrapped>, event: Event<'_>, emit: &mut dyn FnMut(Event<'_>)) {
    let index = match (event.place(), &event) {
        (Some((choice, _)), _) => choice,
        (None, Event::Finish { choice, .. }) => *choice,
        (None, Event::Error(_)) => {
            for (choice, own) in (0_u32..).zip(choices) {
                own.release(choice, emit);
            }
            return emit(event);
        }
        _ => return emit(event),
    };
    // Decoders bound how many there are.
    let at = index as usize;
    if choices.len() <= at {
        choices.resize_with(at + 1, Unwrapped::default);
    }
    choices[at].event(index, event, emit);
}

// === impl Unwrapped ===

impl Unwrapped {
    fn event(&mut self, choice: u32, event: Event<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        match event {
            Event::PartStart { part, kind, .. } => self.begin(choice, part, kind, emit),
            Event::TextDelta { part, text, .. } => match self.fate(part) {
                Fate::Held => {
                    self.held.push_str(&text);
                    if self.held.len() > MAX_EVENT_BYTES {
                        self.release(choice, emit);
                    }
                }
                Fate::Part(part) => emit(Event::TextDelta { choice, part, text }),
                Fate::Answer { .. } | Fate::Dropped => {}
            },
            Event::ArgsDelta { part, text, .. } => match self.open.iter_mut().find(|(own, _)| *own == part) {
                Some((_, Fate::Answer { part, has_arguments })) => {
                    *has_arguments |= !text.is_empty();
                    emit(Event::TextDelta { choice, part: *part, text });
                }
                Some((_, Fate::Part(part))) => emit(Event::ArgsDelta { choice, part: *part, text }),
                _ => {}
            },
            Event::ThinkingDelta { part, text, .. } => {
                if let Fate::Part(part) = self.fate(part) {
                    emit(Event::ThinkingDelta { choice, part, text });
                }
            }
            Event::SignatureDelta { part, signature, .. } => {
                if let Fate::Part(part) = self.fate(part) {
                    emit(Event::SignatureDelta { choice, part, signature });
                }
            }
            Event::Annotation { part, annotation, .. } => {
                if self.fate(part) == Fate::Held {
                    // A text that has sources is one.
                    self.release(choice, emit);
                }
                if let Fate::Part(part) = self.fate(part) {
                    emit(Event::Annotation { choice, part, annotation });
                }
            }
            Event::PartStop { part, .. } => self.stop(choice, part, emit),
            Event::Finish { reason, stop_sequence, .. } => {
                self.release(choice, emit);
                let only_answered = self.answered && !self.called && reason == FinishReason::ToolCalls;
                let reason = if only_answered { FinishReason::End } else { reason };
                emit(Event::Finish { choice, reason, stop_sequence });
            }
            other => emit(other),
        }
    }

    fn begin(&mut self, choice: u32, part: u32, kind: PartKind<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let fate = match kind {
            PartKind::Text if self.answered => Fate::Dropped,
            PartKind::Text if !self.stands => Fate::Held,
            PartKind::ToolCall { name, .. } if name == ANSWER_TOOL => {
                self.answered = true;
                self.held.clear();
                for (_, fate) in &mut self.open {
                    if *fate == Fate::Held {
                        *fate = Fate::Dropped;
                    }
                }
                let part = self.start(choice, PartKind::Text, emit);
                Fate::Answer { part, has_arguments: false }
            }
            kind => {
                if matches!(kind, PartKind::ToolCall { .. }) {
                    self.called = true;
                    self.release(choice, emit);
                }
                Fate::Part(self.start(choice, kind, emit))
            }
        };
        self.open.push((part, fate));
    }

    fn stop(&mut self, choice: u32, part: u32, emit: &mut dyn FnMut(Event<'_>)) {
        let Some(at) = self.open.iter().position(|(own, _)| *own == part) else { return };
        match self.open.swap_remove(at).1 {
            Fate::Part(part) => emit(Event::PartStop { choice, part }),
            Fate::Answer { part, has_arguments } => {
                if !has_arguments {
                    emit(Event::TextDelta { choice, part, text: "{}".into() });
                }
                emit(Event::PartStop { choice, part });
            }
            Fate::Held | Fate::Dropped => {}
        }
    }

    fn fate(&self, part: u32) -> Fate {
        self.open.iter().find(|(own, _)| *own == part).map_or(Fate::Dropped, |(_, fate)| *fate)
    }

    fn start(&mut self, choice: u32, kind: PartKind<'_>, emit: &mut dyn FnMut(Event<'_>)) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        emit(Event::PartStart { choice, part, kind });
        part
    }

    /// Texts stand from here on, those that were held first: as one, which goes on if the last of them does.
    fn release(&mut self, choice: u32, emit: &mut dyn FnMut(Event<'_>)) {
        self.stands = true;
        let held = std::mem::take(&mut self.held);
        let open = self.open.iter().position(|(_, fate)| *fate == Fate::Held);
        if held.is_empty() && open.is_none() {
            return;
        }
        let part = self.start(choice, PartKind::Text, emit);
        emit(Event::TextDelta { choice, part, text: held.into() });
        match open {
            Some(at) => self.open[at].1 = Fate::Part(part),
            None => emit(Event::PartStop { choice, part }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gemini,
        ir::{Choice, Collector, Validator},
    };

    const SAID: &str = r#"{"text":"Here it is:"}"#;
    const THOUGHT: &str = r#"{"text":"hm","thought":true}"#;
    const ANSWER: &str = r#"{"functionCall":{"name":"omniroute_json_answer","args":{"city": "Rome"}}}"#;
    const CALL: &str = r#"{"functionCall":{"name":"f","args":{"a":1}}}"#;

    /// An answer made of these parts, as a stream with an element for each and as a document.
    fn read(parts: &[&str]) -> (Choice<'static>, Choice<'static>) {
        let element = |parts: &str, end: &str| {
            format!(r#"{{"candidates":[{{"content":{{"role":"model","parts":[{parts}]}}{end}}}],"responseId":"r"}}"#)
        };
        let (mut validator, mut collector) = (Validator::default(), Collector::default());
        let mut push = |event: Event<'_>| {
            validator.check(&event).expect("in order");
            collector.push(&event);
        };
        let mut decoder = Unwrapping::new(Box::new(gemini::Decoder::default()));
        for part in parts {
            decoder.feed(format!("data: {}\n\n", element(part, "")).as_bytes(), &mut push);
        }
        decoder.feed(format!("data: {}\n\n", element("", r#","finishReason":"STOP""#)).as_bytes(), &mut push);
        decoder.end(&mut push);
        let streamed = collector.finish().expect("an answer").choices.remove(0);
        let document = element(&parts.join(","), r#","finishReason":"STOP""#);
        let context = crate::codec::DecodeContext { sealer: &Unsealed, answer: "" };
        let mut response = gemini::decode_response(document.as_bytes(), &context).expect("an answer");
        unwrap(&mut response);
        let mut collector = Collector::default();
        crate::ir::replay(&response, &mut |event| collector.push(&event));
        (streamed, collector.finish().expect("an answer").choices.remove(0))
    }

    struct Unsealed;

    impl crate::codec::Sealer for Unsealed {
        fn seal(&self, signature: &crate::ir::Signature<'_>, _: &str) -> String {
            signature.payload.to_string()
        }

        fn open(&self, _: &str) -> Option<crate::ir::Signature<'static>> {
            None
        }
    }

    #[test]
    fn what_is_said_around_the_answer_is_not_part_of_it() {
        let json = Part::text(r#"{"city": "Rome"}"#);
        let thought = Part::Thinking { text: "hm".into(), signature: None };
        for (parts, expected) in [
            (&[ANSWER][..], &[json.clone()][..]),
            (&[SAID, ANSWER], &[json.clone()]),
            (&[SAID, SAID, ANSWER, SAID], &[json.clone()]),
            (&[THOUGHT, SAID, ANSWER], &[thought.clone(), json.clone()]),
            (&[SAID, THOUGHT, ANSWER], &[thought, json]),
        ] {
            let (streamed, whole) = read(parts);
            assert_eq!(streamed.parts, expected, "{parts:?}");
            assert_eq!(whole.parts, expected, "{parts:?}");
            assert_eq!(
                (streamed.finish, whole.finish),
                (Some(FinishReason::End), Some(FinishReason::End)),
                "{parts:?}"
            );
        }
    }

    #[test]
    fn what_is_said_in_front_of_a_clients_own_tool_stands_and_so_does_an_answer_without_any() {
        for (parts, finish) in [(&[SAID, CALL][..], FinishReason::ToolCalls), (&[SAID], FinishReason::End)] {
            let (streamed, whole) = read(parts);
            assert_eq!(streamed.parts[0], Part::text("Here it is:"), "{parts:?}");
            assert_eq!(streamed.parts.len(), parts.len(), "{parts:?}");
            assert_eq!((&whole.parts[0], whole.finish), (&streamed.parts[0], streamed.finish), "{parts:?}");
            assert_eq!(streamed.finish, Some(finish), "{parts:?}");
        }
        let (both, whole) = read(&[CALL, ANSWER]);
        assert_eq!((both.parts.len(), whole.parts.len()), (2, 2));
        assert_eq!((both.finish, whole.finish), (Some(FinishReason::ToolCalls), Some(FinishReason::ToolCalls)));
    }

    #[test]
    fn a_stream_that_fails_gives_out_what_it_held() {
        let mut decoder = Unwrapping::new(Box::new(gemini::Decoder::default()));
        let mut events = Vec::new();
        let said = format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{SAID}]}}}}]}}\n\n");
        decoder.feed(said.as_bytes(), &mut |event| events.push(format!("{event:?}")));
        assert!(!events.iter().any(|event| event.contains("Here")), "{events:?}");
        decoder.end(&mut |event| events.push(format!("{event:?}")));
        let [.., text, error] = events.as_slice() else { panic!("{events:?}") };
        assert!(text.contains("Here it is:") && error.starts_with("Error"), "{events:?}");
    }
}
