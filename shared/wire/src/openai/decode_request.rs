//! A Chat Completions body → [`Request`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    content,
    message::{Message, ToolCall},
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{
        CacheMark, CallKind, Effort, Family, Format, Modality, OutputFormat, Part, Reasoning, Request, Role, Signature,
        SystemPart, SystemRole, Tool, ToolChoice, ToolKind, Turn, VendorTool,
    },
    object::{read, wire_object},
    text::{Str, TextOr},
};

wire_object! {
    struct Body<'a> {
        model: Str<'a> = "model",
        messages: Vec<Message<'a>> = "messages",
        tools: Vec<&'a RawValue> = "tools",
        functions: Vec<FunctionTool<'a>> = "functions",
        tool_choice: &'a RawValue = "tool_choice",
        function_call: &'a RawValue = "function_call",
        parallel_tool_calls: bool = "parallel_tool_calls",
        max_tokens: u64 = "max_tokens",
        max_completion_tokens: u64 = "max_completion_tokens",
        stop: TextOr<'a, Str<'a>> = "stop",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_k: u64 = "top_k",
        min_p: f64 = "min_p",
        frequency_penalty: f64 = "frequency_penalty",
        presence_penalty: f64 = "presence_penalty",
        repetition_penalty: f64 = "repetition_penalty",
        seed: i64 = "seed",
        n: u32 = "n",
        logprobs: bool = "logprobs",
        top_logprobs: u32 = "top_logprobs",
        logit_bias: &'a RawValue = "logit_bias",
        reasoning_effort: Str<'a> = "reasoning_effort",
        reasoning: ReasoningField<'a> = "reasoning",
        thinking: ThinkingField<'a> = "thinking",
        response_format: ResponseFormat<'a> = "response_format",
        modalities: Vec<Str<'a>> = "modalities",
        stream: bool = "stream",
        stream_options: StreamOptions<'a> = "stream_options",
        user: Str<'a> = "user",
        safety_identifier: Str<'a> = "safety_identifier",
        metadata: &'a RawValue = "metadata",
        service_tier: Str<'a> = "service_tier",
        prompt_cache_key: Str<'a> = "prompt_cache_key",
        store: bool = "store",
        web_search_options: &'a RawValue = "web_search_options",
    }
}

wire_object! {
    struct ToolField<'a> {
        kind: Str<'a> = "type",
        function: FunctionTool<'a> = "function",
        custom: CustomTool<'a> = "custom",
        cache_control: super::message::CacheControl<'a> = "cache_control",
    }
}

wire_object! {
    struct FunctionTool<'a> {
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        parameters: &'a RawValue = "parameters",
        strict: bool = "strict",
        cache_control: super::message::CacheControl<'a> = "cache_control",
    }
}

wire_object! {
    struct CustomTool<'a> {
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        format: &'a RawValue = "format",
    }
}

wire_object! {
    struct ReasoningField<'a> {
        effort: Str<'a> = "effort",
        max_tokens: u64 = "max_tokens",
        enabled: bool = "enabled",
        exclude: bool = "exclude",
    }
}

wire_object! {
    struct ThinkingField<'a> {
        kind: Str<'a> = "type",
        budget_tokens: u64 = "budget_tokens",
    }
}

wire_object! {
    struct ResponseFormat<'a> {
        kind: Str<'a> = "type",
        json_schema: SchemaField<'a> = "json_schema",
    }
}

wire_object! {
    struct SchemaField<'a> {
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        schema: &'a RawValue = "schema",
        strict: bool = "strict",
    }
}

wire_object! {
    struct StreamOptions<'a> {
        include_usage: bool = "include_usage",
    }
}

wire_object! {
    struct ChoiceField<'a> {
        kind: Str<'a> = "type",
        function: NamedField<'a> = "function",
        custom: NamedField<'a> = "custom",
        name: Str<'a> = "name",
        allowed_tools: AllowedTools<'a> = "allowed_tools",
    }
}

wire_object! {
    struct NamedField<'a> {
        name: Str<'a> = "name",
    }
}

