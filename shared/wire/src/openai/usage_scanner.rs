//! Follows a Chat stream that is passed through, without parsing the chunks that cannot matter.
//!
//! It finds usage, finish reason, `[DONE]` and errors. A longer event than can be followed is passed on, but usage in it stays
//! unknown.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::read_usage;
use crate::{
    event_scan::{event_end, keys, string_length, value_behind},
    event_stream::MAX_EVENT_BYTES,
    usage::{Service, Usage},
};

keys! {
    USAGE = "usage";
    CHOICES = "choices";
    FINISH_REASON = "finish_reason";
    CONTENT = "content";
    REASONING_CONTENT = "reasoning_content";
    ARGUMENTS = "arguments";
    TEXT = "text";
    ERROR = "error";
    INDEX = "index";
    REASONING = "reasoning";
    REASONING_DETAILS = "reasoning_details";
    REFUSAL = "refusal";
    AUDIO = "audio";
    IMAGES = "images";
    SERVICE_TIER = "service_tier";
}

/// What a stream has shown so far.
#[derive(Debug)]
pub struct UsageScanner {
    /// Remove the chunk that carries only usage.
    hide_usage: bool,
    /// An event whose end has not come. Held back from the client only when `hide_usage`.
    partial: BytesMut,
    /// The event was too long: pass on, stop following.
    blind: bool,
    usage: Usage,
    finish_reason: Option<Box<str>>,
    /// Nothing was said after the finish reason: some hosts give one in every chunk.
    finished: bool,
    /// More than one choice is told.
    several: bool,
    output_bytes: u64,
    /// Events behind a finish reason that said something which is not counted in bytes.
    uncounted: u64,
    done: bool,
    error: bool,
}

/// The chunk that counts says for which service; it has nothing of the client's in it.
fn service_of(event: &[u8]) -> Option<Service> {
    let word = value_behind(event, &SERVICE_TIER)?.strip_prefix(b"\"")?;
    let end = memchr2(b'"', b'\\', word)?;
    Service::parse(std::str::from_utf8(&word[..end]).ok()?)
}

// === impl UsageScanner ===

impl UsageScanner {
    pub fn new(hide_usage: bool) -> Self {
        Self {
            hide_usage,
            partial: BytesMut::new(),
            blind: false,
            usage: Usage::default(),
            finish_reason: None,
            finished: false,
            several: false,
            output_bytes: 0,
            uncounted: 0,
            done: false,
            error: false,
        }
    }

