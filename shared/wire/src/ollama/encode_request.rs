//! [`Request`] → an `/api/chat` body.

use std::{borrow::Cow, collections::HashMap};

use super::{
    media_type::text_of,
    options::{is_option, write_options},
    refuse::{is_forced, refuse},
    schema::write_parameters,
    think::write_think,
};
use crate::{
    codec::{EncodeTarget, Encoded, WireError},
    ir::{
        CallKind, Family, Format, Losses, OutputFormat, Part, Request, Role, Source, ThinkingStyle, Tool, ToolChoice,
        ToolKind, Turn,
    },
    system_text::{self, Systems, is_within_results},
    tools::{self, arguments_as_object},
    write::Writer,
};

/// Tool names by the ids of their calls: results must name their tool.
type CallNames<'r> = HashMap<&'r str, &'r str>;

/// Writes a request for an Ollama upstream.
///
/// # Errors
/// When the request needs something that this format cannot say.
pub fn encode_request(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    refuse(request, target)?;
    let mut body = Vec::with_capacity(request.size_hint());
    Writer::new(&mut body).object(|w| {
        w.field_str("model", target.model);
        w.key("messages").array(|w| write_messages(w, request, target, losses));
        write_tools(w, request, target, losses);
        write_format(w, request, target, losses);
        write_think(w, request, target, losses);
        if request.sampling.logprobs == Some(true) {
            w.field("logprobs", &true);
            w.field_opt("top_logprobs", request.sampling.top_logprobs.as_ref());
        }
        write_options(w, request, target, losses);
        write_extensions(w, request, losses);
        // Absent means true.
        w.field("stream", &target.stream);
    });
    list_losses(request, losses);
    Ok(Encoded { body, ..Encoded::default() })
}

fn write_extensions(w: &mut Writer<'_>, request: &Request<'_>, losses: &mut Losses) {
    for (name, raw) in request.extensions.iter() {
        match request.format.family() {
            Family::Ollama if is_option(name) => {}
            // Only `/api/generate` has it.
            Family::Ollama if name != "template" => w.field_raw(name, raw.as_str()),
            _ => losses.drop_field(name.to_owned()),
        }
    }
}

/// Fields that say something harmless which this format has no word for.
fn list_losses(request: &Request<'_>, losses: &mut Losses) {
    for (name, given) in [
        ("logit_bias", request.sampling.logit_bias.is_some()),
        ("parallel_tool_calls", request.parallel_tool_calls == Some(false)),
        ("user", request.user.is_some()),
        ("metadata", request.metadata.is_some()),
        ("service_tier", request.service_tier.is_some()),
        ("prompt_cache_key", request.cache_key.is_some()),
        ("store", request.store == Some(true)),
        ("cache_control", request.has_cache_marks()),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
}

fn write_messages(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    // Most templates take one system text, in front. A client of this very format knows what its model's takes.
    let anywhere = request.format == Format::Ollama;
    let request = if anywhere { Cow::Borrowed(request) } else { system_text::by_turns(request) };
    let mut names = CallNames::new();
    let mut systems = Systems::of(&request, losses);
    if anywhere {
        systems.front().iter().for_each(|system| write_text(w, "system", &system.text));
    } else if let Some(text) = systems.joined_front() {
        write_text(w, "system", &text);
    }
    for (position, turn) in request.turns.iter().enumerate() {
        for part in &turn.parts {
            if let Part::ToolCall { id, name, .. } = part {
                names.insert(id, name);
            }
        }
        write_results(w, turn, &names, target, losses);
        if !is_within_results(&request.turns, position) {
            systems.due(position).iter().for_each(|system| write_text(w, "system", &system.text));
        }
        write_rest(w, turn, target, losses);
    }
    systems.rest().iter().for_each(|system| write_text(w, "system", &system.text));
}

fn write_text(w: &mut Writer<'_>, role: &str, text: &str) {
    w.object(|w| {
        w.field_str("role", role);
        w.field_str("content", text);
    });
}

/// Results come first: they belong directly behind the calls, whatever else the turn says.
fn write_results(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    names: &CallNames<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) {
    if turn.name.is_some() {
        losses.drop_field("messages.name");
    }
    for part in &turn.parts {
        if let Part::ToolResult { call_id, name, parts, is_error, .. } = part {
            let name = name.as_deref().or_else(|| names.get(call_id.as_ref()).copied());
            write_result(w, call_id, name.map(|name| target.names.upstream(name)), parts, *is_error, losses);
        }
    }
}

/// What a turn says beside its results.
fn write_rest(w: &mut Writer<'_>, turn: &Turn<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    match turn.role {
        Role::Assistant => write_assistant(w, &turn.parts, target, losses),
        Role::User | Role::Tool => {
            let own = turn.parts.iter().filter(|part| !matches!(part, Part::ToolResult { .. }));
            // Images in results: few templates show them there, so they follow as the user's.
            let shown = turn.parts.iter().filter_map(result_parts).flatten().filter(|part| is_media(part));
            let all: Vec<&Part<'_>> = own.chain(shown).collect();
            if !all.is_empty() {
                write_user(w, &all, losses);
            }
        }
    }
}

