//! Usage and stop reason out of a whole message that is passed through in frames.

use memchr::memmem;

use super::usage::{UsageField, read_usage};
use crate::{
    json_tail::{AnswerFacts, UsageTail},
    object::wire_object,
    text::Str,
    usage::Usage,
};

wire_object! {
    struct Answer<'a> {
        usage: UsageField<'a> = "usage",
        stop_reason: Str<'a> = "stop_reason",
    }
}

/// What can be known of a message once it is whole. The finish reason is Anthropic's word.
pub fn answer_facts(tail: &UsageTail) -> AnswerFacts {
    facts_of(&tail.text())
}

/// The counts of a whole answer, or of an answer to `count_tokens`.
pub fn read_answer_usage(body: &[u8]) -> Option<Usage> {
    facts_of(body).usage.or_else(|| read_usage(body))
}

fn facts_of(text: &[u8]) -> AnswerFacts {
    if let Ok(answer) = serde_json::from_slice::<Answer<'_>>(text) {
        let usage = answer.usage.map(|usage| usage.disjoint()).filter(|usage| !usage.is_unknown());
        return AnswerFacts { usage, finish_reason: answer.stop_reason.map(|word| word.0.into_owned()) };
    }
    // A long answer has lost its middle. What is sought stands behind the content, so the last hit is the right one.
    AnswerFacts { usage: last(text, b"\"usage\"", read_usage), finish_reason: last(text, b"\"stop_reason\"", word) }
}

fn last<T>(text: &[u8], key: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let mut end = text.len();
    while let Some(at) = memmem::rfind(&text[..end], key) {
        let behind = text[at + key.len()..].trim_ascii_start();
        if let Some(found) = behind.strip_prefix(b":").and_then(|value| read(value.trim_ascii_start())) {
            return Some(found);
        }
        end = at;
    }
    None
}

fn word(value: &[u8]) -> Option<String> {
    let value = value.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value)?;
    std::str::from_utf8(&value[..end]).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ANSWER: &str = r#"{"id":"m","type":"message","content":[{"type":"tool_use","input":{"usage":{"input_tokens":99,"output_tokens":99},"stop_reason":"no"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"cache_read_input_tokens":5,"output_tokens":2}}"#;

    #[test]
    fn facts_are_found_however_the_answer_is_split() {
        for split in 1..ANSWER.len() {
            let mut tail = UsageTail::default();
            ANSWER.as_bytes().chunks(split).for_each(|piece| tail.feed(&Bytes::copy_from_slice(piece)));
            let facts = answer_facts(&tail);
            assert_eq!(facts.finish_reason.as_deref(), Some("tool_use"));
            let usage = facts.usage.expect("usage");
            assert_eq!((usage.input, usage.cache_read, usage.output), (Some(3), Some(5), Some(2)));
        }
    }

    #[test]
    fn a_long_answer_is_read_at_its_end() {
        let mut tail = UsageTail::default();
        tail.feed(&Bytes::from_static(b"{\"content\":[{\"type\":\"text\",\"text\":\""));
        let piece = Bytes::from(vec![b'a'; 16 * 1024]);
        (0..100).for_each(|_| tail.feed(&piece));
        tail.feed(&Bytes::from_static(
            b"\"}],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":7,\"output_tokens\":8}}",
        ));
        let facts = answer_facts(&tail);
        assert_eq!(facts.finish_reason.as_deref(), Some("end_turn"));
        assert_eq!(facts.usage.and_then(|usage| usage.output), Some(8));
    }

    #[test]
    fn a_count_is_usage_and_no_usage_is_unknown() {
        assert_eq!(read_answer_usage(b"{\"input_tokens\": 12}").and_then(|usage| usage.input), Some(12));
        assert_eq!(read_answer_usage(b"{\"usage\": null}"), None);
        assert_eq!(read_answer_usage(b"<html>"), None);
    }
}