wire_object! {
    struct AllowedTools<'a> {
        mode: Str<'a> = "mode",
        tools: Vec<ChoiceField<'a>> = "tools",
    }
}

/// Reads a Chat Completions request.
///
/// # Errors
/// Names the field that is missing, of the wrong type or out of range.
pub fn decode_request<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    let mut body: Body<'a> = read(body)?;
    let Some(model) = body.model.take().filter(|model| !model.is_empty()) else {
        return Err(WireError { code: "missing_model", ..WireError::field("model", "`model` is required") });
    };
    let Some(messages) = body.messages.take() else {
        return Err(WireError::field("messages", "`messages` is required"));
    };
    let mut request = Request::new(Format::OpenAiChat, model.0);
    for (index, message) in messages.into_iter().enumerate() {
        push_message(&mut request, index, message, context)?;
    }
    if request.turns.is_empty() && request.system.is_empty() {
        return Err(WireError::field("messages", "`messages` must have at least one message"));
    }
    decode_tools(&mut request, &mut body)?;
    decode_sampling(&mut request, &mut body)?;
    request.reasoning = decode_reasoning(&mut body)?;
    request.output = decode_output(body.response_format.take())?;
    request.modalities = decode_modalities(body.modalities.take())?;
    request.stream = body.stream.unwrap_or(false);
    request.include_usage = body.stream_options.take().and_then(|options| options.include_usage).unwrap_or(false);
    request.user = body.safety_identifier.take().or(body.user.take()).map(Into::into);
    request.metadata = body.metadata.map(Into::into);
    request.service_tier = body.service_tier.take().map(Into::into);
    request.cache_key = body.prompt_cache_key.take().map(Into::into);
    request.store = body.store;
    if let Some(raw) = body.web_search_options {
        request.vendor_tools.push(VendorTool {
            family: Family::OpenAi,
            name: Cow::Borrowed("web_search_options"),
            raw: raw.into(),
        });
    }
    for (name, raw) in body.rest {
        request.extensions.push(name, raw);
    }
    Ok(request)
}

fn push_message<'a>(
    request: &mut Request<'a>,
    index: usize,
    mut message: Message<'a>,
    context: &DecodeContext<'_>,
) -> Result<(), WireError> {
    let path = |field: &str| format!("messages.{index}.{field}");
    let Some(role) = message.role.take() else {
        return Err(WireError::field(path("role"), "every message needs a `role`"));
    };
    let name = message.name.take().map(Cow::from);
    let turn = match role.as_ref() {
        "system" | "developer" => {
            let system = if &*role == "system" { SystemRole::System } else { SystemRole::Developer };
            return push_system(request, system, message, &path("content"));
        }
        "user" => Turn { role: Role::User, parts: content::user_parts(message, &path("content"), context)?, name },
        "assistant" => Turn { role: Role::Assistant, parts: assistant_parts(message, index, context)?, name },
        "tool" => {
            let Some(call_id) = message.tool_call_id.take() else {
                return Err(WireError::field(path("tool_call_id"), "a tool message needs a `tool_call_id`"));
            };
            let parts = content::user_parts(message, &path("content"), context)?;
            let result = Part::ToolResult { call_id: call_id.into(), name, parts, is_error: false, cache: None };
            Turn { role: Role::Tool, parts: vec![result], name: None }
        }
        // The legacy form: a function's result, known by its name only.
        "function" => {
            let name = name.ok_or_else(|| WireError::field(path("name"), "a function message needs a `name`"))?;
            let parts = content::user_parts(message, &path("content"), context)?;
            let call_id = super::legacy_call_id(&name).into();
            let result = Part::ToolResult { call_id, name: Some(name), parts, is_error: false, cache: None };
            Turn { role: Role::Tool, parts: vec![result], name: None }
        }
        other => {
            return Err(WireError::field(
                path("role"),
                format!("`{other}` is no role; use system, developer, user, assistant or tool"),
            ));
        }
    };
    request.turns.push(turn);
    Ok(())
}

