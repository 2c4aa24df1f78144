//! The mark that some programs put in front of a text in UTF-8. It is no part of what follows: JSON does not allow it, and readers
//! of events that do not know it lose the first one.

/// U+FEFF in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text behind the mark, if there is one.
pub fn without(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Whether these first bytes of a text are a piece of the mark: what they are shows with the next ones.
pub fn is_begun(first: &[u8]) -> bool {
    first.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(first)
}
