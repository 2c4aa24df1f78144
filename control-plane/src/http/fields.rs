//! Reads a JSON object field by field and notes everything that is wrong with it, so that a caller learns of all
//! mistakes at once. A field that nobody asks for is a mistake too: a restriction that is misspelt would otherwise
//! restrict nothing.

use std::ops::RangeInclusive;

use omniroute_core::time::UnixMillis;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    error::{ApiError, Detail},
    spelling,
};
use crate::store::records::Object;

/// A type that can be read from a JSON object.
pub trait Body: Sized {
    fn read(fields: &mut Fields) -> Self;
}

/// The object being read.
pub struct Fields {
    object: Object,
    path: String,
    details: Vec<Detail>,
    /// Whether a field that somebody asked for was there.
    found: bool,
    /// What the object may hold.
    pub(crate) asked: Vec<&'static str>,
}

/// What a patch says about a field that may be cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// The field was not named.
    #[default]
    Keep,
    /// The field was `null`.
    Clear,
    Set(T),
}

// === impl Edit ===

impl<T> Edit<T> {
    /// In the form of the store's patches.
    pub fn into_patch(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }

    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    pub fn set(self) -> Option<T> {
        self.into_patch().flatten()
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Edit<U> {
        match self {
            Self::Keep => Edit::Keep,
            Self::Clear => Edit::Clear,
            Self::Set(value) => Edit::Set(change(value)),
        }
    }
}

/// As the edit was written: the value, or null. Whoever serializes skips [`Edit::Keep`].
impl<T: Serialize> Serialize for Edit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

// === impl Fields ===

impl Fields {
    pub fn new(object: Object) -> Self {
        Self { object, path: String::new(), details: Vec::new(), found: false, asked: Vec::new() }
    }

    /// The value that was read, unless something is wrong.
    ///
    /// # Errors
    /// 400 with every mistake.
    pub fn finish<T>(mut self, value: T) -> Result<T, ApiError> {
        self.refuse_unknown();
        if self.details.is_empty() { Ok(value) } else { Err(ApiError::invalid(self.details)) }
    }

    /// Notes that an edit which names no field that can be edited is a mistake.
    pub fn require_any(&mut self) {
        if !self.found && self.details.is_empty() && self.object.is_empty() {
            self.details.push(Detail { field: "body".into(), message: "No valid fields to update".into() });
        }
    }

    /// What an answer shows and an edit cannot change: clients send back what they were shown.
    pub fn shown(&mut self, names: &[&str]) {
        for name in names {
            self.object.remove(*name);
        }
    }

    /// Whether the field is there and `null`.
    pub fn is_null(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(Value::is_null)
    }

    /// Notes every field that nobody has asked for, with the name that it may have been meant to have.
    fn refuse_unknown(&mut self) {
        for name in std::mem::take(&mut self.object).into_iter().map(|(name, _)| name) {
            let message = match spelling::nearest(&name, &self.asked) {
                Some(meant) => format!("is no field of this request; did you mean `{meant}`?"),
                None => "is no field of this request".to_owned(),
            };
            self.refuse(&spelling::quotable(&name), message);
        }
    }

