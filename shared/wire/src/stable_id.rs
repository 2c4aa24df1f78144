//! Ids that every proxy of the fleet makes alike, without talking to each other.

use std::{borrow::Cow, fmt::Write};

/// A call's id for a target that takes at most `max` characters: a longer one of another vendor is exchanged for one made
/// from it, the same for the call and for its result.
pub(crate) fn short_call_id(id: &str, max: usize) -> Cow<'_, str> {
    if id.len() <= max {
        return id.into();
    }
    hashed("call_", b"call id", id).into()
}

/// Whether an id has nine letters or digits.
pub(crate) fn has_nine_characters(id: &str) -> bool {
    id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A call's id for a target that takes nine letters or digits: another one is exchanged as in [`short_call_id`].
pub(crate) fn nine_character_id(id: &str) -> Cow<'_, str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    if has_nine_characters(id) {
        return id.into();
    }
    let hash = omniroute_core::hash::mac(b"call id", &[id.as_bytes()]);
    hash[..9].iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect::<String>().into()
}

/// A client's name for its user, for a target of another family: hosts take 64 plain characters and refuse the request
/// otherwise, and coding agents send JSON. What does not fit goes as a hash, which names the same user the same way.
pub(crate) fn plain_user(user: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=64).contains(&user.len()) && user.bytes().all(plain) {
        return user.into();
    }
    hashed("user_", b"user", user).into()
}

fn hashed(prefix: &str, purpose: &[u8], text: &str) -> String {
    let hash = omniroute_core::hash::mac(purpose, &[text.as_bytes()]);
    let mut short = String::with_capacity(prefix.len() + 32);
    short.push_str(prefix);
    for byte in &hash[..16] {
        // Writing into a string cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// The id of an answer's call that came without one; see [`crate::codec::DecodeContext::answer`].
pub(crate) fn made_call_id(answer: &str, number: usize) -> String {
    match answer {
        "" => format!("call_{number}"),
        answer => format!("call_{answer}_{number}"),
    }
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
    fn an_id_of_nine_characters_is_made_of_any_other() {
        assert_eq!(nine_character_id("aB3dE6gH9"), "aB3dE6gH9");
        for id in ["call_abc123", "toolu_01A09q90qw90lq917835lq9", "", "aB3dE6g-9"] {
            let made = nine_character_id(id).into_owned();
            assert!(has_nine_characters(&made), "{made}");
            assert_eq!(nine_character_id(id), made);
        }
        assert_ne!(nine_character_id("call_1"), nine_character_id("call_2"));
    }

    #[test]
    fn a_user_is_named_so_that_every_host_takes_it() {
        assert_eq!(plain_user("user-4_7"), "user-4_7");
        for odd in [r#"{"device_id":"d","account_uuid":"a"}"#, "a@b.example", "", &"x".repeat(65)] {
            let named = plain_user(odd);
            assert!(named.len() == 37 && plain_user(&named) == named, "{named}");
        }
        assert_ne!(plain_user("a@b.example"), plain_user("b@b.example"));
    }

    #[test]
    fn the_hash_is_the_same_everywhere_and_knows_its_pieces_apart() {
        assert_eq!(stable_hash(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable_hash(&["a", "b"]), stable_hash(&["a", "b"]));
        assert_ne!(stable_hash(&["a", "bc"]), stable_hash(&["ab", "c"]));
    }
}
