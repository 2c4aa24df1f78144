//! Ids and names that the service restricts.

use std::{borrow::Cow, collections::HashSet};

use crate::stable_id::stable_hash;

const MAX_ID: usize = 64;
const MAX_DOCUMENT_NAME: usize = 180;

/// An id of a call as the service takes it. One that is not legal gets a hash of itself, so that two that differ stay two
/// and a call and its result stay together.
pub(super) fn tool_use_id(id: &str) -> Cow<'_, str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if !id.is_empty() && id.len() <= MAX_ID && id.chars().all(legal) {
        return id.into();
    }
    let clean: String = id.chars().take(40).map(|c| if legal(c) { c } else { '_' }).collect();
    format!("{clean}_{:016x}", stable_hash(&[id])).into()
}

/// Names of documents: few characters are legal, and within one request each may stand once.
#[derive(Debug, Default)]
pub(super) struct DocumentNames {
    used: HashSet<String>,
}

// === impl DocumentNames ===

impl DocumentNames {
    pub(super) fn take(&mut self, given: Option<&str>) -> String {
        let clean = clean_name(given.unwrap_or_default());
        let mut name = clean.clone();
        let mut number = 2_u32;
        while !self.used.insert(name.clone()) {
            name = format!("{clean} ({number})");
            number += 1;
        }
        name
    }
}

/// Letters, digits, hyphens, brackets and single spaces; without the file's extension, which the format says already.
fn clean_name(given: &str) -> String {
    let stem = match given.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && super::media::document_format_of(extension).is_some() => stem,
        _ => given,
    };
    let mut name = String::with_capacity(stem.len());
    for c in stem.chars() {
        if name.len() >= MAX_DOCUMENT_NAME {
            break;
        }
        let c = match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']') => c,
            c if c.is_whitespace() => ' ',
            _ => '-',
        };
        if !matches!((c, name.chars().last()), (' ', Some(' ')) | ('-', Some('-'))) {
            name.push(c);
        }
    }
    let trimmed = name.trim_matches([' ', '-']);
    if trimmed.is_empty() { "document".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_as_they_are_when_legal_and_distinct_when_not() {
        assert_eq!(tool_use_id("toolu_01.a:b-c"), "toolu_01.a:b-c");
        let (long, longer) = ("x".repeat(65), "x".repeat(66));
        for id in ["call_1|fc_2", "", "h\u{e9}", long.as_str(), longer.as_str()] {
            let ours = tool_use_id(id);
            assert!(ours.len() <= 64 && ours.is_ascii() && ours.contains('_'), "{ours}");
            assert_eq!(tool_use_id(id), ours);
        }
        assert_ne!(tool_use_id(&long), tool_use_id(&longer));
        assert_ne!(tool_use_id("a|b"), tool_use_id("a/b"));
    }

    #[test]
    fn document_names_are_legal_and_each_stands_once() {
        let mut names = DocumentNames::default();
        let all = [
            Some("r\u{e9}port_v1.pdf"),
            Some("r\u{e9}port_v1.pdf"),
            None,
            Some("document"),
            Some("..."),
            Some("a  \n b.tar.gz"),
        ];
        let all = all.map(|name| names.take(name));
        assert_eq!(all, ["r-port-v1", "r-port-v1 (2)", "document", "document (2)", "document (3)", "a b-tar-gz"]);
        assert!(names.take(Some(&"n".repeat(10_000))).len() <= 200);
    }
}
