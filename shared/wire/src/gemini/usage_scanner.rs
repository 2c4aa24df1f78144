//! Follows a stream that is passed through, in either framing, without parsing the elements that cannot matter.
//!
//! The interface is that of [`crate::openai::UsageScanner`]. Nothing is ever hidden from the client: usage is part of
//! the answer in this format.

use bytes::Bytes;
use memchr::memmem;

use super::{decode_response::Body, passthrough::answer_facts, values::ValueReader};
use crate::{
    choice_ends::{ChoiceEnds, Told},
    event_scan::string_length,
    usage::Usage,
};

/// Parts that say something which is no text.
const OTHERS: [&[u8]; 4] = [b"\"inlineData\"", b"\"executableCode\"", b"\"codeExecutionResult\"", b"\"fileData\""];

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub struct UsageScanner {
    reader: ValueReader,
    /// An element was too long: pass on, stop following.
    blind: bool,
    seen: Seen,
    /// The end of the last frame, where a blank line between two events shows.
    tail: [u8; 4],
    any: bool,
}

#[derive(Debug, Default)]
struct Seen {
    usage: Usage,
    finish_reason: Option<String>,
    /// Nothing was said after the finish reason: old models give one in every element. Of several candidates, all have got so
    /// far.
    finished: bool,
    /// How each of several candidates stands.
    ends: Option<ChoiceEnds>,
    /// Elements that said something which is not counted in bytes.
    uncounted: u64,
    output_bytes: u64,
    error: bool,
}

// === impl UsageScanner ===

impl UsageScanner {
    pub fn new() -> Self {
        Self::default()
    }

    /// So many candidates were asked for: before the first element.
    pub fn follow_choices(&mut self, asked: u64) {
        self.seen.ends = ChoiceEnds::of(asked);
    }

    /// Takes the next frame; all of it goes to the client.
    pub fn feed(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        if !self.blind {
            let seen = &mut self.seen;
            self.blind = self.reader.feed(&frame, |element| seen.element(element)).is_err();
        }
        for byte in &frame[frame.len().saturating_sub(4)..] {
            self.tail.rotate_left(1);
            self.tail[3] = *byte;
            self.any = true;
        }
        if !frame.is_empty() {
            out.push(frame);
        }
    }

    /// The upstream closed its end. Nothing was held back.
    pub fn end(&mut self, _: &mut Vec<Bytes>) {}

    /// The provider's own count, once it has come.
    pub const fn usage(&self) -> Option<&Usage> {
        match self.seen.usage {
            Usage { input: None, output: None, .. } => None,
            _ => Some(&self.seen.usage),
        }
    }

    /// In this format's words (`STOP`, `SAFETY`…).
    pub fn finish_reason(&self) -> Option<&str> {
        self.seen.finish_reason.as_deref()
    }

    /// This format has no terminator: a finish reason may stand in every element, so only the stream's own end is one.
    pub const fn done(&self) -> bool {
        false
    }

    /// The upstream sent an error inside the stream.
    pub const fn saw_error(&self) -> bool {
        self.seen.error
    }

    /// Whether the answer is whole, if nothing follows.
    pub const fn complete(&self) -> bool {
        !self.seen.error && self.seen.finished
    }

    /// Whether the last frame ended between two events, where a comment may be put. Never inside a JSON array.
    pub fn between_events(&self) -> bool {
        let blank = self.tail.ends_with(b"\n\n") || self.tail == *b"\r\n\r\n" || self.tail.ends_with(b"\r\r");
        !self.blind && self.reader.is_between() && (!self.any || blank)
    }

    /// As [`Self::complete`], and none is missing of the candidates that were asked for.
    pub fn is_whole(&self) -> bool {
        self.complete() && self.seen.ends.as_ref().is_none_or(ChoiceEnds::all_asked)
    }

    /// Grows with what is said.
    pub const fn said(&self) -> u64 {
        self.seen.output_bytes + self.seen.uncounted
    }

    /// A guess at the output for a stream that was cut: four bytes of text a token.
    pub const fn estimated_output(&self) -> u64 {
        self.seen.output_bytes.div_ceil(4)
    }
}

// === impl Seen ===

