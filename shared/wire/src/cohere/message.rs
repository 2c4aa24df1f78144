//! The fields that an answer and its stream share.

use serde_json::value::RawValue;

use crate::{object::wire_object, text::Str};

wire_object! {
    /// A block of the answer's content; in a stream also a piece of one.
    pub(super) struct Content<'a> {
        kind: Str<'a> = "type",
        text: Str<'a> = "text",
        thinking: Str<'a> = "thinking",
    }
}

wire_object! {
    pub(super) struct ToolCall<'a> {
        id: Str<'a> = "id",
        kind: Str<'a> = "type",
        function: Function<'a> = "function",
    }
}

wire_object! {
    pub(super) struct Function<'a> {
        name: Str<'a> = "name",
        arguments: Str<'a> = "arguments",
    }
}

/// One value, or a list of them: Cohere's reference and Cohere's servers disagree about a few fields.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

// === impl OneOrMany ===

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let read = if raw.get().starts_with('[') {
            serde_json::from_str(raw.get()).map(Self)
        } else {
            serde_json::from_str(raw.get()).map(|one| Self(vec![one]))
        };
        read.map_err(serde::de::Error::custom)
    }
}
