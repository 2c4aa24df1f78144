//! Checking JSON against tables: which fields an object may have, and what they are.

use http::StatusCode;
use serde_json::{Map, Value};

pub(super) type Fields = Map<String, Value>;
pub(super) type Checked<T = ()> = Result<T, Fault>;

/// What is wrong with a request. Its vendor finds the words.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub status: StatusCode,
    /// Path of the field, in dots; empty where none is meant.
    pub at: String,
    pub problem: Problem,
}

#[derive(Clone, Debug)]
pub(super) enum Problem {
    Missing,
    Unknown,
    /// What it should have been.
    Expected(&'static str),
    /// In the vendor's own words.
    Said(String),
}

/// What a field may hold. `null` is no value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Is {
    Any,
    Text,
    /// Text with something in it.
    Filled,
    Flag,
    Whole,
    Number,
    Object,
    List,
    Texts,
    Word(&'static [&'static str]),
    Base64,
}

/// A field that may be there.
pub(super) const fn may(name: &'static str, is: Is) -> Field {
    Field { name, is, must: false }
}

/// A field that has to be there.
pub(super) const fn must(name: &'static str, is: Is) -> Field {
    Field { name, is, must: true }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name: &'static str,
    is: Is,
    must: bool,
}

/// An object with these fields and no others.
pub(super) fn object<'v>(value: &'v Value, at: &str, fields: &[Field]) -> Checked<&'v Fields> {
    let object = open_object(value, at, fields)?;
    match object.keys().find(|name| fields.iter().all(|field| field.name != name.as_str())) {
        Some(name) => Err(Fault::new(path(at, name), Problem::Unknown)),
        None => Ok(object),
    }
}

/// An object with these fields, and others that nobody looks at.
pub(super) fn open_object<'v>(value: &'v Value, at: &str, fields: &[Field]) -> Checked<&'v Fields> {
    let object = value.as_object().ok_or_else(|| Fault::expected(at, "an object"))?;
    for field in fields {
        match object.get(field.name).filter(|value| !value.is_null()) {
            None if field.must => return Err(Fault::new(path(at, field.name), Problem::Missing)),
            None => {}
            Some(value) => field.is.check(value, &path(at, field.name))?,
        }
    }
    Ok(object)
}

pub(super) fn path(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// Elements of a list that may be missing.
pub(super) fn list<'v>(fields: &'v Fields, name: &str) -> &'v [Value] {
    fields.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn range(fields: &Fields, at: &str, name: &str, range: std::ops::RangeInclusive<f64>) -> Checked {
    match fields.get(name).and_then(Value::as_f64) {
        Some(number) if !range.contains(&number) => {
            Err(Fault::said(path(at, name), format!("must be between {} and {}", range.start(), range.end())))
        }
        _ => Ok(()),
    }
}

/// Letters, digits and what else is allowed, between these lengths.
pub(super) fn is_name(name: &str, longest: usize, others: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || others.contains(letter);
    (1..=longest).contains(&name.len()) && name.chars().all(fits)
}

pub(super) fn is_base64(text: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(text).is_ok()
}

/// The rule of schemas that are kept to the letter: objects name their fields and have no others.
pub(super) fn closed_schema(schema: &Value, all_required: bool) -> Result<(), String> {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
                    return Err("'additionalProperties' is required to be supplied and to be false.".to_owned());
                }
                let required = list(fields, "required");
                let missing = properties.keys().find(|name| !required.iter().any(|one| one == name.as_str()));
                if let Some(name) = missing.filter(|_| all_required) {
                    return Err(format!(
                        "'required' is required to be supplied and to be an array including every key in properties. \
                         Missing '{name}'."
                    ));
                }
                return properties.values().try_for_each(|one| closed_schema(one, all_required));
            }
            fields.values().try_for_each(|one| closed_schema(one, all_required))
        }
        Value::Array(items) => items.iter().try_for_each(|one| closed_schema(one, all_required)),
        _ => Ok(()),
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn new(at: impl Into<String>, problem: Problem) -> Self {
        Self { status: StatusCode::BAD_REQUEST, at: at.into(), problem }
    }

    pub(super) fn missing(at: impl Into<String>) -> Self {
        Self::new(at, Problem::Missing)
    }

    pub(super) fn expected(at: impl Into<String>, what: &'static str) -> Self {
        Self::new(at, Problem::Expected(what))
    }

    pub(super) fn said(at: impl Into<String>, words: impl Into<String>) -> Self {
        Self::new(at, Problem::Said(words.into()))
    }

    pub(super) fn of(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, at: String::new(), problem: Problem::Said(words.into()) }
    }
}

// === impl Is ===

impl Is {
    fn check(self, value: &Value, at: &str) -> Checked {
        let text = value.as_str();
        let (holds, expected) = match self {
            Self::Any => (true, ""),
            Self::Text => (text.is_some(), "a string"),
            Self::Filled => (text.is_some_and(|text| !text.is_empty()), "a non-empty string"),
            Self::Flag => (value.is_boolean(), "a boolean"),
            Self::Whole => (value.is_i64() || value.is_u64(), "an integer"),
            Self::Number => (value.is_number(), "a number"),
            Self::Object => (value.is_object(), "an object"),
            Self::List => (value.is_array(), "an array"),
            Self::Texts => {
                (value.as_array().is_some_and(|all| all.iter().all(Value::is_string)), "an array of strings")
            }
            Self::Word(words) => (text.is_some_and(|text| words.contains(&text)), "one of the supported values"),
            Self::Base64 => (text.is_some_and(is_base64), "a base64-encoded string"),
        };
        if holds { Ok(()) } else { Err(Fault::expected(at, expected)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_checked_field_by_field() {
        let fields = [must("a", Is::Text), may("b", Is::Word(&["x"])), may("c", Is::Base64)];
        let fault = |value: Value| object(&value, "m", &fields).err().map(|fault| (fault.at, fault.problem));
        assert!(fault(json!({"a": "", "b": "x", "c": "YQ=="})).is_none());
        assert!(matches!(fault(json!({})), Some((at, Problem::Missing)) if at == "m.a"));
        assert!(matches!(fault(json!({"a": 1})), Some((at, Problem::Expected("a string"))) if at == "m.a"));
        assert!(matches!(fault(json!({"a": "", "b": "y"})), Some((at, Problem::Expected(_))) if at == "m.b"));
        assert!(matches!(fault(json!({"a": "", "c": "=="})), Some((at, _)) if at == "m.c"));
        assert!(matches!(fault(json!({"a": "", "d": 1})), Some((at, Problem::Unknown)) if at == "m.d"));
        assert!(fault(json!([])).is_some());
    }

    #[test]
    fn a_closed_schema_names_every_field() {
        let closed = |all, schema: Value| closed_schema(&schema, all).is_ok();
        let inner = json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false});
        assert!(closed(false, inner.clone()));
        assert!(!closed(true, inner));
        assert!(!closed(false, json!({"type": "array", "items": {"type": "object", "properties": {"a": {}}}})));
    }
}