impl Seen {
    fn element(&mut self, element: &[u8]) {
        let facts = answer_facts(element);
        if let Some(usage) = facts.usage {
            self.usage = usage;
        }
        let has_ended = facts.finish_reason.is_some();
        if has_ended {
            self.finish_reason = facts.finish_reason;
        }
        let before = self.output_bytes;
        let has_candidates = memmem::find(element, b"\"candidates\"").is_some();
        if !has_candidates && begins_with_error(element) {
            self.error = true;
        }
        for key in [b"\"text\"".as_slice(), b"\"args\""] {
            for at in memmem::find_iter(element, key) {
                let value = element[at + key.len()..].trim_ascii_start().strip_prefix(b":").unwrap_or_default();
                self.output_bytes += match value.trim_ascii_start() {
                    [b'"', rest @ ..] => string_length(rest),
                    // Arguments are counted roughly: up to the end of their element.
                    [b'{', rest @ ..] => rest.len() as u64,
                    _ => 0,
                };
            }
        }
        let is_uncounted = self.output_bytes == before && OTHERS.iter().any(|key| memmem::find(element, key).is_some());
        self.uncounted += u64::from(is_uncounted);
        let says = self.output_bytes != before || is_uncounted;
        self.finished = has_ended || (self.finished && !says);
        if let Some(ends) = &mut self.ends {
            ends.see(candidates_of(element), says);
            self.finished = ends.all_begun().unwrap_or(self.finished);
        }
    }
}

/// The candidates that an element tells of. This reads it, which only a stream of several is worth.
fn candidates_of(element: &[u8]) -> impl Iterator<Item = Told> {
    let body = serde_json::from_slice::<Body<'_>>(element).ok();
    let candidates = body.and_then(|body| body.candidates).unwrap_or_default().0;
    candidates.into_iter().map(|candidate| Told {
        index: candidate.index.map_or(0, |index| u32::try_from(index.0).unwrap_or(u32::MAX)),
        has_ended: candidate.finish_reason.is_some_and(|word| !word.is_empty()),
    })
}

