//! The free text of a custom tool, while it arrives inside a function's JSON arguments.
//!
//! `{"input": "line\nline"}` comes in pieces that may split anywhere, also inside an escape or a surrogate pair. What
//! comes out is the text itself, as early as it is known. A model that did not keep to the form is taken by its word: what
//! it said comes out as it is. Whole answers are read by the same reader, so that both say the same.

use std::mem;

/// Bytes that are held back while it is not known what they are: a call whose `input` is not there by then has none.
const MAX_HELD: usize = 64 * 1024;

/// Reads the member `input` of an object, incrementally.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputUnwrapper {
    state: State,
    /// All that came, until it is known what it is.
    held: String,
    /// Where in `held` the key begins that is read at the moment.
    key_from: usize,
    /// Bytes of an escape that has begun.
    escape: Vec<u8>,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the object.
    #[default]
    Before,
    /// Behind `{`.
    First,
    /// Behind a comma.
    Next,
    InKey,
    KeyEscape,
    AfterKey {
        ours: bool,
    },
    BeforeValue {
        ours: bool,
    },
    /// In another value than ours.
    Other(Other),
    /// Behind `{}`: no arguments.
    Empty,
    InValue,
    Done,
    /// No such object: everything goes on as it comes.
    Raw,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Other {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

/// The free text inside the arguments of a whole call.
pub(crate) fn free_text(arguments: &str) -> String {
    let mut unwrapper = InputUnwrapper::default();
    let mut text = unwrapper.feed(arguments);
    text.push_str(&unwrapper.finish());
    text
}

// === impl InputUnwrapper ===

impl InputUnwrapper {
    /// Takes the next piece of the arguments and returns the text that it completes.
    pub(crate) fn feed(&mut self, piece: &str) -> String {
        let mut text = String::with_capacity(piece.len());
        for (at, c) in piece.char_indices() {
            match self.state {
                State::Done => break,
                State::Raw => {
                    text.push_str(&piece[at..]);
                    break;
                }
                State::InValue => self.state = self.value(c, &mut text),
                _ => {
                    self.held.push(c);
                    self.state = if self.held.len() > MAX_HELD { State::Raw } else { self.look(c) };
                    match self.state {
                        State::Raw => text.push_str(&mem::take(&mut self.held)),
                        State::InValue => self.held = String::new(),
                        _ => {}
                    }
                }
            }
        }
        text
    }

    /// The arguments are over: returns the rest of the text.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        match mem::replace(&mut self.state, State::Done) {
            State::Before | State::Empty | State::Done | State::Raw => {}
            State::InValue => self.flush_high(&mut text),
            _ => text = mem::take(&mut self.held),
        }
        text
    }

    /// What a character means of which it is not known yet to what it belongs.
    fn look(&mut self, c: char) -> State {
        let is_space = matches!(c, ' ' | '\t' | '\n' | '\r');
        match (self.state, c) {
            (State::Before, '{') => State::First,
            (State::First, '}') => State::Empty,
            (State::First | State::Next, '"') => {
                self.key_from = self.held.len();
                State::InKey
            }
            (State::InKey, '\\') => State::KeyEscape,
            (State::InKey, '"') => State::AfterKey { ours: &self.held[self.key_from..self.held.len() - 1] == "input" },
            (State::InKey | State::KeyEscape, _) => State::InKey,
            (State::AfterKey { ours }, ':') => State::BeforeValue { ours },
            (State::BeforeValue { ours: true }, '"') => State::InValue,
            (State::Other(other), c) => other.step(c),
            (same, _) if is_space => same,
            (State::BeforeValue { .. }, c) => Other::default().step(c),
            _ => State::Raw,
        }
    }

    fn value(&mut self, c: char, text: &mut String) -> State {
        if self.escape.is_empty() {
            match c {
                '"' => {
                    self.flush_high(text);
                    return State::Done;
                }
                '\\' => self.escape.push(b'\\'),
                c => {
                    self.flush_high(text);
                    text.push(c);
                }
            }
            return State::InValue;
        }
        let mut buffer = [0; 4];
        self.escape.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        match self.escape[1] {
            b'u' if self.escape.len() < 6 => {}
            b'u' => self.unicode(text),
            other => {
                self.flush_high(text);
                text.push(match other {
                    b'n' => '\n',
                    b't' => '\t',
                    b'r' => '\r',
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    _ => c,
                });
                self.escape.clear();
            }
        }
        State::InValue
    }

    fn unicode(&mut self, text: &mut String) {
        let digits = std::str::from_utf8(&self.escape[2..]).ok();
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        self.escape.clear();
        let Some(unit) = unit else {
            self.flush_high(text);
            text.push(char::REPLACEMENT_CHARACTER);
            return;
        };
        match (self.high.take(), unit) {
            (None, 0xd800..=0xdbff) => self.high = Some(unit),
            (Some(high), 0xdc00..=0xdfff) => {
                let pair = char::decode_utf16([high, unit]).next().and_then(Result::ok);
                text.push(pair.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            (high, unit) => {
                if high.is_some() {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
                if (0xd800..=0xdbff).contains(&unit) {
                    self.high = Some(unit);
                } else {
                    text.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
        }
    }

    fn flush_high(&mut self, text: &mut String) {
        if self.high.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

// === impl Other ===

impl Other {
    fn step(mut self, c: char) -> State {
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' if self.in_string => self.escaped = true,
            '"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            ',' if self.depth == 0 => return State::Next,
            // The object is over, and ours was not in it.
            '}' | ']' if self.depth == 0 => return State::Raw,
            '{' | '[' => self.depth += 1,
            '}' | ']' => self.depth -= 1,
            _ => {}
        }
        State::Other(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_text() {
        let text = "*** Begin\n\"quoted\" \\ \u{1F980} tab\t end";
        let plain = serde_json::json!({ "input": text }).to_string();
        let escaped = plain.replace('\u{1F980}', "\\ud83e\\udd80");
        let behind_others = plain.replacen('{', r#"{"a":[{"b":"}\"]"},1], "input" : null, "#, 1);
        for arguments in [plain, escaped, behind_others] {
            let characters: Vec<char> = arguments.chars().collect();
            for split in 0..=characters.len() {
                let (head, tail): (String, String) =
                    (characters[..split].iter().collect(), characters[split..].iter().collect());
                let mut unwrapper = InputUnwrapper::default();
                let out = unwrapper.feed(&head) + &unwrapper.feed(&tail) + &unwrapper.finish();
                assert_eq!(out, text, "split at {split}");
            }
        }
    }

    #[test]
    fn broken_escapes_become_replacement_characters() {
        let mut unwrapper = InputUnwrapper::default();
        assert_eq!(unwrapper.feed(r#"{"input": "a\ud83eb\u00e9"}"#), "a\u{fffd}bé");
        assert_eq!(free_text(r#"{"input": "a\ud83e"#), "a\u{fffd}");
        assert_eq!(free_text(r#"{"input": "a\é"#), "aé");
    }

    #[test]
    fn a_model_that_does_not_keep_to_the_form_is_taken_by_its_word() {
        for (arguments, text) in [
            ("", ""),
            (" ", ""),
            (" { } ", ""),
            (r#"{"input":"trunc"#, "trunc"),
            (r#"{"input":"a","input":"b"} x"#, "a"),
            (r#"{"x":"input","input":"a"}"#, "a"),
        ] {
            assert_eq!(free_text(arguments), text, "{arguments}");
        }
        for same in [
            r#"{"patch":"other"}"#,
            r#"{"input":7}"#,
            r#"{"input":{"input":"a"}}"#,
            r#"{"input"}"#,
            r#"{"inp"#,
            "{} {}",
            "[\"input\"]",
            "*** Begin Patch\n\"input\": \"a\"",
            "\"text\"",
            "{]",
        ] {
            assert_eq!(free_text(same), same);
        }
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let mut unwrapper = InputUnwrapper::default();
        assert_eq!(unwrapper.feed(&format!("{{\"x\":\"{}", "x".repeat(MAX_HELD - 6))), "");
        assert_eq!(unwrapper.feed("y").len(), MAX_HELD + 1);
        assert!(unwrapper.held.is_empty());
        assert_eq!(unwrapper.feed("\",\"input\":\"a\"}"), "\",\"input\":\"a\"}");
    }
}
