//! An `/api/generate` body → [`Request`]: one prompt as a chat of one turn.

use serde_json::value::RawValue;

use super::{
    decode_request::{Settings, decode_settings, model_name},
    media_type::media_part,
    options::Options,
};
use crate::{
    codec::{DecodeContext, WireError},
    fill_in::push_fill_in,
    ir::{Format, Part, Request, Role, SystemPart, SystemRole, Turn},
    object::{read, wire_object},
    text::Str,
};

wire_object! {
    struct Body<'a> {
        model: Str<'a> = "model",
        prompt: Str<'a> = "prompt",
        suffix: Str<'a> = "suffix",
        system: Str<'a> = "system",
        images: Vec<Str<'a>> = "images",
        raw: bool = "raw",
        context: Vec<i64> = "context",
        template: &'a RawValue = "template",
        format: &'a RawValue = "format",
        options: Options<'a> = "options",
        stream: bool = "stream",
        think: &'a RawValue = "think",
        logprobs: bool = "logprobs",
        top_logprobs: u32 = "top_logprobs",
    }
}

/// Reads an `/api/generate` request. One without a prompt asks to load or unload the model: see [`fn@super::preload`].
///
/// # Errors
/// Names the field that is missing, of the wrong type or out of range; refuses `raw` and `context`, whose meaning is
/// lost outside one local model.
pub fn decode_generate_request<'a>(body: &'a [u8], _context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    let body: Body<'a> = read(body)?;
    let mut request = Request::new(Format::Ollama, model_name(body.model)?);
    if body.raw == Some(true) {
        return Err(WireError::unsupported(
            "raw",
            "`raw` prompts carry one model's own template and cannot be translated; leave it out, or use /api/chat",
        ));
    }
    if body.context.is_some_and(|context| !context.is_empty()) {
        return Err(WireError::unsupported(
            "context",
            "`context` holds one model's tokens and cannot be translated; send the history with /api/chat",
        ));
    }
    let images = body.images.unwrap_or_default();
    let mut parts: Vec<Part<'a>> = images.into_iter().map(|entry| media_part(entry.0)).collect();
    let prompt = body.prompt.unwrap_or_default();
    let suffix = body.suffix.filter(|text| !text.is_empty());
    if !prompt.is_empty() || suffix.is_some() {
        if let Some(text) = body.system.filter(|text| !text.is_empty()) {
            request.system.push(SystemPart { text: text.into(), role: SystemRole::System, position: 0, cache: None });
        }
        match suffix {
            Some(suffix) => push_fill_in(&mut request, parts, &prompt, &suffix),
            None => {
                parts.push(Part::text(prompt));
                request.turns.push(Turn { role: Role::User, parts, name: None });
            }
        }
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
    if let Some(raw) = body.template.filter(|raw| !matches!(raw.get(), "null" | "\"\"")) {
        request.extensions.push("template", raw);
    }
    for (name, raw) in body.rest {
        request.extensions.push(name, raw);
    }
    Ok(request)
}