    /// Takes the next frame and appends to `out` what the client gets of it.
    pub fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        if self.blind {
            out.push(frame);
            return;
        }
        let mut start = 0;
        // Of the frame, from where on nothing has been handed out yet.
        let mut pending = 0;
        if !self.partial.is_empty() {
            let Some(taken) = self.complete_partial(&frame, out) else {
                if !self.hide_usage {
                    out.push(frame);
                }
                return;
            };
            start = taken;
            if self.hide_usage {
                pending = start;
            }
        }
        while let Some(length) = event_end(&frame[start..]) {
            let end = start + length;
            if self.event(&frame[start..end]) && self.hide_usage {
                push_slice(&frame, pending, start, out);
                pending = end;
            }
            start = end;
        }
        let rest = &frame[start..];
        if rest.len() > MAX_EVENT_BYTES {
            self.blind = true;
        } else {
            self.partial.extend_from_slice(rest);
            if self.hide_usage {
                push_slice(&frame, pending, start, out);
                return;
            }
        }
        push_slice(&frame, pending, frame.len(), out);
    }

    /// The upstream closed its end: what was held back goes out, unless it is the chunk to hide.
    pub fn end(&mut self, out: &mut Vec<Bytes>) {
        if self.partial.is_empty() {
            return;
        }
        let rest = self.partial.split().freeze();
        let hidden = self.event(&rest);
        if self.hide_usage && !hidden {
            out.push(rest);
        }
    }

    /// Completes the event that earlier frames began. Returns how much of this frame belongs to it; `None` when all of it
    /// does and the event is still not complete.
    fn complete_partial(&mut self, frame: &Bytes, out: &mut Vec<Bytes>) -> Option<usize> {
        let before = self.partial.len();
        if before + frame.len() > MAX_EVENT_BYTES {
            self.blind = true;
            let held = self.partial.split().freeze();
            if self.hide_usage {
                out.push(held);
                out.push(frame.clone());
            }
            return None;
        }
        self.partial.extend_from_slice(frame);
        // The blank line may itself be split: its first half can be the end of what was there.
        let from = before.saturating_sub(3);
        let end = from + event_end(&self.partial[from..])?;
        self.partial.truncate(end);
        let event = self.partial.split().freeze();
        let hidden = self.event(&event);
        if self.hide_usage && !hidden {
            out.push(event);
        }
        Some(end - before)
    }

    /// Looks into one whole event. True when it is the chunk that carries only usage.
    fn event(&mut self, event: &[u8]) -> bool {
        let mut only_usage = false;
        if let Some(value) = value_behind(event, &USAGE)
            && value.starts_with(b"{")
            && let Some(usage) = read_usage(value)
        {
            self.usage = Usage { service: service_of(event), ..usage };
            only_usage = value_behind(event, &CHOICES).is_some_and(is_empty_list);
        }
        let before = self.output_bytes;
        for key in [&CONTENT, &REASONING_CONTENT, &ARGUMENTS] {
            match value_behind(event, key) {
                Some([b'"', rest @ ..]) => self.output_bytes += string_length(rest),
                // A list of parts is counted roughly: its first text.
                Some([b'[', parts @ ..]) => {
                    if let Some([b'"', rest @ ..]) = value_behind(parts, &TEXT) {
                        self.output_bytes += string_length(rest);
                    }
                }
                _ => {}
            }
        }
        if self.finished && (self.output_bytes != before || says_otherwise(event)) {
            self.finished = false;
            self.uncounted += u64::from(self.output_bytes == before);
        }
        self.several |= value_behind(event, &INDEX).is_some_and(|index| !index.starts_with(b"0"));
        match value_behind(event, &FINISH_REASON) {
            Some([b'"', rest @ ..]) => {
                let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                self.finish_reason = std::str::from_utf8(&rest[..end]).ok().map(Into::into);
                self.finished = end > 0;
                // OpenRouter's word for an answer that failed.
                self.error |= &rest[..end] == b"error";
            }
            Some(_) => {}
            None => self.without_choices(event),
        }
        only_usage
    }

    /// An event that is no chunk: the end, an error, a comment.
    fn without_choices(&mut self, event: &[u8]) {
        let trimmed = event.trim_ascii_end();
        if trimmed.ends_with(b"[DONE]") && trimmed.len() < 64 {
            self.done = true;
        } else if CHOICES.find(event).is_none()
            && value_behind(event, &ERROR).is_some_and(|value| !value.starts_with(b"null"))
        {
            self.error = true;
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
        self.finish_reason.as_deref()
    }

    /// `[DONE]` has come.
    pub const fn done(&self) -> bool {
        self.done
    }

    /// The upstream sent an error inside the stream.
    pub const fn saw_error(&self) -> bool {
        self.error
    }

    /// Whether the answer is whole: a finish reason behind which nothing was said, or `[DONE]`. Some hosts omit one of the two.
    pub const fn complete(&self) -> bool {
        !self.error && (self.done || self.finished)
    }

    /// Whether more than one choice was seen: then one finish reason does not tell that all have ended.
    pub const fn has_several(&self) -> bool {
        self.several
    }

    /// Grows with what is said.
    pub const fn said(&self) -> u64 {
        self.output_bytes + self.uncounted
    }

    /// Whether the last frame ended between two events, where a comment may be put.
    pub fn between_events(&self) -> bool {
        self.partial.is_empty() && !self.blind
    }

    /// A guess at the output for a stream that was cut: four bytes of text a token.
    pub const fn estimated_output(&self) -> u64 {
        self.output_bytes.div_ceil(4)
    }
}

