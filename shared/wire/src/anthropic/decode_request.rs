//! A Messages body → [`Request`].

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use super::{
    block::{Block, Message, cache_mark, read_at},
    content::{self, Extra, Piece},
    decode_tools::{self, ChoiceField},
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{CacheMark, Effort, Format, Json, OutputFormat, Part, Reasoning, Request, Role, SystemPart, SystemRole, Turn},
    object::{read, wire_object},
    system_text::split_billing_line,
    text::{Str, TextOr},
};

wire_object! {
    struct Body<'a> {
        model: Str<'a> = "model",
        messages: Vec<Message<'a>> = "messages",
        system: TextOr<'a, &'a RawValue> = "system",
        tools: Vec<&'a RawValue> = "tools",
        tool_choice: ChoiceField<'a> = "tool_choice",
        max_tokens: u64 = "max_tokens",
        stop_sequences: Vec<Str<'a>> = "stop_sequences",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_k: u64 = "top_k",
        thinking: ThinkingField<'a> = "thinking",
        output_config: OutputConfig<'a> = "output_config",
        output_format: FormatField<'a> = "output_format",
        metadata: Metadata<'a> = "metadata",
        service_tier: Str<'a> = "service_tier",
        stream: bool = "stream",
    }
}

wire_object! {
    struct ThinkingField<'a> {
        kind: Str<'a> = "type",
        budget_tokens: u64 = "budget_tokens",
        display: Str<'a> = "display",
    }
}

wire_object! {
    struct OutputConfig<'a> {
        effort: Str<'a> = "effort",
        format: FormatField<'a> = "format",
    }
}

wire_object! {
    struct FormatField<'a> {
        kind: Str<'a> = "type",
        name: Str<'a> = "name",
        schema: &'a RawValue = "schema",
    }
}

wire_object! {
    struct Metadata<'a> {
        user_id: Str<'a> = "user_id",
    }
}

/// Reads a Messages request.
///
/// # Errors
/// Names the field that is missing, of the wrong type or out of range.
pub fn decode_request<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    let request = decode_prompt(body, context)?;
    if request.max_tokens.is_none() {
        return Err(WireError::field("max_tokens", "`max_tokens` is required"));
    }
    Ok(request)
}

/// Reads a request that may be without a limit: to count its tokens.
pub(super) fn decode_prompt<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    let mut body: Body<'a> = read(body)?;
    let Some(model) = body.model.take().filter(|model| !model.is_empty()) else {
        return Err(WireError { code: "missing_model", ..WireError::field("model", "`model` is required") });
    };
    let Some(messages) = body.messages.take() else {
        return Err(WireError::field("messages", "`messages` is required"));
    };
    let mut request = Request::new(Format::Anthropic, model.0);
    decode_system(&mut request, body.system.take())?;
    let in_front = request.system.len();
    let mut names = HashMap::new();
    for (index, message) in messages.into_iter().enumerate() {
        push_message(&mut request, index, message, &mut names, context)?;
    }
    if request.turns.is_empty() && request.system.len() == in_front {
        return Err(WireError::field("messages", "`messages` must have at least one message with content"));
    }
    decode_tools::decode_tools(&mut request, body.tools.take())?;
    decode_tools::decode_choice(&mut request, body.tool_choice.take())?;
    decode_limits(&mut request, &mut body)?;
    decode_output(&mut request, &mut body)?;
    if let Some(metadata) = body.metadata.take() {
        request.user = metadata.user_id.map(Into::into);
        keep_rest(&mut request, "metadata", metadata.rest);
    }
    request.service_tier = body.service_tier.take().map(Into::into);
    request.stream = body.stream.unwrap_or(false);
    for (name, raw) in body.rest {
        request.extensions.push(name, raw);
    }
    Ok(request)
}

fn keep_rest<'a>(request: &mut Request<'a>, place: &str, rest: Vec<(Cow<'a, str>, &'a RawValue)>) {
    for (field, raw) in rest {
        request.extensions.push(format!("{place}.{field}"), raw);
    }
}

