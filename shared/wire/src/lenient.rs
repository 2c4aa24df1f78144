//! Fields that nobody needs, read whatever they hold.
//!
//! Hosts that speak somebody else's format get its side fields wrong: a time with a fraction, an id that is a number, an empty
//! list where an object belongs. An answer is not lost for that: in [`wire_object!`](crate::object::wire_object) a field
//! marked `lenient` takes what can be understood (`"0"` and `0.0` are 0) and is absent otherwise. Nothing is read twice.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::text::{Str, TextOr};

/// A value, or nothing where there is something else in its place.
pub(crate) struct Lenient<T>(pub(crate) Option<T>);

/// What can be read out of any JSON. Each method says what a value of that type means; by default it means nothing.
pub(crate) trait Forgiving<'de>: Sized {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(AnyVisitor(PhantomData))
    }

    fn of_bool(_: bool) -> Option<Self> {
        None
    }

    fn of_whole(_: u64) -> Option<Self> {
        None
    }

    /// A number that is no whole one, or is negative.
    fn of_float(_: f64) -> Option<Self> {
        None
    }

    fn of_text(_: Cow<'de, str>) -> Option<Self> {
        None
    }

    fn of_list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn of_object<A: MapAccess<'de>>(mut fields: A) -> Result<Option<Self>, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: Forgiving<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(T::of_bool(value))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(T::of_whole(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "a negative number is read only to see that it is one")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or_else(|_| T::of_float(number as f64), T::of_whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(T::of_float(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(T::of_text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::of_text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        T::of_list(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::of_object(fields)
    }
}

// === impl Lenient ===

impl<'de, T: Forgiving<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

// === impl Forgiving ===

/// Beyond 2^53 a double is no exact whole number any more.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A count, which is never negative.
impl Forgiving<'_> for u64 {
    fn of_whole(number: u64) -> Option<Self> {
        Some(number)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    fn of_float(number: f64) -> Option<Self> {
        (0.0..=EXACT).contains(&number).then_some(number as Self)
    }

    fn of_text(text: Cow<'_, str>) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl Forgiving<'_> for u32 {
    fn of_whole(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn of_float(number: f64) -> Option<Self> {
        u64::of_float(number).and_then(Self::of_whole)
    }

    fn of_text(text: Cow<'_, str>) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl Forgiving<'_> for u16 {
    fn of_whole(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn of_text(text: Cow<'_, str>) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl Forgiving<'_> for f64 {
    #[expect(clippy::cast_precision_loss, reason = "no count of tokens is that large")]
    fn of_whole(number: u64) -> Option<Self> {
        Some(number as Self)
    }

    fn of_float(number: f64) -> Option<Self> {
        Some(number)
    }

    fn of_text(text: Cow<'_, str>) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl Forgiving<'_> for bool {
    fn of_bool(value: bool) -> Option<Self> {
        Some(value)
    }

    fn of_text(text: Cow<'_, str>) -> Option<Self> {
        text.trim().parse().ok()
    }
}

/// A number where a text belongs (an id) is its digits.
impl<'de: 'a, 'a> Forgiving<'de> for Str<'a> {
    fn of_whole(number: u64) -> Option<Self> {
        Some(Self(number.to_string().into()))
    }

    fn of_float(number: f64) -> Option<Self> {
        Some(Self(number.to_string().into()))
    }

    fn of_text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self(text))
    }
}

impl<'de: 'a, 'a> Forgiving<'de> for &'a RawValue {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(Some)
    }
}

/// What is none of the items is left out.
impl<'de, T: Forgiving<'de>> Forgiving<'de> for Vec<T> {
    fn of_list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let mut all = Self::new();
        while let Some(Lenient(item)) = items.next_element()? {
            all.extend(item);
        }
        Ok(Some(all))
    }
}

/// A text, or a list of parts.
impl<'de: 'a, 'a, T: Forgiving<'de>> Forgiving<'de> for TextOr<'a, T> {
    fn of_text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self::Text(text))
    }

    fn of_list<A: SeqAccess<'de>>(items: A) -> Result<Option<Self>, A::Error> {
        Vec::of_list(items).map(|list| list.map(Self::List))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::wire_object;

    wire_object! {
        struct Inner<'a> {
            count: u64 = lenient "count",
        }
    }

    wire_object! {
        struct Sample<'a> {
            id: Str<'a> = lenient "id" | "ID",
            number: u32 = lenient "number",
            flag: bool = lenient "flag",
            inner: Inner<'a> = lenient "inner",
            list: Vec<Inner<'a>> = lenient "list",
            raw: Vec<&'a RawValue> = lenient "raw",
            text: TextOr<'a, Inner<'a>> = lenient "text",
            last: u64 = "last",
        }
    }

    fn read(json: &str) -> Sample<'_> {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn what_can_be_understood_is() {
        let sample = read(
            r#"{"ID":17,"number":"3","flag":"true","inner":{"count":4.0},"list":[{"count":1},null,7,{"count":"2"}],
                "raw":[1,{"a":[]}],"text":[{"count":1}],"last":9}"#,
        );
        assert_eq!((sample.id.as_deref(), sample.number, sample.flag), (Some("17"), Some(3), Some(true)));
        assert_eq!(sample.inner.and_then(|inner| inner.count), Some(4));
        let list = sample.list.expect("a list");
        assert_eq!(list.iter().map(|inner| inner.count).collect::<Vec<_>>(), [Some(1), Some(2)]);
        assert_eq!(sample.raw.expect("raw").iter().map(|raw| raw.get()).collect::<Vec<_>>(), ["1", r#"{"a":[]}"#]);
        assert!(matches!(sample.text, Some(TextOr::List(list)) if list.len() == 1));
        assert_eq!(sample.last, Some(9));
    }

    #[test]
    fn whatever_else_stands_there_is_absent_and_what_follows_is_read() {
        for wrong in ["null", "[]", "[[1],{\"x\":[2]}]", "{}", "{\"y\":{\"z\":[]}}", "true", "-5", "1e300", "\"word\""]
        {
            let json = format!(
                r#"{{"number":{wrong},"flag":{},"inner":{},"list":{},"last":9}}"#,
                if wrong == "true" { "7" } else { wrong },
                if wrong.starts_with('{') { "[]" } else { wrong },
                if wrong.starts_with('[') { "{}" } else { wrong },
            );
            let sample = read(&json);
            assert_eq!((sample.number, sample.flag), (None, None), "{json}");
            assert!(sample.inner.is_none() && sample.list.is_none(), "{json}");
            assert_eq!(sample.last, Some(9), "{json}");
        }
        for (text, count) in [("-1", None), ("12.4", Some(12)), ("\" 7 \"", Some(7)), ("18446744073709551616", None)] {
            assert_eq!(
                read(&format!(r#"{{"inner":{{"count":{text}}}}}"#)).inner.and_then(|i| i.count),
                count,
                "{text}"
            );
        }
    }
}
