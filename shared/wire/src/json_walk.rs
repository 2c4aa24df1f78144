//! A validating walk over JSON text: skips what nobody asked for at the speed of a word at a time.

use std::{borrow::Cow, ops::Range};

/// Why the walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkError {
    Malformed { reason: &'static str, at: usize },
    TooDeep,
}

/// A position in a text, and the containers that it is inside of.
pub(crate) struct Walk<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    max_depth: u32,
    /// Whether the object being read by `next_key` has had a field, one flag per level.
    entered: u128,
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Bytes that are looked at together; the compiler makes vector instructions of it.
const BLOCK: usize = 32;

const fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Marks in a word the bytes that are a quote, a backslash or a control character (those under 0x20). A borrow can mark
/// a byte behind a real hit, so only the first mark counts.
const fn specials(word: u64) -> u64 {
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    let is_quote = quote.wrapping_sub(LOW) & !quote;
    let is_backslash = backslash.wrapping_sub(LOW) & !backslash;
    let is_control = word.wrapping_sub(LOW * 0x20) & !word;
    (is_quote | is_backslash | is_control) & HIGH
}

/// Where the first special byte at or behind `at` is; the length of the text when there is none.
fn next_special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        // No early exit: that is what makes it one comparison of vectors.
        if block.iter().fold(false, |hit, byte| hit | (*byte == b'"') | (*byte == b'\\') | (*byte < 0x20)) {
            break;
        }
        at += BLOCK;
    }
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let marks = specials(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !is_special(*byte)) {
        at += 1;
    }
    at
}

// === impl Walk ===

impl<'a> Walk<'a> {
    pub(crate) fn new(text: &'a str, max_depth: u32) -> Self {
        // The container stack is one bit per level.
        Self { text, bytes: text.as_bytes(), at: 0, depth: 0, max_depth: max_depth.min(128), entered: 0 }
    }

    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn slice(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fail<T>(&self, reason: &'static str) -> Result<T, WalkError> {
        Err(WalkError::Malformed { reason, at: self.at })
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The start of the next value, behind white space.
    pub(crate) fn value_start(&mut self) -> Result<usize, WalkError> {
        self.space();
        if self.at < self.bytes.len() { Ok(self.at) } else { self.fail("the text ends where a value should be") }
    }

    /// Steps into an object; false (and no step) when the next value is something else.
    pub(crate) fn enter_object(&mut self) -> Result<bool, WalkError> {
        self.value_start()?;
        if self.peek() != Some(b'{') {
            return Ok(false);
        }
        if self.depth >= self.max_depth {
            return Err(WalkError::TooDeep);
        }
        self.entered &= !(1 << self.depth);
        self.depth += 1;
        self.at += 1;
        Ok(true)
    }

    /// The next key of the object entered last, with its colon; `None` steps out of the object.
    pub(crate) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, WalkError> {
        self.space();
        let level = 1_u128 << (self.depth - 1);
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                self.depth -= 1;
                return Ok(None);
            }
            Some(b',') if self.entered & level != 0 => {
                self.at += 1;
                self.space();
            }
            _ if self.entered & level != 0 => return self.fail("expected a comma or a closing brace"),
            _ => {}
        }
        self.entered |= level;
        if self.peek() != Some(b'"') {
            return self.fail("expected a key");
        }
        let key = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.fail("expected a colon");
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Nothing but white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), WalkError> {
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { self.fail("something follows the value") }
    }

