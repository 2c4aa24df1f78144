//! What hosts write where an error's words belong: a text, an object with a message in it, a list of complaints. Whatever it is,
//! the reader of the error gets it.

use omniroute_core::error::ErrorClass;
use serde_json::value::RawValue;

use crate::{object::wire_object, text::Str};

wire_object! {
    struct Worded<'a> {
        message: Str<'a> = lenient "message",
        detail: Str<'a> = lenient "detail",
        error: Str<'a> = lenient "error",
    }
}

/// The words in a field of an error; `None` where there are none.
pub(crate) fn wording(raw: &RawValue) -> Option<String> {
    let text = match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).ok(),
        Some(b'{') => serde_json::from_str::<Worded<'_>>(raw.get())
            .ok()
            .and_then(|object| object.message.or(object.detail).or(object.error))
            .map(|text| text.0.into_owned()),
        Some(b'[') => None,
        // A number or a truth value says nothing.
        _ => return None,
    };
    let text = text.unwrap_or_else(|| raw.get().to_owned());
    (!matches!(text.as_str(), "" | "null" | "{}" | "[]")).then_some(text)
}

/// The class of an error that has neither a status nor a code, by its words.
pub(crate) fn class_in_words(message: &str) -> Option<ErrorClass> {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    if says(&["overloaded", "at capacity", "over capacity"]) {
        Some(ErrorClass::Overloaded)
    } else if says(&["rate limit", "rate_limit", "ratelimit", "too many requests"]) {
        Some(ErrorClass::RateLimited)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whatever_holds_them() {
        for (json, expected) in [
            (r#""no""#, Some("no")),
            (r#"{"message":"no","x":1}"#, Some("no")),
            (r#"{"detail":"no"}"#, Some("no")),
            (r#"[{"msg":"field required"}]"#, Some(r#"[{"msg":"field required"}]"#)),
            (r#"{"message":{"a":1}}"#, Some(r#"{"message":{"a":1}}"#)),
            ("17", None),
            ("null", None),
            (r#""""#, None),
            ("{}", None),
        ] {
            let raw: &RawValue = serde_json::from_str(json).expect(json);
            assert_eq!(wording(raw).as_deref(), expected, "{json}");
        }
    }
}
