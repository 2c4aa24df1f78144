//! Formats whose models come from many vendors: Ollama, Cohere, Bedrock.
//!
//! Sources: ollama.com on thinking and its model library; docs.cohere.com on reasoning, structured outputs and tool use;
//! Amazon's Converse guide, its table of supported features, and its guide to Nova.

use omniroute_wire::ir::{Effort, Profile, ThinkingStyle};

use super::{claude, scale};

/// Models that Ollama refuses to ask for thoughts, by the beginning of the name.
const OLLAMA_SILENT: [&str; 24] = [
    "llama",
    "codellama",
    "tinyllama",
    "gemma2",
    "gemma3",
    "gemma:",
    "mistral",
    "mixtral",
    "ministral",
    "devstral",
    "codestral",
    "qwen2",
    "qwen3-coder",
    "phi3",
    "phi4:",
    "phi4-mini:",
    "smollm",
    "starcoder",
    "command-r",
    "granite3",
    "deepseek-coder",
    "deepseek-v2",
    "llava",
    "moondream",
];
/// Models that think or do not, and know no levels.
const OLLAMA_SWITCHED: [&str; 12] = [
    "qwen3",
    "deepseek-r1",
    "deepseek-v3.1",
    "deepseek-v4",
    "magistral",
    "glm-",
    "kimi-",
    "minimax-m",
    "gemma4",
    "nemotron-3",
    "cogito",
    "lfm2.5-thinking",
];

pub(super) fn ollama(name: &str, profile: &mut Profile) {
    let is = |family: &&&str| name.starts_with(**family);
    // A name without a tag has none to end it with.
    let tagged = format!("{name}:");
    if OLLAMA_SILENT.iter().any(|family| tagged.starts_with(family)) || (is(&&"qwen3") && name.contains("instruct")) {
        profile.thinking = ThinkingStyle::None;
    } else if OLLAMA_SWITCHED.iter().any(|family| is(&family)) {
        profile.thinking = ThinkingStyle::Adaptive;
    }
}

pub(super) fn cohere(name: &str, profile: &mut Profile) {
    let is = |part: &str| name.contains(part);
    profile.thinking = if is("reasoning") || is("command-a-plus") {
        ThinkingStyle::Budget { min: 1, max: 31_000, can_disable: true }
    } else {
        ThinkingStyle::None
    };
    profile.tools = !is("aya") && !is("vision") && !is("translate");
    // Since the models of August 2024.
    profile.json_schema = is("command-a") || is("08-2024") || is("command-r7b");
}

pub(super) fn bedrock(name: &str, profile: &mut Profile) {
    let is = |part: &str| name.contains(part);
    if is("claude") {
        return claude::apply("bedrock", name, profile);
    }
    // Of the other vendors' models few keep to a schema; a forced tool does what it does.
    profile.json_schema = false;
    profile.efforts = scale(&[Effort::Low, Effort::Medium, Effort::High]);
    let thinks = is("nova-2") || is("openai.");
    if !thinks {
        profile.thinking = ThinkingStyle::None;
    }
    profile.reasoning_content_back = is("openai.") || is("moonshot") || is("minimax");
    let too_old =
        ["titan-text", "llama2", "llama3-8b", "llama3-70b", "mistral-7b", "mixtral", "deepseek.r1", "ai21.j2"];
    profile.tools = !too_old.iter().any(|old| is(old));
}

#[cfg(test)]
mod tests {
    use omniroute_wire::ir::Format;

    use super::*;
    use crate::profile;

    #[test]
    fn ollamas_models_are_asked_for_thoughts_only_where_they_have_some() {
        for (name, thinking) in [
            ("llama3.2", ThinkingStyle::None),
            ("gemma3:27b", ThinkingStyle::None),
            ("qwen2.5-coder:7b", ThinkingStyle::None),
            ("qwen3-coder:30b", ThinkingStyle::None),
            ("qwen3:4b-instruct", ThinkingStyle::None),
            ("phi4", ThinkingStyle::None),
            ("phi4-reasoning", ThinkingStyle::Effort),
            ("qwen3:8b", ThinkingStyle::Adaptive),
            ("qwen3.5:397b", ThinkingStyle::Adaptive),
            ("deepseek-r1:7b", ThinkingStyle::Adaptive),
            ("gpt-oss:20b", ThinkingStyle::Effort),
            ("someone/new-model", ThinkingStyle::Effort),
        ] {
            assert_eq!(profile("ollama", Format::Ollama, name).thinking, thinking, "{name}");
        }
        assert!(!profile("ollama", Format::Ollama, "llama3.2").media_urls);
    }

    #[test]
    fn coheres_models_differ_in_thoughts_tools_and_schemas() {
        for (name, thinks, tools, schema) in [
            ("command-a-03-2025", false, true, true),
            ("command-a-reasoning-08-2025", true, true, true),
            ("command-a-vision-07-2025", false, false, true),
            ("command-r-08-2024", false, true, true),
            ("command-r7b-12-2024", false, true, true),
            ("command-r-plus", false, true, false),
            ("c4ai-aya-expanse-32b", false, false, false),
        ] {
            let own = profile("cohere", Format::Cohere, name);
            assert_eq!(matches!(own.thinking, ThinkingStyle::Budget { .. }), thinks, "{name}");
            assert_eq!((own.tools, own.json_schema), (tools, schema), "{name}");
        }
    }

    #[test]
    fn bedrock_serves_every_vendor_in_its_own_way() {
        for (name, thinking, tools, schema) in [
            ("us.anthropic.claude-opus-4-6-v1", ThinkingStyle::Adaptive, true, true),
            ("anthropic.claude-3-haiku-20240307-v1:0", ThinkingStyle::None, true, false),
            ("amazon.nova-pro-v1:0", ThinkingStyle::None, true, false),
            ("us.amazon.nova-2-lite-v1:0", ThinkingStyle::Effort, true, false),
            ("openai.gpt-oss-120b-1:0", ThinkingStyle::Effort, true, false),
            ("us.deepseek.r1-v1:0", ThinkingStyle::None, false, false),
            ("us.meta.llama3-3-70b-instruct-v1:0", ThinkingStyle::None, true, false),
            ("meta.llama3-8b-instruct-v1:0", ThinkingStyle::None, false, false),
        ] {
            let own = profile("bedrock", Format::Bedrock, name);
            assert_eq!((own.thinking, own.tools, own.json_schema), (thinking, tools, schema), "{name}");
            assert!(!own.media_urls && !own.mid_conversation_system, "{name}");
        }
    }
}
