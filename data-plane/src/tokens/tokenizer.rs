//! The tokenizers that are public, and how well they stand for those that are not.

use std::sync::atomic::{AtomicBool, Ordering};

use bpe_openai::Tokenizer;

/// A vocabulary. Each takes some ten megabytes once it is used; none is loaded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vocabulary {
    Cl100k,
    O200k,
}

/// How the tokens of one model are counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measure {
    vocabulary: Vocabulary,
    /// Tokens of the model per token of the vocabulary, in percent.
    pub(super) percent: u64,
    pub(super) family: Family,
}

/// Whose formulas count what is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    OpenAi,
    Anthropic,
    Gemini,
    Other,
}

static LOADED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Beginnings of names, and tokens per token of `o200k_base` in percent. Rather too many than too few: who counts wants to
/// know whether a prompt still fits.
const FACTORS: [(&str, u64, Family); 12] = [
    ("claude", 120, Family::Anthropic),
    ("gemini", 105, Family::Gemini),
    ("gemma", 105, Family::Gemini),
    ("llama", 105, Family::Other),
    ("qwen", 105, Family::Other),
    ("deepseek", 105, Family::Other),
    ("grok", 105, Family::Other),
    ("kimi", 105, Family::Other),
    ("glm", 105, Family::Other),
    ("command", 110, Family::Other),
    ("mistral", 115, Family::Other),
    ("codestral", 115, Family::Other),
];
const OTHER: u64 = 110;

const O200K: [&str; 8] = ["gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-6", "gpt-oss", "chatgpt-4o", "codex"];
const CL100K: [&str; 3] = ["gpt-4", "gpt-3.5", "text-embedding"];

// === impl Measure ===

impl Measure {
    /// By the model's name, whatever stands before its last slash.
    pub(super) fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
        let is_o_series = name.starts_with('o') && name[1..].starts_with(|digit: char| digit.is_ascii_digit());
        let openai = |vocabulary| Self { vocabulary, percent: 100, family: Family::OpenAi };
        if is_o_series || begins(&O200K) {
            return openai(Vocabulary::O200k);
        }
        if begins(&CL100K) {
            return openai(Vocabulary::Cl100k);
        }
        // Hosts put a vendor in front: `anthropic.claude-…`, `meta-llama-…`.
        let known = FACTORS.iter().find(|(part, ..)| name.contains(part));
        let (percent, family) = known.map_or((OTHER, Family::Other), |(_, percent, family)| (*percent, *family));
        Self { vocabulary: Vocabulary::O200k, percent, family }
    }

    /// Whether the count of a text is the model's own.
    pub(super) const fn is_exact(self) -> bool {
        matches!(self.family, Family::OpenAi)
    }

    /// Whether the vocabulary is there: reading it takes a while.
    pub(super) fn is_loaded(self) -> bool {
        LOADED[self.vocabulary as usize].load(Ordering::Relaxed)
    }

    /// The tokenizer, read now if it was not before.
    pub(super) fn tokenizer(self) -> &'static Tokenizer {
        let tokenizer = match self.vocabulary {
            Vocabulary::Cl100k => bpe_openai::cl100k_base(),
            Vocabulary::O200k => bpe_openai::o200k_base(),
        };
        LOADED[self.vocabulary as usize].store(true, Ordering::Relaxed);
        tokenizer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_find_their_vocabulary_by_name() {
        for (model, vocabulary, percent) in [
            ("gpt-4o-mini", Vocabulary::O200k, 100),
            ("openai/gpt-4.1", Vocabulary::O200k, 100),
            ("o3-mini", Vocabulary::O200k, 100),
            ("gpt-4-turbo", Vocabulary::Cl100k, 100),
            ("gpt-3.5-turbo", Vocabulary::Cl100k, 100),
            ("anthropic.claude-sonnet-4-5-v1:0", Vocabulary::O200k, 120),
            ("meta-llama/Llama-3.3-70B", Vocabulary::O200k, 105),
            ("olmo", Vocabulary::O200k, 110),
            ("", Vocabulary::O200k, 110),
        ] {
            let measure = Measure::of(model);
            assert_eq!((measure.vocabulary, measure.percent), (vocabulary, percent), "{model}");
        }
    }

    #[test]
    fn the_vocabularies_are_openais() {
        // Counts that OpenAI's own tokenizer gives.
        assert_eq!(Measure::of("gpt-4o").tokenizer().count("hello world"), 2);
        assert_eq!(Measure::of("gpt-4").tokenizer().count("tiktoken is great!"), 6);
        assert!(Measure::of("gpt-4o").is_loaded());
    }
}
