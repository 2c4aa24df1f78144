//! Follows a Messages stream that is passed through, without parsing the events that cannot matter.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::usage::UsageField;
use crate::{
    event_scan::{event_end, keys, string_length, value_behind},
    event_stream::MAX_EVENT_BYTES,
    object::wire_object,
    text::Str,
    usage::Usage,
};

wire_object! {
    struct Frame<'a> {
        message: Message<'a> = lenient "message",
        delta: Delta<'a> = lenient "delta",
        usage: UsageField<'a> = lenient "usage",
    }
}

wire_object! {
    struct Message<'a> {
        usage: UsageField<'a> = lenient "usage",
    }
}

wire_object! {
    struct Delta<'a> {
        stop_reason: Str<'a> = lenient "stop_reason",
    }
}

keys! {
    TEXT = "text";
    PARTIAL_JSON = "partial_json";
    THINKING = "thinking";
    TYPE = "type";
}

/// What a stream has shown so far. Every frame goes on as it came: there is nothing to hide.
#[derive(Debug, Default)]
pub struct UsageScanner {
    /// An event whose end has not come.
    partial: BytesMut,
    /// The event was too long: stop following.
    blind: bool,
    usage: Usage,
    stop_reason: Option<Box<str>>,
    /// Output, as the beginning tells it: of the first token only, unless nothing else comes.
    announced: Option<u64>,
    output_bytes: u64,
    done: bool,
    error: bool,
}

// === impl UsageScanner ===

impl UsageScanner {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame, looks into it and passes it on.
    pub fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        self.look(&frame);
        if !frame.is_empty() {
            out.push(frame);
        }
    }

    /// The upstream closed its end: an event without its blank line still counts.
    pub fn end(&mut self, _out: &mut Vec<Bytes>) {
        let rest = self.partial.split();
        self.event(&rest);
    }

    fn look(&mut self, frame: &[u8]) {
        if self.blind {
            return;
        }
        let mut start = 0;
        if !self.partial.is_empty() {
            let before = self.partial.len();
            if before + frame.len() > MAX_EVENT_BYTES {
                self.give_up();
                return;
            }
            self.partial.extend_from_slice(frame);
            // The blank line may itself be split: its first half can be the end of what was there.
            let from = before.saturating_sub(3);
            let Some(length) = event_end(&self.partial[from..]) else { return };
            let event = self.partial.split_to(from + length);
            self.partial.clear();
            self.event(&event);
            start = event.len().saturating_sub(before);
        }
        while let Some(length) = event_end(&frame[start..]) {
            self.event(&frame[start..start + length]);
            start += length;
        }
        let rest = &frame[start..];
        if rest.len() > MAX_EVENT_BYTES {
            self.give_up();
        } else {
            self.partial.extend_from_slice(rest);
        }
    }

    fn give_up(&mut self) {
        self.blind = true;
        self.partial = BytesMut::new();
    }

    fn event(&mut self, event: &[u8]) {
        match kind_of(event) {
            b"content_block_delta" => {
                for key in [&TEXT, &PARTIAL_JSON, &THINKING] {
                    if let Some([b'"', rest @ ..]) = value_behind(event, key) {
                        self.output_bytes += string_length(rest);
                    }
                }
            }
            b"message_start" | b"message_delta" => {
                let Some(frame) = frame_of(event) else { return };
                if let Some(usage) = frame.message.and_then(|message| message.usage) {
                    usage.update(&mut self.usage);
                    self.announced = self.usage.output.take();
                }
                if let Some(usage) = frame.usage {
                    usage.update(&mut self.usage);
                }
                if let Some(word) = frame.delta.and_then(|delta| delta.stop_reason) {
                    self.stop_reason = Some(word.0.into());
                }
            }
            b"message_stop" => {
                self.done = true;
                self.usage.output = self.usage.output.or(self.announced);
            }
            b"error" => self.error = true,
            _ => {}
        }
    }

    /// The provider's own count, as far as it has come. Output is counted at the end.
    pub const fn usage(&self) -> Option<&Usage> {
        match self.usage {
            Usage { input: None, output: None, .. } => None,
            _ => Some(&self.usage),
        }
    }

    /// Why the answer ended, in Anthropic's word.
    pub fn finish_reason(&self) -> Option<&str> {
        self.stop_reason.as_deref()
    }

    /// `message_stop` has come.
    pub const fn done(&self) -> bool {
        self.done
    }

    /// The upstream sent an error inside the stream.
    pub const fn saw_error(&self) -> bool {
        self.error
    }

    /// Whether the answer is whole: a stop reason, or `message_stop`. Some hosts omit one of the two.
    pub const fn complete(&self) -> bool {
        !self.error && (self.done || self.stop_reason.is_some())
    }

    /// Whether the last frame ended between two events, where a ping may be put.
    pub fn between_events(&self) -> bool {
        self.partial.is_empty() && !self.blind
    }

    /// A guess at the output for a stream that was cut: four bytes of text a token.
    pub const fn estimated_output(&self) -> u64 {
        self.output_bytes.div_ceil(4)
    }
}

