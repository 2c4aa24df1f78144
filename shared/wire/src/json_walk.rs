//! A validating walk over JSON text: skips what nobody asked for at the speed of a word at a time.

use std::{borrow::Cow, ops::Range};

use crate::string_block;

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

const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Whether a backslash and this byte are a whole escape. One test of a bit: what escapes a text has is hard to predict.
const fn is_simple_escape(byte: u8) -> bool {
    const fn set(bytes: &[u8]) -> u128 {
        let (mut set, mut at) = (0, 0);
        while at < bytes.len() {
            set |= 1 << bytes[at];
            at += 1;
        }
        set
    }
    const SIMPLE: u128 = set(b"\"\\/bfnrt");
    byte < 128 && SIMPLE >> byte & 1 == 1
}

/// Marks the bytes of a word that are a quote, a backslash or a control character (those under 0x20). A borrow can mark
/// a byte behind a real hit, so only the first mark counts.
const fn first_special(word: u64) -> u64 {
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    let is_quote = quote.wrapping_sub(LOW) & !quote;
    let is_backslash = backslash.wrapping_sub(LOW) & !backslash;
    let is_control = word.wrapping_sub(LOW * 0x20) & !word;
    (is_quote | is_backslash | is_control) & HIGH
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
        if self.skip_short() {
            return Ok(false);
        }
        let mut escaped = false;
        loop {
            let run = string_block::run(self.bytes.get(self.at..).unwrap_or_default());
            escaped |= run.escapes;
            self.at += run.length;
            let Some(marks) = run.stop else {
                self.at -= usize::from(run.carries);
                break;
            };
            let place = marks.stops.trailing_zeros();
            let is_escaped = marks.escaped >> place & 1 == 1;
            escaped |= marks.escaped & ((1_u64 << place) - 1) != 0;
            // An escape that needs a closer look begins with its backslash.
            self.at = self.at + place as usize - usize::from(is_escaped);
            if self.special(&mut escaped)? {
                return Ok(escaped);
            }
            // Where one letter is escaped by its number, so is the next: in texts that know only ASCII.
            while self.peek() == Some(b'\\') {
                self.special(&mut escaped)?;
            }
        }
        loop {
            match self.peek() {
                Some(byte) if !is_special(byte) => self.at += 1,
                Some(_) => {
                    if self.special(&mut escaped)? {
                        return Ok(escaped);
                    }
                }
                None => return self.fail("a string has no end"),
            }
        }
    }

    /// Skips a string of a few plain bytes, as keys and roles are, or else nothing that matters.
    fn skip_short(&mut self) -> bool {
        for _ in 0..2 {
            let Some(word) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) else { return false };
            let marks = first_special(u64::from_le_bytes(*word));
            if marks != 0 {
                self.at += marks.trailing_zeros() as usize / 8;
                let ends = self.peek() == Some(b'"');
                self.at += usize::from(ends);
                return ends;
            }
            self.at += 8;
        }
        false
    }

    /// Behind the special byte at the position: true when it was the quote that ends the string.
    fn special(&mut self, escaped: &mut bool) -> Result<bool, WalkError> {
        match self.bytes[self.at] {
            b'\\' => {
                *escaped = true;
                match self.bytes.get(self.at + 1) {
                    Some(byte) if is_simple_escape(*byte) => self.at += 2,
                    _ => self.unicode_escape()?,
                }
                Ok(false)
            }
            b'"' => {
                self.at += 1;
                Ok(true)
            }
            _ => self.fail("a string has a raw control character"),
        }
    }

    fn unicode_escape(&mut self) -> Result<(), WalkError> {
        if self.bytes.get(self.at + 1) != Some(&b'u') {
            return self.fail("a string has a broken escape");
        }
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
    fn the_end_of_a_string_is_found_wherever_it_is() {
        for length in [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 79, 80, 81, 143, 144, 145, 300] {
            let plain = "aé \u{7f}".repeat(length).chars().take(length).collect::<String>();
            assert!(valid(&format!("\"{plain}\"")));
            assert!(!valid(&format!("\"{plain}")));
            for place in (0..=length).rev().filter_map(|place| plain.char_indices().nth(place)).map(|(place, _)| place)
            {
                let (before, behind) = plain.split_at(place);
                let is = |text: &str| {
                    // What follows must not matter.
                    let text = format!("\"{before}{text}{behind}\"");
                    assert_eq!(valid(&text), serde_json::from_str::<String>(&text).is_ok(), "{text}");
                    valid(&text)
                };
                assert!(
                    is("\\\"") && is("\\\\") && is("\\n") && is("\\u00e9") && is("\\ud83e\\udd80") && is("\\\\\\\"")
                );
                assert!(!is("\"") && !is("\u{1f}") && !is("\n") && !is("\\x") && !is("\\ud83e") && !is("\\\\\""));
            }
        }
    }
}
