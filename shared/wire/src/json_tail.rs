//! Usage out of a whole JSON answer that is passed through in frames.

use std::borrow::Cow;

use bytes::Bytes;

use crate::usage::Usage;

/// Of a long answer, this much is kept of its beginning and of its end: hosts put `usage` at one of the two.
const KEEP_HEAD: usize = 64 * 1024;
const KEEP_TAIL: usize = 128 * 1024;

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

    /// What can be known once the answer is whole: `read` gets what was kept of it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_not_kept_whole() {
        let mut tail = UsageTail::default();
        tail.feed(&Bytes::from_static(b"{\"data\":["));
        let piece = Bytes::from(vec![b'1'; 16 * 1024]);
        (0..1000).for_each(|_| tail.feed(&piece));
        tail.feed(&Bytes::from_static(b"],\"usage\":7}"));
        assert!(tail.head_bytes + tail.tail_bytes < 300 * 1024);
        let text = tail.text();
        assert!(text.starts_with(b"{\"data\":[") && text.ends_with(b"\"usage\":7}"));
    }
}
