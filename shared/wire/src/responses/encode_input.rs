//! Turns → items of `input`, for a Responses upstream.

use std::collections::HashSet;

use super::{
    encode_content::{call_id_here, document, image_source, reasoning, text_part},
    encode_tools::group_of,
};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{CacheMark, CallKind, Family, Format, Json, Losses, Part, Request, Role, SystemPart, SystemRole, Turn},
    media,
    tool_call_pairing::PHASES,
    write::Writer,
};

/// Writes the items of one request.
pub(super) struct InputWriter<'r> {
    request: &'r Request<'r>,
    target: &'r EncodeTarget<'r>,
    losses: &'r mut Losses,
    /// Ids of free-text calls: their results are items of another type.
    custom: HashSet<&'r str>,
    /// `phase` of messages, by turn and part.
    phases: serde_json::Map<String, serde_json::Value>,
}

// === impl InputWriter ===

impl<'r> InputWriter<'r> {
    pub(super) fn new(request: &'r Request<'r>, target: &'r EncodeTarget<'r>, losses: &'r mut Losses) -> Self {
        let calls = request.turns.iter().flat_map(|turn| &turn.parts);
        let custom = calls.filter_map(|part| match part {
            Part::ToolCall { id, kind: CallKind::Custom, .. } => Some(id.as_ref()),
            _ => None,
        });
        let phases = match request.extensions.get(PHASES).map(Json::to_value) {
            Some(serde_json::Value::Object(phases)) if request.format == Format::OpenAiResponses => phases,
            _ => serde_json::Map::new(),
        };
        Self { request, target, losses, custom: custom.collect(), phases }
    }