/// The event's name; where it has none, the first `type` in its data, which is its own in everything Anthropic sends.
fn kind_of(event: &[u8]) -> &[u8] {
    let mut lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    if let Some(name) = lines.find_map(|line| line.strip_prefix(b"event:")) {
        return name.trim_ascii();
    }
    match value_behind(event, &TYPE) {
        Some([b'"', rest @ ..]) => &rest[..memchr::memchr(b'"', rest).unwrap_or(0)],
        _ => b"",
    }
}

fn frame_of(event: &[u8]) -> Option<Frame<'_>> {
    let at = memmem::find(event, b"data:")?;
    let data = event[at + 5..].trim_ascii();
    serde_json::Deserializer::from_slice(data).into_iter::<Frame<'_>>().next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":4,\"cache_creation_input_tokens\":3,\"cache_creation\":{\"ephemeral_5m_input_tokens\":1,\"ephemeral_1h_input_tokens\":2},\"output_tokens\":1}}}\n\n";
    const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"h\u{e9} \\\"message_stop\\\" \\\"error\\\"\"}}\n\n";
    const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    const END: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":15}}\n\n";
    const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

    fn run(stream: &[u8], split: usize) -> (Vec<u8>, UsageScanner) {
        let (mut scanner, mut out) = (UsageScanner::new(), Vec::new());
        for piece in stream.chunks(split) {
            scanner.feed(Bytes::copy_from_slice(piece), &mut out);
        }
        scanner.end(&mut out);
        (out.concat(), scanner)
    }

    #[test]
    fn any_split_shows_and_forwards_the_same() {
        let plain = [START, PING, DELTA, END, STOP].concat();
        for stream in [plain.clone(), plain.replace('\n', "\r\n"), plain.trim_end().to_owned()] {
            for split in 1..=stream.len() {
                let (out, scanner) = run(stream.as_bytes(), split);
                assert_eq!(out, stream.as_bytes(), "pieces of {split}");
                assert!(scanner.done() && scanner.complete() && !scanner.saw_error());
                assert_eq!(scanner.finish_reason(), Some("tool_use"));
                let usage = scanner.usage().expect("usage");
                assert_eq!((usage.input, usage.cache_read, usage.output), (Some(10), Some(4), Some(15)));
                assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (Some(1), Some(2)));
            }
        }
    }

    #[test]
    fn text_that_is_an_event_name_is_no_event() {
        for text in ["message_stop", "error", "message_delta"] {
            let event = DELTA.replace("h\u{e9} \\\"message_stop\\\" \\\"error\\\"", text);
            for event in [event.clone(), event.replace("event: content_block_delta\n", "")] {
                let (_, scanner) = run(event.as_bytes(), 1000);
                assert!(!scanner.done() && !scanner.saw_error(), "{event}");
                assert_eq!(scanner.estimated_output(), (text.len() as u64).div_ceil(4));
            }
        }
    }

    #[test]
    fn errors_and_cuts_are_seen() {
        let error =
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
        let (_, scanner) = run([START, error].concat().as_bytes(), 7);
        assert!(scanner.saw_error() && !scanner.complete());
        let (_, scanner) = run([START, DELTA].concat().as_bytes(), 7);
        assert!(!scanner.complete() && scanner.usage().is_some_and(|usage| usage.output.is_none()));
        let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let (_, scanner) = run([START, stop].concat().as_bytes(), 7);
        assert!(scanner.usage().is_some_and(|usage| usage.output == Some(1)), "all that there is");
        let (_, scanner) = run(b"event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":-1}}}\n\n", 7);
        assert_eq!(scanner.usage(), None, "garbage is unknown");
    }

    #[test]
    fn an_endless_event_is_passed_on_and_not_kept() {
        let (mut scanner, mut out) = (UsageScanner::new(), Vec::new());
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        for _ in 0..20 {
            scanner.feed(piece.clone(), &mut out);
        }
        scanner.end(&mut out);
        assert_eq!(out.len(), 20);
        assert!(scanner.partial.is_empty() && !scanner.between_events());
    }
}
