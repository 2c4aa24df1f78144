//! The turns as the service wants them: a user's first, then in strict alternation, results before anything else a user
//! says, calls after anything else an assistant says.

use std::{borrow::Cow, collections::HashSet};

use super::{media::document_format_of_source, vendor::Vendor};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{CacheMark, Family, Losses, Part, Request, Role, SystemPart, Turn},
    system_text,
    tools::orphan_text,
};

/// What a conversation begins with that some assistant's turn begins.
const OPENING: &str = "(start of the conversation)";
/// Documents are refused without a text beside them.
const DOCUMENT_TEXT: &str = "See the attached document.";

pub(super) struct Conversation<'r, 'a> {
    pub(super) system: Vec<SystemBlock<'r>>,
    pub(super) messages: Vec<Message<'r, 'a>>,
}

pub(super) struct SystemBlock<'r> {
    pub(super) text: Cow<'r, str>,
    pub(super) cache: Option<CacheMark>,
}

pub(super) struct Message<'r, 'a> {
    pub(super) side: Side,
    pub(super) items: Vec<Item<'r, 'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    User,
    Assistant,
    System,
}

pub(super) struct Item<'r, 'a> {
    pub(super) content: Content<'r, 'a>,
    pub(super) cache: Option<CacheMark>,
}

pub(super) enum Content<'r, 'a> {
    Part(&'r Part<'a>),
    /// A text that is ours, or ours in part.
    Note(String),
}

struct Builder<'x, 'r, 'a> {
    request: &'r Request<'a>,
    target: &'x EncodeTarget<'x>,
    vendor: Vendor,
    keep_thinking: bool,
    losses: &'x mut Losses,
    messages: Vec<Message<'r, 'a>>,
    /// Ids of the calls so far.
    calls: HashSet<&'r str>,
}

/// Brings the turns into order. `keep_thinking`: whether earlier thoughts may stand in this request.
pub(super) fn arrange<'r, 'a>(
    request: &'r Request<'a>,
    target: &EncodeTarget<'_>,
    vendor: Vendor,
    keep_thinking: bool,
    losses: &mut Losses,
) -> Result<Conversation<'r, 'a>, WireError> {
    let mut builder =
        Builder { request, target, vendor, keep_thinking, losses, messages: Vec::new(), calls: HashSet::new() };
    let mut systems = request.system.iter().peekable();
    let mut system = Vec::new();
    while let Some(part) = systems.next_if(|part| part.position == 0) {
        system.extend(builder.front(part));
    }
    for (position, turn) in request.turns.iter().enumerate() {
        // The results of a round stand directly behind its calls: nothing may come between.
        if !turn.parts.iter().any(|part| matches!(part, Part::ToolResult { .. })) {
            while let Some(part) = systems.next_if(|part| part.position <= position) {
                builder.system_within(part);
            }
        }
        builder.turn(turn);
    }
    for part in systems {
        builder.system_within(part);
    }
    let mut messages = builder.messages;
    if messages.is_empty() {
        return Err(WireError::field("messages", "this upstream needs at least one message that says something"));
    }
    if messages[0].side != Side::User {
        messages.insert(0, Message { side: Side::User, items: vec![Item::note(OPENING)] });
    }
    for message in &mut messages {
        message.settle();
    }
    let prefills = messages.len() > 1 && messages.last().is_some_and(|last| last.side == Side::Assistant);
    if prefills && !target.profile.prefill {
        messages.pop();
        builder.losses.drop_field("assistant_prefill");
    }
    if let Some(last) = messages.last_mut().filter(|last| last.side == Side::Assistant) {
        last.trim_end();
    }
    Ok(Conversation { system, messages })
}

// === impl Builder ===

