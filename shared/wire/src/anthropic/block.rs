//! Messages and content blocks as they stand on the wire.

use serde_json::value::RawValue;

use crate::{
    codec::WireError,
    ir::CacheMark,
    object::wire_object,
    text::{Str, TextOr},
};

wire_object! {
    pub(super) struct Message<'a> {
        role: Str<'a> = "role",
        content: TextOr<'a, &'a RawValue> = "content",
    }
}

wire_object! {
    /// Every kind of block that is understood; what a kind does not have stays absent.
    pub(super) struct Block<'a> {
        kind: Str<'a> = "type",
        text: Str<'a> = "text",
        // A list on text, an object on documents.
        citations: &'a RawValue = "citations",
        // An object on media, a string on search results.
        source: &'a RawValue = "source",
        title: Str<'a> = "title",
        context: Str<'a> = "context",
        // Read along with the block: results are most of a long conversation.
        content: TextOr<'a, Block<'a>> = "content",
        id: Str<'a> = lenient "id",
        name: Str<'a> = "name",
        input: &'a RawValue = "input",
        tool_use_id: Str<'a> = "tool_use_id",
        is_error: bool = "is_error",
        thinking: Str<'a> = "thinking",
        signature: Str<'a> = lenient "signature",
        data: Str<'a> = "data",
        cache_control: &'a RawValue = "cache_control",
    }
}

wire_object! {
    /// A result whose blocks are kept raw.
    pub(super) struct RawResult<'a> {
        kind: Str<'a> = "type",
        content: TextOr<'a, &'a RawValue> = "content",
        tool_use_id: Str<'a> = "tool_use_id",
        is_error: bool = "is_error",
        cache_control: &'a RawValue = "cache_control",
    }
}

wire_object! {
    pub(super) struct TypeTag<'a> {
        kind: Str<'a> = "type",
    }
}

wire_object! {
    pub(super) struct MediaSource<'a> {
        kind: Str<'a> = "type",
        media_type: Str<'a> = "media_type",
        data: Str<'a> = "data",
        url: Str<'a> = "url",
        file_id: Str<'a> = "file_id",
        content: TextOr<'a, &'a RawValue> = "content",
    }
}

wire_object! {
    pub(super) struct CacheControl<'a> {
        kind: Str<'a> = "type",
        ttl: Str<'a> = "ttl",
    }
}

wire_object! {
    pub(super) struct CitationsConfig<'a> {
        enabled: bool = "enabled",
    }
}

wire_object! {
    pub(super) struct Citation<'a> {
        kind: Str<'a> = "type",
        url: Str<'a> = "url",
        title: Str<'a> = "title",
        document_title: Str<'a> = "document_title",
        cited_text: Str<'a> = "cited_text",
        encrypted_index: Str<'a> = "encrypted_index",
    }
}

/// Reads a raw value of a body whose place is `path`. On failure it is read once more, slowly, to name the field at fault.
pub(super) fn read_at<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue, path: &str) -> Result<T, WireError> {
    serde_json::from_str(raw.get()).map_err(|first| {
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        let inner = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Err(error) => error.path().to_string(),
            Ok(_) => String::new(),
        };
        let full = if inner.is_empty() || inner == "." { path.to_owned() } else { format!("{path}.{inner}") };
        let reason = first.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        WireError::field(full.as_str(), format!("`{full}`: {reason}"))
    })
}

/// The mark, and whether it says more than the representation can hold (a scope).
pub(super) fn cache_mark(raw: Option<&RawValue>) -> (Option<CacheMark>, bool) {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return (None, false) };
    let control: CacheControl<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let hour = control.ttl.as_deref() == Some("1h");
    (Some(if hour { CacheMark::OneHour } else { CacheMark::FiveMinutes }), !control.rest.is_empty())
}