    /// Notes a mistake that only the caller of these functions can see.
    pub fn refuse(&mut self, field: &str, message: impl Into<String>) {
        let field = if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) };
        self.details.push(Detail { field, message: message.into() });
    }

    /// Notes the mistakes of something that was read apart.
    pub fn refuse_all(&mut self, error: ApiError) {
        for Detail { field, message } in error.into_details() {
            self.refuse(&field, message);
        }
    }

    /// As [`Self::refuse`], unless something is known to be wrong with the field already.
    pub fn refuse_unless_noted(&mut self, field: &str, message: impl Into<String>) {
        if !self.details.iter().any(|detail| detail.field == field) {
            self.refuse(field, message);
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        let value = self.object.remove(name)?;
        self.found = true;
        Some(value)
    }

    fn expected(&mut self, name: &str, what: &str, got: &Value) {
        self.refuse(name, format!("expected {what}, received {}", kind(got)));
    }

    /// Any value, as it is.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        self.take(name)
    }

    /// Any value that `fits`, or null.
    pub fn nullable_value(&mut self, name: &'static str, fits: fn(&Value) -> bool) -> Edit<Value> {
        match self.take(name) {
            None => Edit::Keep,
            Some(Value::Null) => Edit::Clear,
            Some(value) if fits(&value) => Edit::Set(value),
            Some(_) => {
                self.refuse(name, "has a wrong form");
                Edit::Keep
            }
        }
    }

    pub fn text(&mut self, name: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        let value = self.take(name)?;
        self.as_text(name, value, length)
    }

    fn as_text(&mut self, name: &str, value: Value, length: RangeInclusive<usize>) -> Option<String> {
        let Value::String(text) = value else {
            self.expected(name, "string", &value);
            return None;
        };
        let characters = text.trim().chars().count();
        if characters < *length.start() {
            let least = *length.start();
            self.refuse(
                name,
                if least == 1 { "must not be empty".to_owned() } else { format!("needs at least {least} characters") },
            );
        } else if text.chars().count() > *length.end() {
            self.refuse(name, format!("must have at most {} characters", length.end()));
        } else if text.contains('\0') {
            self.refuse(name, "must not contain a NUL character");
        } else {
            return Some(text);
        }
        None
    }

    pub fn required_text(&mut self, name: &'static str, length: RangeInclusive<usize>) -> String {
        if !self.object.contains_key(name) {
            let _ = self.take(name);
            self.refuse(name, "expected string, received undefined");
            return String::new();
        }
        self.text(name, length).unwrap_or_default()
    }

    pub fn nullable_text(&mut self, name: &'static str, length: RangeInclusive<usize>) -> Edit<String> {
        match self.take(name) {
            None => Edit::Keep,
            Some(Value::Null) => Edit::Clear,
            Some(value) => self.as_text(name, value, length).map_or(Edit::Keep, Edit::Set),
        }
    }

    /// One of `allowed`.
    pub fn choice(&mut self, name: &'static str, allowed: &[&'static str]) -> Option<String> {
        let text = self.text(name, 0..=100)?;
        if !allowed.contains(&text.as_str()) {
            self.refuse(name, format!("must be one of {}", allowed.join(", ")));
            return None;
        }
        Some(text)
    }

    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.take(name)?;
        let Value::Bool(flag) = value else {
            self.expected(name, "boolean", &value);
            return None;
        };
        Some(flag)
    }

    pub fn whole(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(name)?;
        self.as_whole(name, &value, range)
    }

    /// A number, also where it is written as text (`"2"`): forms and query strings do that.
    fn as_whole(&mut self, name: &str, value: &Value, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.expected(name, "whole number", value);
            return None;
        };
        if !range.contains(&number) {
            self.refuse(name, format!("must be between {} and {}", range.start(), range.end()));
            return None;
        }
        Some(number)
    }

    pub fn nullable_whole(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Edit<u64> {
        match self.take(name) {
            None => Edit::Keep,
            Some(Value::Null) => Edit::Clear,
            Some(value) => self.as_whole(name, &value, range).map_or(Edit::Keep, Edit::Set),
        }
    }

    /// A time in RFC 3339, or Unix milliseconds.
    pub fn nullable_time(&mut self, name: &'static str) -> Edit<UnixMillis> {
        let value = match self.take(name) {
            None => return Edit::Keep,
            Some(Value::Null) => return Edit::Clear,
            Some(value) => value,
        };
        let time = match &value {
            Value::String(text) => UnixMillis::parse(text.trim()),
            Value::Number(number) => number.as_u64().map(UnixMillis),
            _ => None,
        };
        // What cannot be written back as a date is not one.
        let time = time.filter(|time| !time.to_rfc3339().is_empty());
        if time.is_none() {
            self.refuse(name, "expected a time such as 2030-01-31T00:00:00Z");
        }
        time.map_or(Edit::Keep, Edit::Set)
    }

    /// A list of texts, each trimmed and not empty.
    pub fn texts(&mut self, name: &'static str, count: RangeInclusive<usize>, length: usize) -> Option<Vec<String>> {
        let value = self.take(name)?;
        let Value::Array(items) = value else {
            self.expected(name, "array", &value);
            return None;
        };
        if !count.contains(&items.len()) {
            self.refuse(name, format!("must have {} to {} entries", count.start(), count.end()));
            return None;
        }
        let before = self.details.len();
        let texts: Vec<String> = items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| self.as_text(&format!("{name}.{index}"), item, 1..=length))
            .map(|text| text.trim().to_owned())
            .collect();
        (self.details.len() == before).then_some(texts)
    }

    pub fn object(&mut self, name: &'static str) -> Option<Object> {
        match self.take(name)? {
            Value::Object(object) => Some(object),
            other => {
                self.expected(name, "object", &other);
                None
            }
        }
    }

    /// Reads an object inside this one with the same care.
    pub fn nested<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let object = self.object(name)?;
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let mut inner = Self { path, ..Self::new(object) };
        let value = read(&mut inner);
        inner.refuse_unknown();
        self.details.append(&mut inner.details);
        Some(value)
    }

    /// A list of objects, each read with the same care.
    pub fn nested_list<T>(
        &mut self,
        name: &'static str,
        count: RangeInclusive<usize>,
        read: impl Fn(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let value = self.take(name)?;
        let Value::Array(items) = value else {
            self.expected(name, "array", &value);
            return None;
        };
        if !count.contains(&items.len()) {
            self.refuse(name, format!("must have {} to {} entries", count.start(), count.end()));
            return None;
        }
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let Value::Object(object) = item else {
                self.expected(&format!("{name}.{index}"), "object", &item);
                continue;
            };
            let mut inner = Self { path: format!("{path}.{index}"), ..Self::new(object) };
            values.push(read(&mut inner));
            inner.refuse_unknown();
            self.details.append(&mut inner.details);
        }
        Some(values)
    }

    /// What nobody has asked for yet, in an object that may hold anything besides. A name that is almost one of those
    /// that were asked for is a mistake all the same.
    pub fn rest(&mut self) -> Object {
        let rest = std::mem::take(&mut self.object);
        for name in rest.keys() {
            if let Some(meant) = spelling::slip_of(name, &self.asked) {
                self.refuse(&spelling::quotable(name), format!("did you mean `{meant}`?"));
            }
        }
        rest
    }
}

