//! The free text of a custom tool, while it arrives inside a function's JSON arguments.
//!
//! `{"input": "line\nline"}` comes in pieces that may split anywhere, also inside an escape or a surrogate pair. What
//! comes out is the text itself, as early as it is known.

/// Reads the first string value of an object, incrementally.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputUnwrapper {
    state: State,
    /// Bytes of an escape that has begun.
    escape: Vec<u8>,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the value: `{`, the key, the colon.
    #[default]
    Before,
    InKey,
    KeyEscape,
    AfterKey,
    BeforeValue,
    InValue,
    Done,
}

// === impl InputUnwrapper ===

impl InputUnwrapper {
    /// Takes the next piece of the arguments and returns the text that it completes.
    pub(crate) fn feed(&mut self, piece: &str) -> String {
        let mut text = String::with_capacity(piece.len());
        for c in piece.chars() {
            self.state = match self.state {
                State::Before if c == '"' => State::InKey,
                State::InKey if c == '\\' => State::KeyEscape,
                State::InKey if c == '"' => State::AfterKey,
                State::KeyEscape => State::InKey,
                State::AfterKey if c == ':' => State::BeforeValue,
                State::BeforeValue if c == '"' => State::InValue,
                State::InValue => self.value(c, &mut text),
                same => same,
            };
        }
        text
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
                    other => char::from(other),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_text() {
        let text = "*** Begin\n\"quoted\" \\ \u{1F980} tab\t end";
        let plain = serde_json::json!({ "input": text }).to_string();
        let escaped = plain.replace('\u{1F980}', "\\ud83e\\udd80");
        for arguments in [plain, escaped] {
            let characters: Vec<char> = arguments.chars().collect();
            for split in 0..=characters.len() {
                let (head, tail): (String, String) =
                    (characters[..split].iter().collect(), characters[split..].iter().collect());
                let mut unwrapper = InputUnwrapper::default();
                let out = unwrapper.feed(&head) + &unwrapper.feed(&tail);
                assert_eq!(out, text, "split at {split}");
            }
        }
    }

    #[test]
    fn broken_escapes_become_replacement_characters() {
        let mut unwrapper = InputUnwrapper::default();
        assert_eq!(unwrapper.feed(r#"{"input": "a\ud83eb\u00e9"}"#), "a\u{fffd}bé");
    }
}
