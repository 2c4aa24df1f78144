//! One pass over a request body that finds the few fields routing needs, without building a tree.
//!
//! The whole body is validated on the way (structure, strings, numbers, UTF-8), so what is forwarded is valid JSON. The
//! walk is iterative: depth costs a bit, not a stack frame.

use std::{borrow::Cow, ops::Range};

use crate::json_walk::{Walk, WalkError};

/// Deepest nesting that is taken.
pub const MAX_DEPTH: u32 = 128;
/// Most fields that the top level may have.
pub const MAX_FIELDS: usize = 256;

/// Where a value stands in the body, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<T> {
    pub value: T,
    /// Of the value, quotes included.
    pub span: Range<usize>,
}

/// What routing needs of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestScan<'a> {
    pub model: Option<Field<Cow<'a, str>>>,
    pub stream: Option<Field<bool>>,
    pub stream_options: Option<Field<StreamOptions>>,
    /// `max_completion_tokens` or `max_output_tokens`, else `max_tokens`.
    pub max_tokens: Option<u64>,
    /// Answers wanted.
    pub n: Option<u64>,
    /// `tools` or `functions` has something in it.
    pub has_tools: bool,
    /// `reasoning_effort` as it stands there, quotes included.
    pub effort: Option<&'a str>,
    /// `messages` or `input`: the prompt, for an estimate of its size.
    pub prompt: Option<Range<usize>>,
    /// What a Responses body says of stored items, as it stands there.
    pub stored: StoredFields<'a>,
    /// Just behind the opening brace.
    pub inside: usize,
    /// Whether the object has any field.
    pub has_fields: bool,
}

/// Fields of Responses that have to do with what the gateway stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredFields<'a> {
    pub input: Option<&'a str>,
    pub previous_response_id: Option<&'a str>,
    pub store: Option<&'a str>,
    pub background: Option<&'a str>,
    pub conversation: Option<&'a str>,
}

/// The `stream_options` object, or null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    pub is_null: bool,
    pub has_fields: bool,
    pub include_usage: Option<Field<bool>>,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("The body is not valid JSON: {reason} at byte {at}.")]
    Malformed { reason: &'static str, at: usize },
    #[error("The body is not valid UTF-8 (byte {at}).")]
    NotUtf8 { at: usize },
    #[error("The body must be a JSON object.")]
    NotAnObject,
    #[error("The body is nested more than {MAX_DEPTH} levels deep.")]
    TooDeep,
    #[error("The body has more than {MAX_FIELDS} top-level fields.")]
    TooManyFields,
    #[error("The field `{name}` is given twice.")]
    Duplicate { name: String },
    #[error("The field `{name}` must be {expected}.")]
    WrongType { name: &'static str, expected: &'static str },
}

