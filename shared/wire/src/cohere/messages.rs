//! The conversation.

use super::documents::{Documents, document_as_text, document_data, text_of};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Family, Json, Losses, Part, Request, Role, Source, SystemPart, Turn},
    media, system_text,
    tools::arguments_as_object,
    write::Writer,
};

/// What stands for a result that says nothing: an empty message is refused.
const NO_OUTPUT: &str = "(no output)";

/// Writes the conversation, one message at a time.
pub(super) struct Messages<'x, 'r, 'a> {
    pub(super) request: &'r Request<'a>,
    pub(super) target: &'x EncodeTarget<'x>,
    pub(super) losses: &'x mut Losses,
    pub(super) documents: &'x mut Documents,
    /// Media of results, which have no place in a tool's message: they follow the round as the user's.
    pub(super) media: Vec<Block>,
    /// Messages written.
    pub(super) count: usize,
}

// === impl Messages ===

impl<'r> Messages<'_, 'r, '_> {
    pub(super) fn write(&mut self, w: &mut Writer<'_>) -> Result<(), WireError> {
        let request = self.request;
        let mut systems = request.system.iter().peekable();
        let mut front = Vec::new();
        while let Some(system) = systems.next_if(|system| system.position == 0) {
            front.push(system);
        }
        self.write_front(w, &front);
        for (position, turn) in request.turns.iter().enumerate() {
            let has_results = turn.parts.iter().any(|part| matches!(part, Part::ToolResult { .. }));
            self.write_results(w, turn)?;
            let rest = self.blocks_of(turn)?;
            // The results of a round stand directly behind its calls, in one run: nothing may come between.
            if !has_results || !rest.is_empty() {
                self.write_media(w);
                while let Some(system) = systems.next_if(|system| system.position <= position) {
                    self.write_system_within(w, system);
                }
            }
            if turn.role == Role::Assistant {
                self.write_assistant(w, turn);
            } else if !rest.is_empty() {
                self.note_name(turn);
                self.write_user(w, &rest);
            }
        }
        self.write_media(w);
        for system in systems {
            self.write_system_within(w, system);
        }
        if self.count == 0 {
            return Err(WireError::field("messages", "this upstream needs at least one message that says something"));
        }
        Ok(())
    }

