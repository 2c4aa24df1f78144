//! Events of a stream that passes, looked into without parsing them.
//!
//! Substring searches find what is needed. A quoted word cannot be found inside a JSON string, where its quotes would be escaped;
//! so a hit is a key or a whole value.

use std::sync::LazyLock;

use memchr::{memchr2, memmem::Finder};

/// A key with its quotes. The search for it is prepared once, which costs more than to search an event.
pub(crate) type Key = LazyLock<Finder<'static>>;

macro_rules! keys {
    ($($name:ident = $key:literal;)*) => {
        $( static $name: $crate::event_scan::Key =
            std::sync::LazyLock::new(|| memchr::memmem::Finder::new(concat!("\"", $key, "\""))); )*
    };
}
pub(crate) use keys;

/// Length of the first event with its blank line.
pub(crate) fn event_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr2(b'\n', b'\r', &bytes[at..]) {
        let line_end = at + found;
        let next = match &bytes[line_end..] {
            [b'\r', b'\n', ..] => line_end + 2,
            // A carriage return at the very end may be half of a pair.
            [b'\r'] => return None,
            _ => line_end + 1,
        };
        match &bytes[next..] {
            [b'\r', b'\n', ..] => return Some(next + 2),
            [b'\n', ..] => return Some(next + 1),
            [b'\r', _, ..] => return Some(next + 1),
            _ => at = next,
        }
    }
    None
}

/// What stands behind a key and its colon.
pub(crate) fn value_behind<'e>(event: &'e [u8], key: &Key) -> Option<&'e [u8]> {
    let mut rest = event;
    loop {
        let at = key.find(rest)?;
        rest = &rest[at + key.needle().len()..];
        let behind = rest.trim_ascii_start();
        if let [b':', value @ ..] = behind {
            return Some(value.trim_ascii_start());
        }
    }
}

/// Bytes of a JSON string, escapes counted as they stand, up to its closing quote.
pub(crate) fn string_length(rest: &[u8]) -> u64 {
    let mut at = 0;
    while let Some(found) = memchr2(b'"', b'\\', &rest[at..]) {
        at += found;
        if rest[at] == b'"' {
            return at as u64;
        }
        at = (at + 2).min(rest.len());
    }
    rest.len() as u64
}