impl<'r, 'a> Builder<'_, 'r, 'a> {
    fn front(&mut self, part: &'r SystemPart<'_>) -> Option<SystemBlock<'r>> {
        if system_text::is_billing_line(self.request, part) {
            self.losses.drop_field("system.billing_header");
            return None;
        }
        let blank = part.text.trim().is_empty();
        (!blank).then(|| SystemBlock { text: part.text.as_ref().into(), cache: part.cache })
    }

    fn system_within(&mut self, part: &SystemPart<'_>) {
        if part.text.trim().is_empty() {
            return;
        }
        let native = self.target.profile.mid_conversation_system;
        let (side, text) = if native {
            (Side::System, part.text.as_ref().to_owned())
        } else {
            (Side::User, system_text::as_user_text(&part.text))
        };
        self.push(side, Item { content: Content::Note(text), cache: part.cache });
    }

    fn push(&mut self, side: Side, item: Item<'r, 'a>) {
        match self.messages.last_mut().filter(|last| last.side == side) {
            Some(last) => last.items.push(item),
            None => self.messages.push(Message { side, items: vec![item] }),
        }
    }

    fn turn(&mut self, turn: &'r Turn<'a>) {
        if turn.name.is_some() {
            self.losses.drop_field("messages.name");
        }
        let side = if turn.role == Role::Assistant { Side::Assistant } else { Side::User };
        for part in &turn.parts {
            if !self.keeps(part, side) {
                continue;
            }
            match part {
                Part::ToolCall { id, .. } => {
                    self.calls.insert(id);
                }
                Part::ToolResult { call_id, parts, .. } if !self.calls.contains(call_id.as_ref()) => {
                    let text = orphan_text(parts, self.losses);
                    self.push(side, Item { content: Content::Note(text), cache: cache_of(part) });
                    continue;
                }
                _ => {}
            }
            self.push(side, Item { content: Content::Part(part), cache: cache_of(part) });
            // Most vendors' models take no media in results: they follow as the user's.
            if let Part::ToolResult { parts, .. } = part
                && !self.vendor.is_full()
            {
                for inner in parts.iter().filter(|inner| is_media(inner)) {
                    self.push(side, Item { content: Content::Part(inner), cache: None });
                }
            }
        }
    }

    fn keeps(&mut self, part: &Part<'_>, side: Side) -> bool {
        match part {
            Part::Text { text, .. } | Part::Refusal { text } => !text.trim().is_empty(),
            Part::Thinking { text, signature } => {
                let signed = signature.as_ref().is_some_and(|signature| self.vendor.accepts(signature));
                let wanted = self.vendor != Vendor::Claude && self.target.profile.reasoning_content_back;
                let keep = side == Side::Assistant && self.keep_thinking && (signed || wanted);
                if !keep && (!text.is_empty() || signature.is_some()) {
                    self.losses.drop_field("thinking");
                }
                keep
            }
            Part::RedactedThinking { data } => {
                let keep = side == Side::Assistant && self.keep_thinking && data.family == Family::Bedrock;
                if !keep {
                    self.losses.drop_field("redacted_thinking");
                }
                keep
            }
            Part::ServerTool { family, .. } => {
                if *family != Family::Bedrock {
                    self.losses.drop_field("server_tool");
                }
                *family == Family::Bedrock
            }
            part if is_media(part) => {
                if side == Side::Assistant {
                    self.losses.drop_field("assistant.media");
                }
                side == Side::User
            }
            Part::ToolCall { .. } => side == Side::Assistant,
            Part::ToolResult { .. } => side == Side::User,
            _ => false,
        }
    }
}

const fn is_media(part: &Part<'_>) -> bool {
    matches!(part, Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. })
}

/// The part's own mark, or one inside its result.
fn cache_of(part: &Part<'_>) -> Option<CacheMark> {
    match part {
        Part::ToolResult { cache, parts, .. } => cache.or_else(|| parts.iter().rev().find_map(cache_of)),
        Part::Text { cache, .. }
        | Part::Image { cache, .. }
        | Part::Document { cache, .. }
        | Part::ToolCall { cache, .. } => *cache,
        _ => None,
    }
}

// === impl Message ===

impl Message<'_, '_> {
    /// The order inside one message, and what must stand beside a document.
    fn settle(&mut self) {
        let side = self.side;
        self.items.sort_by_key(|item| match (&item.content, side) {
            (Content::Part(Part::ToolResult { .. }), Side::User) => 0,
            (Content::Part(Part::ToolCall { .. }), Side::Assistant) => 2,
            _ => 1,
        });
        let is_text = |item: &Item<'_, '_>| {
            matches!(item.content, Content::Note(_) | Content::Part(Part::Text { .. } | Part::Refusal { .. }))
        };
        if self.items.iter().any(|item| item.content.is_document()) && !self.items.iter().any(is_text) {
            self.items.push(Item::note(DOCUMENT_TEXT));
        }
    }

    /// An answer that is to be continued may not end in white space.
    fn trim_end(&mut self) {
        if let Some(Item { content, .. }) = self.items.last_mut()
            && let Content::Part(Part::Text { text, .. }) = content
            && text.trim_end() != text.as_ref()
        {
            *content = Content::Note(text.trim_end().to_owned());
        }
    }
}

// === impl Item ===

impl Item<'_, '_> {
    fn note(text: &str) -> Self {
        Self { content: Content::Note(text.to_owned()), cache: None }
    }
}

// === impl Content ===

impl Content<'_, '_> {
    pub(super) const fn is_document(&self) -> bool {
        matches!(self, Self::Part(Part::Document { .. }))
    }

    /// Whether the service makes text of it before the model sees it.
    pub(super) fn is_extracted_document(&self) -> bool {
        let Self::Part(Part::Document { source, name, .. }) = self else { return false };
        document_format_of_source(source, name.as_deref()) != Some("pdf")
    }
}
