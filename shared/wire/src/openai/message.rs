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
        role: Str<'a> = lenient "role",
        content: TextOr<'a, ContentPart<'a>> = "content",
        name: Str<'a> = lenient "name",
        refusal: Str<'a> = lenient "refusal",
        tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        function_call: FunctionCall<'a> = lenient "function_call",
        tool_call_id: Str<'a> = "tool_call_id",
        reasoning_content: Str<'a> = lenient "reasoning_content",
        reasoning: Str<'a> = lenient "reasoning",
        reasoning_details: Vec<ReasoningDetail<'a>> = lenient "reasoning_details",
        annotations: Vec<Annotation<'a>> = lenient "annotations",
        audio: Audio<'a> = lenient "audio",
        // OpenRouter's place for pictures that a model made.
        images: Vec<ContentPart<'a>> = lenient "images",
    }
}

wire_object! {
    /// What a model says. Nobody needs to be told whose turn it is, and calls that are no list are none.
    pub(super) struct Answered<'a> {
        content: TextOr<'a, ContentPart<'a>> = "content",
        refusal: Str<'a> = lenient "refusal",
        tool_calls: Vec<ToolCall<'a>> = lenient "tool_calls",
        function_call: FunctionCall<'a> = lenient "function_call",
        reasoning_content: Str<'a> = lenient "reasoning_content",
        reasoning: Str<'a> = lenient "reasoning",
        reasoning_details: Vec<ReasoningDetail<'a>> = lenient "reasoning_details",
        annotations: Vec<Annotation<'a>> = lenient "annotations",
        audio: Audio<'a> = lenient "audio",
        images: Vec<ContentPart<'a>> = lenient "images",
    }
}

wire_object! {
    pub(super) struct ContentPart<'a> or text {
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
        // A text in Anthropic's blocks, a list of parts in Mistral's.
        thinking: TextOr<'a, ThoughtPiece<'a>> = "thinking",
        signature: Str<'a> = lenient "signature",
        data: Str<'a> = "data",
        title: Str<'a> = lenient "title",
    }
}

wire_object! {
    pub(super) struct ThoughtPiece<'a> {
        text: Str<'a> = lenient "text",
    }
}

wire_object! {
    pub(super) struct ImageUrl<'a> {
        url: Str<'a> = "url",
        detail: Str<'a> = lenient "detail",
    }
}

/// Some clients write `"image_url": "https://…"`.
#[derive(Clone, Debug)]
pub(super) struct UrlOrObject<'a>(pub(super) ImageUrl<'a>);

wire_object! {
    pub(super) struct Audio<'a> {
        id: Str<'a> = lenient "id",
        data: Str<'a> = "data",
        format: Str<'a> = lenient "format",
        transcript: Str<'a> = lenient "transcript",
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
        index: u32 = lenient "index",
        id: Str<'a> = lenient "id",
        kind: Str<'a> = lenient "type",
        function: FunctionCall<'a> = "function",
        custom: CustomCall<'a> = "custom",
        extra_content: ExtraContent<'a> = lenient "extra_content",
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
        google: GoogleExtra<'a> = lenient "google",
    }
}

wire_object! {
    pub(super) struct GoogleExtra<'a> {
        thought_signature: Str<'a> = lenient "thought_signature",
    }
}

wire_object! {
    pub(super) struct ReasoningDetail<'a> {
        kind: Str<'a> = lenient "type",
        text: Str<'a> = lenient "text",
        summary: Str<'a> = lenient "summary",
        signature: Str<'a> = lenient "signature",
        data: Str<'a> = lenient "data",
        format: Str<'a> = lenient "format",
        id: Str<'a> = lenient "id",
        index: u32 = lenient "index",
    }
}

wire_object! {
    pub(super) struct Annotation<'a> {
        kind: Str<'a> = lenient "type",
        url_citation: UrlCitation<'a> = lenient "url_citation",
    }
}

wire_object! {
    pub(super) struct UrlCitation<'a> {
        url: Str<'a> = lenient "url",
        title: Str<'a> = lenient "title",
        start_index: u64 = lenient "start_index",
        end_index: u64 = lenient "end_index",
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
