//! Ids that every proxy of the fleet makes alike, without talking to each other.

use std::{borrow::Cow, fmt::Write};

/// A call's id for a target that takes at most `max` characters: a longer one of another vendor is exchanged for one made
/// from it, the same for the call and for its result.
pub(crate) fn short_call_id(id: &str, max: usize) -> Cow<'_, str> {
    if id.len() <= max {
        return id.into();
    }
    let hash = omniroute_core::hash::mac(b"call id", &[id.as_bytes()]);
    let mut short = String::with_capacity(37);
    short.push_str("call_");
    for byte in &hash[..16] {
        // Writing into a string cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    short.into()
}

/// 64-bit FNV-1a over the pieces, with a mark between them so that `("a", "bc")` and `("ab", "c")` differ. Not for
/// anything that an attacker may not guess.
pub(crate) fn stable_hash(pieces: &[&str]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    for piece in pieces {
        for byte in piece.bytes().chain(std::iter::once(0xff)) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_are_too_long_change() {
        assert_eq!(short_call_id("call_1", 40), "call_1");
        let short = short_call_id(&"x".repeat(41), 40).into_owned();
        assert_eq!((short.len(), &short[..5]), (37, "call_"));
        assert_ne!(short_call_id(&"y".repeat(41), 40), short);
    }

    #[test]
    fn the_hash_is_the_same_everywhere_and_knows_its_pieces_apart() {
        assert_eq!(stable_hash(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable_hash(&["a", "b"]), stable_hash(&["a", "b"]));
        assert_ne!(stable_hash(&["a", "bc"]), stable_hash(&["ab", "c"]));
    }
}
