//! Google's models at the Gemini API.
//!
//! Sources: ai.google.dev on thinking (levels of 3.x, budgets of 2.5), structured outputs and function calling; the model
//! pages of Gemini 3.x and Gemma.

use omniroute_wire::ir::{Effort, Profile, ThinkingStyle};

use super::{scale, version};

/// Makes pictures or sound: such models do not think, or cannot be told how much.
const MEDIA: [&str; 5] = ["-image", "-tts", "native-audio", "computer-use", "embedding"];

pub(super) fn apply(name: &str, profile: &mut Profile) {
    if name.starts_with("gemma") {
        return gemma(name, profile);
    }
    let Some(rest) = name.strip_prefix("gemini-") else { return };
    // The `-latest` names stand for the newest family.
    let version = version(rest).or(rest.ends_with("-latest").then_some((3, 1)));
    let Some(version) = version else { return };
    // "Function calling with a response mime type: 'application/json' is unsupported."
    profile.tools_with_format = version >= (3, 0);
    if version < (2, 5) {
        profile.thinking = ThinkingStyle::None;
        profile.full_json_schema = false;
        return;
    }
    if MEDIA.iter().any(|part| rest.contains(part)) {
        profile.thinking = ThinkingStyle::None;
    } else if version < (3, 0) {
        profile.thinking = budget(rest);
    } else {
        profile.efforts = scale(levels(version, rest));
        profile.fixed_sampling = version >= (3, 6) && rest.contains("flash");
    }
}

/// Budgets in tokens. Pro cannot be told not to think.
fn budget(rest: &str) -> ThinkingStyle {
    if rest.contains("flash-lite") {
        ThinkingStyle::Budget { min: 512, max: 24_576, can_disable: true }
    } else if rest.contains("flash") {
        ThinkingStyle::Budget { min: 1, max: 24_576, can_disable: true }
    } else {
        ThinkingStyle::Budget { min: 128, max: 32_768, can_disable: false }
    }
}

fn levels(version: (u32, u32), rest: &str) -> &'static [Effort] {
    if rest.contains("flash") {
        &[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]
    } else if version == (3, 0) {
        &[Effort::Low, Effort::High]
    } else {
        &[Effort::Low, Effort::Medium, Effort::High]
    }
}

/// The open models: before the fourth they neither think nor call tools nor keep to a schema, and a system instruction is an
/// error ("Developer instruction is not enabled").
fn gemma(name: &str, profile: &mut Profile) {
    let number = name.trim_start_matches("gemma").trim_start_matches(['-', 'n']);
    if version(number).is_some_and(|version| version >= (4, 0)) {
        profile.efforts = scale(&[Effort::Minimal, Effort::High]);
        return;
    }
    profile.thinking = ThinkingStyle::None;
    profile.tools = false;
    profile.json_schema = false;
    profile.full_json_schema = false;
    profile.system_text = false;
}

#[cfg(test)]
mod tests {
    use omniroute_wire::ir::Format;

    use super::*;
    use crate::profile;

    #[test]
    fn each_family_thinks_in_its_own_words() {
        use Effort::{High, Low, Medium, Minimal};
        let budget = |min, max, can_disable| ThinkingStyle::Budget { min, max, can_disable };
        for (name, thinking, levels) in [
            ("gemini-1.5-pro", ThinkingStyle::None, None),
            ("gemini-2.0-flash", ThinkingStyle::None, None),
            ("gemini-2.5-pro", budget(128, 32_768, false), None),
            ("gemini-2.5-flash", budget(1, 24_576, true), None),
            ("gemini-2.5-flash-lite-preview-09-2025", budget(512, 24_576, true), None),
            ("gemini-2.5-flash-image", ThinkingStyle::None, None),
            ("gemini-3-pro-preview", ThinkingStyle::Effort, Some(&[Low, High][..])),
            ("gemini-3.1-pro-preview", ThinkingStyle::Effort, Some(&[Low, Medium, High])),
            ("gemini-3-flash-preview", ThinkingStyle::Effort, Some(&[Minimal, Low, Medium, High])),
            ("gemini-3.5-flash", ThinkingStyle::Effort, Some(&[Minimal, Low, Medium, High])),
            ("gemini-flash-latest", ThinkingStyle::Effort, Some(&[Minimal, Low, Medium, High])),
            ("gemini-3-pro-image-preview", ThinkingStyle::None, None),
            ("gemma-3-27b-it", ThinkingStyle::None, None),
            ("gemma-4-31b-it", ThinkingStyle::Effort, Some(&[Minimal, High])),
        ] {
            let own = profile("gemini", Format::Gemini, name);
            assert_eq!(own.thinking, thinking, "{name}");
            if let Some(levels) = levels {
                assert_eq!(own.efforts.0, levels, "{name}");
            }
        }
    }

    #[test]
    fn schemas_and_tools_come_with_the_version() {
        for (name, full, tools) in [
            ("gemini-2.0-flash", false, true),
            ("gemini-2.5-flash", true, true),
            ("gemini-3-pro-preview", true, true),
            ("gemma-3-27b-it", false, false),
            ("gemma-3n-e4b-it", false, false),
            ("gemma-4-31b-it", true, true),
        ] {
            let own = profile("gemini", Format::Gemini, name);
            assert_eq!((own.full_json_schema, own.tools), (full, tools), "{name}");
            assert_eq!(own.system_text, tools, "{name}");
            assert_eq!(own.tools_with_format, !name.starts_with("gemini-2"), "{name}");
        }
        assert!(profile("gemini", Format::Gemini, "gemini-3.6-flash").fixed_sampling);
        assert!(!profile("gemini", Format::Gemini, "gemini-3.5-flash").fixed_sampling);
    }
}