fn decode_system<'a>(request: &mut Request<'a>, system: Option<TextOr<'a, &'a RawValue>>) -> Result<(), WireError> {
    match system {
        None => {}
        Some(TextOr::Text(text)) => {
            if let Some(text) = without_billing_line(request, text, None) {
                push_system(request, text, None);
            }
        }
        Some(TextOr::List(blocks)) => {
            for (index, raw) in blocks.into_iter().enumerate() {
                let path = format!("system.{index}");
                let block: Block<'a> = read_at(raw, &path)?;
                let Some(text) = block.text else {
                    return Err(WireError::field(format!("{path}.text"), "`system` takes text blocks only"));
                };
                let Some(text) = without_billing_line(request, text.0, Some(raw)) else { continue };
                let (cache, scoped) = cache_mark(block.cache_control);
                let place = format!("system.{}", request.system.len());
                if let Some(raw) = block.cache_control.filter(|_| scoped) {
                    request.extensions.push(format!("{place}.cache_control"), raw);
                }
                keep_rest(request, &place, block.rest);
                push_system(request, text, cache);
            }
        }
    }
    Ok(())
}

/// What a system text says behind Claude Code's line in front of it, which is kept for Anthropic as a block of its own; `None`
/// where it says no more. `block`: in which the text came.
fn without_billing_line<'a>(
    request: &mut Request<'a>,
    text: Cow<'a, str>,
    block: Option<&'a RawValue>,
) -> Option<Cow<'a, str>> {
    let Some((line, behind)) = split_billing_line(&text) else { return Some(text) };
    let behind = behind.trim_start();
    let alone = || Json::from_value(&serde_json::json!({"type": "text", "text": line}));
    let block = block.filter(|_| behind.is_empty()).map(Json::from).or_else(alone);
    request.extensions.0.extend(block.map(|raw| (Cow::Borrowed("system.billing_header"), raw)));
    (!behind.is_empty()).then(|| Cow::Owned(behind.to_owned()))
}

fn push_system<'a>(request: &mut Request<'a>, text: Cow<'a, str>, cache: Option<CacheMark>) {
    let position = request.turns.len();
    request.system.push(SystemPart { text, role: SystemRole::System, position, cache });
}

fn push_message<'a>(
    request: &mut Request<'a>,
    index: usize,
    mut message: Message<'a>,
    names: &mut HashMap<String, Cow<'a, str>>,
    context: &DecodeContext<'_>,
) -> Result<(), WireError> {
    let path = |field: &str| format!("messages.{index}.{field}");
    let Some(role) = message.role.take() else {
        return Err(WireError::field(path("role"), "every message needs a `role`"));
    };
    let Some(content) = message.content.take() else {
        return Err(WireError::field(path("content"), "every message needs `content`"));
    };
    let role = match role.as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => return system_turn(request, index, content),
        other => {
            let message = format!("`{other}` is no role; use user, assistant or system");
            return Err(WireError::field(path("role"), message));
        }
    };
    let (mut results, mut rest) = (Vec::new(), Vec::new());
    let mut systems = Vec::new();
    for piece in content::pieces(content, &path("content"), context)? {
        match piece {
            Piece::System(texts) => systems.extend(texts),
            Piece::Part(mut part, extras) => {
                match &mut part {
                    Part::ToolCall { id, name, .. } => {
                        names.insert(id.clone().into_owned(), name.clone());
                    }
                    Part::ToolResult { call_id, name, .. } => *name = names.get(call_id.as_ref()).cloned(),
                    _ => {}
                }
                let of_tool = role == Role::User && matches!(part, Part::ToolResult { .. });
                if of_tool { results.push((part, extras)) } else { rest.push((part, extras)) }
            }
        }
    }
    // A tool's turn carries results only; what the user says beside them is a turn of its own.
    push_turn(request, Role::Tool, results);
    push_turn(request, role, rest);
    for (text, cache) in systems {
        push_system(request, text, cache);
    }
    Ok(())
}

fn push_turn<'a>(request: &mut Request<'a>, role: Role, pieces: Vec<(Part<'a>, Vec<Extra<'a>>)>) {
    if pieces.is_empty() {
        return;
    }
    let turn = request.turns.len();
    let mut parts = Vec::with_capacity(pieces.len());
    for (part, extras) in pieces {
        for extra in extras {
            let place = extra.place.unwrap_or_else(|| format!("messages.{turn}.content.{}", parts.len()));
            request.extensions.push(format!("{place}.{}", extra.field), extra.raw);
        }
        parts.push(part);
    }
    request.turns.push(Turn { role, parts, name: None });
}

