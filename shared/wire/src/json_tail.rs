//! Usage out of a whole JSON answer that is passed through in frames.

use std::{borrow::Cow, sync::LazyLock};

use bytes::Bytes;
use memchr::memmem::{Finder, FinderRev};

use crate::{openai, usage::Usage};

/// Of a long answer, this much is kept of its beginning and of its end: hosts put `usage` at one of the two.
const KEEP_HEAD: usize = 64 * 1024;
const KEEP_TAIL: usize = 128 * 1024;

/// Made once: that takes longer than a search.
static USAGE: LazyLock<FinderRev<'_>> = LazyLock::new(|| FinderRev::new("\"usage\""));
static FINISH: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"finish_reason\""));

/// Keeps (without copying) what it takes to read usage at the end.
#[derive(Debug, Default)]
pub struct UsageTail {
    head: Vec<Bytes>,
    head_bytes: usize,
    tail: std::collections::VecDeque<Bytes>,
    tail_bytes: usize,
    total: u64,
}

/// What the answer says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerFacts {
    pub usage: Option<Usage>,
    pub finish_reason: Option<String>,
}

// === impl UsageTail ===

impl UsageTail {
    pub fn feed(&mut self, frame: &Bytes) {
        self.total += frame.len() as u64;
        if self.head_bytes < KEEP_HEAD {
            self.head_bytes += frame.len();
            self.head.push(frame.clone());
            return;
        }
        self.tail_bytes += frame.len();
        self.tail.push_back(frame.clone());
        while let Some(first) = self.tail.front() {
            if self.tail_bytes - first.len() < KEEP_TAIL {
                break;
            }
            self.tail_bytes -= first.len();
            self.tail.pop_front();
        }
    }

    /// Bytes seen in all.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// What can be known once the answer is whole.
    pub fn facts(&self) -> AnswerFacts {
        facts_of(&self.text())
    }

    /// As [`Self::facts`], for an answer in another format: `read` gets what was kept of it.
    pub fn facts_by(&self, read: impl FnOnce(&[u8]) -> AnswerFacts) -> AnswerFacts {
        read(&self.text())
    }

    /// What is kept of the answer: all of it unless it is long.
    pub(crate) fn text(&self) -> Cow<'_, [u8]> {
        if let ([only], true) = (self.head.as_slice(), self.tail.is_empty()) {
            return Cow::Borrowed(only);
        }
        let mut text = Vec::with_capacity(self.head_bytes + self.tail_bytes);
        self.head.iter().chain(&self.tail).for_each(|frame| text.extend_from_slice(frame));
        Cow::Owned(text)
    }

    /// Whether the answer begins like HTML or like an error object, which no answer does.
    pub fn first_bytes(&self) -> &[u8] {
        self.head.first().map_or(&[], |frame| frame)
    }
}

fn facts_of(text: &[u8]) -> AnswerFacts {
    AnswerFacts { usage: last_usage(text), finish_reason: first_finish(text) }
}

fn last_usage(text: &[u8]) -> Option<Usage> {
    let mut end = text.len();
    while let Some(at) = USAGE.rfind(&text[..end]) {
        let behind = text[at + 7..].trim_ascii_start();
        if let [b':', value @ ..] = behind {
            let value = value.trim_ascii_start();
            if value.starts_with(b"{") {
                return openai::read_usage(value);
            }
        }
        end = at;
    }
    None
}

fn first_finish(text: &[u8]) -> Option<String> {
    let at = FINISH.find(text)?;
    let behind = text[at + 15..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', behind)?;
    std::str::from_utf8(&behind[..end]).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"id":"x","choices":[{"message":{"content":"\"usage\": {}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2},"tail":1}"#;

    #[test]
    fn usage_is_found_however_the_answer_is_split() {
        for split in 1..ANSWER.len() {
            let mut tail = UsageTail::default();
            ANSWER.as_bytes().chunks(split).for_each(|piece| tail.feed(&Bytes::copy_from_slice(piece)));
            let facts = tail.facts();
            assert_eq!(facts.usage.and_then(|usage| usage.output), Some(2), "pieces of {split}");
            assert_eq!(facts.finish_reason.as_deref(), Some("stop"));
        }
    }

    #[test]
    fn a_long_answer_is_not_kept_whole() {
        let mut tail = UsageTail::default();
        tail.feed(&Bytes::from_static(b"{\"data\":["));
        let piece = Bytes::from(vec![b'1'; 16 * 1024]);
        (0..1000).for_each(|_| tail.feed(&piece));
        tail.feed(&Bytes::from_static(b"],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}"));
        assert!(tail.head_bytes + tail.tail_bytes < 300 * 1024);
        assert_eq!(tail.facts().usage.and_then(|usage| usage.input), Some(7));
    }

    #[test]
    fn no_usage_is_unknown() {
        let mut tail = UsageTail::default();
        tail.feed(&Bytes::from_static(b"{\"usage\": null}"));
        assert_eq!(tail.facts(), AnswerFacts::default());
    }
}
