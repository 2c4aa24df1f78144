//! Ids for calls that came without one, and digests for models that have none: hashes, so that every proxy makes the same.

use std::fmt::Write;

use omniroute_core::hash::mac;

/// The id of a call. `turn` tells rounds apart that call the same tool with the same arguments.
pub(super) fn call_id(turn: &str, index: usize, name: &str, arguments: &str) -> String {
    let index = (index as u64).to_be_bytes();
    let hash = mac(b"tool call id", &[turn.as_bytes(), &index, name.as_bytes(), arguments.as_bytes()]);
    hex("call_", &hash[..8])
}

/// Sixty-four digits, the form of a digest that clients know.
pub(super) fn model_digest(id: &str) -> String {
    hex("", &mac(b"model digest", &[id.as_bytes()]))
}

fn hex(prefix: &str, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(prefix.len() + 2 * bytes.len());
    text.push_str(prefix);
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_differ_by_everything_that_makes_a_call() {
        let id = call_id("1", 0, "f", "{}");
        assert_eq!(id, call_id("1", 0, "f", "{}"));
        assert_eq!(id.len(), 21);
        for other in [call_id("2", 0, "f", "{}"), call_id("1", 1, "f", "{}"), call_id("1", 0, "f", "{ }")] {
            assert_ne!(id, other);
        }
        assert_eq!(model_digest("a/b").len(), 64);
    }
}