/// Scans a body.
///
/// # Errors
/// When it is not a JSON object that can be forwarded.
pub fn scan(body: &[u8]) -> Result<RequestScan<'_>, ScanError> {
    let text = simdutf8::compat::from_utf8(body).map_err(|error| ScanError::NotUtf8 { at: error.valid_up_to() })?;
    let mut walk = Walk::new(text, MAX_DEPTH);
    if !walk.enter_object()? {
        // Malformed bodies are told apart from well-formed ones that are no object.
        walk.skip_value()?;
        walk.finish()?;
        return Err(ScanError::NotAnObject);
    }
    let mut scan = RequestScan { inside: walk.position(), ..RequestScan::default() };
    let mut seen = Seen::default();
    let mut completion_cap = None;
    while let Some(key) = walk.next_key()? {
        scan.has_fields = true;
        match key.as_ref() {
            "model" => {
                let (value, span) = string(&mut walk, "model")?;
                scan.model = Some(Field { value, span });
            }
            "stream" => scan.stream = boolean(&mut walk, "stream")?,
            "stream_options" => scan.stream_options = Some(stream_options(&mut walk)?),
            "max_tokens" => {
                let cap = number(&mut walk, "max_tokens")?;
                scan.max_tokens = scan.max_tokens.or(cap);
            }
            "max_completion_tokens" => completion_cap = number(&mut walk, "max_completion_tokens")?,
            "max_output_tokens" => {
                let cap = number(&mut walk, "max_output_tokens")?;
                completion_cap = completion_cap.or(cap);
            }
            "n" => scan.n = number(&mut walk, "n")?,
            "tools" | "functions" => {
                let span = span_of(&mut walk)?;
                let inside = walk.slice(&span).strip_prefix('[').map(str::trim_start);
                scan.has_tools |= inside.is_some_and(|inside| !inside.starts_with(']'));
            }
            "reasoning_effort" => {
                let span = span_of(&mut walk)?;
                scan.effort = Some(walk.slice(&span)).filter(|text| *text != "null");
            }
            "messages" => scan.prompt = Some(span_of(&mut walk)?),
            "input" => {
                let span = span_of(&mut walk)?;
                scan.stored.input = Some(walk.slice(&span));
                scan.prompt.get_or_insert(span);
            }
            "previous_response_id" => scan.stored.previous_response_id = Some(raw(&mut walk)?),
            "store" => scan.stored.store = Some(raw(&mut walk)?),
            "background" => scan.stored.background = Some(raw(&mut walk)?),
            "conversation" => scan.stored.conversation = Some(raw(&mut walk)?),
            _ => walk.skip_value()?,
        }
        seen.add(key)?;
    }
    walk.finish()?;
    scan.max_tokens = completion_cap.or(scan.max_tokens);
    Ok(scan)
}

fn span_of(walk: &mut Walk<'_>) -> Result<Range<usize>, ScanError> {
    let start = walk.value_start()?;
    walk.skip_value()?;
    Ok(start..walk.position())
}

fn raw<'a>(walk: &mut Walk<'a>) -> Result<&'a str, ScanError> {
    let span = span_of(walk)?;
    Ok(walk.slice(&span))
}

fn string<'a>(walk: &mut Walk<'a>, name: &'static str) -> Result<(Cow<'a, str>, Range<usize>), ScanError> {
    let start = walk.value_start()?;
    if walk.peek() != Some(b'"') {
        walk.skip_value()?;
        return Err(ScanError::WrongType { name, expected: "a string" });
    }
    let text = walk.string()?;
    Ok((text, start..walk.position()))
}

fn boolean(walk: &mut Walk<'_>, name: &'static str) -> Result<Option<Field<bool>>, ScanError> {
    let span = span_of(walk)?;
    match walk.slice(&span) {
        "true" => Ok(Some(Field { value: true, span })),
        "false" => Ok(Some(Field { value: false, span })),
        "null" => Ok(None),
        _ => Err(ScanError::WrongType { name, expected: "a boolean" }),
    }
}

fn number(walk: &mut Walk<'_>, name: &'static str) -> Result<Option<u64>, ScanError> {
    let span = span_of(walk)?;
    match walk.slice(&span) {
        "null" => Ok(None),
        text => text.parse().map(Some).map_err(|_| ScanError::WrongType { name, expected: "a whole number" }),
    }
}

fn stream_options(walk: &mut Walk<'_>) -> Result<Field<StreamOptions>, ScanError> {
    let start = walk.value_start()?;
    let mut value = StreamOptions::default();
    match walk.peek() {
        Some(b'{') => {
            walk.enter_object()?;
            while let Some(key) = walk.next_key()? {
                value.has_fields = true;
                if key == "include_usage" {
                    let span = span_of(walk)?;
                    let asked = walk.slice(&span) == "true";
                    value.include_usage = Some(Field { value: asked, span });
                } else {
                    walk.skip_value()?;
                }
            }
        }
        _ => {
            let span = span_of(walk)?;
            if walk.slice(&span) != "null" {
                return Err(ScanError::WrongType { name: "stream_options", expected: "an object" });
            }
            value.is_null = true;
        }
    }
    Ok(Field { value, span: start..walk.position() })
}