/// `edit` laid over `held`; `null` removes a field.
pub fn merged(mut held: Object, edit: Object) -> Object {
    for (name, value) in edit {
        if value.is_null() {
            held.remove(&name);
        } else {
            held.insert(name, value);
        }
    }
    held
}

/// How JavaScript calls it, as the original's messages do.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(object) => Fields::new(object),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn every_mistake_is_reported_with_its_path() {
        let mut fields = fields(json!({ "count": "many", "names": ["a", 1, ""], "inner": { "flag": "yes" } }));
        let _ = fields.required_text("name", 1..=10);
        let _ = fields.whole("count", 0..=10);
        let _ = fields.texts("names", 0..=5, 10);
        let _ = fields.nested("inner", |inner| inner.flag("flag"));
        let error = fields.finish(()).expect_err("mistakes");
        let named: Vec<String> = error.body("id").error.details.into_iter().map(|detail| detail.field).collect();
        assert_eq!(named, ["name", "count", "names.1", "names.2", "inner.flag"]);
    }

    #[test]
    fn null_clears_only_where_it_may() {
        let mut fields = fields(json!({ "a": null, "b": null }));
        assert_eq!(fields.nullable_text("a", 0..=5), Edit::Clear);
        assert_eq!(fields.text("b", 0..=5), None);
        assert_eq!(fields.nullable_whole("c", 0..=5), Edit::Keep);
        assert!(fields.finish(()).is_err(), "b cannot be null");
    }

    #[test]
    fn numbers_may_be_written_as_text_but_must_be_whole_and_in_range() {
        let mut fields = fields(json!({ "a": "7", "b": 1.5, "c": -1, "d": 99, "e": true }));
        assert_eq!(fields.whole("a", 0..=10), Some(7));
        for name in ["b", "c", "d", "e"] {
            assert_eq!(fields.whole(name, 0..=10), None, "{name}");
        }
    }

    #[test]
    fn times_that_cannot_be_shown_are_refused() {
        let mut fields = fields(json!({ "a": "2030-01-31T00:00:00Z", "b": "tomorrow", "c": u64::MAX, "d": null }));
        assert_eq!(fields.nullable_time("a"), Edit::Set(UnixMillis(1_896_048_000_000)));
        assert_eq!(fields.nullable_time("b"), Edit::Keep);
        assert_eq!(fields.nullable_time("c"), Edit::Keep);
        assert_eq!(fields.nullable_time("d"), Edit::Clear);
        assert_eq!(fields.details.len(), 2);
    }

    #[test]
    fn what_nobody_asks_for_is_refused_with_the_name_that_was_meant() {
        let mut fields = fields(json!({ "allowedModel": ["x"], "inner": { "flaag": true }, "colour": 1 }));
        let _ = fields.texts("allowedModels", 0..=5, 10);
        let _ = fields.nested("inner", |inner| inner.flag("flag"));
        let error = fields.finish(()).expect_err("mistakes").body("id").error;
        let said: Vec<_> = error.details.iter().map(|d| (d.field.as_str(), d.message.as_str())).collect();
        assert_eq!(
            said,
            [
                ("inner.flaag", "is no field of this request; did you mean `flag`?"),
                ("allowedModel", "is no field of this request; did you mean `allowedModels`?"),
                ("colour", "is no field of this request"),
            ]
        );
    }

    #[test]
    fn an_open_object_takes_anything_but_a_slip_of_the_pen() {
        let mut open = fields(json!({ "baseURL": "http://a", "tier": "free" }));
        let _ = open.text("baseUrl", 0..=10);
        assert_eq!(open.rest().len(), 2);
        assert!(open.finish(()).is_err());
        let mut open = fields(json!({ "tier": "free", "project": "x" }));
        let _ = open.text("baseUrl", 0..=10);
        let _ = open.rest();
        assert!(open.finish(()).is_ok());
    }

    #[test]
    fn an_edit_without_a_known_field_is_refused() {
        let mut fields = fields(json!({ "unknown": 1 }));
        let _ = fields.text("name", 1..=5);
        fields.require_any();
        assert!(fields.finish(()).is_err());
    }
}
