//! A Responses body → [`Request`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{compact::ask_for_summary, decode_input::Gatherer, decode_tools};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{Effort, Format, Json, OutputFormat, Reasoning, Request, SystemPart, SystemRole},
    object::{read, wire_object},
    text::{Str, TextOr},
};

wire_object! {
    struct Body<'a> {
        model: Str<'a> = "model",
        input: &'a RawValue = "input",
        instructions: Str<'a> = "instructions",
        tools: Vec<&'a RawValue> = "tools",
        tool_choice: &'a RawValue = "tool_choice",
        parallel_tool_calls: bool = "parallel_tool_calls",
        max_output_tokens: u64 = "max_output_tokens",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_logprobs: u32 = "top_logprobs",
        frequency_penalty: f64 = "frequency_penalty",
        presence_penalty: f64 = "presence_penalty",
        stop: TextOr<'a, Str<'a>> = "stop",
        reasoning: ReasoningField<'a> = "reasoning",
        text: TextField<'a> = "text",
        include: Vec<Str<'a>> = "include",
        stream: bool = "stream",
        background: bool = "background",
        user: Str<'a> = "user",
        safety_identifier: Str<'a> = "safety_identifier",
        metadata: &'a RawValue = "metadata",
        service_tier: Str<'a> = "service_tier",
        prompt_cache_key: Str<'a> = "prompt_cache_key",
        store: bool = "store",
    }
}

wire_object! {
    struct ReasoningField<'a> {
        effort: Str<'a> = "effort",
        summary: &'a RawValue = "summary",
        generate_summary: &'a RawValue = "generate_summary",
    }
}

wire_object! {
    struct TextField<'a> {
        format: FormatField<'a> = "format",
        verbosity: &'a RawValue = "verbosity",
    }
}

wire_object! {
    struct FormatField<'a> {
        kind: Str<'a> = "type",
        name: Str<'a> = "name",
        description: Str<'a> = "description",
        schema: &'a RawValue = "schema",
        strict: bool = "strict",
    }
}

/// Fields that stand for an `input`: the prompt then lies elsewhere.
const INSTEAD_OF_INPUT: [&str; 3] = ["prompt", "previous_response_id", "conversation"];

/// Reads a Responses request.
///
/// # Errors
/// Names the field that is missing, of the wrong type or out of range. `background: true` is refused.
pub fn decode_request<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    let mut body: Body<'a> = read(body)?;
    let Some(model) = body.model.take().filter(|model| !model.is_empty()) else {
        return Err(WireError { code: "missing_model", ..WireError::field("model", "`model` is required") });
    };
    if body.background == Some(true) {
        return Err(super::history::no_background());
    }
    let given =
        |(name, raw): &(Cow<'_, str>, &RawValue)| INSTEAD_OF_INPUT.contains(&name.as_ref()) && raw.get() != "null";
    let elsewhere = body.rest.iter().any(given);
    let mut request = Request::new(Format::OpenAiResponses, model.0);
    if let Some(text) = body.instructions.take().filter(|text| !text.is_empty()) {
        request.system.push(SystemPart { text: text.into(), role: SystemRole::System, position: 0, cache: None });
    }
    match body.input {
        Some(input) => Gatherer::new(&mut request, context).input(input)?,
        None if elsewhere => {}
        None => return Err(WireError::field("input", "`input` is required")),
    }
    if request.turns.is_empty() && request.system.is_empty() && !elsewhere {
        return Err(WireError::field("input", "`input` must have at least one item"));
    }
    decode_tools::tools(&mut request, body.tools.take().unwrap_or_default())?;
    if let Some(raw) = body.tool_choice {
        decode_tools::choice(&mut request, raw)?;
    }
    decode_sampling(&mut request, &mut body)?;
    decode_reasoning(&mut request, body.reasoning.take())?;
    decode_text(&mut request, body.text.take())?;
    decode_include(&mut request, body.include.take());
    request.parallel_tool_calls = body.parallel_tool_calls;
    request.stream = body.stream.unwrap_or(false);
    request.user = body.safety_identifier.take().or(body.user.take()).map(Into::into);
    request.metadata = body.metadata.map(Into::into);
    request.service_tier = body.service_tier.take().map(Into::into);
    request.cache_key = body.prompt_cache_key.take().map(Into::into);
    request.store = body.store;
    for (name, raw) in body.rest {
        if raw.get() != "null" {
            request.extensions.push(name, raw);
        }
    }
    if request.compacts {
        ask_for_summary(&mut request);
    }
    Ok(request)
}