/// The top-level keys so far. A one-word filter keeps the usual case to a shift and a mask.
#[derive(Default)]
struct Seen<'a> {
    filter: u64,
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Seen<'a> {
    fn add(&mut self, key: Cow<'a, str>) -> Result<(), ScanError> {
        let first = key.as_bytes().first().copied().unwrap_or(0);
        let last = key.as_bytes().last().copied().unwrap_or(0);
        let bit = 1_u64 << ((usize::from(first) ^ (usize::from(last) << 1) ^ (key.len() << 2)) & 63);
        if self.filter & bit != 0 && self.keys.contains(&key) {
            return Err(ScanError::Duplicate { name: key.chars().take(64).collect() });
        }
        if self.keys.len() == MAX_FIELDS {
            return Err(ScanError::TooManyFields);
        }
        self.filter |= bit;
        if self.keys.capacity() == 0 {
            self.keys.reserve(16);
        }
        self.keys.push(key);
        Ok(())
    }
}

// === impl ScanError ===

impl ScanError {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "invalid_json",
            Self::NotUtf8 { .. } => "invalid_utf8",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::TooManyFields => "too_many_fields",
            Self::Duplicate { .. } => "duplicate_field",
            Self::WrongType { .. } => "invalid_field",
        }
    }

    /// The field at fault.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Duplicate { name } => Some(name),
            Self::WrongType { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl From<WalkError> for ScanError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Malformed { reason, at } => Self::Malformed { reason, at },
            WalkError::TooDeep => Self::TooDeep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_usual_body_are_found() {
        let body =
            br#" {"model" : "p/m\u0065", "messages":[{"role":"user","content":"hi \"stream\": 3"}], "stream":true,
            "stream_options":{"x":1,"include_usage":false}, "max_tokens": 5, "max_completion_tokens": 9, "n": 2} "#;
        let scan = scan(body).expect("scanned");
        let model = scan.model.expect("a model");
        assert_eq!(model.value, "p/me");
        assert_eq!(&body[model.span], br#""p/m\u0065""#);
        assert!(scan.stream.expect("stream").value);
        let options = scan.stream_options.expect("options").value;
        let include = options.include_usage.expect("include");
        assert!(!include.value && options.has_fields);
        assert_eq!(&body[include.span], b"false");
        assert_eq!((scan.max_tokens, scan.n), (Some(9), Some(2)));
        assert!(body[scan.prompt.expect("messages")].starts_with(b"[{"));
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let code = |body: &str| scan(body.as_bytes()).expect_err(body).code();
        assert_eq!(code(""), "invalid_json");
        assert_eq!(code("{"), "invalid_json");
        assert_eq!(code("{} x"), "invalid_json");
        assert_eq!(code("[1]"), "not_an_object");
        assert_eq!(code("\"text\""), "not_an_object");
        assert_eq!(code(r#"{"a":1,"a":2}"#), "duplicate_field");
        assert_eq!(code(r#"{"a":1,"\u0061":2}"#), "duplicate_field");
        assert_eq!(code(r#"{"model":3}"#), "invalid_field");
        assert_eq!(code(r#"{"stream":"yes"}"#), "invalid_field");
        assert_eq!(code(r#"{"stream_options":[]}"#), "invalid_field");
        assert_eq!(code(r#"{"max_tokens":-1}"#), "invalid_field");
        assert_eq!(scan(b"{\"a\":\"\xff\"}").expect_err("not text").code(), "invalid_utf8");
        let many: String = (0..300).map(|n| format!("\"f{n}\":0,")).collect();
        assert_eq!(code(&format!("{{{many}\"z\":0}}")), "too_many_fields");
    }

    #[test]
    fn a_body_nested_ten_thousand_deep_is_refused() {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(scan(body.as_bytes()), Err(ScanError::TooDeep));
        let fits = format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127));
        assert!(scan(fits.as_bytes()).is_ok());
    }

    #[test]
    fn null_means_not_given() {
        let scan = scan(br#"{"model":"m","stream":null,"stream_options":null,"max_tokens":null}"#).expect("scanned");
        assert_eq!((scan.stream, scan.max_tokens), (None, None));
        assert!(scan.stream_options.is_some_and(|options| options.value.is_null));
    }
}