fn push_system<'a>(
    request: &mut Request<'a>,
    role: SystemRole,
    message: Message<'a>,
    path: &str,
) -> Result<(), WireError> {
    let position = request.turns.len();
    let mut push = |text: Cow<'a, str>, cache| request.system.push(SystemPart { text, role, position, cache });
    match message.content {
        Some(TextOr::Text(text)) => push(text, None),
        Some(TextOr::List(parts)) => {
            for part in parts {
                let Some(text) = part.text else {
                    return Err(WireError::field(path, "a system message takes text parts only"));
                };
                push(text.0, content::cache_mark(part.cache_control.as_ref()));
            }
        }
        // Says nothing, as an assistant's message may.
        None => {}
    }
    Ok(())
}

fn assistant_parts<'a>(
    mut message: Message<'a>,
    index: usize,
    context: &DecodeContext<'_>,
) -> Result<Vec<Part<'a>>, WireError> {
    let mut parts = Vec::new();
    content::push_reasoning(&mut parts, &mut message, context);
    let calls = message.tool_calls.take();
    let legacy = message.function_call.take();
    let refusal = message.refusal.take();
    let annotations = message.annotations.take();
    let audio = message.audio.take();
    let start = parts.len();
    parts.extend(content::user_parts(message, &format!("messages.{index}.content"), context)?);
    if let (Some(annotations), Some(Part::Text { annotations: own, .. })) = (annotations, parts.get_mut(start)) {
        own.extend(annotations.into_iter().filter_map(content::annotation));
    }
    if let Some(id) = audio.and_then(|audio| audio.id) {
        let source = crate::ir::Source::File { id: id.into(), owner: Family::OpenAi };
        parts.push(Part::Audio { source, format: None, transcript: None });
    }
    if let Some(text) = refusal.filter(|text| !text.is_empty()) {
        parts.push(Part::Refusal { text: text.into() });
    }
    for (number, call) in calls.into_iter().flatten().enumerate() {
        parts.push(tool_call(call, &format!("messages.{index}.tool_calls.{number}"))?);
    }
    if let Some(call) = legacy {
        let name = call.name.ok_or_else(|| {
            WireError::field(format!("messages.{index}.function_call.name"), "a function call needs a `name`")
        })?;
        parts.push(Part::ToolCall {
            id: super::legacy_call_id(&name).into(),
            name: name.into(),
            arguments: call.arguments.unwrap_or_default().0,
            kind: CallKind::Function,
            signature: None,
            cache: None,
        });
    }
    Ok(parts)
}

fn tool_call<'a>(call: ToolCall<'a>, path: &str) -> Result<Part<'a>, WireError> {
    let id = call.id.ok_or_else(|| WireError::field(format!("{path}.id"), "a tool call needs an `id`"))?;
    let signature = call
        .extra_content
        .and_then(|extra| extra.google)
        .and_then(|google| google.thought_signature)
        .map(|payload| Signature { family: Family::Gemini, payload: payload.into() });
    let (name, arguments, kind) = match (call.function, call.custom) {
        (Some(function), _) => (function.name, function.arguments.unwrap_or_default().0, CallKind::Function),
        (None, Some(custom)) => (custom.name, custom.input.unwrap_or_default().0, CallKind::Custom),
        (None, None) => return Err(WireError::field(path, "a tool call needs `function` or `custom`")),
    };
    let name = name.ok_or_else(|| WireError::field(format!("{path}.name"), "a tool call needs a name"))?;
    Ok(Part::ToolCall { id: id.into(), name: name.into(), arguments, kind, signature, cache: None })
}

