//! Items and their contents as they stand on the wire, in requests and in answers.

use serde_json::value::RawValue;

use crate::{
    object::wire_object,
    text::{Str, TextOr},
};

wire_object! {
    pub(super) struct Item<'a> {
        kind: Str<'a> = "type",
        id: Str<'a> = lenient "id",
        role: Str<'a> = lenient "role",
        content: TextOr<'a, ContentPart<'a>> = "content",
        phase: Str<'a> = lenient "phase",
        call_id: Str<'a> = lenient "call_id",
        name: Str<'a> = "name",
        namespace: Str<'a> = lenient "namespace",
        // A string; some hosts send the object itself.
        arguments: &'a RawValue = "arguments",
        input: &'a RawValue = "input",
        output: &'a RawValue = "output",
        summary: Vec<SummaryPart<'a>> = lenient "summary",
        encrypted_content: Str<'a> = lenient "encrypted_content",
    }
}

wire_object! {
    pub(super) struct ContentPart<'a> {
        kind: Str<'a> = "type",
        text: Str<'a> = "text",
        refusal: Str<'a> = "refusal",
        annotations: Vec<&'a RawValue> = lenient "annotations",
        logprobs: &'a RawValue = "logprobs",
        // A string here; an object in the parts of Chat, which some clients send.
        image_url: &'a RawValue = "image_url",
        video_url: &'a RawValue = "video_url",
        detail: Str<'a> = "detail",
        file_id: Str<'a> = "file_id",
        file_url: Str<'a> = "file_url",
        file_data: Str<'a> = "file_data",
        filename: Str<'a> = "filename",
        input_audio: InputAudio<'a> = "input_audio",
        breakpoint: &'a RawValue = "prompt_cache_breakpoint",
    }
}

wire_object! {
    pub(super) struct InputAudio<'a> {
        data: Str<'a> = "data",
        format: Str<'a> = "format",
    }
}

wire_object! {
    pub(super) struct UrlObject<'a> {
        url: Str<'a> = "url",
        detail: Str<'a> = "detail",
    }
}

wire_object! {
    pub(super) struct SummaryPart<'a> {
        text: Str<'a> = lenient "text",
    }
}

wire_object! {
    pub(super) struct AnnotationField<'a> {
        kind: Str<'a> = lenient "type",
        url: Str<'a> = lenient "url",
        title: Str<'a> = lenient "title",
        filename: Str<'a> = lenient "filename",
        start_index: u64 = lenient "start_index",
        end_index: u64 = lenient "end_index",
    }
}

wire_object! {
    /// A result that is an object: what old clients send of a call that failed.
    pub(super) struct OutputObject<'a> {
        content: Str<'a> = "content",
        success: bool = "success",
    }
}
