//! Follows an answer that is passed through: the lines of a stream, or one document. Only the last line, which says that it
//! is, gets parsed.
//!
//! The interface is that of [`crate::openai::UsageScanner`]. Nothing is ever hidden from the client: the counts are
//! part of the answer in this format.

use bytes::Bytes;
use memchr::memmem;

use super::{lines::LineReader, message::Answer};
use crate::{
    event_scan::{Key, keys, string_length, value_behind},
    json_tail::AnswerFacts,
    usage::Usage,
};

keys! {
    CONTENT = "content";
    THINKING = "thinking";
    RESPONSE = "response";
    ARGUMENTS = "arguments";
    DONE = "done";
}

/// Where the text of an answer stands.
static TEXTS: [&Key; 3] = [&CONTENT, &THINKING, &RESPONSE];

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub struct UsageScanner {
    reader: LineReader,
    /// A line was too long: pass on, stop following.
    blind: bool,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    facts: AnswerFacts,
    /// The last line that said something, or came after it, was called the last.
    ended: bool,
    /// It said nothing itself. Some hosts call every line the last.
    done: bool,
    error: bool,
    output_bytes: u64,
}

// === impl UsageScanner ===

impl UsageScanner {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame; all of it goes to the client.
    pub fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        if !self.blind {
            let seen = &mut self.seen;
            self.blind = self.reader.feed(&frame, |line| seen.line(line)).is_err();
        }
        if !frame.is_empty() {
            out.push(frame);
        }
    }

    /// The upstream closed its end: a line without its end still counts. Nothing was held back.
    pub fn end(&mut self, _: &mut Vec<Bytes>) {
        let seen = &mut self.seen;
        if !self.blind {
            self.reader.end(|line| seen.line(line));
        }
    }

    /// The provider's own count, once it has come.
    pub const fn usage(&self) -> Option<&Usage> {
        self.seen.facts.usage.as_ref()
    }

    /// In this format's words (`stop`, `length`…).
    pub fn finish_reason(&self) -> Option<&str> {
        self.seen.facts.finish_reason.as_deref()
    }

    /// The last line has come.
    pub const fn done(&self) -> bool {
        self.seen.done
    }

    /// The upstream sent an error inside the stream.
    pub const fn saw_error(&self) -> bool {
        self.seen.error
    }

    /// Whether the answer is whole, if nothing follows.
    pub const fn complete(&self) -> bool {
        !self.seen.error && self.seen.ended
    }

    /// A guess at the output for a stream that was cut: four bytes of text a token.
    pub const fn estimated_output(&self) -> u64 {
        self.seen.output_bytes.div_ceil(4)
    }
}

// === impl Seen ===

impl Seen {
    fn line(&mut self, line: &[u8]) {
        if line[1..].trim_ascii_start().starts_with(b"\"error\"") {
            self.error = true;
        }
        let before = self.output_bytes;
        for key in TEXTS {
            if let Some([b'"', rest @ ..]) = value_behind(line, key) {
                self.output_bytes += string_length(rest);
            }
        }
        // Arguments are counted roughly: up to the end of their line.
        if let Some([b'{', rest @ ..]) = value_behind(line, &ARGUMENTS) {
            self.output_bytes += rest.len() as u64;
        }
        // A word in quotes is no text, where its quotes would be escaped; an argument may have the name, so that the
        // line is read as what it is.
        if value_behind(line, &DONE).is_some_and(|value| value.starts_with(b"true"))
            && let Ok(answer) = serde_json::from_slice::<Answer<'_>>(line)
            && answer.done == Some(true)
        {
            self.ended = true;
            self.done = self.output_bytes == before;
            self.facts = facts_of(answer);
        } else {
            self.ended &= self.output_bytes == before;
        }
    }
}

/// What can be known of a whole answer.
pub fn answer_facts(text: &[u8]) -> AnswerFacts {
    if let Ok(answer) = serde_json::from_slice::<Answer<'_>>(text) {
        return facts_of(answer);
    }
    // A long answer has lost its middle. What is sought stands behind the message, so the last hit is the right one.
    let usage = Usage {
        input: last_number(text, b"\"prompt_eval_count\""),
        output: last_number(text, b"\"eval_count\""),
        ..Usage::default()
    };
    let reason = last_value(text, b"\"done_reason\"").and_then(|value| {
        let word = value.strip_prefix(b"\"")?;
        std::str::from_utf8(&word[..memchr::memchr(b'"', word)?]).ok().map(str::to_owned)
    });
    AnswerFacts { usage: known(usage), finish_reason: reason }
}

fn facts_of(answer: Answer<'_>) -> AnswerFacts {
    let usage = known(answer.usage());
    AnswerFacts { usage, finish_reason: answer.done_reason.map(|word| word.0.into_owned()) }
}