    /// Writes the turns, and between them the system texts that did not go into `instructions`.
    pub(super) fn items(&mut self, w: &mut Writer<'_>, systems: &[&SystemPart<'_>]) -> Result<(), WireError> {
        let mut systems = systems.iter().peekable();
        for (position, turn) in self.request.turns.iter().enumerate() {
            while let Some(system) = systems.next_if(|system| system.position <= position) {
                self.system(w, system);
            }
            self.turn(w, position, turn)?;
        }
        for system in systems {
            self.system(w, system);
        }
        Ok(())
    }

    fn system(&self, w: &mut Writer<'_>, system: &SystemPart<'_>) {
        let own = self.request.format == Format::OpenAiResponses || self.target.profile.developer_role;
        let developer = own && system.role == SystemRole::Developer;
        w.object(|w| {
            w.field_str("type", "message");
            w.field_str("role", if developer { "developer" } else { "system" });
            w.key("content").array(|w| {
                w.object(|w| {
                    w.field_str("type", "input_text");
                    w.field_str("text", &system.text);
                    self.breakpoint(w, system.cache);
                });
            });
        });
    }

    /// Cache marks of other dialects mean what happens here by itself.
    fn breakpoint(&self, w: &mut Writer<'_>, cache: Option<CacheMark>) {
        if cache.is_some() && self.request.format == Format::OpenAiResponses {
            w.field_raw("prompt_cache_breakpoint", r#"{"mode":"explicit"}"#);
        }
    }

    fn turn(&mut self, w: &mut Writer<'_>, number: usize, turn: &Turn<'_>) -> Result<(), WireError> {
        if turn.name.is_some() {
            self.losses.drop_field("messages.name");
        }
        // Results first: they belong directly behind the calls, whatever else the turn says.
        for part in &turn.parts {
            if let Part::ToolResult { call_id, parts, is_error, .. } = part {
                self.result(w, call_id, parts, *is_error)?;
            }
        }
        match turn.role {
            Role::Assistant => self.assistant(w, number, &turn.parts),
            Role::User | Role::Tool => self.user(w, &turn.parts),
        }
    }

    fn result(
        &mut self,
        w: &mut Writer<'_>,
        call_id: &str,
        parts: &[Part<'_>],
        is_error: bool,
    ) -> Result<(), WireError> {
        let kind = if self.custom.contains(call_id) { "custom_tool_call_output" } else { "function_call_output" };
        let plain = parts.iter().all(|part| matches!(part, Part::Text { .. } | Part::Refusal { .. }));
        // There is no flag for a call that failed: the text must say it.
        let says_error = |part: &Part<'_>| match part {
            Part::Text { text, .. } => text.to_ascii_lowercase().contains("error"),
            _ => false,
        };
        let notice = if is_error && !parts.iter().any(says_error) { "Error: " } else { "" };
        let mut failure = None;
        w.object(|w| {
            w.field_str("type", kind);
            w.field_str("call_id", &call_id_here(call_id));
            if plain {
                let mut text = notice.to_owned();
                for part in parts {
                    if let Part::Text { text: piece, .. } | Part::Refusal { text: piece } = part {
                        text.push_str(piece);
                    }
                }
                w.field_str("output", &text);
                return;
            }
            w.key("output").array(|w| {
                if !notice.is_empty() {
                    text_part(w, "Error:");
                }
                for part in parts {
                    if matches!(part, Part::Audio { .. } | Part::Video { .. }) {
                        self.losses.drop_field("tool_result.content");
                    } else if let Err(error) = self.user_part(w, part) {
                        failure = Some(error);
                        return;
                    }
                }
            });
        });
        failure.map_or(Ok(()), Err)
    }

    fn user(&mut self, w: &mut Writer<'_>, parts: &[Part<'_>]) -> Result<(), WireError> {
        let is_content = |part: &&Part<'_>| !matches!(part, Part::ToolResult { .. } | Part::ServerTool { .. });
        for part in parts {
            if let Part::ServerTool { family, raw } = part {
                self.server_tool(w, *family, raw);
            }
        }
        if !parts.iter().any(|part| is_content(&part)) {
            return Ok(());
        }
        let mut failure = None;
        w.object(|w| {
            w.field_str("type", "message");
            w.field_str("role", "user");
            w.key("content").array(|w| {
                failure = parts.iter().filter(is_content).try_for_each(|part| self.user_part(w, part)).err();
            });
        });
        failure.map_or(Ok(()), Err)
    }

    fn user_part(&mut self, w: &mut Writer<'_>, part: &Part<'_>) -> Result<(), WireError> {
        match part {
            Part::Text { text, cache, .. } => w.object(|w| {
                w.field_str("type", "input_text");
                w.field_str("text", text);
                self.breakpoint(w, *cache);
            }),
            Part::Refusal { text } => text_part(w, text),
            Part::Image { source, detail, cache } => {
                let (field, value) = image_source(source)?;
                w.object(|w| {
                    w.field_str("type", "input_image");
                    w.field_str(field, &value);
                    w.field_str_opt("detail", detail.as_deref());
                    self.breakpoint(w, *cache);
                });
            }
            Part::Audio { source, format, .. } => media::write_openai_audio(w, source, format.as_deref())?,
            Part::Video { .. } => return Err(WireError::unsupported("video", "this upstream takes no video")),
            Part::Document { source, name, context, citations, cache } => {
                if *citations {
                    self.losses.drop_field("document.citations");
                }
                document(w, source, (name.as_deref(), context.as_deref()), |w| self.breakpoint(w, *cache))?;
            }
            Part::Thinking { .. } | Part::RedactedThinking { .. } => self.losses.drop_field("thinking"),
            // Calls are the assistant's, and results and items of tools stand beside messages.
            Part::ToolCall { .. } | Part::ToolResult { .. } | Part::ServerTool { .. } => {}
        }
        Ok(())
    }

    fn assistant(&mut self, w: &mut Writer<'_>, turn: usize, parts: &[Part<'_>]) -> Result<(), WireError> {
        // A thought that nothing follows is refused.
        let last_act = parts.iter().rposition(|part| {
            matches!(part, Part::Text { .. } | Part::Refusal { .. } | Part::ToolCall { .. } | Part::ServerTool { .. })
        });
        let mut index = 0;
        while let Some(part) = parts.get(index) {
            match part {
                Part::Text { .. } | Part::Refusal { .. } => {
                    let said = parts[index..]
                        .iter()
                        .take_while(|part| matches!(part, Part::Text { .. } | Part::Refusal { .. }))
                        .count();
                    // A message of its own starts where one with a phase started.
                    let said =
                        (1..said).find(|more| self.phases.contains_key(&place(turn, index + more))).unwrap_or(said);
                    self.message(w, turn, index, &parts[index..index + said]);
                    index += said;
                    continue;
                }
                Part::Thinking { text, signature } => {
                    let payload = signature.as_ref().filter(|own| own.family == Family::OpenAi);
                    let payload = payload.map(|own| own.payload.as_ref());
                    let back = self.target.profile.reasoning_content_back && !text.is_empty();
                    if last_act.is_some_and(|last| index < last) && (payload.is_some() || back) {
                        reasoning(w, text, payload);
                    } else {
                        self.losses.drop_field("thinking");
                    }
                }
                Part::RedactedThinking { data } => {
                    if last_act.is_some_and(|last| index < last) && data.family == Family::OpenAi {
                        reasoning(w, "", Some(&data.payload));
                    } else {
                        self.losses.drop_field("redacted_thinking");
                    }
                }
                Part::ToolCall { id, name, arguments, kind, signature, .. } => {
                    if signature.is_some() {
                        self.losses.drop_field("thought_signature");
                    }
                    self.call(w, id, name, arguments, *kind);
                }
                Part::ServerTool { family, raw } => self.server_tool(w, *family, raw),
                Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. } => {
                    self.losses.drop_field("assistant.media");
                }
                Part::ToolResult { .. } => {}
            }
            index += 1;
        }
        Ok(())
    }

    fn message(&self, w: &mut Writer<'_>, turn: usize, index: usize, parts: &[Part<'_>]) {
        let empty =
            |part: &Part<'_>| matches!(part, Part::Text { text, .. } | Part::Refusal { text } if text.is_empty());
        if parts.iter().all(empty) {
            return;
        }
        w.object(|w| {
            w.field_str("type", "message");
            w.field_str("role", "assistant");
            w.key("content").array(|w| {
                for part in parts.iter().filter(|part| !empty(part)) {
                    match part {
                        Part::Refusal { text } => w.object(|w| {
                            w.field_str("type", "refusal");
                            w.field_str("refusal", text);
                        }),
                        Part::Text { text, annotations, .. } => w.object(|w| {
                            w.field_str("type", "output_text");
                            w.field_str("text", text);
                            if !annotations.is_empty() {
                                w.key("annotations").array(|w| {
                                    annotations.iter().for_each(|own| super::write_item::annotation(w, own));
                                });
                            }
                        }),
                        _ => {}
                    }
                }
            });
            if let Some(serde_json::Value::String(phase)) = self.phases.get(&place(turn, index)) {
                w.field_str("phase", phase);
            }
        });
    }

    fn call(&self, w: &mut Writer<'_>, id: &str, name: &str, arguments: &str, kind: CallKind) {
        let group =
            self.request.tools.iter().find(|tool| tool.name == name).and_then(|tool| group_of(self.request, tool));
        w.object(|w| {
            w.field_str("type", if kind == CallKind::Custom { "custom_tool_call" } else { "function_call" });
            w.field_str("call_id", &call_id_here(id));
            match group {
                Some(group) => {
                    w.field_str("name", super::short_name(group, name));
                    w.field_str("namespace", group);
                }
                None => w.field_str("name", self.target.names.upstream(name)),
            }
            match kind {
                CallKind::Custom => w.field_str("input", arguments),
                CallKind::Function if arguments.trim().is_empty() => w.field_str("arguments", "{}"),
                CallKind::Function => w.field_str("arguments", arguments),
            }
        });
    }

    fn server_tool(&mut self, w: &mut Writer<'_>, family: Family, raw: &Json<'_>) {
        if family == Family::OpenAi {
            w.raw(raw.as_str());
        } else {
            self.losses.drop_field("server_tool");
        }
    }
}

fn place(turn: usize, part: usize) -> String {
    format!("{turn}.{part}")
}
