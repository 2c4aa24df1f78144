//! Checks the order of events that every encoder relies on. It runs in every test and in debug builds.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, PartKind};

/// What stood where it may not stand.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("event out of order: {0}")]
pub struct OrderError(&'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Call,
    Whole,
}

/// Follows one stream.
#[derive(Clone, Debug, Default)]
pub struct Validator {
    started: bool,
    ended: bool,
    open: BTreeMap<(u32, u32), Open>,
    next_part: BTreeMap<u32, u32>,
    finished: BTreeSet<u32>,
}

// === impl Validator ===

impl Validator {
    /// Takes the next event.
    ///
    /// # Errors
    /// When it may not stand here.
    pub fn check(&mut self, event: &Event<'_>) -> Result<(), OrderError> {
        if matches!(event, Event::Ping) {
            return Ok(());
        }
        if self.ended {
            return Err(OrderError("something after an error"));
        }
        if !self.started && !matches!(event, Event::Start { .. } | Event::Error(_)) {
            return Err(OrderError("something before the start"));
        }
        match event {
            Event::Start { .. } if self.started => return Err(OrderError("a second start")),
            Event::Start { .. } => self.started = true,
            Event::PartStart { choice, part, kind } => self.part_start(*choice, *part, kind)?,
            Event::TextDelta { choice, part, .. } | Event::Annotation { choice, part, .. } => {
                self.inside((*choice, *part), &[Open::Text])?;
            }
            Event::ThinkingDelta { choice, part, .. } => self.inside((*choice, *part), &[Open::Thinking])?,
            Event::SignatureDelta { choice, part, .. } => {
                self.inside((*choice, *part), &[Open::Thinking, Open::Call, Open::Text])?;
            }
            Event::ArgsDelta { choice, part, .. } => self.inside((*choice, *part), &[Open::Call])?,
            Event::PartStop { choice, part } => {
                if self.open.remove(&(*choice, *part)).is_none() {
                    return Err(OrderError("a stop of a part that is not open"));
                }
            }
            Event::Finish { choice, .. } => {
                if self.open.keys().any(|(own, _)| own == choice) {
                    return Err(OrderError("a finish while a part is open"));
                }
                if !self.finished.insert(*choice) {
                    return Err(OrderError("a second finish of a choice"));
                }
            }
            Event::Error(_) => self.ended = true,
            Event::Logprobs { .. } | Event::Served { .. } | Event::Usage(_) | Event::Ping => {}
        }
        Ok(())
    }

    /// The stream is over.
    ///
    /// # Errors
    /// When it had neither a finish nor an error, or a part is still open.
    pub fn end(&self) -> Result<(), OrderError> {
        if self.ended {
            return Ok(());
        }
        if self.finished.is_empty() {
            return Err(OrderError("the end without a finish"));
        }
        if self.open.is_empty() { Ok(()) } else { Err(OrderError("the end while a part is open")) }
    }

    fn part_start(&mut self, choice: u32, part: u32, kind: &PartKind<'_>) -> Result<(), OrderError> {
        if self.finished.contains(&choice) {
            return Err(OrderError("a part after its choice has finished"));
        }
        let next = self.next_part.entry(choice).or_default();
        if *next != part {
            return Err(OrderError("a part number that is not the next"));
        }
        *next += 1;
        let open = match kind {
            PartKind::Text | PartKind::Refusal => Open::Text,
            PartKind::Thinking => Open::Thinking,
            PartKind::ToolCall { .. } => Open::Call,
            PartKind::RedactedThinking { .. } | PartKind::ServerTool { .. } | PartKind::Media { .. } => Open::Whole,
        };
        self.open.insert((choice, part), open);
        Ok(())
    }

    fn inside(&self, place: (u32, u32), kinds: &[Open]) -> Result<(), OrderError> {
        match self.open.get(&place) {
            Some(open) if kinds.contains(open) => Ok(()),
            Some(_) => Err(OrderError("a delta inside a part of another kind")),
            None => Err(OrderError("a delta outside its part")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::FinishReason;

    fn start() -> Event<'static> {
        Event::Start { id: "a".into(), model: "m".into(), created: None }
    }

    fn run(events: &[Event<'_>]) -> Result<(), OrderError> {
        let mut validator = Validator::default();
        events.iter().try_for_each(|event| validator.check(event))?;
        validator.end()
    }

    #[test]
    fn a_thinking_delta_inside_a_text_part_is_caught() {
        let events = [
            start(),
            Event::PartStart { choice: 0, part: 0, kind: PartKind::Text },
            Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() },
        ];
        assert_eq!(run(&events), Err(OrderError("a delta inside a part of another kind")));
    }

    #[test]
    fn a_stream_that_just_stops_is_caught() {
        assert_eq!(run(&[start()]), Err(OrderError("the end without a finish")));
        let finish = Event::Finish { choice: 0, reason: FinishReason::End, stop_sequence: None };
        assert_eq!(run(&[start(), finish.clone()]), Ok(()));
        assert_eq!(run(&[start(), finish.clone(), finish]), Err(OrderError("a second finish of a choice")));
    }
}
