//! One block of an answer → parts.

use serde_json::value::RawValue;

use super::{citation, media::image_media_type};
use crate::{
    codec::WireError,
    ir::{CallKind, Family, Part, Signature, Source},
    media::audio_media_type,
    object::wire_object,
    text::Str,
};

wire_object! {
    struct Block<'a> {
        text: Str<'a> = "text",
        tool_use: ToolUse<'a> = "toolUse",
        reasoning: Reasoning<'a> = "reasoningContent",
        citations: CitationsContent<'a> = "citationsContent",
        image: Media<'a> = "image",
        audio: Media<'a> = "audio",
    }
}

wire_object! {
    struct ToolUse<'a> {
        id: Str<'a> = "toolUseId",
        name: Str<'a> = "name",
        input: &'a RawValue = "input",
        kind: Str<'a> = "type",
    }
}

wire_object! {
    struct Reasoning<'a> {
        text: ReasoningText<'a> = "reasoningText",
        redacted: Str<'a> = "redactedContent",
    }
}

wire_object! {
    struct ReasoningText<'a> {
        text: Str<'a> = "text",
        signature: Str<'a> = "signature",
    }
}

wire_object! {
    struct CitationsContent<'a> {
        content: Vec<TextContent<'a>> = "content",
        citations: Vec<&'a RawValue> = "citations",
    }
}

wire_object! {
    struct TextContent<'a> {
        text: Str<'a> = "text",
    }
}

wire_object! {
    struct Media<'a> {
        format: Str<'a> = "format",
        source: MediaSource<'a> = "source",
    }
}

wire_object! {
    struct MediaSource<'a> {
        bytes: Str<'a> = "bytes",
    }
}

/// Reads one block of an answer; `None` when it says nothing.
pub(super) fn decode<'a>(raw: &'a RawValue, path: &str) -> Result<Option<Part<'a>>, WireError> {
    let block: Block<'a> = serde_json::from_str(raw.get())
        .map_err(|error| WireError::field(path, format!("`{path}`: not a block of an answer: {error}")))?;
    if let Some(text) = block.text {
        return Ok((!text.is_empty()).then(|| Part::text(text.0)));
    }
    if let Some(call) = block.tool_use {
        return decode_call(call, raw, path).map(Some);
    }
    if let Some(reasoning) = block.reasoning {
        return Ok(decode_reasoning(reasoning));
    }
    if let Some(cited) = block.citations {
        let text = cited.content.into_iter().flatten().filter_map(|content| content.text);
        let text = text.fold(String::new(), |all, next| all + &next);
        let annotations = cited.citations.into_iter().flatten().filter_map(citation::decode).collect();
        return Ok(Some(Part::Text { text: text.into(), annotations, cache: None }));
    }
    if let Some((format, data)) = block.image.and_then(split) {
        let source = Source::Inline { media_type: image_media_type(&format).into(), data: data.into() };
        return Ok(Some(Part::Image { source, detail: None, cache: None }));
    }
    if let Some((format, data)) = block.audio.and_then(split) {
        let source = Source::Inline { media_type: audio_media_type(&format).into(), data: data.into() };
        return Ok(Some(Part::Audio { source, format: Some(format.into()), transcript: None }));
    }
    // Results of tools that the vendor runs, and what is invented later.
    Ok(Some(Part::ServerTool { family: Family::Bedrock, raw: raw.into() }))
}

fn split(media: Media<'_>) -> Option<(Str<'_>, Str<'_>)> {
    Some((media.format?, media.source?.bytes?))
}

fn decode_call<'a>(call: ToolUse<'a>, raw: &'a RawValue, path: &str) -> Result<Part<'a>, WireError> {
    if call.kind.as_deref() == Some("server_tool_use") {
        return Ok(Part::ServerTool { family: Family::Bedrock, raw: raw.into() });
    }
    let missing = |field: &str| WireError::field(format!("{path}.toolUse.{field}"), format!("a call needs `{field}`"));
    let arguments = call.input.map_or("{}", RawValue::get);
    let name = call.name.ok_or_else(|| missing("name"))?;
    Ok(Part::ToolCall {
        id: call.id.ok_or_else(|| missing("toolUseId"))?.into(),
        name: name.into(),
        arguments: arguments.into(),
        kind: CallKind::Function,
        signature: None,
        cache: None,
    })
}

fn decode_reasoning(reasoning: Reasoning<'_>) -> Option<Part<'_>> {
    let signed = |payload: Str<'_>| -> Signature<'static> {
        Signature { family: Family::Bedrock, payload: payload.0.into_owned().into() }
    };
    if let Some(data) = reasoning.redacted {
        return Some(Part::RedactedThinking { data: signed(data) });
    }
    let field = reasoning.text?;
    let signature = field.signature.filter(|payload| !payload.is_empty()).map(signed);
    let text = field.text.unwrap_or_default();
    (!text.is_empty() || signature.is_some()).then(|| Part::Thinking { text: text.into(), signature })
}
