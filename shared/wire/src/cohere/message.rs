//! The fields that an answer and its stream share.

use serde::Deserialize as _;
use serde_json::value::RawValue;

use crate::{
    lenient::{Forgiving, Lenient},
    object::wire_object,
    text::Str,
};

wire_object! {
    pub(super) struct Block<'a> {
        kind: Str<'a> = lenient "type",
        text: Str<'a> = "text",
        thinking: Str<'a> = "thinking",
    }
}

/// A block of the answer's content; in a stream also a piece of one. A text alone is one too.
#[derive(Clone, Debug, Default)]
pub(super) struct Content<'a> {
    pub(super) text: Option<Str<'a>>,
    pub(super) thinking: Option<Str<'a>>,
}

wire_object! {
    pub(super) struct ToolCall<'a> {
        id: Str<'a> = lenient "id",
        kind: Str<'a> = lenient "type",
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

// === impl Content ===

impl<'de: 'a, 'a> serde::Deserialize<'de> for Content<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let read = if raw.get().starts_with('"') {
            serde_json::from_str(raw.get()).map(|text| Self { text: Some(text), thinking: None })
        } else {
            serde_json::from_str::<Block<'de>>(raw.get())
                .map(|block| Self { text: block.text, thinking: block.thinking })
        };
        read.map_err(serde::de::Error::custom)
    }
}

// === impl OneOrMany ===

impl<'de, T: Forgiving<'de>> Forgiving<'de> for OneOrMany<T> {
    fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let read: Option<Vec<T>> = if raw.get().starts_with('[') {
            serde_json::from_str::<Lenient<Vec<T>>>(raw.get()).ok().and_then(|list| list.0)
        } else {
            serde_json::from_str::<Lenient<T>>(raw.get()).ok().and_then(|one| one.0).map(|one| vec![one])
        };
        Ok(read.map(Self))
    }
}

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
