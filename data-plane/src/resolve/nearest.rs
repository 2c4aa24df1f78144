//! What the client may have meant when it named a model that does not exist.

use strsim::levenshtein;

/// Suggestions at most.
const MAX: usize = 3;

/// The ids that are nearest to `wanted`, best first: same model under another prefix, other spelling, a part of the
/// name. Cheap filters come first, so that a long list costs little.
pub(super) fn nearest<'a>(wanted: &str, ids: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_ascii_lowercase();
    let mut best: Vec<(usize, &str)> = Vec::with_capacity(MAX + 1);
    for id in ids {
        let Some(distance) = distance(&wanted, &id.to_ascii_lowercase()) else {
            continue;
        };
        let place = best.partition_point(|found| *found <= (distance, id));
        if place < MAX {
            best.insert(place, (distance, id));
            best.truncate(MAX);
        }
    }
    best.into_iter().map(|(_, id)| id).collect()
}

/// `None` when the two have little in common.
fn distance(wanted: &str, id: &str) -> Option<usize> {
    let (wanted_name, name) = (model_name(wanted), model_name(id));
    if wanted_name == name {
        return Some(0);
    }
    let is_part = wanted_name.len().min(name.len()) >= 3 && (name.contains(wanted_name) || wanted_name.contains(name));
    if is_part {
        return Some(1 + wanted_name.len().abs_diff(name.len()));
    }
    let limit = 1 + wanted_name.len() / 4;
    let may_be_near = wanted_name.len().abs_diff(name.len()) <= limit
        && (letters(wanted_name) ^ letters(name)).count_ones() as usize <= 2 * limit;
    if !may_be_near {
        return None;
    }
    let edits = levenshtein(wanted_name, name);
    (edits <= limit && edits < wanted_name.len()).then_some(2 * edits)
}

/// What follows the last slash.
fn model_name(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}

/// The set of bytes that occur, folded into 64 bits. One edit changes it by two bits at most.
fn letters(text: &str) -> u64 {
    text.bytes().fold(0, |set, byte| set | 1 << (byte & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 6] = [
        "mock/gpt-4o-mini",
        "openai/gpt-4o",
        "openai/gpt-4o-mini",
        "groq/llama-3.3-70b",
        "nebius/Qwen/Qwen3-8B",
        "x/y",
    ];

    fn near(wanted: &str) -> Vec<&'static str> {
        nearest(wanted, IDS.into_iter())
    }

    #[test]
    fn the_same_model_under_another_prefix_comes_first() {
        assert_eq!(near("azure/gpt-4o-mini")[..2], ["mock/gpt-4o-mini", "openai/gpt-4o-mini"]);
    }

    #[test]
    fn a_typo_and_a_part_of_the_name_are_recognised() {
        assert_eq!(near("openai/gtp-4o")[0], "openai/gpt-4o");
        assert_eq!(near("groq/llama-3.3"), ["groq/llama-3.3-70b"]);
        assert_eq!(near("nebius/qwen3-8b"), ["nebius/Qwen/Qwen3-8B"]);
    }

    #[test]
    fn something_else_altogether_gets_no_suggestion() {
        assert!(near("whisper-large").is_empty());
        assert!(near("").is_empty());
    }
}