fn decode_sampling<'a>(request: &mut Request<'a>, body: &mut Body<'a>) -> Result<(), WireError> {
    let in_range = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
        Some(number) if !(low..=high).contains(&number) => {
            Err(WireError::field(name, format!("`{name}` must be between {low} and {high}")))
        }
        value => Ok(value),
    };
    request.max_tokens = body.max_output_tokens;
    request.stop = match body.stop.take() {
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(all)) => all.into_iter().map(Into::into).collect(),
        None => Vec::new(),
    };
    let sampling = &mut request.sampling;
    sampling.temperature = in_range("temperature", body.temperature, 0.0, 2.0)?;
    sampling.top_p = in_range("top_p", body.top_p, 0.0, 1.0)?;
    sampling.frequency_penalty = in_range("frequency_penalty", body.frequency_penalty, -2.0, 2.0)?;
    sampling.presence_penalty = in_range("presence_penalty", body.presence_penalty, -2.0, 2.0)?;
    if body.top_logprobs.is_some_and(|count| count > 20) {
        return Err(WireError::field("top_logprobs", "`top_logprobs` must be between 0 and 20"));
    }
    if let Some(count) = body.top_logprobs.filter(|count| *count > 0) {
        sampling.logprobs = Some(true);
        sampling.top_logprobs = Some(count);
    }
    Ok(())
}

fn decode_reasoning<'a>(request: &mut Request<'a>, field: Option<ReasoningField<'a>>) -> Result<(), WireError> {
    let Some(field) = field else { return Ok(()) };
    let mut reasoning = Reasoning::default();
    if let Some(word) = &field.effort {
        let effort = Effort::parse(word).ok_or_else(|| {
            WireError::field(
                "reasoning.effort",
                format!("`{}` is no effort; use none, minimal, low, medium, high, xhigh or max", word.0),
            )
        })?;
        reasoning.effort = Some(effort);
        if effort == Effort::None {
            reasoning.enabled = Some(false);
        }
    }
    if let Some(raw) = field.summary.or(field.generate_summary) {
        reasoning.visible = Some(true);
        // How long the summary shall be is a matter of this format; that there be one is not.
        if raw.get() != "\"auto\"" {
            request.extensions.push("reasoning.summary", raw);
        }
    }
    for (name, raw) in field.rest {
        if raw.get() != "null" {
            request.extensions.push(format!("reasoning.{name}"), raw);
        }
    }
    request.reasoning = Some(reasoning);
    Ok(())
}

fn decode_text<'a>(request: &mut Request<'a>, field: Option<TextField<'a>>) -> Result<(), WireError> {
    let Some(field) = field else { return Ok(()) };
    if let Some(raw) = field.verbosity {
        // Chat has the same field, under this name.
        request.extensions.push("verbosity", raw);
    }
    for (name, raw) in field.rest {
        if raw.get() != "null" {
            request.extensions.push(format!("text.{name}"), raw);
        }
    }
    let Some(format) = field.format else { return Ok(()) };
    request.output = match format.kind.as_deref() {
        Some("text") | None => OutputFormat::Text,
        Some("json_object") => OutputFormat::Json,
        Some("json_schema") => OutputFormat::Schema {
            name: format.name.map(Into::into),
            description: format.description.map(Into::into),
            schema: format
                .schema
                .ok_or_else(|| WireError::field("text.format.schema", "the schema itself is missing"))?
                .into(),
            strict: format.strict,
        },
        Some(other) => {
            return Err(WireError::field(
                "text.format.type",
                format!("`{other}` is no text format; use text, json_object or json_schema"),
            ));
        }
    };
    Ok(())
}

/// Two wishes are kept for every target; the others are about tools of the vendor's.
fn decode_include<'a>(request: &mut Request<'a>, words: Option<Vec<Str<'a>>>) {
    let mut rest: Vec<Cow<'a, str>> = Vec::new();
    for word in words.into_iter().flatten() {
        match word.as_ref() {
            // Signatures always travel in it.
            ENCRYPTED_REASONING => {}
            LOGPROBS => request.sampling.logprobs = Some(true),
            _ => rest.push(word.into()),
        }
    }
    if !rest.is_empty()
        && let Some(raw) = Json::from_value(&serde_json::Value::from(rest))
    {
        request.extensions.push("include", raw);
    }
}

pub(super) const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";
pub(super) const LOGPROBS: &str = "message.output_text.logprobs";
