//! Masks secrets in text that others wrote, such as a provider's error message, before it is logged.
//!
//! Our own secrets never reach a log line in the first place; this is for what an upstream echoes back.

use std::borrow::Cow;

const MASK: &str = "[redacted]";

/// Beginnings of keys that providers hand out. What follows, if long enough, is masked.
const KEY_PREFIXES: [&str; 14] =
    ["sk-", "sk_", "pk-", "rk-", "gsk_", "xai-", "hf_", "nvapi-", "AIza", "ya29.", "ghp_", "gho_", "AKIA", "eyJ"];

/// Fewer characters than this after a prefix are a word, not a key.
const MIN_KEY: usize = 8;

/// Names whose value is a secret, in headers, queries and JSON. Compared without case, `-` and `_`.
const NAMES: [&str; 11] = [
    "apikey",
    "xapikey",
    "xgoogapikey",
    "key",
    "token",
    "accesstoken",
    "refreshtoken",
    "password",
    "secret",
    "clientsecret",
    "authtoken",
];

/// `text` with every secret in it replaced by `[redacted]`: keys with a known prefix, what follows `Bearer` or
/// `Basic`, and values of names such as `api_key`. Borrows when there is nothing to hide.
pub fn secrets(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let begins_word = !text[..at].ends_with(is_word);
        if begins_word && let Some((start, end)) = secret_at(rest) {
            out.push_str(&text[copied..at + start]);
            out.push_str(MASK);
            copied = at + end;
            at += end;
            continue;
        }
        at += rest.chars().next().map_or(1, char::len_utf8);
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// The span of the secret that a word at the start of `rest` is or introduces.
fn secret_at(rest: &str) -> Option<(usize, usize)> {
    if KEY_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) {
        let end = token_end(rest, 0);
        return (end >= MIN_KEY + 3).then_some((0, end));
    }
    let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    if word == 0 {
        return None;
    }
    let name = &rest[..word];
    if name.eq_ignore_ascii_case("bearer") || name.eq_ignore_ascii_case("basic") {
        let start = word + spaces(&rest[word..]);
        let end = token_end(rest, start);
        return (start > word && end >= start + MIN_KEY).then_some((start, end));
    }
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    if !NAMES.contains(&plain.as_str()) {
        return None;
    }
    let start = value_start(rest, word)?;
    // A scheme in between (`authorization: Bearer x`) is found by itself.
    let end = token_end(rest, start);
    (end > start + 2).then_some((start, end))
}

/// Where the value of a name begins: behind `=` or `:`, with quotes and spaces between.
fn value_start(rest: &str, word: usize) -> Option<usize> {
    let mut at = word;
    at += usize::from(rest[at..].starts_with(['"', '\'']));
    at += spaces(&rest[at..]);
    if !rest[at..].starts_with(['=', ':']) {
        return None;
    }
    at += 1;
    at += spaces(&rest[at..]);
    at += usize::from(rest[at..].starts_with(['"', '\'']));
    Some(at)
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// Where the token that begins at `start` ends.
fn token_end(text: &str, start: usize) -> usize {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '&' | ')' | '}' | ']' | '<' | '>');
    text[start..].find(ends).map_or(text.len(), |end| start + end)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (text, expected) in [
            ("Incorrect API key provided: sk-proj-abcdefgh1234.", "Incorrect API key provided: [redacted]"),
            ("authorization: Bearer abc.def-123456, x", "authorization: Bearer [redacted], x"),
            ("GET /v1?key=AIzaSyExample123&alt=sse", "GET /v1?key=[redacted]&alt=sse"),
            (r#"{"api_key": "s3cret-value", "model": "m"}"#, r#"{"api_key": "[redacted]", "model": "m"}"#),
            ("X-Api-Key: 0123456789", "X-Api-Key: [redacted]"),
            ("two: sk-aaaaaaaaaaaa and gsk_bbbbbbbbbbbb", "two: [redacted] and [redacted]"),
            ("password=hunter2é end", "password=[redacted] end"),
        ] {
            assert_eq!(secrets(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "",
            "task-force and risk-averse people",
            "the key is missing",
            "max_tokens: 100 is too many tokens",
            "sk-",
            "a bearer of news",
            "invalid JSON: expected `,` — é",
        ] {
            assert!(matches!(secrets(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