fn result_parts<'p, 'a>(part: &'p Part<'a>) -> Option<&'p [Part<'a>]> {
    if let Part::ToolResult { parts, .. } = part { Some(parts) } else { None }
}

const fn is_media(part: &Part<'_>) -> bool {
    matches!(part, Part::Image { .. } | Part::Audio { .. })
}

fn write_result(
    w: &mut Writer<'_>,
    call_id: &str,
    name: Option<&str>,
    parts: &[Part<'_>],
    is_error: bool,
    losses: &mut Losses,
) {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text { text: piece, .. } | Part::Refusal { text: piece } => text.push_str(piece),
            Part::Image { .. } => text.push_str("[image: see the next user message]"),
            Part::Audio { .. } => text.push_str("[audio: see the next user message]"),
            Part::Document { source, .. } => text.push_str(&text_of(source).unwrap_or_default()),
            _ => losses.drop_field("tool_result.content"),
        }
    }
    // There is no error flag, but the model must still learn that the call failed.
    if is_error && !text.to_ascii_lowercase().contains("error") {
        text.insert_str(0, "Error: ");
    }
    w.object(|w| {
        w.field_str("role", "tool");
        w.field_str("content", &text);
        w.field_str_opt("tool_name", name);
        w.field_str("tool_call_id", call_id);
    });
}

fn write_user(w: &mut Writer<'_>, parts: &[&Part<'_>], losses: &mut Losses) {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text { text: piece, .. } | Part::Refusal { text: piece } => append(&mut text, piece),
            Part::Document { source, name, context, citations, .. } => {
                if *citations {
                    losses.drop_field("document.citations");
                }
                for heading in [name, context].into_iter().flatten() {
                    append(&mut text, heading);
                }
                append(&mut text, &text_of(source).unwrap_or_default());
            }
            Part::Thinking { .. } | Part::RedactedThinking { .. } => losses.drop_field("thinking"),
            Part::ServerTool { .. } => losses.drop_field("server_tool"),
            _ => {}
        }
    }
    w.object(|w| {
        w.field_str("role", "user");
        w.field_str("content", &text);
        write_images(w, parts.iter().copied(), losses);
    });
}

/// Parts are paragraphs: a message has one text only.
fn append(text: &mut String, piece: &str) {
    if !text.is_empty() && !piece.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(piece);
}

fn write_images<'p, 'a: 'p>(w: &mut Writer<'_>, parts: impl Iterator<Item = &'p Part<'a>>, losses: &mut Losses) {
    let mut all: Vec<&str> = Vec::new();
    for part in parts {
        match part {
            Part::Image { source: Source::Inline { data, .. }, detail, .. } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    losses.drop_field("image_url.detail");
                }
                all.push(data);
            }
            // Sounds travel the same way; the server tells them apart by their bytes.
            Part::Audio { source: Source::Inline { data, .. }, .. } => all.push(data),
            _ => {}
        }
    }
    if !all.is_empty() {
        w.field("images", &all);
    }
}