fn known(usage: Usage) -> Option<Usage> {
    (!usage.is_unknown()).then_some(usage)
}

fn last_number(text: &[u8], key: &[u8]) -> Option<u64> {
    let value = last_value(text, key)?;
    let digits = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
}

/// What stands behind the last such key.
fn last_value<'t>(text: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    let mut end = text.len();
    while let Some(at) = memmem::rfind(&text[..end], key) {
        if let Some(value) = text[at + key.len()..].trim_ascii_start().strip_prefix(b":") {
            return Some(value.trim_ascii_start());
        }
        end = at;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_tail::UsageTail;

    const TEXT: &str = r#"{"model":"m","message":{"role":"assistant","content":"h\"done\":true"},"done":false}"#;
    const CALL: &str = r#"{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"done":true,"done_reason":"no","eval_count":1}}}]},"done":false}"#;
    const LAST: &str = r#"{"model":"m","message":{"role":"assistant","content":""},"done" : true,"done_reason":"length","total_duration":5,"prompt_eval_count":11,"eval_count":7,"own":{"x":1.0}}"#;

    fn run(stream: &[u8], split: usize) -> (Vec<u8>, UsageScanner) {
        let mut scanner = UsageScanner::new();
        let mut out = Vec::new();
        for piece in stream.chunks(split) {
            scanner.feed(Bytes::copy_from_slice(piece), &mut out);
        }
        scanner.end(&mut out);
        (out.concat(), scanner)
    }

    #[test]
    fn any_split_shows_the_same_and_changes_nothing() {
        for end in ["\n", "\r\n"] {
            let stream = [TEXT, CALL, LAST].join(end);
            for split in 1..=stream.len() {
                let (out, scanner) = run(stream.as_bytes(), split);
                assert_eq!(out, stream.as_bytes());
                assert!(scanner.complete() && scanner.done() && !scanner.saw_error());
                assert_eq!(scanner.finish_reason(), Some("length"));
                let usage = scanner.usage().expect("usage");
                assert_eq!((usage.input, usage.output), (Some(11), Some(7)));
            }
        }
    }

    #[test]
    fn errors_and_cuts_are_seen_and_text_is_no_end() {
        let (_, scanner) = run(b"{\"error\":\"boom\"}\n", 5);
        assert!(scanner.saw_error() && !scanner.complete());
        for line in [TEXT, CALL] {
            let (_, scanner) = run(line.as_bytes(), 9);
            assert!(!scanner.complete() && scanner.usage().is_none());
            assert!(scanner.estimated_output() > 2, "{line}");
        }
        let (_, scanner) = run(b"{\"done\":true}", 4);
        assert!(scanner.complete() && scanner.usage().is_none(), "counts are missing where all was cached");
    }

    #[test]
    fn a_line_that_says_something_is_the_last_only_if_nothing_follows() {
        let told = |text: &str| format!("{{\"message\":{{\"content\":\"{text}\"}},\"done\":true,\"eval_count\":1}}\n");
        let (_, scanner) = run([told("a"), told("b")].concat().as_bytes(), 7);
        assert!(scanner.complete() && !scanner.done());
        let (_, scanner) = run([told("a"), TEXT.to_owned()].concat().as_bytes(), 7);
        assert!(!scanner.complete() && !scanner.done());
        let (_, scanner) = run([told("a"), told("")].concat().as_bytes(), 7);
        assert!(scanner.complete() && scanner.done());
    }

    #[test]
    fn an_endless_line_is_passed_on() {
        let mut scanner = UsageScanner::new();
        let mut out = Vec::new();
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        (0..20).for_each(|_| scanner.feed(piece.clone(), &mut out));
        scanner.end(&mut out);
        assert_eq!(out.iter().map(Bytes::len).sum::<usize>(), 20 * 1024 * 1024);
        assert!(!scanner.complete());
    }

    #[test]
    fn a_documents_facts_are_found_even_where_its_middle_is_gone() {
        let long = format!("{{\"message\":{{\"content\":\"{}\"}},{}", "x".repeat(400_000), &LAST[58..]);
        for (text, pieces) in [(LAST, 7), (long.as_str(), 50_000)] {
            let mut tail = UsageTail::default();
            text.as_bytes().chunks(pieces).for_each(|piece| tail.feed(&Bytes::copy_from_slice(piece)));
            let AnswerFacts { usage, finish_reason } = tail.facts_by(answer_facts);
            assert_eq!(finish_reason.as_deref(), Some("length"), "{}", &LAST[58..]);
            assert_eq!(usage.map(|usage| (usage.input, usage.output)), Some((Some(11), Some(7))));
        }
    }
}