    /// The string at the position, unescaped only when it has escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, WalkError> {
        let start = self.at;
        let escaped = self.skip_string()?;
        let raw = &self.text[start..self.at];
        if !escaped {
            return Ok(Cow::Borrowed(&raw[1..raw.len() - 1]));
        }
        match serde_json::from_str::<String>(raw) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => Err(WalkError::Malformed { reason: "a string has a broken escape", at: start }),
        }
    }

    /// Skips a string and says whether it has escapes.
    fn skip_string(&mut self) -> Result<bool, WalkError> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at = next_special(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("a string has a raw control character"),
                None => return self.fail("a string has no end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), WalkError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.unit(self.at + 2)?;
                self.at += 6;
                match unit {
                    0xd800..=0xdbff => {
                        let low = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                        if !low || !(0xdc00..=0xdfff).contains(&self.unit(self.at + 2)?) {
                            return self.fail("a string has half a surrogate pair");
                        }
                        self.at += 6;
                        Ok(())
                    }
                    0xdc00..=0xdfff => self.fail("a string has half a surrogate pair"),
                    _ => Ok(()),
                }
            }
            _ => self.fail("a string has a broken escape"),
        }
    }

    fn unit(&self, at: usize) -> Result<u16, WalkError> {
        let digits = self.bytes.get(at..at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => Ok(unit),
            None => self.fail("a string has a broken escape"),
        }
    }

    fn number(&mut self) -> Result<(), WalkError> {
        let digits = |walk: &mut Self| {
            let start = walk.at;
            while walk.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                walk.at += 1;
            }
            walk.at > start
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => {
                digits(self);
            }
            _ => return self.fail("expected a value"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !digits(self) {
                return self.fail("a number has no digits behind its point");
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if !digits(self) {
                return self.fail("a number has no digits in its exponent");
            }
        }
        Ok(())
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), WalkError> {
        if self.bytes.get(self.at..self.at + word.len()) == Some(word) {
            self.at += word.len();
            Ok(())
        } else {
            self.fail("expected a value")
        }
    }

    /// Skips one value of any kind.
    pub(crate) fn skip_value(&mut self) -> Result<(), WalkError> {
        let floor = self.depth;
        // One bit per level: set for an object.
        let mut objects = 0_u128;
        loop {
            self.value_start()?;
            let opened = match self.bytes[self.at] {
                b'"' => {
                    self.skip_string()?;
                    false
                }
                open @ (b'{' | b'[') => {
                    if self.depth >= self.max_depth {
                        return Err(WalkError::TooDeep);
                    }
                    let bit = 1_u128 << self.depth;
                    if open == b'{' {
                        objects |= bit;
                    } else {
                        objects &= !bit;
                    }
                    self.depth += 1;
                    self.at += 1;
                    true
                }
                b't' => self.literal(b"true").map(|()| false)?,
                b'f' => self.literal(b"false").map(|()| false)?,
                b'n' => self.literal(b"null").map(|()| false)?,
                _ => self.number().map(|()| false)?,
            };
            if !self.advance(floor, objects, opened)? {
                return Ok(());
            }
        }
    }

    /// Behind a value (or an opening bracket): closes what closes, and moves to the next value. False when the value that
    /// `skip_value` was called for is complete.
    fn advance(&mut self, floor: u32, objects: u128, mut opened: bool) -> Result<bool, WalkError> {
        while self.depth > floor {
            let is_object = objects >> (self.depth - 1) & 1 == 1;
            self.space();
            match self.peek() {
                Some(b'}') if is_object => {}
                Some(b']') if !is_object => {}
                Some(b',') if !opened => {
                    self.at += 1;
                    if is_object {
                        self.key()?;
                    } else {
                        self.space();
                        if self.peek() == Some(b']') {
                            return self.fail("a comma stands before a closing bracket");
                        }
                    }
                    return Ok(true);
                }
                Some(_) if opened => {
                    if is_object {
                        self.key()?;
                    }
                    return Ok(true);
                }
                Some(_) => return self.fail("expected a comma or a closing bracket"),
                None => return self.fail("a bracket is not closed"),
            }
            self.at += 1;
            self.depth -= 1;
            opened = false;
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<(), WalkError> {
        self.space();
        if self.peek() != Some(b'"') {
            return self.fail("expected a key");
        }
        self.skip_string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.fail("expected a colon");
        }
        self.at += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &str) -> bool {
        let mut walk = Walk::new(text, 128);
        walk.skip_value().and_then(|()| walk.finish()).is_ok()
    }

    #[test]
    fn it_agrees_with_serde_json() {
        let samples = [
            "1",
            "-0.5e+10",
            "01",
            "1.",
            "1e",
            "-",
            "+1",
            ".5",
            "true",
            "tru",
            "null",
            "nul",
            "\"a\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud83e\\udd80\"",
            "\"\\ud83e\"",
            "\"\\udd80\"",
            "\"\t\"",
            "[]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1,2]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[}",
            "{]",
            "[[{\"a\":[]}],{}]",
            "",
            " ",
            "[1]]",
            "{\"a\":{\"b\":[1,{\"c\":null}]}}",
            "\u{feff}1",
            "[\"\u{1F980}\"]",
            "{\"a\":}",
            "[\"a\":1]",
        ];
        for sample in samples {
            let theirs = serde_json::from_str::<serde_json::Value>(sample).is_ok();
            assert_eq!(valid(sample), theirs, "{sample:?}");
        }
    }

    #[test]
    fn every_mutation_of_a_body_is_judged_as_serde_json_does() {
        let body = r#"{"a":[1,-2.5e3,"x\n\u0041é",{"b":null,"c":[true,false]}],"d":{}}"#;
        let replacements = ["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "e", "-", " ", "\u{1}", "\u{20ac}"];
        for (at, old) in body.char_indices() {
            for new in replacements {
                let mutated = [&body[..at], new, &body[at + old.len_utf8()..]].concat();
                // serde_json ignores what a skipped string's escapes mean; a full read does not.
                let theirs = serde_json::from_str::<serde_json::Value>(&mutated).is_ok();
                assert_eq!(valid(&mutated), theirs, "{mutated}");
            }
        }
    }

    #[test]
    fn the_first_special_byte_is_found_wherever_it_is() {
        for length in [0, 7, 8, 31, 32, 33, 39, 40, 41, 77] {
            let plain = "aé \u{7f}".repeat(length).into_bytes()[..length].to_vec();
            assert_eq!(next_special(&plain, 0), length);
            for place in 0..length {
                for byte in [b'"', b'\\', 0x1f, 0] {
                    let mut bytes = plain.clone();
                    bytes[place] = byte;
                    // What follows a hit must not matter, nor what a borrow makes of it.
                    for behind in [b' ', b'!', b'#', b'"', 0x1f, 0x20, 0xff] {
                        bytes[place + 1..].fill(behind);
                        assert_eq!(next_special(&bytes, 0), place, "{byte:#x} at {place} of {length}, {behind:#x}");
                        assert_eq!(next_special(&bytes, place), place);
                    }
                }
            }
        }
    }
}