fn write_assistant(w: &mut Writer<'_>, parts: &[Part<'_>], target: &EncodeTarget<'_>, losses: &mut Losses) {
    let (mut text, mut thinking) = (String::new(), String::new());
    let mut calls = Vec::new();
    let mut media = false;
    for part in parts {
        match part {
            Part::Text { text: piece, annotations, .. } => {
                if !annotations.is_empty() {
                    losses.drop_field("annotations");
                }
                text.push_str(piece);
            }
            Part::Refusal { text: piece } => text.push_str(piece),
            Part::Thinking { text: piece, .. } => append(&mut thinking, piece),
            Part::ToolCall { id, name, arguments, kind, signature, .. } => {
                if signature.is_some() {
                    losses.drop_field("thought_signature");
                }
                calls.push((id, name, arguments, *kind));
            }
            Part::Image { .. } | Part::Audio { .. } => media = true,
            Part::RedactedThinking { .. } => losses.drop_field("redacted_thinking"),
            Part::ServerTool { .. } => losses.drop_field("server_tool"),
            Part::Video { .. } | Part::Document { .. } => losses.drop_field("assistant.media"),
            Part::ToolResult { .. } => {}
        }
    }
    if target.profile.thinking == ThinkingStyle::None && !thinking.is_empty() {
        losses.drop_field("thinking");
        thinking.clear();
    }
    if text.is_empty() && thinking.is_empty() && calls.is_empty() && !media {
        // Nothing is left that this format could carry; an empty message would end the answer it is to begin.
        return;
    }
    w.object(|w| {
        w.field_str("role", "assistant");
        w.field_str("content", &text);
        if !thinking.is_empty() {
            w.field_str("thinking", &thinking);
        }
        write_images(w, parts.iter(), losses);
        if !calls.is_empty() {
            w.key("tool_calls").array(|w| {
                for (index, (id, name, arguments, kind)) in calls.into_iter().enumerate() {
                    let (arguments, whole) = object_of(arguments, kind);
                    if !whole {
                        losses.drop_field("tool_calls.arguments");
                    }
                    write_call(w, index, id, target.names.upstream(name), &arguments);
                }
            });
        }
    });
}

/// A call as both sides write it.
pub(super) fn write_call(w: &mut Writer<'_>, index: usize, id: &str, name: &str, arguments: &str) {
    w.object(|w| {
        w.field_str("id", id);
        w.key("function").object(|w| {
            w.field("index", &index);
            w.field_str("name", name);
            w.field_raw("arguments", arguments);
        });
    });
}

/// Arguments as the object that they must be here, and whether they are one. A history may hold a call that was cut off;
/// its text goes into an object of its own, because a request that fails forever helps nobody.
pub(super) fn object_of(arguments: &str, kind: CallKind) -> (Cow<'_, str>, bool) {
    let object = arguments_as_object(arguments, kind);
    if is_json_object(&object) {
        return (object, true);
    }
    (tools::arguments_as_object(arguments, CallKind::Custom).into_owned().into(), false)
}

pub(super) fn is_json_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

fn write_tools(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let own_vendor = request.vendor_tools.iter().filter(|tool| tool.family == Family::Ollama);
    for tool in request.vendor_tools.iter().filter(|tool| tool.family != Family::Ollama) {
        losses.drop_field(format!("tools.{}", tool.name));
    }
    let offered: Vec<&Tool<'_>> = request.tools.iter().filter(|tool| is_offered(tool, request)).collect();
    if offered.is_empty() && own_vendor.clone().next().is_none() {
        return;
    }
    if !target.profile.tools {
        return losses.drop_field("tools");
    }
    // Nothing makes this upstream call a tool; leaving only the wanted ones in the list is as near as it gets.
    if is_forced(request) {
        losses.drop_field("tool_choice");
    }
    w.key("tools").array(|w| {
        for tool in offered {
            w.object(|w| write_tool(w, tool, target, losses));
        }
        for tool in own_vendor {
            w.raw(tool.raw.as_str());
        }
    });
}

fn is_offered(tool: &Tool<'_>, request: &Request<'_>) -> bool {
    match &request.tool_choice {
        Some(ToolChoice::None) => false,
        Some(ToolChoice::Named(name)) => tool.name == *name,
        Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
        _ => true,
    }
}

fn write_tool(w: &mut Writer<'_>, tool: &Tool<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    w.field_str("type", "function");
    w.key("function").object(|w| {
        w.field_str("name", target.names.upstream(&tool.name));
        w.field_str_opt("description", tool.description.as_deref());
        match &tool.kind {
            ToolKind::Function { schema, strict } => {
                if *strict == Some(true) {
                    losses.drop_field("tools.strict");
                }
                write_parameters(w.key("parameters"), schema.as_ref());
            }
            ToolKind::Custom { grammar } => {
                if grammar.is_some() {
                    losses.drop_field("tools.format");
                }
                w.field_raw("parameters", tools::CUSTOM_SCHEMA);
            }
        }
    });
}

fn write_format(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::Json => w.field_str("format", "json"),
        OutputFormat::Schema { .. } if !target.profile.json_schema => {
            losses.drop_field("response_format.json_schema");
            w.field_str("format", "json");
        }
        OutputFormat::Schema { description, schema, .. } => {
            if description.is_some() {
                losses.drop_field("response_format.json_schema.description");
            }
            w.field_raw("format", schema.as_str());
        }
    }
}