/// Whether an event says something that is not counted as text.
fn says_otherwise(event: &[u8]) -> bool {
    let is_said = |key| match value_behind(event, key) {
        Some([b'"', rest @ ..]) => !rest.starts_with(b"\""),
        Some(value @ [b'[', ..]) => !is_empty_list(value),
        Some([b'{', ..]) => true,
        _ => false,
    };
    [&REASONING, &REASONING_DETAILS, &REFUSAL, &AUDIO, &IMAGES].into_iter().any(is_said)
}

fn push_slice(frame: &Bytes, from: usize, to: usize, out: &mut Vec<Bytes>) {
    if from == 0 && to == frame.len() && to > 0 {
        out.push(frame.clone());
    } else if from < to {
        out.push(frame.slice(from..to));
    }
}

fn is_empty_list(value: &[u8]) -> bool {
    value.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\u{e9}\\\"y\"},\"finish_reason\":null}],\"usage\":null}\n\n";
    const FINISH: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\": \"stop\"}],\"usage\":null}\n\n";
    const USAGE: &str = "data: {\"choices\": [], \"usage\" : {\"prompt_tokens\":10,\"completion_tokens\":6,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn run(stream: &[u8], hide: bool, split: usize) -> (Vec<u8>, UsageScanner) {
        let mut scanner = UsageScanner::new(hide);
        let mut out = Vec::new();
        for piece in stream.chunks(split) {
            scanner.feed(Bytes::copy_from_slice(piece), &mut out);
        }
        scanner.end(&mut out);
        (out.concat(), scanner)
    }

    fn stream(parts: &[&str]) -> Vec<u8> {
        parts.concat().into_bytes()
    }

    #[test]
    fn any_split_shows_and_forwards_the_same() {
        let plain = stream(&[": hi\n\n", CHUNK, FINISH, USAGE, DONE]);
        let crlf = String::from_utf8(plain.clone()).expect("text").replace('\n', "\r\n").into_bytes();
        let cr = String::from_utf8(plain.clone()).expect("text").replace('\n', "\r").into_bytes();
        for (stream, line) in [(plain, "\n"), (crlf, "\r\n"), (cr, "\r")] {
            let shown = [": hi\n\n", CHUNK, FINISH, DONE].concat().replace('\n', line).into_bytes();
            for split in 1..=stream.len() {
                let (out, scanner) = run(&stream, true, split);
                assert_eq!(String::from_utf8(out), String::from_utf8(shown.clone()), "{line:?} in pieces of {split}");
                assert!(scanner.done() && scanner.complete() && !scanner.saw_error());
                assert_eq!(scanner.finish_reason(), Some("stop"));
                let usage = scanner.usage().expect("usage");
                assert_eq!((usage.input, usage.cache_read, usage.output), (Some(6), Some(4), Some(6)));
                let (out, scanner) = run(&stream, false, split);
                assert_eq!(out, stream, "nothing is hidden from who asked");
                assert!(scanner.usage().is_some());
            }
        }
    }

    #[test]
    fn an_event_without_its_blank_line_still_counts_and_goes_out() {
        let stream = stream(&[CHUNK, FINISH, DONE.trim_end()]);
        for hide in [true, false] {
            let (out, scanner) = run(&stream, hide, 7);
            assert_eq!(out, stream);
            assert!(scanner.done());
        }
    }

    #[test]
    fn the_service_is_that_of_the_chunk_that_counts() {
        let stream = |tier: &str| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}}}}],\"service_tier\":\"priority\"}}\n\n\
                 data: {{\"choices\":[],\"service_tier\":{tier},\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":2}}}}\n\n"
            )
        };
        for (tier, expected) in
            [("\"flex\"", Some(Service::Flex)), ("\"default\"", None), ("null", None), ("\"\"", None)]
        {
            let (mut scanner, mut out) = (UsageScanner::new(false), Vec::new());
            scanner.feed(Bytes::from(stream(tier)), &mut out);
            assert_eq!(scanner.usage().map(|usage| usage.service), Some(expected), "{tier}");
        }
    }

    #[test]
    fn the_last_usage_wins_and_garbage_is_unknown() {
        let first = "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
        let second = "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":9}}\n\n";
        let (out, scanner) = run(&stream(&[first, second]), true, 1000);
        assert_eq!(scanner.usage().and_then(|usage| usage.output), Some(9));
        assert_eq!(out, stream(&[first, second]), "chunks with choices are never hidden");
        for garbage in ["-1", "\"many\"", "1.5", "[]", "{\"prompt_tokens\":-3}", "{\"prompt_tokens\":"] {
            let event = format!("data: {{\"choices\":[],\"usage\":{garbage}}}\n\n");
            let (_, scanner) = run(event.as_bytes(), true, 1000);
            assert_eq!(scanner.usage(), None, "{garbage}");
        }
    }

    #[test]
    fn text_that_talks_about_usage_is_no_usage() {
        let event =
            "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\": {\\\"prompt_tokens\\\":5} [DONE]\"}}]}\n\n";
        let (out, scanner) = run(event.as_bytes(), true, 1000);
        assert_eq!((scanner.usage(), scanner.done()), (None, false));
        assert_eq!(out, event.as_bytes());
    }

    #[test]
    fn errors_in_the_stream_and_cuts_are_seen() {
        let (_, scanner) = run(b"data: {\"error\":{\"message\":\"boom\"}}\n\ndata: [DONE]\n\n", false, 5);
        assert!(scanner.saw_error() && !scanner.complete());
        let (_, scanner) = run(CHUNK.as_bytes(), false, 5);
        assert!(!scanner.complete());
        assert_eq!(scanner.estimated_output(), 2, "é and the escaped quote make six bytes");
    }

    #[test]
    fn a_finish_reason_holds_until_more_is_said() {
        let both = CHUNK.replace("\"finish_reason\":null", "\"finish_reason\":\"stop\"");
        let (_, scanner) = run(&stream(&[&both, CHUNK]), false, 7);
        assert!(!scanner.complete(), "more came, and then nothing");
        let (_, scanner) = run(&stream(&[&both, CHUNK, &both, USAGE]), false, 7);
        assert!(scanner.complete() && !scanner.done());
        let (_, scanner) = run(&stream(&[CHUNK, &FINISH.replace("stop", "error"), DONE]), false, 7);
        assert!(scanner.saw_error() && !scanner.complete(), "that is no reason");
    }

    #[test]
    fn a_thought_behind_a_finish_reason_is_said_too_and_another_choice_is_seen() {
        let thought = |text: &str| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"reasoning\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
            )
        };
        let (_, before) = run(&stream(&[CHUNK, FINISH]), false, 7);
        let (_, empty) = run(&stream(&[CHUNK, FINISH, &thought("")]), false, 7);
        let (_, more) = run(&stream(&[CHUNK, FINISH, &thought("hm")]), false, 7);
        assert!(before.complete() && empty.complete() && !more.complete());
        assert_eq!((empty.said(), more.said()), (before.said(), before.said() + 1));
        let second = CHUNK.replace("\"index\":0", "\"index\":1");
        let (_, several) = run(&stream(&[CHUNK, &second, FINISH]), false, 7);
        assert!(several.has_several() && !before.has_several());
    }

    #[test]
    fn an_endless_event_is_passed_on_and_not_kept() {
        for hide in [true, false] {
            let mut scanner = UsageScanner::new(hide);
            let mut out = Vec::new();
            let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
            for _ in 0..20 {
                scanner.feed(piece.clone(), &mut out);
            }
            scanner.end(&mut out);
            assert_eq!(out.iter().map(Bytes::len).sum::<usize>(), 20 * 1024 * 1024, "hide: {hide}");
            assert!(scanner.partial.len() <= MAX_EVENT_BYTES);
        }
    }
}