/// A system turn among the messages keeps its place.
fn system_turn<'a>(
    request: &mut Request<'a>,
    index: usize,
    content: TextOr<'a, &'a RawValue>,
) -> Result<(), WireError> {
    let blocks = match content {
        TextOr::Text(text) => {
            push_system(request, text, None);
            return Ok(());
        }
        TextOr::List(blocks) => blocks,
    };
    for (number, raw) in blocks.into_iter().enumerate() {
        let path = format!("messages.{index}.content.{number}");
        let block: Block<'a> = read_at(raw, &path)?;
        match (block.kind.as_deref(), block.text) {
            (Some("text"), Some(text)) => push_system(request, text.0, cache_mark(block.cache_control).0),
            (Some("text") | None, _) => {
                return Err(WireError::field(format!("{path}.text"), "a system turn takes text blocks"));
            }
            // Changes of the tool list in mid-conversation: nothing else says them.
            (Some(kind), _) => request.extensions.push(format!("messages.system.{kind}"), raw),
        }
    }
    Ok(())
}

fn decode_limits<'a>(request: &mut Request<'a>, body: &mut Body<'a>) -> Result<(), WireError> {
    request.max_tokens = body.max_tokens;
    request.stop = body.stop_sequences.take().into_iter().flatten().map(Into::into).collect();
    for (name, value) in [("temperature", body.temperature), ("top_p", body.top_p)] {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(WireError::field(name, format!("`{name}` must be between 0 and 1")));
        }
    }
    request.sampling.temperature = body.temperature;
    request.sampling.top_p = body.top_p;
    request.sampling.top_k = body.top_k;
    Ok(())
}

fn decode_output<'a>(request: &mut Request<'a>, body: &mut Body<'a>) -> Result<(), WireError> {
    let mut reasoning = Reasoning::default();
    let mut seen = false;
    if let Some(field) = body.thinking.take() {
        seen = true;
        match field.kind.as_deref() {
            Some("enabled") => {
                let Some(budget) = field.budget_tokens else {
                    let message = "`budget_tokens` is required when thinking is enabled";
                    return Err(WireError::field("thinking.budget_tokens", message));
                };
                reasoning.enabled = Some(true);
                reasoning.budget = Some(budget);
            }
            Some("adaptive") => {
                reasoning.enabled = Some(true);
                reasoning.adaptive = true;
            }
            Some("disabled") => reasoning.enabled = Some(false),
            other => {
                let message =
                    format!("`{}` is no way to think; use enabled, adaptive or disabled", other.unwrap_or(""));
                return Err(WireError::field("thinking.type", message));
            }
        }
        reasoning.visible = field.display.map(|word| &*word != "omitted");
        keep_rest(request, "thinking", field.rest);
    }
    let mut format = body.output_format.take();
    if let Some(config) = body.output_config.take() {
        if let Some(word) = config.effort {
            seen = true;
            let effort = Effort::parse(&word).ok_or_else(|| {
                let message = format!("`{}` is no effort; use low, medium, high, xhigh or max", &*word);
                WireError::field("output_config.effort", message)
            })?;
            reasoning.effort = Some(effort);
        }
        format = config.format.or(format);
        keep_rest(request, "output_config", config.rest);
    }
    request.reasoning = seen.then_some(reasoning);
    if let Some(format) = format {
        request.output = output_format(format)?;
    }
    Ok(())
}

fn output_format(field: FormatField<'_>) -> Result<OutputFormat<'_>, WireError> {
    match field.kind.as_deref() {
        Some("json_schema") => {
            let schema = field.schema.ok_or_else(|| {
                WireError::field("output_config.format.schema", "`schema` is required for this format")
            })?;
            let name = field.name.map(Into::into);
            Ok(OutputFormat::Schema { name, description: None, schema: schema.into(), strict: Some(true) })
        }
        other => {
            let message = format!("`{}` is no output format; use json_schema", other.unwrap_or(""));
            Err(WireError::field("output_config.format.type", message))
        }
    }
}