fn decode_tools<'a>(request: &mut Request<'a>, body: &mut Body<'a>) -> Result<(), WireError> {
    for (index, raw) in body.tools.take().into_iter().flatten().enumerate() {
        let path = format!("tools.{index}");
        let tool: ToolField<'a> =
            serde_json::from_str(raw.get()).map_err(|error| WireError::field(path.as_str(), error.to_string()))?;
        let outer_cache = content::cache_mark(tool.cache_control.as_ref());
        match (tool.kind.as_deref(), tool.function, tool.custom) {
            (_, Some(function), _) => request.tools.push(function_tool(function, outer_cache, &path)?),
            (Some("custom"), None, Some(custom)) => {
                let name = custom
                    .name
                    .ok_or_else(|| WireError::field(format!("{path}.custom.name"), "a tool needs a `name`"))?;
                request.tools.push(Tool {
                    name: name.into(),
                    description: custom.description.map(Into::into),
                    kind: ToolKind::Custom { grammar: custom.format.map(Into::into) },
                    namespace: None,
                    cache: outer_cache,
                });
            }
            (Some("function") | None, None, _) => {
                return Err(WireError::field(format!("{path}.function"), "a tool needs `function`"));
            }
            (Some(_), None, _) => {
                let name = tool.kind.map(Cow::from).unwrap_or_default();
                request.vendor_tools.push(VendorTool { family: Family::OpenAi, name, raw: raw.into() });
            }
        }
    }
    for (index, function) in body.functions.take().into_iter().flatten().enumerate() {
        request.tools.push(function_tool(function, None, &format!("functions.{index}"))?);
    }
    request.parallel_tool_calls = body.parallel_tool_calls;
    request.tool_choice = match (body.tool_choice, body.function_call) {
        (Some(raw), _) => decode_choice(raw)?,
        (None, Some(raw)) => decode_choice(raw)?,
        (None, None) => None,
    };
    Ok(())
}

fn function_tool<'a>(
    function: FunctionTool<'a>,
    outer_cache: Option<CacheMark>,
    path: &str,
) -> Result<Tool<'a>, WireError> {
    let name =
        function.name.ok_or_else(|| WireError::field(format!("{path}.function.name"), "a tool needs a `name`"))?;
    Ok(Tool {
        name: name.into(),
        description: function.description.map(Into::into),
        kind: ToolKind::Function { schema: function.parameters.map(Into::into), strict: function.strict },
        namespace: None,
        cache: content::cache_mark(function.cache_control.as_ref()).or(outer_cache),
    })
}

fn decode_choice(raw: &RawValue) -> Result<Option<ToolChoice<'_>>, WireError> {
    let unknown = || WireError::field("tool_choice", "`tool_choice` must be auto, none, required or name a tool");
    if raw.get() == "null" {
        return Ok(None);
    }
    if raw.get().starts_with('"') {
        let word: Str<'_> = serde_json::from_str(raw.get()).map_err(|_| unknown())?;
        return Ok(Some(match word.as_ref() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            // Mistral's and Anthropic's word for the same.
            "required" | "any" => ToolChoice::Required,
            _ => return Err(unknown()),
        }));
    }
    let choice: ChoiceField<'_> = serde_json::from_str(raw.get()).map_err(|_| unknown())?;
    if let Some(allowed) = choice.allowed_tools {
        let required = allowed.mode.as_deref() == Some("required");
        let names = allowed.tools.into_iter().flatten().filter_map(choice_name).collect();
        return Ok(Some(ToolChoice::Allowed { names, required }));
    }
    match choice.kind.as_deref() {
        Some("auto") => Ok(Some(ToolChoice::Auto)),
        Some("none") => Ok(Some(ToolChoice::None)),
        Some("any" | "required") => Ok(Some(ToolChoice::Required)),
        Some("function" | "custom" | "tool") | None => {
            choice_name(choice).map(|name| Some(ToolChoice::Named(name))).ok_or_else(unknown)
        }
        Some(_) => Ok(choice.kind.map(|kind| ToolChoice::Vendor(kind.into()))),
    }
}

