//! What a model can take, told by its family: the part of a name that vendors keep from version to version.
//!
//! Sources: the vendors' model pages. What is not known here is the default of [`Profile`].

use omniroute_wire::ir::{Effort, EffortScale, Format, Profile, ThinkingStyle};

use crate::Catalog;

/// The profile of `model` at `provider`, which is spoken to in `format`.
pub fn profile(provider: &str, format: Format, model: &str) -> Profile {
    let name = model.rsplit('/').next().unwrap_or(model);
    let mut profile = Profile { max_output_tokens: listed_limit(provider, model), ..Profile::default() };
    match format {
        Format::OpenAiChat | Format::OpenAiResponses => openai(name, &mut profile),
        Format::Anthropic | Format::Bedrock => claude(name, &mut profile),
        Format::Gemini => gemini(name, &mut profile),
        Format::Cohere => cohere(name, &mut profile),
        Format::Ollama => {}
    }
    if matches!(format, Format::Ollama | Format::Bedrock) {
        profile.media_urls = false;
    }
    profile
}

fn listed_limit(provider: &str, model: &str) -> Option<u64> {
    let models = &Catalog::builtin().get(provider)?.models;
    models.iter().find(|known| known.id == model)?.max_output_tokens
}

fn openai(name: &str, profile: &mut Profile) {
    let is_o_series = name.starts_with('o') && name[1..].starts_with(|digit: char| digit.is_ascii_digit());
    if name.starts_with("gpt-5") || is_o_series {
        profile.fixed_sampling = true;
        profile.max_completion_tokens = true;
        profile.developer_role = true;
        let lowest = if is_o_series { Effort::Low } else { Effort::Minimal };
        let scale = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
        profile.efforts = EffortScale(scale.into_iter().filter(|effort| *effort >= lowest).collect());
    } else if name.starts_with("gpt-4") || name.starts_with("gpt-3") {
        profile.thinking = ThinkingStyle::None;
    }
    if name.contains("deepseek") {
        profile.reasoning_content_back = true;
    }
}

fn claude(name: &str, profile: &mut Profile) {
    let is = |part: &str| name.contains(part);
    // From 4.6 on a model decides itself how much to think; those before take a budget, those before 3.7 none.
    let adaptive = ["opus-4-6", "opus-4-7", "opus-4-8", "opus-5", "sonnet-4-6", "sonnet-5", "haiku-5"];
    if adaptive.iter().any(|part| is(part)) {
        profile.thinking = ThinkingStyle::Adaptive;
        profile.efforts = EffortScale(vec![Effort::Low, Effort::Medium, Effort::High, Effort::Max]);
    } else if is("3-7") || is("-4-") || name.ends_with("-4") {
        profile.thinking = ThinkingStyle::Budget { min: 1024, max: 128_000, can_disable: true };
    } else {
        profile.thinking = ThinkingStyle::None;
    }
    // Schema output came with 4.5.
    profile.json_schema = adaptive.iter().any(|part| is(part)) || is("-4-5");
    if profile.max_output_tokens.is_none() {
        profile.max_output_tokens = Some(if is("claude-3-5") || is("claude-3-haiku") || is("claude-3-opus") {
            if is("claude-3-5") { 8_192 } else { 4_096 }
        } else if is("opus-4-0") || is("opus-4-1") || is("opus-4-2025") {
            32_000
        } else {
            64_000
        });
    }
}

fn gemini(name: &str, profile: &mut Profile) {
    if name.starts_with("gemini-3") {
        profile.thinking = ThinkingStyle::Effort;
        profile.efforts = EffortScale(vec![Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]);
    } else if name.starts_with("gemini-2.5") {
        // Pro cannot be told not to think.
        let can_disable = !name.contains("pro");
        profile.thinking = ThinkingStyle::Budget { min: if can_disable { 0 } else { 128 }, max: 32_768, can_disable };
    } else {
        profile.thinking = ThinkingStyle::None;
        profile.full_json_schema = !(name.starts_with("gemini-1") || name.starts_with("gemini-2.0"));
    }
}

/// Only models named for it think; a budget has no stated bounds but the answer's own.
fn cohere(name: &str, profile: &mut Profile) {
    profile.thinking = if name.contains("reasoning") {
        ThinkingStyle::Budget { min: 1, max: 31_000, can_disable: true }
    } else {
        ThinkingStyle::None
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart_by_their_names() {
        let o3 = profile("openai", Format::OpenAiChat, "o3-mini");
        assert!(o3.fixed_sampling && o3.max_completion_tokens);
        assert!(!profile("openai", Format::OpenAiChat, "omni").fixed_sampling);
        assert_eq!(profile("openai", Format::OpenAiChat, "gpt-4o").thinking, ThinkingStyle::None);
        let claude = |name| profile("anthropic", Format::Anthropic, name);
        assert_eq!(claude("claude-opus-4-6").thinking, ThinkingStyle::Adaptive);
        assert!(matches!(claude("claude-sonnet-4-5-20250929").thinking, ThinkingStyle::Budget { .. }));
        assert_eq!(claude("claude-3-5-haiku-20241022").thinking, ThinkingStyle::None);
        assert_eq!(claude("claude-3-5-haiku-20241022").max_output_tokens, Some(8_192));
        let flash = profile("gemini", Format::Gemini, "gemini-2.5-flash");
        assert!(matches!(flash.thinking, ThinkingStyle::Budget { can_disable: true, .. }));
        let cohere = |name| profile("cohere", Format::Cohere, name).thinking;
        assert!(matches!(cohere("command-a-reasoning-08-2025"), ThinkingStyle::Budget { .. }));
        assert_eq!(cohere("command-a-03-2025"), ThinkingStyle::None);
        assert!(!profile("ollama", Format::Ollama, "llama3").media_urls);
    }
}
