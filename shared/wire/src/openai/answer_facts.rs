//! What an answer that passes through says about itself.

use std::sync::LazyLock;

use memchr::memmem::{Finder, FinderRev};

use super::read_usage;
use crate::{
    json_tail::{AnswerFacts, UsageTail},
    service_tier,
    usage::Usage,
};

/// Made once: that takes longer than a search.
static USAGE: LazyLock<FinderRev<'_>> = LazyLock::new(|| FinderRev::new("\"usage\""));
static FINISH: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"finish_reason\""));

/// What can be known once the answer is whole. Embeddings are counted in the same words.
pub fn answer_facts(tail: &UsageTail) -> AnswerFacts {
    tail.facts_by(|text| {
        let usage = last_usage(text).map(|usage| Usage { service: service_tier::of_answer(text), ..usage });
        AnswerFacts { usage, finish_reason: first_finish(text) }
    })
}

fn last_usage(text: &[u8]) -> Option<Usage> {
    let mut end = text.len();
    while let Some(at) = USAGE.rfind(&text[..end]) {
        let behind = text[at + 7..].trim_ascii_start();
        if let [b':', value @ ..] = behind {
            let value = value.trim_ascii_start();
            if value.starts_with(b"{") {
                return read_usage(value);
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
    use bytes::Bytes;

    use super::*;

    const ANSWER: &str = r#"{"id":"x","choices":[{"message":{"content":"\"usage\": {}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2},"tail":1}"#;

    #[test]
    fn usage_is_found_however_the_answer_is_split() {
        for split in 1..ANSWER.len() {
            let mut tail = UsageTail::default();
            ANSWER.as_bytes().chunks(split).for_each(|piece| tail.feed(&Bytes::copy_from_slice(piece)));
            let facts = answer_facts(&tail);
            assert_eq!(facts.usage.and_then(|usage| usage.output), Some(2), "pieces of {split}");
            assert_eq!(facts.finish_reason.as_deref(), Some("stop"));
        }
    }

    #[test]
    fn usage_at_the_end_of_a_long_answer_is_found() {
        let mut tail = UsageTail::default();
        tail.feed(&Bytes::from_static(b"{\"data\":["));
        let piece = Bytes::from(vec![b'1'; 16 * 1024]);
        (0..1000).for_each(|_| tail.feed(&piece));
        tail.feed(&Bytes::from_static(b"],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}"));
        assert_eq!(answer_facts(&tail).usage.and_then(|usage| usage.input), Some(7));
    }

    #[test]
    fn no_usage_is_unknown() {
        let mut tail = UsageTail::default();
        tail.feed(&Bytes::from_static(b"{\"usage\": null}"));
        assert_eq!(answer_facts(&tail), AnswerFacts::default());
    }
}
