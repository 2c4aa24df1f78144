//! Turns → messages that the API accepts: roles alternate, the user begins, nothing is empty.

use std::borrow::Cow;

use super::{
    extras::Extras,
    message::{Item, Message, Slot, Speaker},
    pairing,
};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{CacheMark, Family, Losses, Part, Request, Role, Signature, SystemPart, Turn},
};

/// Said by the user where a conversation has no beginning of his.
const OPENING: &str = "(The beginning of the conversation is not available.)";
/// Said where the last word would otherwise be the assistant's, though it is not meant as the start of the answer.
const GO_ON: &str = "Continue.";

/// Lays out the messages of a request.
///
/// # Errors
/// When a turn holds something that the API cannot take (sound, films).
pub(super) fn messages<'p>(
    request: &'p Request<'p>,
    target: &EncodeTarget<'_>,
    extras: &Extras<'_>,
    losses: &mut Losses,
) -> Result<Vec<Message<'p>>, WireError> {
    let thoughts_back = target.profile.reasoning_content_back;
    let mut layout = Layout { messages: Vec::new(), thoughts_back, losses };
    let system_turns = target.profile.mid_conversation_system;
    let mut systems = request.system.iter().filter(|system| system.position > 0).peekable();
    for (number, turn) in request.turns.iter().enumerate() {
        while let Some(system) = systems.next_if(|system| system.position <= number) {
            let answered = turn.role == Role::Assistant;
            layout.system(system, system_turns && (extras.own() || answered), extras.own());
        }
        layout.turn(number, turn)?;
    }
    for system in systems {
        layout.system(system, system_turns, extras.own());
    }
    if is_prompt_only(request) {
        // The system text is all there is: it is the prompt.
        for system in request.system.iter().filter(|system| system.position == 0) {
            layout.note(Cow::Borrowed(&system.text), system.cache);
        }
    }
    let messages = layout.tidy();
    let mut messages = pairing::pair(messages, losses, GO_ON);
    if messages.first().is_none_or(|first| first.speaker != Speaker::User) {
        messages.insert(0, Message::of_note(Cow::Borrowed(OPENING)));
    }
    // A client of this format knows what its model does.
    if !target.profile.prefill && !extras.own() && messages.len() > 1 && ends_with_answer(&messages) {
        messages.pop();
        losses.drop_field("assistant_prefill");
    }
    trim_prefill(&mut messages);
    Ok(messages)
}

/// Whether no turn says anything, so that the system text stands among the messages.
pub(super) fn is_prompt_only(request: &Request<'_>) -> bool {
    !request.turns.iter().flat_map(|turn| &turn.parts).any(Part::says_something)
}

/// Messages are being laid out.
struct Layout<'p, 'l> {
    messages: Vec<Message<'p>>,
    /// Whether the model wants its thoughts back though nobody signed them.
    thoughts_back: bool,
    losses: &'l mut Losses,
}

// === impl Layout ===

