//! What a model can take, told by its name: vendors keep the parts of a name from version to version.
//!
//! Output limits are those of the catalog and the table of models where the host is one of the vendors' own; everything else is
//! a rule in [`openai`], [`claude`], [`gemini`] or [`others`], with its source. What no rule knows is the default of
//! [`Profile`]: what an unknown model most likely takes.

mod claude;
mod gemini;
mod openai;
mod others;
mod thoughts;

use omniroute_wire::ir::{Effort, EffortScale, Format, Profile};

use crate::{Catalog, ModelTable};

pub(crate) use self::openai::{ToolsOnChat, line as openai_line};

/// Hosts whose lists tell their own models' limits. Resellers tend to list the context window instead.
const VENDORS: [&str; 5] = ["anthropic", "bedrock", "cohere", "gemini", "openai"];

/// The profile of `model` at `provider`, which is spoken to in `format`.
pub fn profile(provider: &str, format: Format, model: &str) -> Profile {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let mut profile = Profile { max_output_tokens: listed_limit(provider, model), ..Profile::default() };
    match format {
        Format::OpenAiChat | Format::OpenAiResponses => openai::apply(provider, &name, &mut profile),
        Format::Anthropic => claude::apply(provider, &name, &mut profile),
        Format::Gemini => gemini::apply(&name, &mut profile),
        Format::Ollama => others::ollama(&name, &mut profile),
        Format::Cohere => others::cohere(&name, &mut profile),
        Format::Bedrock => others::bedrock(&name, &mut profile),
    }
    if matches!(format, Format::Ollama | Format::Bedrock) {
        profile.media_urls = false;
    }
    profile
}

/// Whether a model is one that is known to think before it answers, told by its name; a request may ask others to.
///
/// Families: OpenAI's o series and GPT-5, DeepSeek R1 and `deepseek-reasoner`, Qwen's QwQ, Magistral, Grok 4 and 3 mini,
/// Gemini since 2.5, gpt-oss, and whatever calls itself thinking, reasoning or research.
pub fn thinks(model: &str) -> bool {
    const STARTS: [&str; 7] = ["gpt-oss", "qwq", "magistral", "grok-4", "grok-3-mini", "deepseek-r", "codex"];
    const PARTS: [&str; 5] = ["think", "reason", "research", "-r1", "r1-"];
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let since = |family: &str, first: (u32, u32)| {
        name.strip_prefix(family).and_then(version).is_some_and(|version| version >= first)
    };
    let is_o_series = name.starts_with('o') && name[1..].starts_with(|digit: char| digit.is_ascii_digit());
    is_o_series
        || (since("gpt-", (5, 0)) && !name.contains("chat"))
        || since("gemini-", (2, 5))
        || STARTS.iter().any(|start| name.starts_with(start))
        || PARTS.iter().any(|part| name.contains(part))
}

fn listed_limit(provider: &str, model: &str) -> Option<u64> {
    let catalogued = Catalog::builtin().get(provider).and_then(|known| {
        let facts = known.models.iter().find(|facts| facts.id == model)?;
        facts.max_output_tokens
    });
    catalogued.or_else(|| {
        let is_vendor = VENDORS.contains(&provider);
        ModelTable::builtin().get(provider, model).filter(|_| is_vendor)?.max_output_tokens
    })
}

fn scale(efforts: &[Effort]) -> EffortScale {
    EffortScale(efforts.to_vec())
}

/// The numbers that begin in `text`: `4-6-20260205` is (4, 6), `3` is (3, 0). Dates are no versions.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_alphanumeric()).map(|word| match word.len() {
        1 | 2 => word.parse::<u32>().ok(),
        _ => None,
    });
    let major = numbers.next()??;
    Some((major, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_dates() {
        for (text, expected) in [
            ("4-6-20260205", Some((4, 6))),
            ("4.6", Some((4, 6))),
            ("4-20250514-v1:0", Some((4, 0))),
            ("4-6-v1", Some((4, 6))),
            ("3", Some((3, 0))),
            ("2.5-flash", Some((2, 5))),
            ("preview", None),
            ("20250514", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn limits_come_from_the_vendors_own_lists() {
        let limit = |provider, format, model| profile(provider, format, model).max_output_tokens;
        assert_eq!(limit("anthropic", Format::Anthropic, "claude-opus-4-6"), Some(128_000));
        assert_eq!(limit("gemini", Format::Gemini, "gemini-2.5-pro"), Some(65_536));
        assert_eq!(limit("openai", Format::OpenAiChat, "gpt-4o"), Some(16_384));
        assert_eq!(limit("bedrock", Format::Bedrock, "amazon.nova-pro-v1:0"), Some(10_000));
        assert_eq!(limit("deepinfra", Format::OpenAiChat, "anthropic/claude-4-opus"), None, "that is its window");
        assert_eq!(limit("node-1", Format::OpenAiChat, "anything"), None);
    }

    #[test]
    fn models_that_think_are_told_by_their_names() {
        for model in [
            "o3",
            "o4-mini",
            "openai/o1-pro",
            "gpt-5",
            "GPT-5.2-codex",
            "gemini-2.5-pro",
            "gemini-3-flash",
            "grok-4-0709",
            "deepseek-reasoner",
            "DeepSeek-R1",
            "deepseek-r1-distill-llama-70b",
            "qwq-32b",
            "kimi-k2-thinking",
            "o3-deep-research",
            "magistral-medium",
            "openai/gpt-oss-120b",
        ] {
            assert!(thinks(model), "{model}");
        }
        for model in [
            "gpt-4o",
            "gpt-4.1",
            "gpt-5-chat-latest",
            "gemini-2.0-flash",
            "claude-sonnet-4",
            "llama-3.3-70b",
            "grok-3",
            "deepseek-chat",
            "olmo-2",
            "mistral-large",
            "",
            "o",
        ] {
            assert!(!thinks(model), "{model}");
        }
    }

    #[test]
    fn an_unknown_model_gets_the_default() {
        for format in [Format::OpenAiChat, Format::OpenAiResponses, Format::Gemini] {
            assert_eq!(profile("node-1", format, "something-new"), Profile::default(), "{format}");
        }
    }
}
