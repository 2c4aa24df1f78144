//! A `generateContent` body → [`Request`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    call_id::{OpenCalls, call_id},
    content::{IdGiven, Origin, blob_part, file_part, push_part},
    decode_config::{GenerationConfig, decode_config},
    decode_tools::{ToolConfig, ToolField, decode_tool_config, decode_tools},
    message::{Content, FunctionResponse, OneOrMany, PartField},
    path::plain_model,
    schema,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{Extensions, Format, Part, Request, Role, SystemPart, SystemRole, Turn},
    object::{read, wire_object},
    text::Str,
};

wire_object! {
    pub(super) struct Body<'a> {
        contents: OneOrMany<Content<'a>> = "contents",
        system_instruction: Content<'a> = "systemInstruction" | "system_instruction",
        tools: OneOrMany<ToolField<'a>> = "tools",
        tool_config: ToolConfig<'a> = "toolConfig" | "tool_config",
        generation_config: GenerationConfig<'a> = "generationConfig" | "generation_config",
        service_tier: Str<'a> = "serviceTier" | "service_tier",
        // The path says which model; some clients repeat it.
        model: &'a RawValue = "model",
    }
}

/// Reads a request. The path says which model it is for and whether the answer is streamed.
///
/// # Errors
/// Names the field that is missing, of the wrong type or out of range.
pub fn decode_request<'a>(
    body: &'a [u8],
    model: &'a str,
    stream: bool,
    context: &DecodeContext<'_>,
) -> Result<Request<'a>, WireError> {
    decode_body(read(body)?, model, stream, context)
}

pub(super) fn decode_body<'a>(
    mut body: Body<'a>,
    model: &'a str,
    stream: bool,
    context: &DecodeContext<'_>,
) -> Result<Request<'a>, WireError> {
    let model = plain_model(model);
    if model.is_empty() {
        return Err(WireError { code: "missing_model", ..WireError::field("model", "the path names no model") });
    }
    let Some(contents) = body.contents.take().filter(|contents| !contents.0.is_empty()) else {
        return Err(WireError::field("contents", "`contents` must have at least one content"));
    };
    let mut request = Request::new(Format::Gemini, model);
    request.stream = stream;
    if let Some(content) = body.system_instruction.take() {
        push_system(&mut request, content, "systemInstruction")?;
    }
    let mut history = History { context, open: OpenCalls::default(), after_model: false };
    for (index, content) in contents.0.into_iter().enumerate() {
        history.push(&mut request, index, content)?;
    }
    decode_tools(&mut request, body.tools.take().unwrap_or_default().0)?;
    decode_tool_config(&mut request, body.tool_config.take().unwrap_or_default())?;
    decode_config(&mut request, body.generation_config.take().unwrap_or_default())?;
    request.service_tier = body.service_tier.take().map(Into::into);
    for (name, raw) in body.rest {
        request.extensions.push(name, raw);
    }
    Ok(request)
}

fn push_system<'a>(request: &mut Request<'a>, content: Content<'a>, path: &str) -> Result<(), WireError> {
    let position = request.turns.len();
    for (index, part) in content.parts.unwrap_or_default().0.into_iter().enumerate() {
        let Some(text) = part.text else {
            return Err(WireError::field(format!("{path}.parts.{index}"), "a system text takes text parts only"));
        };
        if !text.is_empty() {
            request.system.push(SystemPart { text: text.into(), role: SystemRole::System, position, cache: None });
        }
    }
    Ok(())
}

/// Reads contents in their order: results belong to the calls before them.
struct History<'h, 'a> {
    context: &'h DecodeContext<'h>,
    open: OpenCalls<'a>,
    /// The content before was the model's: its calls and the next content's are one round.
    after_model: bool,
}

// === impl History ===

