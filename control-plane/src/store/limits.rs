//! Sizes that a stored resource may have, so that every resource fits a message to a proxy, and characters that
//! Postgres cannot store.

use omniroute_core::settings::Secret;
use serde::Serialize;

use super::StoreError;

/// Bytes of a name, an id, a prefix.
pub(crate) const NAME: usize = 512;
/// Bytes of a URL or a path.
pub(crate) const URL: usize = 4 * 1024;
/// Bytes of a secret (a service account's JSON is a few KiB).
pub(crate) const SECRET: usize = 64 * 1024;
/// Bytes of a JSON value in a row.
pub(crate) const JSON: usize = 256 * 1024;

/// A text that a proxy sent, as it can be stored and indexed: bounded, without NUL. One that is so already is not copied.
pub(crate) fn clean(text: impl Into<String>) -> String {
    let text = text.into();
    if text.len() <= NAME && !text.contains('\0') {
        return text;
    }
    let mut clean = head(&text).replace('\0', "\u{fffd}");
    clean.truncate(head(&clean).len());
    clean
}

fn head(text: &str) -> &str {
    let mut end = text.len().min(NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(crate) fn text(field: &'static str, value: &str, limit: usize) -> Result<(), StoreError> {
    if value.len() > limit {
        return Err(StoreError::Invalid { field, reason: format!("longer than {limit} bytes") });
    }
    if value.contains('\0') {
        return Err(StoreError::Invalid { field, reason: "contains a NUL character".into() });
    }
    Ok(())
}

pub(crate) fn required(field: &'static str, value: &str, limit: usize) -> Result<(), StoreError> {
    if value.trim().is_empty() {
        return Err(StoreError::Invalid { field, reason: "must not be empty".into() });
    }
    text(field, value, limit)
}

pub(crate) fn optional(field: &'static str, value: Option<&str>, limit: usize) -> Result<(), StoreError> {
    value.map_or(Ok(()), |value| text(field, value, limit))
}

pub(crate) fn secret(field: &'static str, value: &Secret) -> Result<(), StoreError> {
    text(field, value.expose(), SECRET)
}

/// The JSON text of a value that goes into a row.
pub(crate) fn json<T: Serialize>(field: &'static str, value: &T) -> Result<String, StoreError> {
    let json = serde_json::to_string(value)
        .map_err(|error| StoreError::Invalid { field, reason: format!("cannot be written as JSON: {error}") })?;
    if json.len() > JSON {
        return Err(StoreError::Invalid { field, reason: format!("longer than {JSON} bytes as JSON") });
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_text_is_bounded_and_has_no_nul() {
        assert_eq!(clean("a\0b"), "a\u{fffd}b");
        for hostile in ["\0".repeat(NAME), "\u{fc}".repeat(NAME), format!("x{}", "\u{fc}".repeat(NAME))] {
            let clean = clean(&hostile);
            assert!(clean.len() <= NAME && clean.len() > NAME - 4 && !clean.contains('\0'), "{}", clean.len());
        }
    }
}
