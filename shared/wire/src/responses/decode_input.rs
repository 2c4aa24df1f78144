//! Items of `input` → turns.
//!
//! An assistant's turn is spread over items (thoughts, text, calls); they are gathered until another speaks. Results that
//! follow each other make one turn, as all dialects want those of parallel calls.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    compact::summary_in,
    decode_content::{parts, result, text_field, within},
    item::{Item, SummaryPart},
};
use crate::{
    codec::{DecodeContext, WireError, signature_from},
    ir::{CallKind, Family, Part, Request, Role, Signature, SystemPart, SystemRole, Turn},
    object::{read, wire_object},
    text::{Str, TextOr},
    tool_call_pairing::PHASES,
};

wire_object! {
    struct Head<'a> {
        kind: Str<'a> = "type",
        role: &'a RawValue = "role",
        id: &'a RawValue = "id",
    }
}

/// Extension: some item of reasoning had nothing in it but an id.
pub(super) const EMPTY_REASONING: &str = "input.reasoning";

/// Gathers the turns of a request.
pub(super) struct Gatherer<'r, 'a, 's> {
    request: &'r mut Request<'a>,
    context: &'s DecodeContext<'s>,
    /// Whether the last turn still takes what the assistant says or does.
    assistant_open: bool,
    /// Signatures of calls, by the call's id: their items may stand on either side of the call's.
    signatures: Vec<(String, Signature<'static>)>,
    /// `phase` of messages, by the place of their first part.
    phases: serde_json::Map<String, serde_json::Value>,
    empty_reasoning: bool,
}

