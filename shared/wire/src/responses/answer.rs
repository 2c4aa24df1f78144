//! Usage out of a whole JSON answer that is passed through in frames.

use memchr::memmem;

use super::usage::read_usage;
use crate::{
    json_tail::{AnswerFacts, UsageTail},
    service_tier,
    usage::Usage,
};

/// What can be known of an answer once it is whole. The finish reason is the status, or why the answer is incomplete.
pub fn answer_facts(tail: &UsageTail) -> AnswerFacts {
    let text = tail.text();
    let usage = last_usage(&text).map(|usage| Usage { service: service_tier::of_answer(&text), ..usage });
    AnswerFacts { usage, finish_reason: finish_reason(&text) }
}

/// The answer repeats the request, whose tools may have a parameter of that name: only counts are usage.
fn last_usage(text: &[u8]) -> Option<Usage> {
    let mut end = text.len();
    while let Some(at) = memmem::rfind(&text[..end], b"\"usage\"") {
        if let Some(value) = value_behind(&text[at + b"\"usage\"".len()..])
            && value.starts_with(b"{")
            && let Some(usage) = read_usage(value)
        {
            return Some(usage);
        }
        end = at;
    }
    None
}

fn finish_reason(text: &[u8]) -> Option<String> {
    for at in memmem::find_iter(text, b"\"incomplete_details\"") {
        let value = value_behind(&text[at + b"\"incomplete_details\"".len()..]);
        if let Some(reason) =
            value.and_then(|value| value.strip_prefix(b"{")).and_then(|rest| string_of(rest, b"\"reason\""))
        {
            return Some(reason);
        }
    }
    // Items have a status too, but an answer that failed says why.
    if memmem::find(text, b"\"failed\"").is_some() && error_is_set(text) {
        return Some("failed".to_owned());
    }
    memmem::find(text, b"\"completed\"").map(|_| "completed".to_owned())
}

fn error_is_set(text: &[u8]) -> bool {
    memmem::find_iter(text, b"\"error\"")
        .any(|at| value_behind(&text[at + b"\"error\"".len()..]).is_some_and(|value| value.starts_with(b"{")))
}

/// What stands behind the colon of a key, which ends where `rest` begins.
fn value_behind(rest: &[u8]) -> Option<&[u8]> {
    rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

/// A string field of an object that begins at `object`.
fn string_of(object: &[u8], key: &[u8]) -> Option<String> {
    let end = memchr::memchr(b'}', object).unwrap_or(object.len());
    let at = memmem::find(&object[..end], key)?;
    let value = value_behind(&object[at + key.len()..end])?.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value)?;
    std::str::from_utf8(&value[..end]).ok().map(str::to_owned)
}
