//! The rule that Anthropic and Bedrock share: results come in the very next message, one for each call.

use std::collections::BTreeSet;

/// What a message has of calls and results, in order of its blocks.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub calls: Vec<&'a str>,
    pub results: Vec<&'a str>,
    /// Something else stands before a result.
    pub late_result: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken<'a> {
    /// These calls of the message with this number have no results after it.
    Unanswered(usize, Vec<&'a str>),
    /// This result answers nothing in the message before it.
    Unasked(usize, &'a str),
    /// Text stands before results.
    Late(usize),
    /// One id for two calls or two results.
    Twice(usize, &'a str),
}

pub(super) fn check<'a>(messages: &[Message<'a>]) -> Result<(), Broken<'a>> {
    let none = Message::default();
    for (index, message) in messages.iter().enumerate() {
        let before = index.checked_sub(1).map_or(&none, |before| &messages[before]);
        if let Some(id) = message.results.iter().find(|id| !before.calls.contains(id)) {
            return Err(Broken::Unasked(index, id));
        }
    }
    for (index, message) in messages.iter().enumerate() {
        let after = messages.get(index + 1).unwrap_or(&none);
        for ids in [&message.calls, &message.results] {
            let mut seen = BTreeSet::new();
            if let Some(id) = ids.iter().find(|id| !seen.insert(**id)) {
                return Err(Broken::Twice(index, id));
            }
        }
        let open: Vec<&str> = message.calls.iter().copied().filter(|id| !after.results.contains(id)).collect();
        if !open.is_empty() {
            return Err(Broken::Unanswered(index, open));
        }
        if message.late_result {
            return Err(Broken::Late(index));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(calls: &[&'a str], results: &[&'a str]) -> Message<'a> {
        Message { calls: calls.to_vec(), results: results.to_vec(), late_result: false }
    }

    #[test]
    fn every_call_is_answered_at_once_and_nothing_else_is() {
        let user = || message(&[], &[]);
        assert_eq!(check(&[user(), message(&["a", "b"], &[]), message(&[], &["b", "a"])]), Ok(()));
        assert_eq!(
            check(&[user(), message(&["a", "b"], &[]), message(&[], &["b"])]),
            Err(Broken::Unanswered(1, vec!["a"]))
        );
        assert_eq!(check(&[user(), message(&["a"], &[])]), Err(Broken::Unanswered(1, vec!["a"])));
        assert_eq!(check(&[message(&[], &["a"])]), Err(Broken::Unasked(0, "a")));
        assert_eq!(check(&[message(&["a", "a"], &[]), message(&[], &["a"])]), Err(Broken::Twice(0, "a")));
        let late = Message { late_result: true, ..message(&[], &["a"]) };
        assert_eq!(check(&[message(&["a"], &[]), late]), Err(Broken::Late(1)));
    }
}