    fn message(&mut self, w: &mut Writer<'_>, role: &str, fields: impl FnOnce(&mut Writer<'_>)) {
        self.count += 1;
        w.object(|w| {
            w.field_str("role", role);
            fields(w);
        });
    }

    fn write_front(&mut self, w: &mut Writer<'_>, front: &[&SystemPart<'_>]) {
        let mut texts: Vec<&str> = Vec::with_capacity(front.len());
        for part in front {
            if system_text::is_billing_line(self.request, part) {
                self.losses.drop_field("system.billing_header");
            } else if !part.text.trim().is_empty() {
                texts.push(&part.text);
            }
            self.note_cache(part.cache.is_some());
        }
        match texts.as_slice() {
            [] => {}
            [text] => self.message(w, "system", |w| w.field_str("content", text)),
            texts => self.message(w, "system", |w| {
                w.key("content").array(|w| texts.iter().for_each(|text| write_text(w, text)));
            }),
        }
    }

    /// Only the first message may be the system's.
    fn write_system_within(&mut self, w: &mut Writer<'_>, system: &SystemPart<'_>) {
        self.note_cache(system.cache.is_some());
        if !system.text.trim().is_empty() {
            let text = system_text::as_user_text(&system.text);
            self.message(w, "user", |w| w.field_str("content", &text));
        }
    }

    fn note_cache(&mut self, marked: bool) {
        if marked {
            self.losses.drop_field("cache_control");
        }
    }

    fn write_results(&mut self, w: &mut Writer<'_>, turn: &Turn<'_>) -> Result<(), WireError> {
        for part in &turn.parts {
            let Part::ToolResult { call_id, parts, is_error, cache, .. } = part else { continue };
            self.note_cache(cache.is_some());
            self.write_result(w, call_id, parts, *is_error);
            for inner in parts {
                let stays = match inner {
                    Part::Document { source, .. } => text_of(source).is_some(),
                    inner => !matches!(inner, Part::Image { .. } | Part::Audio { .. } | Part::Video { .. }),
                };
                if !stays {
                    let block = self.user_block(inner)?;
                    self.media.extend(block);
                }
            }
        }
        Ok(())
    }

    fn write_result(&mut self, w: &mut Writer<'_>, call_id: &str, parts: &[Part<'_>], is_error: bool) {
        let mut text = String::new();
        let mut documents = Vec::new();
        for part in parts {
            match part {
                Part::Text { text: piece, .. } => text.push_str(piece),
                Part::Document { source, name, context, .. } => match text_of(source) {
                    Some(content) => documents.push(document_data(&content, name.as_deref(), context.as_deref())),
                    None => text.push_str("[file: see the next user message]"),
                },
                Part::Image { .. } => text.push_str("[image: see the next user message]"),
                Part::Audio { .. } | Part::Video { .. } => text.push_str("[file: see the next user message]"),
                _ => self.losses.drop_field("tool_result.content"),
            }
        }
        if text.trim().is_empty() && (documents.is_empty() || is_error) {
            NO_OUTPUT.clone_into(&mut text);
        }
        // There is no flag: the model must read that the call failed.
        if is_error && !text.to_ascii_lowercase().contains("error") {
            text.insert_str(0, "Error: ");
        }
        self.message(w, "tool", |w| {
            w.field_str("tool_call_id", call_id);
            if documents.is_empty() {
                w.field_str("content", &text);
                return;
            }
            w.key("content").array(|w| {
                if !text.trim().is_empty() {
                    write_text(w, &text);
                }
                for data in &documents {
                    w.object(|w| {
                        w.field_str("type", "document");
                        w.key("document").object(|w| w.field_raw("data", data));
                    });
                }
            });
        });
    }

    fn write_assistant(&mut self, w: &mut Writer<'_>, turn: &'r Turn<'_>) {
        let (mut text, mut thinking) = (String::new(), String::new());
        let (mut calls, mut citations): (Vec<_>, Vec<&Json<'_>>) = Default::default();
        for part in &turn.parts {
            match part {
                Part::Text { text: piece, annotations, cache } => {
                    self.note_cache(cache.is_some());
                    text.push_str(piece);
                    for annotation in annotations {
                        match &annotation.raw {
                            Some(raw) if annotation.family == Family::Cohere => citations.push(raw),
                            _ => self.losses.drop_field("annotations"),
                        }
                    }
                }
                Part::Refusal { text: piece } => text.push_str(piece),
                Part::Thinking { text, .. } => thinking.push_str(text),
                Part::RedactedThinking { .. } => self.losses.drop_field("redacted_thinking"),
                Part::ToolCall { id, name, arguments, kind, cache, signature } => {
                    self.note_cache(cache.is_some());
                    if signature.is_some() {
                        self.losses.drop_field("thought_signature");
                    }
                    calls.push((id, name, arguments_as_object(arguments, *kind)));
                }
                Part::ServerTool { .. } => self.losses.drop_field("server_tool"),
                Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. } => {
                    self.losses.drop_field("assistant.media");
                }
                Part::ToolResult { .. } => {}
            }
        }
        let target = self.target;
        if !thinking.is_empty() && !target.profile.reasoning_content_back {
            self.losses.drop_field("thinking");
            thinking.clear();
        }
        if text.trim().is_empty() && calls.is_empty() {
            // An empty message is refused, and thoughts alone say nothing to go on from.
            return;
        }
        self.note_name(turn);
        self.message(w, "assistant", |w| {
            // The text before a round of calls is the plan for it.
            let planned = !calls.is_empty();
            if planned && !text.trim().is_empty() {
                w.field_str("tool_plan", &text);
            }
            match (thinking.is_empty(), planned) {
                (true, true) => {}
                (true, false) => w.field_str("content", &text),
                (false, planned) => w.key("content").array(|w| {
                    w.object(|w| {
                        w.field_str("type", "thinking");
                        w.field_str("thinking", &thinking);
                    });
                    if !planned {
                        write_text(w, &text);
                    }
                }),
            }
            if planned {
                w.key("tool_calls").array(|w| {
                    for (id, name, arguments) in &calls {
                        w.object(|w| {
                            w.field_str("id", id);
                            w.field_str("type", "function");
                            w.key("function").object(|w| {
                                w.field_str("name", target.names.upstream(name));
                                w.field_str("arguments", arguments);
                            });
                        });
                    }
                });
            }
            if !citations.is_empty() {
                w.key("citations").array(|w| citations.iter().for_each(|raw| w.raw(raw.as_str())));
            }
        });
    }

    fn note_name(&mut self, turn: &Turn<'_>) {
        if turn.name.is_some() {
            self.losses.drop_field("messages.name");
        }
    }

    /// What a user's turn says beside results.
    fn blocks_of(&mut self, turn: &Turn<'_>) -> Result<Vec<Block>, WireError> {
        let mut blocks = Vec::new();
        if turn.role != Role::Assistant {
            for part in &turn.parts {
                blocks.extend(self.user_block(part)?);
            }
        }
        Ok(blocks)
    }

    fn write_media(&mut self, w: &mut Writer<'_>) {
        let media = std::mem::take(&mut self.media);
        if !media.is_empty() {
            self.write_user(w, &media);
        }
    }

    fn write_user(&mut self, w: &mut Writer<'_>, blocks: &[Block]) {
        self.message(w, "user", |w| match blocks {
            [Block::Text(text)] => w.field_str("content", text),
            blocks => w.key("content").array(|w| blocks.iter().for_each(|block| block.write(w))),
        });
    }

    fn user_block(&mut self, part: &Part<'_>) -> Result<Option<Block>, WireError> {
        Ok(match part {
            Part::Text { text, cache, .. } => {
                self.note_cache(cache.is_some());
                (!text.trim().is_empty()).then(|| Block::Text(text.as_ref().to_owned()))
            }
            Part::Refusal { text } => Some(Block::Text(text.as_ref().to_owned())),
            Part::Image { source, detail, cache } => {
                self.note_cache(cache.is_some());
                let url = match source {
                    Source::Url(url) => url.as_ref().to_owned(),
                    Source::Inline { media_type, data } => media::data_url(media_type, data),
                    Source::File { .. } | Source::Text(_) => {
                        let message =
                            "this upstream takes an image as a URL or as base64, not as another vendor's file id";
                        return Err(WireError::unsupported("image", message));
                    }
                };
                Some(Block::Image { url, detail: detail.as_deref().map(str::to_owned) })
            }
            Part::Document { source, name, context, citations, cache } => {
                self.note_cache(cache.is_some());
                let Some(text) = text_of(source) else {
                    let message = "this upstream takes documents as text only";
                    return Err(WireError::unsupported("document", message));
                };
                if *citations && self.documents.accept() {
                    self.documents.push(document_data(&text, name.as_deref(), context.as_deref()));
                    None
                } else {
                    if *citations {
                        self.losses.drop_field("document.citations");
                    }
                    Some(Block::Text(document_as_text(&text, name.as_deref(), context.as_deref())))
                }
            }
            Part::Audio { .. } => return Err(WireError::unsupported("audio", "this upstream takes no audio")),
            Part::Video { .. } => return Err(WireError::unsupported("video", "this upstream takes no video")),
            Part::Thinking { .. } | Part::RedactedThinking { .. } => {
                self.losses.drop_field("thinking");
                None
            }
            Part::ServerTool { .. } => {
                self.losses.drop_field("server_tool");
                None
            }
            Part::ToolCall { .. } | Part::ToolResult { .. } => None,
        })
    }
}

/// A block of a user's message.
pub(super) enum Block {
    Text(String),
    Image { url: String, detail: Option<String> },
}

// === impl Block ===

impl Block {
    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Self::Text(text) => write_text(w, text),
            Self::Image { url, detail } => w.object(|w| {
                w.field_str("type", "image_url");
                w.key("image_url").object(|w| {
                    w.field_str("url", url);
                    w.field_str_opt("detail", detail.as_deref());
                });
            }),
        }
    }
}

fn write_text(w: &mut Writer<'_>, text: &str) {
    w.object(|w| {
        w.field_str("type", "text");
        w.field_str("text", text);
    });
}
