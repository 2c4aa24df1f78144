//! Objects with known fields and a rest.
//!
//! serde's `flatten`, `untagged` and internally tagged enums buffer what they read, which copies every string and
//! forbids raw values. [`wire_object!`] reads an object in one pass instead: each known field into its type, every other
//! one kept as raw JSON, in order. All fields are optional here; the format decides which it demands. A field may have
//! several spellings (`"maxTokens" | "max_tokens"`), and may be read [leniently](crate::lenient): `= lenient "created"`. Where a
//! bare string stands for an object, `or` names the field that it fills: `struct ContentPart<'a> or text`.

/// Declares such an object.
macro_rules! wire_object {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident<$life:lifetime> $(or $text:ident)? {
            $( $field:ident: $type:ty = $($lenient:ident)? $key:literal $(| $alias:literal)*, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name<$life> {
            $( pub(crate) $field: Option<$type>, )*
            /// Fields that are not listed, as they came.
            pub(crate) rest: Vec<(std::borrow::Cow<$life, str>, &$life serde_json::value::RawValue)>,
        }

        impl<'de: $life, $life> serde::Deserialize<'de> for $name<$life> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor<$life>(std::marker::PhantomData<&$life ()>);

                impl<'de: $life, $life> serde::de::Visitor<'de> for ObjectVisitor<$life> {
                    type Value = $name<$life>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut object = $name::default();
                        while let Some(key) = map.next_key::<$crate::text::Str<'de>>()? {
                            match key.0.as_ref() {
                                $( $key $(| $alias)* => {
                                    object.$field = $crate::object::wire_value!($($lenient)? map);
                                } )*
                                _ => object.rest.push((key.0, map.next_value()?)),
                            }
                        }
                        Ok(object)
                    }

                    $(
                        fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                            Ok($name { $text: Some($crate::text::Str(text.into())), ..$name::default() })
                        }

                        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                            Ok($name { $text: Some($crate::text::Str(text.to_owned().into())), ..$name::default() })
                        }
                    )?
                }

                $crate::object::wire_read!($($text)? deserializer, ObjectVisitor(std::marker::PhantomData))
            }
        }

        impl<'de: $life, $life> $crate::lenient::Forgiving<'de> for $name<$life> {
            fn of_object<A: serde::de::MapAccess<'de>>(fields: A) -> Result<Option<Self>, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(fields);
                serde::Deserialize::deserialize(fields).map(Some)
            }
        }
    };
}
pub(crate) use wire_object;

/// Reads an object, or whatever stands for one.
macro_rules! wire_read {
    ($deserializer:ident, $visitor:expr) => {
        $deserializer.deserialize_map($visitor)
    };
    ($text:ident $deserializer:ident, $visitor:expr) => {
        $deserializer.deserialize_any($visitor)
    };
}
pub(crate) use wire_read;

/// The next value of an object: as it must be, or leniently.
macro_rules! wire_value {
    ($map:ident) => {
        $map.next_value()?
    };
    (lenient $map:ident) => {
        $map.next_value::<$crate::lenient::Lenient<_>>()?.0
    };
}
pub(crate) use wire_value;

use serde::de::DeserializeOwned;

use crate::codec::WireError;

/// Reads a body. On failure it is read once more, slowly, to name the field at fault.
pub(crate) fn read<'a, T>(body: &'a [u8]) -> Result<T, WireError>
where
    T: serde::Deserialize<'a>,
{
    let body = crate::byte_order_mark::without(body);
    // Read as text, what it holds is not checked once more, piece by piece.
    let read = simdutf8::basic::from_utf8(body).map_or_else(|_| serde_json::from_slice(body), serde_json::from_str);
    read.map_err(|first| {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Err(error) => {
                let path = error.path().to_string();
                let syntax = error.inner().is_syntax() || error.inner().is_eof();
                let reason = describe(error.inner());
                if syntax || path == "." || path.is_empty() {
                    let code = if syntax { "invalid_json" } else { "invalid_field" };
                    WireError::new(code, format!("The body is not valid: {reason}"))
                } else {
                    WireError::field(path.clone(), format!("`{path}`: {reason}"))
                }
            }
            Ok(_) => WireError::new("invalid_json", format!("The body is not valid: {}", describe(&first))),
        }
    })
}

/// serde's text without the position, which means little to who wrote the body with a program.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Reads a value that owns what it holds, out of raw JSON.
pub(crate) fn read_owned<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use crate::text::{Str, TextOr};

    wire_object! {
        struct Sample<'a> {
            name: Str<'a> = "name",
            items: TextOr<'a, u32> = "items",
            inner: Inner<'a> = "inner",
        }
    }
    wire_object! {
        struct Inner<'a> {
            flag: bool = "flag",
        }
    }

    #[test]
    fn known_fields_are_typed_and_the_rest_is_kept_in_order() {
        let body = br#"{"z": {"deep": [1,  2]}, "name": "a\nb", "items": [1, 2], "a": null, "inner": {"flag": true}}"#;
        let sample: Sample<'_> = super::read(body).expect("read");
        assert_eq!(sample.name.as_deref(), Some("a\nb"));
        assert_eq!(sample.items, Some(TextOr::List(vec![1, 2])));
        let rest: Vec<_> = sample.rest.iter().map(|(key, raw)| (key.as_ref(), raw.get())).collect();
        assert_eq!(rest, [("z", r#"{"deep": [1,  2]}"#), ("a", "null")]);
        assert_eq!(sample.inner.and_then(|inner| inner.flag), Some(true));
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let error = super::read::<Sample<'_>>(br#"{"inner": {"flag": 3}}"#).expect_err("a wrong type");
        assert_eq!(error.param.as_deref(), Some("inner.flag"));
        let error = super::read::<Sample<'_>>(b"{").expect_err("malformed");
        assert_eq!((error.code, error.param), ("invalid_json", None));
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let body = br#"{"name": "plain"}"#;
        let sample: Sample<'_> = super::read(body).expect("read");
        assert!(matches!(sample.name, Some(Str(std::borrow::Cow::Borrowed(_)))));
    }
}