/// What an item of reasoning holds.
enum Reasoning<'a> {
    Part(Part<'a>),
    /// It only carries the signature of a call.
    CallSignature(String, Signature<'static>),
    Nothing,
}

// === impl Gatherer ===

impl<'r, 'a, 's> Gatherer<'r, 'a, 's> {
    pub(super) fn new(request: &'r mut Request<'a>, context: &'s DecodeContext<'s>) -> Self {
        Self {
            request,
            context,
            assistant_open: false,
            signatures: Vec::new(),
            phases: serde_json::Map::new(),
            empty_reasoning: false,
        }
    }

    /// Takes the whole `input`.
    pub(super) fn input(&mut self, raw: &'a RawValue) -> Result<(), WireError> {
        let input: TextOr<'a, &'a RawValue> = read(raw.get().as_bytes()).map_err(|error| within("input", error))?;
        match input {
            TextOr::Text(text) => self.turn(Role::User, vec![Part::text(text)]),
            TextOr::List(items) => {
                for (index, raw) in items.into_iter().enumerate() {
                    self.item(raw, &format!("input.{index}"))?;
                }
            }
        }
        self.finish();
        Ok(())
    }

    fn item(&mut self, raw: &'a RawValue, path: &str) -> Result<(), WireError> {
        let head: Head<'a> = read(raw.get().as_bytes()).map_err(|error| within(path, error))?;
        let kind = match (head.kind.as_deref(), head.role, head.id) {
            (Some(kind), ..) => kind,
            (None, Some(_), _) => "message",
            (None, None, Some(_)) => "item_reference",
            (None, None, None) => return Err(WireError::field(format!("{path}.type"), "every item needs a `type`")),
        };
        if kind == "compaction_trigger" {
            self.request.compacts = true;
            return Ok(());
        }
        if kind == "compaction"
            && let Some(summary) = summary_in(raw, self.context.sealer, path)?
        {
            self.turn(Role::User, vec![Part::text(summary)]);
            return Ok(());
        }
        let known = matches!(
            kind,
            "message"
                | "function_call"
                | "function_call_output"
                | "custom_tool_call"
                | "custom_tool_call_output"
                | "reasoning"
        );
        if !known {
            self.assistant().push(Part::ServerTool { family: Family::OpenAi, raw: raw.into() });
            return Ok(());
        }
        let item: Item<'a> = read(raw.get().as_bytes()).map_err(|error| within(path, error))?;
        match kind {
            "message" => return self.message(item, path),
            "function_call" => {
                let part = call(item, CallKind::Function, path)?;
                self.assistant().push(part);
            }
            "custom_tool_call" => {
                let part = call(item, CallKind::Custom, path)?;
                self.assistant().push(part);
            }
            "reasoning" => match reasoning(item, self.context) {
                Reasoning::Part(part) => self.assistant().push(part),
                Reasoning::CallSignature(call, signature) => self.signatures.push((call, signature)),
                Reasoning::Nothing => self.empty_reasoning = true,
            },
            _ => self.result(item, path)?,
        }
        Ok(())
    }

    fn message(&mut self, item: Item<'a>, path: &str) -> Result<(), WireError> {
        let Some(role) = item.role else {
            return Err(WireError::field(format!("{path}.role"), "a message needs a `role`"));
        };
        let content_path = format!("{path}.content");
        let Some(content) = item.content else {
            return Err(WireError::field(content_path, "a message needs `content`"));
        };
        let parts = parts(content, &content_path)?;
        match role.as_ref() {
            "user" => self.turn(Role::User, parts),
            "assistant" => self.assistant_message(parts, item.phase),
            "system" => self.system(SystemRole::System, parts, &content_path)?,
            "developer" => self.system(SystemRole::Developer, parts, &content_path)?,
            other => {
                return Err(WireError::field(
                    format!("{path}.role"),
                    format!("`{other}` is no role; use system, developer, user or assistant"),
                ));
            }
        }
        Ok(())
    }

    fn system(&mut self, role: SystemRole, parts: Vec<Part<'a>>, path: &str) -> Result<(), WireError> {
        self.assistant_open = false;
        let position = self.request.turns.len();
        for part in parts {
            let Part::Text { text, cache, .. } = part else {
                return Err(WireError::field(path, "a system message takes text parts only"));
            };
            self.request.system.push(SystemPart { text, role, position, cache });
        }
        Ok(())
    }

    fn assistant_message(&mut self, parts: Vec<Part<'a>>, phase: Option<Str<'a>>) {
        // Two messages without a call between them are two turns: texts of one turn are read as one text.
        let said = |part: &Part<'_>| matches!(part, Part::Text { .. } | Part::Refusal { .. });
        let called = |part: &Part<'_>| matches!(part, Part::ToolCall { .. });
        if let Some(turn) = self.request.turns.last()
            && turn.parts.iter().any(said)
            && !turn.parts.iter().any(called)
        {
            self.assistant_open = false;
        }
        self.assistant();
        let turn = self.request.turns.len() - 1;
        let first = self.assistant().len();
        self.assistant().extend(parts);
        if let Some(phase) = phase {
            self.phases.insert(format!("{turn}.{first}"), phase.0.into_owned().into());
        }
    }

    fn result(&mut self, item: Item<'a>, path: &str) -> Result<(), WireError> {
        let Some(call_id) = item.call_id else {
            return Err(WireError::field(format!("{path}.call_id"), "a result needs the `call_id` of its call"));
        };
        let (parts, is_error) = result(item.output, &format!("{path}.output"))?;
        let name = self.name_of(&call_id);
        let part = Part::ToolResult { call_id: call_id.into(), name, parts, is_error, cache: None };
        self.assistant_open = false;
        match self.request.turns.last_mut() {
            Some(turn) if turn.role == Role::Tool => turn.parts.push(part),
            _ => self.request.turns.push(Turn { role: Role::Tool, parts: vec![part], name: None }),
        }
        Ok(())
    }

    /// The tool of a call that was seen.
    fn name_of(&self, wanted: &str) -> Option<Cow<'a, str>> {
        self.request.turns.iter().rev().flat_map(|turn| turn.parts.iter().rev()).find_map(|part| match part {
            Part::ToolCall { id, name, .. } if id == wanted => Some(name.clone()),
            _ => None,
        })
    }

    fn turn(&mut self, role: Role, parts: Vec<Part<'a>>) {
        self.assistant_open = false;
        self.request.turns.push(Turn { role, parts, name: None });
    }

    /// The parts of the assistant's open turn.
    fn assistant(&mut self) -> &mut Vec<Part<'a>> {
        if !self.assistant_open || self.request.turns.is_empty() {
            self.request.turns.push(Turn { role: Role::Assistant, parts: Vec::new(), name: None });
            self.assistant_open = true;
        }
        let last = self.request.turns.len() - 1;
        &mut self.request.turns[last].parts
    }

    fn finish(&mut self) {
        for (call, new) in self.signatures.drain(..) {
            let own = self.request.turns.iter_mut().flat_map(|turn| &mut turn.parts).find_map(|part| match part {
                Part::ToolCall { id, signature, .. } if *id == call => Some(signature),
                _ => None,
            });
            if let Some(signature) = own {
                *signature = Some(new);
            }
        }
        if self.empty_reasoning {
            let nothing = crate::ir::Json::from_string("null".to_owned());
            self.request.extensions.0.extend(nothing.map(|raw| (EMPTY_REASONING.into(), raw)));
        }
        if !self.phases.is_empty() {
            let phases = serde_json::Value::Object(std::mem::take(&mut self.phases));
            if let Some(raw) = crate::ir::Json::from_value(&phases) {
                self.request.extensions.push(PHASES, raw);
            }
        }
    }
}