impl<'a> History<'_, 'a> {
    /// Each content becomes one turn, so that paths of extensions name both.
    fn push(&mut self, request: &mut Request<'a>, index: usize, content: Content<'a>) -> Result<(), WireError> {
        let role = content.role.as_deref().unwrap_or("user");
        let is_model = match role {
            "user" | "function" | "tool" | "" => false,
            "model" | "assistant" => true,
            "system" | "developer" => return push_system(request, content, &format!("contents.{index}")),
            other => {
                return Err(WireError::field(
                    format!("contents.{index}.role"),
                    format!("`{other}` is no role; use user or model"),
                ));
            }
        };
        let turn = request.turns.len();
        let seed = turn.to_string();
        let mut origin = Origin { turn: &seed, calls: 0 };
        let mut parts = Vec::new();
        for (number, mut field) in content.parts.unwrap_or_default().0.into_iter().enumerate() {
            let within = |error: WireError| WireError {
                param: error.param.map(|field| format!("contents.{index}.parts.{number}.{field}")),
                ..error
            };
            let place = (turn, parts.len());
            if let Some(response) = field.function_response.take() {
                keep_rest(&mut request.extensions, place, "functionResponse.", &response.rest);
                parts.push(self.result(response, turn, number).map_err(within)?);
                continue;
            }
            keep_extras(&mut request.extensions, place, &field);
            let given = push_part(&mut parts, field, &mut origin, self.context).map_err(within)?;
            if let (Some(IdGiven(given)), Some(Part::ToolCall { id, name, .. })) = (given, parts.last()) {
                if origin.calls == 1 && !self.after_model {
                    self.open.clear();
                }
                self.open.push(id.clone(), name.clone(), given);
            }
        }
        self.after_model = is_model;
        let only_results = !parts.is_empty() && parts.iter().all(|part| matches!(part, Part::ToolResult { .. }));
        let role = match (is_model, only_results) {
            (true, _) => Role::Assistant,
            (false, true) => Role::Tool,
            (false, false) => Role::User,
        };
        request.turns.push(Turn { role, parts, name: None });
        Ok(())
    }

    fn result(&mut self, field: FunctionResponse<'a>, turn: usize, number: usize) -> Result<Part<'a>, WireError> {
        let name = field.name.filter(|name| !name.is_empty());
        let id = field.id.filter(|id| !id.is_empty());
        if name.is_none() && id.is_none() {
            return Err(WireError::field("functionResponse.name", "a function response needs a `name`"));
        }
        let response = field.response.map_or("{}", RawValue::get);
        let known = self.open.answer(id.as_deref(), name.as_deref().unwrap_or_default());
        let call_id = known.or(id.map(Cow::from)).unwrap_or_else(|| {
            call_id(&turn.to_string(), number, name.as_deref().unwrap_or_default(), response).into()
        });
        let (text, is_error) = result_text(response);
        let mut parts = vec![Part::text(text)];
        for (index, part) in field.parts.unwrap_or_default().0.into_iter().enumerate() {
            parts.extend(result_media(part, index)?);
        }
        Ok(Part::ToolResult { call_id, name: name.map(Into::into), parts, is_error, cache: None })
    }
}

/// What a result says: the text itself where the object only wraps it, else the object.
fn result_text(response: &str) -> (Cow<'_, str>, bool) {
    let fields = schema::object(response).unwrap_or_default();
    let [(key, raw)] = fields.as_slice() else { return (response.into(), false) };
    let is_error = key == "error";
    if !is_error && key != "output" && key != "result" {
        return (response.into(), false);
    }
    (schema::text(raw).unwrap_or_else(|| raw.get().into()), is_error)
}

fn result_media(part: PartField<'_>, index: usize) -> Result<Option<Part<'_>>, WireError> {
    let within = |error: WireError| WireError {
        param: error.param.map(|field| format!("functionResponse.parts.{index}.{field}")),
        ..error
    };
    match (part.inline_data, part.file_data, part.text) {
        (Some(blob), ..) => blob_part(blob).map(Some).map_err(within),
        (None, Some(file), _) => file_part(file).map(Some).map_err(within),
        (None, None, text) => Ok(text.map(|text| Part::text(text.0))),
    }
}

/// Fields beside a part's data: they go back to where the part stands (see [`super::extras`]).
fn keep_extras<'a>(extensions: &mut Extensions<'a>, place: (usize, usize), field: &PartField<'a>) {
    if field.inline_data.is_some() || field.file_data.is_some() {
        for (name, raw) in [("videoMetadata", field.video_metadata), ("mediaResolution", field.media_resolution)] {
            if let Some(raw) = raw {
                extensions.push(extra_path(place, "", name), raw);
            }
        }
    }
    let has_data = field.text.is_some()
        || field.inline_data.is_some()
        || field.file_data.is_some()
        || field.function_call.is_some()
        || field.executable_code.is_some()
        || field.code_execution_result.is_some();
    if has_data {
        keep_rest(extensions, place, "", &field.rest);
        if let Some(call) = &field.function_call {
            keep_rest(extensions, place, "functionCall.", &call.rest);
        }
    }
}

fn keep_rest<'a>(
    extensions: &mut Extensions<'a>,
    place: (usize, usize),
    within: &str,
    rest: &[(Cow<'a, str>, &'a RawValue)],
) {
    for (name, raw) in rest {
        extensions.push(extra_path(place, within, name), *raw);
    }
}

fn extra_path((turn, part): (usize, usize), within: &str, name: &str) -> String {
    format!("contents.{turn}.parts.{part}.{within}{name}")
}