impl<'p> Layout<'p, '_> {
    fn message(&mut self, speaker: Speaker) -> &mut Message<'p> {
        let same = self.messages.last().is_some_and(|last| last.speaker == speaker);
        if !same {
            self.messages.push(Message { speaker, slots: Vec::new() });
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last]
    }

    fn note(&mut self, text: Cow<'p, str>, mark: Option<CacheMark>) {
        if !text.trim().is_empty() {
            self.message(Speaker::User).slots.push(Slot { item: Item::Note(text), mark });
        }
    }

    /// A system text keeps its place: as a turn of its own where the model takes one there, else as a marked block of
    /// the user's. In front it would break prompt caches, and mean something else.
    fn system(&mut self, system: &'p SystemPart<'p>, as_turn: bool, own: bool) {
        if system.text.trim().is_empty() {
            return;
        }
        let behind_user = self.messages.last().is_some_and(|last| last.speaker != Speaker::Assistant);
        if as_turn && (own || behind_user) {
            self.message(Speaker::System).slots.push(Slot { item: Item::System(system), mark: system.cache });
        } else {
            let text = format!("<system-instruction>\n{}\n</system-instruction>", system.text);
            self.note(Cow::Owned(text), system.cache);
        }
    }

    fn turn(&mut self, number: usize, turn: &'p Turn<'p>) -> Result<(), WireError> {
        if turn.name.is_some() {
            self.losses.drop_field("messages.name");
        }
        let speaker = if turn.role == Role::Assistant { Speaker::Assistant } else { Speaker::User };
        // Results are moved behind their calls later; until then their message keeps the assistant's turns apart.
        self.message(speaker);
        for (index, part) in turn.parts.iter().enumerate() {
            let item = match speaker {
                Speaker::Assistant => self.assistant_item(part, (number, index)),
                _ => self.user_item(part, (number, index))?,
            };
            let mark = mark_of(part);
            let slots = &mut self.message(speaker).slots;
            match item {
                Some(item) => slots.push(Slot { item, mark }),
                // The mark of a block that goes away moves to the one before.
                None => {
                    if let (Some(mark), Some(last)) = (mark, slots.last_mut()) {
                        last.mark.get_or_insert(mark);
                    }
                }
            }
        }
        Ok(())
    }

    fn assistant_item(&mut self, part: &'p Part<'p>, place: (usize, usize)) -> Option<Item<'p>> {
        match part {
            Part::Text { text, .. } | Part::Refusal { text } => {
                (!text.trim().is_empty()).then_some(Item::Part(part, place))
            }
            Part::Thinking { signature: Some(Signature { family: Family::Anthropic, .. }), .. }
            | Part::RedactedThinking { data: Signature { family: Family::Anthropic, .. } }
            | Part::ServerTool { family: Family::Anthropic, .. } => Some(Item::Part(part, place)),
            Part::ToolCall { signature, .. } => {
                if signature.is_some() {
                    self.losses.drop_field("thought_signature");
                }
                Some(Item::Call(part, Cow::Borrowed("")))
            }
            Part::Audio { transcript: Some(transcript), .. } => {
                self.losses.drop_field("assistant.audio");
                (!transcript.trim().is_empty()).then(|| Item::Note(Cow::Borrowed(transcript)))
            }
            Part::Thinking { signature: None, text } if self.thoughts_back && !text.is_empty() => {
                Some(Item::Part(part, place))
            }
            // Signed by nobody or by another family: Anthropic would refuse the whole request.
            Part::Thinking { .. } => self.drop("thinking"),
            Part::RedactedThinking { .. } => self.drop("redacted_thinking"),
            Part::ServerTool { .. } => self.drop("server_tool"),
            Part::ToolResult { .. } => self.drop("tool_result"),
            Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. } => {
                self.drop("assistant.media")
            }
        }
    }

    fn user_item(&mut self, part: &'p Part<'p>, place: (usize, usize)) -> Result<Option<Item<'p>>, WireError> {
        Ok(match part {
            Part::Text { text, .. } | Part::Refusal { text } => {
                (!text.trim().is_empty()).then_some(Item::Part(part, place))
            }
            Part::Image { .. } | Part::Document { .. } | Part::ServerTool { family: Family::Anthropic, .. } => {
                Some(Item::Part(part, place))
            }
            Part::ToolResult { .. } => Some(Item::Result(part, Cow::Borrowed(""))),
            Part::Audio { .. } => return Err(WireError::unsupported("audio", "this upstream takes no audio")),
            Part::Video { .. } => return Err(WireError::unsupported("video", "this upstream takes no video")),
            Part::Thinking { .. } | Part::RedactedThinking { .. } => self.drop("thinking"),
            Part::ServerTool { .. } => self.drop("server_tool"),
            Part::ToolCall { .. } => self.drop("tool_calls"),
        })
    }

    fn drop(&mut self, name: &'static str) -> Option<Item<'p>> {
        self.losses.drop_field(name);
        None
    }

    /// No turn of the assistant's may end with a thought or be empty.
    fn tidy(self) -> Vec<Message<'p>> {
        let Self { mut messages, losses, .. } = self;
        for message in &mut messages {
            while message.speaker == Speaker::Assistant && message.slots.last().is_some_and(Slot::is_thinking) {
                message.slots.pop();
                losses.drop_field("thinking");
            }
        }
        messages.retain(|message| message.speaker == Speaker::User || !message.slots.is_empty());
        messages
    }
}

fn mark_of(part: &Part<'_>) -> Option<CacheMark> {
    match part {
        Part::Text { cache, .. }
        | Part::Image { cache, .. }
        | Part::Document { cache, .. }
        | Part::ToolCall { cache, .. }
        | Part::ToolResult { cache, .. } => *cache,
        _ => None,
    }
}

/// Whether the last turn is the assistant's, and no tool's result is due.
fn ends_with_answer(messages: &[Message<'_>]) -> bool {
    messages.last().is_some_and(|last| last.speaker == Speaker::Assistant)
}

/// White space at the end of a prefilled answer is refused.
fn trim_prefill(messages: &mut Vec<Message<'_>>) {
    let Some(last) = messages.last_mut().filter(|last| last.speaker == Speaker::Assistant) else { return };
    if let Some(slot) = last.slots.last_mut() {
        let text = match &slot.item {
            Item::Part(Part::Text { text, .. } | Part::Refusal { text }, _) => text.as_ref(),
            Item::Note(text) => text,
            _ => return,
        };
        if text.ends_with(char::is_whitespace) {
            slot.item = Item::Note(Cow::Owned(text.trim_end().to_owned()));
        }
    }
}