fn begins_with_error(element: &[u8]) -> bool {
    element[1..].trim_ascii_start().starts_with(b"\"error\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"candidates":[{"content":{"parts":[{"text":"h\"usageMetadata\": {\"promptTokenCount\": 5}"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":10}}"#;
    const LAST: &str = r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason": "STOP","index":0}],"usageMetadata": {"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":6,"totalTokenCount":16}}"#;

    fn run(stream: &[u8], split: usize) -> (Vec<u8>, UsageScanner) {
        run_of(1, stream, split)
    }

    /// With so many candidates asked for.
    fn run_of(asked: u64, stream: &[u8], split: usize) -> (Vec<u8>, UsageScanner) {
        let mut scanner = UsageScanner::new();
        scanner.follow_choices(asked);
        let mut out = Vec::new();
        for piece in stream.chunks(split) {
            scanner.feed(Bytes::copy_from_slice(piece), &mut out);
        }
        scanner.end(&mut out);
        (out.concat(), scanner)
    }

    #[test]
    fn any_split_of_either_framing_shows_the_same_and_changes_nothing() {
        let events = format!("data: {TEXT}\r\n\r\n: hi\r\n\r\ndata: {LAST}\r\n\r\n");
        let array = format!("[{TEXT}\n,\r\n{LAST}\n]");
        for (stream, is_events) in [(events, true), (array, false)] {
            for split in 1..=stream.len() {
                let (out, scanner) = run(stream.as_bytes(), split);
                assert_eq!(out, stream.as_bytes());
                assert!(scanner.complete() && !scanner.done() && !scanner.saw_error());
                assert_eq!(scanner.finish_reason(), Some("STOP"));
                let usage = scanner.usage().expect("usage");
                assert_eq!((usage.input, usage.cache_read, usage.output), (Some(6), Some(4), Some(6)));
                assert_eq!(scanner.between_events(), is_events);
            }
        }
    }

    #[test]
    fn a_comment_may_stand_only_between_two_events() {
        let mut scanner = UsageScanner::new();
        let mut out = Vec::new();
        assert!(scanner.between_events());
        for (frame, between) in
            [("data: {\"a\"", false), (":1}", false), ("\r\n", false), ("\r\n", true), ("data: {", false)]
        {
            scanner.feed(Bytes::from(frame), &mut out);
            assert_eq!(scanner.between_events(), between, "{frame}");
        }
    }

    #[test]
    fn errors_blocks_and_cuts_are_seen() {
        let (_, scanner) = run(br#"[{"error":{"code":503,"message":"boom","status":"UNAVAILABLE"}}]"#, 7);
        assert!(scanner.saw_error() && !scanner.complete());
        let (_, scanner) = run(b"data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n", 7);
        assert!(scanner.complete());
        assert_eq!(scanner.finish_reason(), Some("SAFETY"));
        let (_, scanner) = run(b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"12345\"}]}}]}\n\n", 7);
        assert!(!scanner.complete());
        assert_eq!((scanner.usage(), scanner.estimated_output()), (None, 2));
    }

    #[test]
    fn a_reason_in_every_element_is_an_end_only_if_nothing_follows() {
        let told = TEXT.replace(r#","role":"model"}"#, r#","role":"model"},"finishReason":"STOP""#);
        let run = |elements: &[&str]| run(format!("[{}]", elements.join(",")).as_bytes(), 11).1;
        assert!(!run(&[&told]).done() && run(&[&told]).complete());
        assert!(!run(&[&told, TEXT]).complete());
        assert!(run(&[&told, TEXT, LAST]).complete());
    }

    #[test]
    fn of_several_candidates_each_has_to_say_why_it_ended() {
        let second = |element: &str| element.replace("\"index\":0", "\"index\":1");
        let (said, ended) = (second(TEXT), second(LAST));
        let run = |elements: &[&str]| run_of(2, format!("[{}]", elements.join(",")).as_bytes(), 11).1;
        for (elements, is_complete, is_whole) in [
            (&[TEXT, &said, LAST][..], false, false),
            (&[TEXT, LAST, &said], false, false),
            (&[&said, TEXT, &ended], false, false),
            (&[TEXT, LAST], true, false),
            (&[TEXT, &said, LAST, &ended], true, true),
            (&[TEXT, LAST, &said, &ended], true, true),
            (&[&said, &ended, TEXT, LAST], true, true),
        ] {
            let scanner = run(elements);
            assert_eq!((scanner.complete(), scanner.is_whole()), (is_complete, is_whole), "{elements:?}");
        }
    }

    #[test]
    fn a_blocked_prompt_has_no_candidates_to_wait_for() {
        let blocked = br#"[{"promptFeedback":{"blockReason":"SAFETY"}}]"#;
        assert!(run_of(2, blocked, 7).1.complete());
    }

    #[test]
    fn an_argument_with_the_name_of_a_number_is_none() {
        let call = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"index":3}}}]}}]}"#;
        assert!(run(format!("[{call},{LAST}]").as_bytes(), 11).1.is_whole());
    }

    #[test]
    fn what_is_said_without_text_opens_an_answer_again() {
        let (_, before) = run(format!("[{TEXT},{LAST}]").as_bytes(), 11);
        for part in [
            r#"{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}"#,
            r#"{"executableCode":{"language":"PYTHON","code":"1"}}"#,
        ] {
            let element = format!(r#"{{"candidates":[{{"content":{{"parts":[{part}],"role":"model"}},"index":0}}]}}"#);
            let (_, more) = run(format!("[{TEXT},{LAST},{element}]").as_bytes(), 11);
            assert!(before.complete() && !more.complete() && more.said() > before.said(), "{part}");
        }
    }

    #[test]
    fn a_call_whose_arguments_talk_like_an_answer_is_no_end() {
        let call = r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"finishReason":"STOP","usageMetadata":{"promptTokenCount":1}}}}]}}]}"#;
        let (_, scanner) = run(format!("{call}\n\n").as_bytes(), 11);
        assert_eq!((scanner.complete(), scanner.usage()), (false, None));
    }

    #[test]
    fn garbage_is_unknown_and_an_endless_element_is_passed_on() {
        for garbage in ["-1", "\"many\"", "[]", "{\"promptTokenCount\":-3}", "{\"promptTokenCount\":[]}"] {
            let (_, scanner) = run(format!("data: {{\"usageMetadata\":{garbage}}}\n\n").as_bytes(), 9);
            assert_eq!(scanner.usage(), None, "{garbage}");
        }
        let mut scanner = UsageScanner::new();
        let mut out = Vec::new();
        scanner.feed(Bytes::from_static(b"{\""), &mut out);
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        (0..20).for_each(|_| scanner.feed(piece.clone(), &mut out));
        assert_eq!(out.iter().map(Bytes::len).sum::<usize>(), 20 * 1024 * 1024 + 2);
        assert!(!scanner.complete() && !scanner.between_events());
    }
}