/// A call of either kind.
pub(super) fn call<'a>(item: Item<'a>, kind: CallKind, path: &str) -> Result<Part<'a>, WireError> {
    let Some(id) = item.call_id.or(item.id) else {
        return Err(WireError::field(format!("{path}.call_id"), "a call needs a `call_id`"));
    };
    let Some(name) = item.name else {
        return Err(WireError::field(format!("{path}.name"), "a call needs a `name`"));
    };
    let arguments = text_field(if kind == CallKind::Custom { item.input } else { item.arguments });
    Ok(Part::ToolCall {
        id: id.into(),
        name: super::flat_name(item.namespace.as_deref(), name.into()),
        arguments,
        kind,
        signature: None,
        cache: None,
    })
}

fn reasoning<'a>(item: Item<'a>, context: &DecodeContext<'_>) -> Reasoning<'a> {
    let encrypted = item.encrypted_content.filter(|text| !text.is_empty());
    let text = reasoning_text(item.content, item.summary);
    let signature = encrypted.map(|field| signature_from(field.into(), Family::OpenAi, context.sealer));
    let Some(signature) = signature else {
        // An id alone names something in a store of the vendor's, which this request need not reach.
        return if text.is_empty() {
            Reasoning::Nothing
        } else {
            Reasoning::Part(Part::Thinking { text, signature: None })
        };
    };
    if signature.family != Family::OpenAi {
        if let Some((call, payload)) =
            signature.payload.strip_prefix(super::SEALED_CALL).and_then(|rest| rest.split_once('\n'))
        {
            let payload = Cow::Owned(payload.to_owned());
            return Reasoning::CallSignature(call.to_owned(), Signature { family: signature.family, payload });
        }
        if let Some(data) = signature.payload.strip_prefix(super::SEALED_REDACTED) {
            let payload = Cow::Owned(data.to_owned());
            let data = Signature { family: signature.family, payload };
            return Reasoning::Part(Part::RedactedThinking { data });
        }
        return Reasoning::Part(Part::Thinking { text, signature: Some(signature) });
    }
    Reasoning::Part(if text.is_empty() {
        Part::RedactedThinking { data: signature }
    } else {
        Part::Thinking { text, signature: Some(signature) }
    })
}

/// The thought itself where it is shown, else its summary.
pub(super) fn reasoning_text<'a>(
    content: Option<TextOr<'a, super::item::ContentPart<'a>>>,
    summary: Option<Vec<SummaryPart<'a>>>,
) -> Cow<'a, str> {
    let thought: Vec<Cow<'a, str>> = match content {
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(parts)) => parts.into_iter().filter_map(|part| part.text).map(Into::into).collect(),
        None => Vec::new(),
    };
    let thought = joined(thought, "");
    if !thought.is_empty() {
        return thought;
    }
    joined(summary.into_iter().flatten().filter_map(|part| part.text).map(Into::into).collect(), "\n\n")
}

fn joined<'a>(mut pieces: Vec<Cow<'a, str>>, separator: &str) -> Cow<'a, str> {
    match pieces.len() {
        0 => Cow::Borrowed(""),
        1 => pieces.remove(0),
        _ => Cow::Owned(pieces.join(separator)),
    }
}
