//! Messages of Chat Completions as they stand on the wire.
//!
//! Besides OpenAI's own parts these accept the Anthropic-shaped blocks that some editors send inside Chat messages.

use serde_json::value::RawValue;

use crate::{
    object::wire_object,
    text::{Str, TextOr},
};

wire_object! {
    pub(super) struct Message<'a> {
        role: Str<'a> = "role",
        content: TextOr<'a, ContentPart<'a>> = "content",
        name: Str<'a> = "name",
        refusal: Str<'a> = "refusal",
        tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        function_call: FunctionCall<'a> = "function_call",
        tool_call_id: Str<'a> = "tool_call_id",
        reasoning_content: Str<'a> = "reasoning_content",
        reasoning: Str<'a> = "reasoning",
        reasoning_details: Vec<ReasoningDetail<'a>> = "reasoning_details",
        annotations: Vec<Annotation<'a>> = "annotations",
        audio: Audio<'a> = "audio",
    }
}

wire_object! {
    pub(super) struct ContentPart<'a> {
        kind: Str<'a> = "type",
        text: Str<'a> = "text",
        refusal: Str<'a> = "refusal",
        image_url: UrlOrObject<'a> = "image_url",
        video_url: UrlOrObject<'a> = "video_url",
        input_audio: Audio<'a> = "input_audio",
        file: File<'a> = "file",
        cache_control: CacheControl<'a> = "cache_control",
        // Anthropic-shaped blocks
        source: BlockSource<'a> = "source",
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        input: &'a RawValue = "input",
        tool_use_id: Str<'a> = "tool_use_id",
        content: TextOr<'a, ContentPart<'a>> = "content",
        is_error: bool = "is_error",
        thinking: Str<'a> = "thinking",
        signature: Str<'a> = "signature",
        data: Str<'a> = "data",
        title: Str<'a> = "title",
    }
}

wire_object! {
    pub(super) struct ImageUrl<'a> {
        url: Str<'a> = "url",
        detail: Str<'a> = "detail",
    }
}

/// Some clients write `"image_url": "https://…"`.
#[derive(Clone, Debug)]
pub(super) struct UrlOrObject<'a>(pub(super) ImageUrl<'a>);

wire_object! {
    pub(super) struct Audio<'a> {
        id: Str<'a> = "id",
        data: Str<'a> = "data",
        format: Str<'a> = "format",
        transcript: Str<'a> = "transcript",
    }
}

wire_object! {
    pub(super) struct File<'a> {
        file_id: Str<'a> = "file_id",
        file_data: Str<'a> = "file_data",
        filename: Str<'a> = "filename",
    }
}

wire_object! {
    pub(super) struct CacheControl<'a> {
        kind: Str<'a> = "type",
        ttl: Str<'a> = "ttl",
    }
}

wire_object! {
    pub(super) struct BlockSource<'a> {
        kind: Str<'a> = "type",
        media_type: Str<'a> = "media_type",
        data: Str<'a> = "data",
        url: Str<'a> = "url",
    }
}

wire_object! {
    pub(super) struct ToolCall<'a> {
        index: u32 = "index",
        id: Str<'a> = "id",
        kind: Str<'a> = "type",
        function: FunctionCall<'a> = "function",
        custom: CustomCall<'a> = "custom",
        extra_content: ExtraContent<'a> = "extra_content",
    }
}

wire_object! {
    pub(super) struct FunctionCall<'a> {
        name: Str<'a> = "name",
        arguments: Arguments<'a> = "arguments",
    }
}

wire_object! {
    pub(super) struct CustomCall<'a> {
        name: Str<'a> = "name",
        input: Str<'a> = "input",
    }
}

wire_object! {
    pub(super) struct ExtraContent<'a> {
        google: GoogleExtra<'a> = "google",
    }
}

wire_object! {
    pub(super) struct GoogleExtra<'a> {
        thought_signature: Str<'a> = "thought_signature",
    }
}

wire_object! {
    pub(super) struct ReasoningDetail<'a> {
        kind: Str<'a> = "type",
        text: Str<'a> = "text",
        summary: Str<'a> = "summary",
        signature: Str<'a> = "signature",
        data: Str<'a> = "data",
        format: Str<'a> = "format",
        id: Str<'a> = "id",
        index: u32 = "index",
    }
}

wire_object! {
    pub(super) struct Annotation<'a> {
        kind: Str<'a> = "type",
        url_citation: UrlCitation<'a> = "url_citation",
    }
}

wire_object! {
    pub(super) struct UrlCitation<'a> {
        url: Str<'a> = "url",
        title: Str<'a> = "title",
        start_index: u64 = "start_index",
        end_index: u64 = "end_index",
    }
}

/// Arguments are a string of JSON; some hosts send the object itself, whose text is then taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments<'a>(pub(super) std::borrow::Cow<'a, str>);

// === impl UrlOrObject ===

impl<'de: 'a, 'a> serde::Deserialize<'de> for UrlOrObject<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let object = if raw.get().starts_with('"') {
            let url = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
            ImageUrl { url: Some(url), ..ImageUrl::default() }
        } else {
            serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?
        };
        Ok(Self(object))
    }
}

// === impl Arguments ===

impl<'de: 'a, 'a> serde::Deserialize<'de> for Arguments<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with('"') {
            let text: Str<'de> = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
            Ok(Self(text.0))
        } else {
            Ok(Self(raw.get().into()))
        }
    }
}
