//! Contents and parts as they stand on the wire.
//!
//! Google's JSON comes from protocol buffers, so each field has two spellings (`inlineData`, `inline_data`), a list of one
//! may be written without its brackets, and a whole number may be written `3`, `3.0` or `"3"`. Real clients do all of it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::value::RawValue;

use crate::{lenient::Forgiving, object::wire_object, text::Str};

wire_object! {
    pub(super) struct Content<'a> {
        role: Str<'a> = "role",
        parts: OneOrMany<PartField<'a>> = "parts",
    }
}

wire_object! {
    /// What a model says. Nobody needs to be told whose turn it is.
    pub(super) struct Said<'a> {
        parts: OneOrMany<PartField<'a>> = "parts",
    }
}

wire_object! {
    pub(super) struct PartField<'a> {
        text: Str<'a> = "text",
        thought: bool = lenient "thought",
        thought_signature: Str<'a> = lenient "thoughtSignature" | "thought_signature",
        inline_data: Blob<'a> = "inlineData" | "inline_data",
        file_data: FileData<'a> = "fileData" | "file_data",
        function_call: FunctionCall<'a> = "functionCall" | "function_call",
        function_response: FunctionResponse<'a> = "functionResponse" | "function_response",
        executable_code: &'a RawValue = "executableCode" | "executable_code",
        code_execution_result: &'a RawValue = "codeExecutionResult" | "code_execution_result",
        tool_call: &'a RawValue = "toolCall" | "tool_call",
        tool_response: &'a RawValue = "toolResponse" | "tool_response",
        video_metadata: &'a RawValue = "videoMetadata" | "video_metadata",
        media_resolution: &'a RawValue = "mediaResolution" | "media_resolution",
    }
}

wire_object! {
    pub(super) struct Blob<'a> {
        mime_type: Str<'a> = "mimeType" | "mime_type",
        data: Str<'a> = "data",
        display_name: Str<'a> = "displayName" | "display_name",
    }
}

wire_object! {
    pub(super) struct FileData<'a> {
        mime_type: Str<'a> = "mimeType" | "mime_type",
        file_uri: Str<'a> = "fileUri" | "file_uri",
        display_name: Str<'a> = "displayName" | "display_name",
    }
}

wire_object! {
    pub(super) struct FunctionCall<'a> {
        id: Str<'a> = lenient "id",
        name: Str<'a> = "name",
        args: &'a RawValue = "args",
    }
}

wire_object! {
    pub(super) struct FunctionResponse<'a> {
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        response: &'a RawValue = "response",
        parts: OneOrMany<PartField<'a>> = "parts",
    }
}

wire_object! {
    /// An object of which nothing is known beforehand.
    pub(super) struct AnyObject<'a> {
    }
}

/// A list, or its only item without the brackets.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

/// A whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WholeNumber(pub(super) i64);

// === impl OneOrMany ===

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|only| vec![only])
            }
        }

        deserializer.deserialize_any(OneOrManyVisitor(std::marker::PhantomData)).map(Self)
    }
}

/// As in a list, what is none of the items is left out.
impl<'de, T: Forgiving<'de>> Forgiving<'de> for OneOrMany<T> {
    fn of_list<A: SeqAccess<'de>>(items: A) -> Result<Option<Self>, A::Error> {
        Vec::of_list(items).map(|list| list.map(Self))
    }

    fn of_object<A: MapAccess<'de>>(fields: A) -> Result<Option<Self>, A::Error> {
        T::of_object(fields).map(|only| only.map(|only| Self(vec![only])))
    }
}

// === impl WholeNumber ===

impl WholeNumber {
    /// Counts are never negative; a client that sends one means nothing by it.
    pub(super) fn count(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;

        impl Visitor<'_> for WholeVisitor {
            type Value = WholeNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<WholeNumber, E> {
                Ok(WholeNumber(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WholeNumber, E> {
                i64::try_from(number).map(WholeNumber).map_err(|_| E::custom("the number is too large"))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<WholeNumber, E> {
                // Beyond 2^53 a double is no exact whole number any more.
                if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
                    Ok(WholeNumber(number as i64))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Float(number), &self))
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WholeNumber, E> {
                text.parse().map(WholeNumber).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(WholeVisitor)
    }
}

impl Forgiving<'_> for WholeNumber {
    fn of_whole(number: u64) -> Option<Self> {
        i64::try_from(number).ok().map(Self)
    }

    fn of_float(number: f64) -> Option<Self> {
        u64::of_float(number).and_then(Self::of_whole)
    }

    fn of_text(text: std::borrow::Cow<'_, str>) -> Option<Self> {
        text.trim().parse().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_come_in_three_spellings() {
        for (text, number) in [("40", 40), ("40.0", 40), ("\"40\"", 40), ("-1", -1)] {
            assert_eq!(serde_json::from_str::<WholeNumber>(text).expect(text), WholeNumber(number));
        }
        for text in ["1.5", "\"x\"", "true", "1e300", "18446744073709551615"] {
            assert!(serde_json::from_str::<WholeNumber>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_of_one_needs_no_brackets_and_both_spellings_are_read() {
        for text in
            [r#"{"parts":{"text":"a","thought_signature":"s"}}"#, r#"{"parts":[{"text":"a","thoughtSignature":"s"}]}"#]
        {
            let content: Content<'_> = serde_json::from_str(text).expect(text);
            let parts = content.parts.expect("parts").0;
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].text.as_deref(), Some("a"));
            assert_eq!(parts[0].thought_signature.as_deref(), Some("s"));
        }
    }
}
