//! Follows a stream of pictures that is passed through: `image_generation.partial_image` and `image_generation.completed`.
//!
//! One event holds a whole picture, so that no event is kept: only its beginning and its end, where its type and the counts
//! stand. The interface is that of [`crate::openai::UsageScanner`].

use bytes::Bytes;
use memchr::{memchr, memmem};

use crate::{
    event_scan::{keys, value_behind},
    json_tail::{AnswerFacts, UsageTail},
    responses,
    usage::Usage,
};

keys! {
    ERROR = "error";
}

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub struct ImageScanner {
    /// The event that has not ended.
    event: UsageTail,
    /// Its last line has more than a carriage return.
    line_has_text: bool,
    usage: Usage,
    completed: bool,
    terminated: bool,
    error: bool,
}

// === impl ImageScanner ===

impl ImageScanner {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame; all of it goes to the client.
    pub fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        let mut from = 0;
        let mut start = 0;
        while let Some(found) = memchr(b'\n', &frame[from..]) {
            let end = from + found;
            let is_blank = !self.line_has_text && matches!(&frame[from..end], [] | [b'\r']);
            from = end + 1;
            self.line_has_text = false;
            if is_blank {
                self.event.feed(&frame.slice(start..from));
                start = from;
                self.ended();
            }
        }
        let rest = &frame[from..];
        self.line_has_text |= rest.iter().any(|byte| *byte != b'\r');
        if start < frame.len() {
            self.event.feed(&frame.slice(start..));
        }
        if !frame.is_empty() {
            out.push(frame);
        }
    }

    /// The upstream closed its end: an event without its blank line still counts. Nothing was held back.
    pub fn end(&mut self, _: &mut Vec<Bytes>) {
        self.ended();
    }

    /// An event is whole.
    fn ended(&mut self) {
        let event = std::mem::take(&mut self.event);
        if event.total() == 0 {
            return;
        }
        let text = event.text();
        if memmem::find(&text, b".completed\"").is_some() || is_named(&text, b".completed") {
            self.completed = true;
            let AnswerFacts { usage, .. } = responses::answer_facts(&event);
            if let Some(usage) = usage {
                self.usage = usage;
            }
        } else if text.trim_ascii_end().ends_with(b"[DONE]") {
            self.terminated = true;
        } else if memmem::find(&text, b"\"b64_json\"").is_none() {
            let is_error = ERROR.find(&text).is_some() || is_named(&text, b"error");
            let is_null = value_behind(&text, &ERROR).is_some_and(|value| value.starts_with(b"null"));
            self.error |= is_error && !is_null;
        }
    }

    /// The provider's own count, once it has come.
    pub const fn usage(&self) -> Option<&Usage> {
        match self.usage {
            Usage { input: None, output: None, .. } => None,
            _ => Some(&self.usage),
        }
    }

    pub fn finish_reason(&self) -> Option<&str> {
        self.completed.then_some("completed")
    }

    /// There is no terminator: of several pictures each has an event that says that it is completed.
    pub const fn done(&self) -> bool {
        self.terminated
    }

    /// The upstream sent an error inside the stream.
    pub const fn saw_error(&self) -> bool {
        self.error
    }

    /// Whether a picture is whole.
    pub const fn complete(&self) -> bool {
        !self.error && self.completed
    }

    /// Pictures are not guessed at.
    pub const fn estimated_output(&self) -> u64 {
        0
    }
}

/// Whether the name of the event ends like this.
fn is_named(event: &[u8], end: &[u8]) -> bool {
    let lines = event.split(|byte| *byte == b'\n');
    lines.take(4).filter_map(|line| line.strip_prefix(b"event:")).any(|name| name.trim_ascii().ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIAL: &str = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\",\"partial_image_index\":0}\n\n";
    const COMPLETED: &str = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"BBBB\",\"usage\":{\"input_tokens\":12,\"output_tokens\":4160,\"total_tokens\":4172,\"input_tokens_details\":{\"text_tokens\":12,\"image_tokens\":0}}}\n\n";

    fn run(stream: &[u8], split: usize) -> ImageScanner {
        let mut scanner = ImageScanner::new();
        let mut out = Vec::new();
        for piece in stream.chunks(split) {
            scanner.feed(Bytes::copy_from_slice(piece), &mut out);
        }
        scanner.end(&mut out);
        assert_eq!(out.concat(), stream);
        scanner
    }

    #[test]
    fn the_counts_of_the_last_picture_are_found_however_the_stream_is_split() {
        for stream in [[PARTIAL, COMPLETED].concat(), [PARTIAL, COMPLETED].concat().replace('\n', "\r\n")] {
            for split in 1..=stream.len() {
                let scanner = run(stream.as_bytes(), split);
                assert!(scanner.complete() && !scanner.saw_error() && !scanner.done(), "{split}");
                let usage = scanner.usage().expect("usage");
                assert_eq!((usage.input, usage.output), (Some(12), Some(4160)), "{split}");
            }
        }
        let without_a_blank_line = run(COMPLETED.trim_end().as_bytes(), 9);
        assert!(without_a_blank_line.complete());
    }

    #[test]
    fn a_huge_picture_is_not_kept() {
        let mut scanner = ImageScanner::new();
        let mut out = Vec::new();
        scanner.feed(Bytes::from_static(b"data: {\"type\":\"image_generation.completed\",\"b64_json\":\""), &mut out);
        for _ in 0..20 {
            scanner.feed(Bytes::from(vec![b'A'; 1024 * 1024]), &mut out);
        }
        let kept = scanner.event.text().len();
        assert!(kept < 4 * 1024 * 1024, "{kept}");
        scanner.feed(Bytes::from_static(b"\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}\n\n"), &mut out);
        assert_eq!(scanner.usage().and_then(|usage| usage.output), Some(2));
        assert!(scanner.complete());
    }

    #[test]
    fn errors_and_cuts_are_seen() {
        for error in [
            "data: {\"error\":{\"message\":\"boom\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"message\":\"boom\"}\n\n",
        ] {
            let scanner = run([PARTIAL, error].concat().as_bytes(), 7);
            assert!(scanner.saw_error() && !scanner.complete(), "{error}");
        }
        let scanner = run(PARTIAL.as_bytes(), 7);
        assert!(!scanner.saw_error() && !scanner.complete() && scanner.usage().is_none());
        assert!(run([COMPLETED, "data: [DONE]\n\n"].concat().as_bytes(), 3).done());
    }
}
