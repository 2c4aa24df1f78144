//! An `/api/chat` body → [`Request`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    call_id::call_id,
    media_type::media_part,
    message::{Content, Message, ToolCall},
    options::{Options, decode_options},
    think::decode_think,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{
        CallKind, Family, Format, Json, OutputFormat, Part, Request, Role, SystemPart, SystemRole, Tool, ToolKind,
        Turn, VendorTool,
    },
    object::{read, wire_object},
    text::Str,
};

wire_object! {
    struct Body<'a> {
        model: Str<'a> = "model",
        messages: Vec<Message<'a>> = "messages",
        tools: Vec<&'a RawValue> = "tools",
        format: &'a RawValue = "format",
        options: Options<'a> = "options",
        stream: bool = "stream",
        think: &'a RawValue = "think",
        logprobs: bool = "logprobs",
        top_logprobs: u32 = "top_logprobs",
    }
}

wire_object! {
    struct ToolField<'a> {
        kind: Str<'a> = "type",
        function: FunctionTool<'a> = "function",
    }
}

wire_object! {
    struct FunctionTool<'a> {
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        parameters: &'a RawValue = "parameters",
    }
}

/// What both APIs say in the same words.
pub(super) struct Settings<'a> {
    pub(super) format: Option<&'a RawValue>,
    pub(super) options: Option<Options<'a>>,
    pub(super) stream: Option<bool>,
    pub(super) think: Option<&'a RawValue>,
    pub(super) logprobs: Option<bool>,
    pub(super) top_logprobs: Option<u32>,
}

/// A call that waits for its result.
struct Pending<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
}

/// Reads an `/api/chat` request. One without messages asks to load or unload the model: see [`fn@super::preload`].
///
/// # Errors
/// Names the field that is missing, of the wrong type or out of range.
pub fn decode_request<'a>(body: &'a [u8], _context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    let body: Body<'a> = read(body)?;
    let mut request = Request::new(Format::Ollama, model_name(body.model)?);
    let mut pending = Vec::new();
    for (index, message) in body.messages.into_iter().flatten().enumerate() {
        push_message(&mut request, index, message, &mut pending)?;
    }
    for (index, raw) in body.tools.into_iter().flatten().enumerate() {
        push_tool(&mut request, index, raw)?;
    }
    let settings = Settings {
        format: body.format,
        options: body.options,
        stream: body.stream,
        think: body.think,
        logprobs: body.logprobs,
        top_logprobs: body.top_logprobs,
    };
    decode_settings(&mut request, settings)?;
    for (name, raw) in body.rest {
        request.extensions.push(name, raw);
    }
    Ok(request)
}

pub(super) fn model_name(model: Option<Str<'_>>) -> Result<Cow<'_, str>, WireError> {
    match model {
        Some(model) if !model.is_empty() => Ok(model.0),
        _ => Err(WireError { code: "missing_model", ..WireError::field("model", "`model` is required") }),
    }
}

pub(super) fn decode_settings<'a>(request: &mut Request<'a>, settings: Settings<'a>) -> Result<(), WireError> {
    if let Some(options) = settings.options {
        decode_options(request, options)?;
    }
    request.output = match settings.format {
        Some(raw) => decode_format(raw)?,
        None => OutputFormat::Text,
    };
    request.reasoning = match settings.think {
        Some(raw) => decode_think(raw)?,
        None => None,
    };
    request.stream = settings.stream.unwrap_or(true);
    // The last line has the counts, whether or not anybody asked.
    request.include_usage = true;
    request.sampling.logprobs = settings.logprobs;
    request.sampling.top_logprobs = settings.top_logprobs;
    if settings.top_logprobs.is_some_and(|number| number > 20) {
        return Err(WireError::field("top_logprobs", "`top_logprobs` must be between 0 and 20"));
    }
    Ok(())
}

fn decode_format(raw: &RawValue) -> Result<OutputFormat<'_>, WireError> {
    match raw.get() {
        "null" | r#""""# => Ok(OutputFormat::Text),
        r#""json""# => Ok(OutputFormat::Json),
        text if text.starts_with('{') => {
            Ok(OutputFormat::Schema { name: None, description: None, schema: raw.into(), strict: None })
        }
        _ => Err(WireError::field("format", "`format` must be \"json\" or a JSON schema")),
    }
}

fn push_message<'a>(
    request: &mut Request<'a>,
    index: usize,
    mut message: Message<'a>,
    pending: &mut Vec<Pending<'a>>,
) -> Result<(), WireError> {
    let path = |field: &str| format!("messages.{index}.{field}");
    let Some(role) = message.role.take() else {
        return Err(WireError::field(path("role"), "every message needs a `role`"));
    };
    // Ollama does not mind upper case.
    let turn = match role.to_ascii_lowercase().as_str() {
        word @ ("system" | "developer") => {
            if message.images.as_ref().is_some_and(|images| !images.is_empty()) {
                return Err(WireError::field(path("images"), "a system message takes text only"));
            }
            let role = if word == "system" { SystemRole::System } else { SystemRole::Developer };
            let text = message.content.take().unwrap_or_default().0;
            request.system.push(SystemPart { text, role, position: request.turns.len(), cache: None });
            return Ok(());
        }
        "user" => {
            Turn { role: Role::User, parts: content_parts(message.images.take(), message.content.take()), name: None }
        }
        "assistant" => Turn { role: Role::Assistant, parts: assistant_parts(message, index, pending)?, name: None },
        "tool" => {
            let (call_id, name) = answered(&mut message, index, pending);
            let parts = content_parts(message.images.take(), message.content.take());
            let result = Part::ToolResult { call_id, name, parts, is_error: false, cache: None };
            Turn { role: Role::Tool, parts: vec![result], name: None }
        }
        _ => {
            let reason = format!("`{}` is no role; use system, user, assistant or tool", &*role);
            return Err(WireError::field(path("role"), reason));
        }
    };
    request.turns.push(turn);
    Ok(())
}