fn choice_name(choice: ChoiceField<'_>) -> Option<Cow<'_, str>> {
    let nested = choice.function.and_then(|named| named.name).or_else(|| choice.custom.and_then(|named| named.name));
    nested.or(choice.name).map(Into::into)
}

fn decode_sampling<'a>(request: &mut Request<'a>, body: &mut Body<'a>) -> Result<(), WireError> {
    request.max_tokens = body.max_completion_tokens.or(body.max_tokens);
    if body.max_completion_tokens.is_some() {
        request.max_tokens_name = "max_completion_tokens";
    }
    request.stop = match body.stop.take() {
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(all)) => all.into_iter().map(Into::into).collect(),
        None => Vec::new(),
    };
    let in_range = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
        Some(number) if !(low..=high).contains(&number) => {
            Err(WireError::field(name, format!("`{name}` must be between {low} and {high}")))
        }
        value => Ok(value),
    };
    let sampling = &mut request.sampling;
    sampling.temperature = in_range("temperature", body.temperature, 0.0, 2.0)?;
    sampling.top_p = in_range("top_p", body.top_p, 0.0, 1.0)?;
    sampling.frequency_penalty = in_range("frequency_penalty", body.frequency_penalty, -2.0, 2.0)?;
    sampling.presence_penalty = in_range("presence_penalty", body.presence_penalty, -2.0, 2.0)?;
    sampling.top_k = body.top_k;
    sampling.min_p = body.min_p;
    sampling.repeat_penalty = body.repetition_penalty;
    sampling.seed = body.seed;
    sampling.n = body.n;
    sampling.logprobs = body.logprobs;
    sampling.top_logprobs = body.top_logprobs;
    sampling.logit_bias = body.logit_bias.map(Into::into);
    if request.sampling.n == Some(0) {
        return Err(WireError::field("n", "`n` must be at least 1"));
    }
    Ok(())
}

/// `reasoning_effort` is OpenAI's; `reasoning` is OpenRouter's form, `thinking` Anthropic's, both common in Chat bodies.
fn decode_reasoning(body: &mut Body<'_>) -> Result<Option<Reasoning>, WireError> {
    let mut reasoning = Reasoning::default();
    let mut seen = false;
    if let Some(word) = &body.reasoning_effort {
        reasoning.effort = Some(effort("reasoning_effort", word)?);
        seen = true;
    }
    if let Some(field) = body.reasoning.take() {
        if let Some(word) = &field.effort {
            reasoning.effort = Some(effort("reasoning.effort", word)?);
        }
        reasoning.budget = field.max_tokens;
        reasoning.enabled = field.enabled;
        reasoning.visible = field.exclude.map(|exclude| !exclude);
        seen = true;
    }
    if let Some(field) = body.thinking.take() {
        reasoning.adaptive = field.kind.as_deref() == Some("adaptive");
        reasoning.enabled = Some(field.kind.as_deref() != Some("disabled"));
        reasoning.budget = field.budget_tokens.or(reasoning.budget);
        seen = true;
    }
    if reasoning.effort == Some(Effort::None) {
        reasoning.enabled = Some(false);
    }
    Ok(seen.then_some(reasoning))
}

fn effort(param: &str, word: &str) -> Result<Effort, WireError> {
    Effort::parse(word).ok_or_else(|| {
        WireError::field(param, format!("`{word}` is no effort; use none, minimal, low, medium, high, xhigh or max"))
    })
}

fn decode_output(format: Option<ResponseFormat<'_>>) -> Result<OutputFormat<'_>, WireError> {
    let Some(format) = format else { return Ok(OutputFormat::Text) };
    match format.kind.as_deref() {
        Some("text") | None => Ok(OutputFormat::Text),
        Some("json_object") => Ok(OutputFormat::Json),
        Some("json_schema") => {
            let field = format.json_schema.ok_or_else(|| {
                WireError::field("response_format.json_schema", "`json_schema` is required for this type")
            })?;
            let schema = field.schema.ok_or_else(|| {
                WireError::field("response_format.json_schema.schema", "the schema itself is missing")
            })?;
            Ok(OutputFormat::Schema {
                name: field.name.map(Into::into),
                description: field.description.map(Into::into),
                schema: schema.into(),
                strict: field.strict,
            })
        }
        Some(other) => Err(WireError::field(
            "response_format.type",
            format!("`{other}` is no response format; use text, json_object or json_schema"),
        )),
    }
}

fn decode_modalities(words: Option<Vec<Str<'_>>>) -> Result<Vec<Modality>, WireError> {
    let mut modalities = Vec::new();
    for word in words.into_iter().flatten() {
        modalities.push(match word.as_ref() {
            "text" => Modality::Text,
            "audio" => Modality::Audio,
            "image" => Modality::Image,
            other => return Err(WireError::field("modalities", format!("`{other}` is no modality"))),
        });
    }
    Ok(modalities)
}
