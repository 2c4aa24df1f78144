//! Ids for calls that have none.
//!
//! A client that speaks this format may send calls and results without ids; an upstream may answer so. The other formats
//! need ids, and every proxy of a fleet must make the same ones: they are a hash of where the call stands and what it says.

use std::{borrow::Cow, collections::VecDeque};

/// FNV-1a, 128 bits: stable across builds and machines. It names things; it protects nothing.
const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// The id of a call. `turn` is the turn's number in a request, and the id of the answer in an answer.
pub(super) fn call_id(turn: &str, index: usize, name: &str, arguments: &str) -> String {
    let mut hash = OFFSET;
    let index = index.to_string();
    for field in [turn, &index, name, arguments] {
        // No UTF-8 text has 0xff, so fields cannot run into each other.
        for byte in field.bytes().chain([0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    format!("call_{:024x}", hash >> 32)
}

/// The calls of a round that wait for their results.
#[derive(Debug, Default)]
pub(super) struct OpenCalls<'a>(VecDeque<OpenCall<'a>>);

#[derive(Debug)]
struct OpenCall<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    /// The client gave the id itself.
    given: bool,
}

// === impl OpenCalls ===

impl<'a> OpenCalls<'a> {
    /// A new round begins: a result never belongs to a call before it.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn push(&mut self, id: Cow<'a, str>, name: Cow<'a, str>, given: bool) {
        self.0.push_back(OpenCall { id, name, given });
    }

    /// The id of the call that a result belongs to: by id, else by name and order.
    pub(super) fn answer(&mut self, id: Option<&str>, name: &str) -> Option<Cow<'a, str>> {
        let by_id = id.and_then(|id| self.0.iter().position(|call| call.id == id));
        let at = by_id.or_else(|| {
            // A result with an id of its own can only belong to a call that had none.
            self.0.iter().position(|call| call.name == name && (id.is_none() || !call.given))
        })?;
        self.0.remove(at).map(|call| call.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_differ_in_every_field() {
        let id = call_id("3", 0, "f", "{}");
        assert_eq!(id, call_id("3", 0, "f", "{}"));
        assert_eq!(id.len(), 29, "some upstreams take 40 characters at most");
        for other in [
            call_id("4", 0, "f", "{}"),
            call_id("3", 1, "f", "{}"),
            call_id("3", 0, "g", "{}"),
            call_id("3", 0, "f{", "}"),
        ] {
            assert_ne!(id, other);
        }
        assert_eq!(id, "call_aefb16441d04edd7cbc2318a");
    }

    #[test]
    fn results_find_their_calls_by_id_then_by_name_and_order() {
        let mut open = OpenCalls::default();
        open.push("1".into(), "f".into(), false);
        open.push("2".into(), "f".into(), false);
        open.push("x".into(), "g".into(), true);
        assert_eq!(open.answer(Some("x"), "g").as_deref(), Some("x"));
        assert_eq!(open.answer(None, "f").as_deref(), Some("1"));
        assert_eq!(open.answer(Some("made up"), "f").as_deref(), Some("2"));
        assert_eq!(open.answer(None, "f"), None);
        open.push("y".into(), "g".into(), true);
        assert_eq!(open.answer(Some("z"), "g"), None, "another call's result");
        assert_eq!(open.answer(None, "g").as_deref(), Some("y"));
    }
}