/// Images first: that is where Ollama's templates put them.
pub(super) fn content_parts<'a>(images: Option<Vec<Str<'a>>>, content: Option<Content<'a>>) -> Vec<Part<'a>> {
    let images = images.unwrap_or_default();
    let mut parts: Vec<Part<'a>> = images.into_iter().map(|entry| media_part(entry.0)).collect();
    parts.extend(content.map(|content| content.0).filter(|text| !text.is_empty()).map(Part::text));
    parts
}

fn assistant_parts<'a>(
    mut message: Message<'a>,
    index: usize,
    pending: &mut Vec<Pending<'a>>,
) -> Result<Vec<Part<'a>>, WireError> {
    let thinking = message.thinking.take().filter(|text| !text.is_empty());
    let mut parts: Vec<Part<'a>> =
        thinking.map(|text| Part::Thinking { text: text.into(), signature: None }).into_iter().collect();
    let calls = message.tool_calls.take().unwrap_or_default();
    parts.extend(content_parts(message.images.take(), message.content.take()));
    pending.clear();
    for (number, call) in calls.into_iter().enumerate() {
        let path = format!("messages.{index}.tool_calls.{number}");
        let call = tool_call(call, &index.to_string(), number)
            .ok_or_else(|| WireError::field(format!("{path}.function.name"), "a tool call needs a name"))?;
        if let Part::ToolCall { id, name, .. } = &call {
            pending.push(Pending { id: id.clone(), name: name.clone() });
        }
        parts.push(call);
    }
    Ok(parts)
}

/// A call with its id, or one made of what the call is. `None` without a name.
pub(super) fn tool_call<'a>(call: ToolCall<'a>, turn: &str, number: usize) -> Option<Part<'a>> {
    let function = call.function?;
    let name: Cow<'a, str> = function.name.filter(|name| !name.is_empty())?.into();
    let arguments = function.arguments.map_or(Cow::Borrowed("{}"), |arguments| arguments.0);
    let id = match call.id.filter(|id| !id.is_empty()) {
        Some(id) => id.into(),
        None => Cow::Owned(call_id(turn, number, &name, &arguments)),
    };
    Some(Part::ToolCall { id, name, arguments, kind: CallKind::Function, signature: None, cache: None })
}

/// Which call a result answers: the one it names by id, else by tool, else the first that still waits.
fn answered<'a>(
    message: &mut Message<'a>,
    index: usize,
    pending: &mut Vec<Pending<'a>>,
) -> (Cow<'a, str>, Option<Cow<'a, str>>) {
    let name = message.take_tool_name();
    let given: Option<Cow<'a, str>> = message.tool_call_id.take().filter(|id| !id.is_empty()).map(Into::into);
    let at = match (&given, &name) {
        (Some(id), _) => pending.iter().position(|call| call.id == *id),
        (None, Some(name)) => {
            let named = pending.iter().position(|call| call.name == *name);
            named.or(if pending.is_empty() { None } else { Some(0) })
        }
        (None, None) => {
            if pending.is_empty() {
                None
            } else {
                Some(0)
            }
        }
    };
    let call = at.map(|at| pending.remove(at));
    let (own_id, own_name) = call.map_or((None, None), |call| (Some(call.id), Some(call.name)));
    let name = name.or(own_name);
    let id = given.or(own_id).unwrap_or_else(|| {
        let name = name.as_deref().unwrap_or_default();
        Cow::Owned(call_id(&index.to_string(), 0, name, "result without a call"))
    });
    (id, name)
}

fn push_tool<'a>(request: &mut Request<'a>, index: usize, raw: &'a RawValue) -> Result<(), WireError> {
    let path = format!("tools.{index}");
    let tool: ToolField<'a> =
        serde_json::from_str(raw.get()).map_err(|error| WireError::field(path.as_str(), error.to_string()))?;
    let Some(function) = tool.function else {
        let kind = tool.kind.filter(|kind| !kind.is_empty() && &**kind != "function");
        let kind = kind.ok_or_else(|| WireError::field(format!("{path}.function"), "a tool needs `function`"))?;
        let raw = Json::from(raw);
        request.vendor_tools.push(VendorTool { family: Family::Ollama, name: kind.into(), raw });
        return Ok(());
    };
    let name = function.name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| WireError::field(format!("{path}.function.name"), "a tool needs a `name`"))?;
    request.tools.push(Tool {
        name: name.into(),
        description: function.description.filter(|text| !text.is_empty()).map(Into::into),
        kind: ToolKind::Function { schema: function.parameters.map(Into::into), strict: None },
        namespace: None,
        cache: None,
    });
    Ok(())
}
