//! Counting tokens: a token is a word with the white space behind it. What matters is that the count is exact and the
//! same every time.

use serde_json::Value;

/// What a message costs beside its words.
const PER_MESSAGE: u64 = 4;
/// What a prompt costs beside its messages.
const PER_PROMPT: u64 = 3;

/// The tokens of a text, in order.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

pub(super) fn count(text: &str) -> u64 {
    split(text).count() as u64
}

/// Tokens of a chat prompt, tools included.
pub(super) fn of_prompt(body: &Value) -> u64 {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let in_messages: u64 = messages.iter().map(|message| PER_MESSAGE + of_value(message)).sum();
    PER_PROMPT + in_messages + body.get("tools").map_or(0, of_value)
}

/// Tokens of what `/embeddings` takes as input.
pub(super) fn of_input(input: &Value) -> u64 {
    match input {
        Value::Number(_) => 1,
        Value::Array(items) => items.iter().map(of_input).sum(),
        Value::String(text) => count(text).max(1),
        _ => 0,
    }
}

pub(super) fn of_value(value: &Value) -> u64 {
    match value {
        Value::String(text) => count(text),
        Value::Array(items) => items.iter().map(of_value).sum(),
        Value::Object(fields) => fields.values().map(of_value).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
