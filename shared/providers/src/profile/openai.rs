//! Models behind OpenAI's APIs: OpenAI's own, and the families that other hosts serve.
//!
//! Sources: developers.openai.com on reasoning effort, per model, and on what reasoning models refuse; the API references
//! of DeepSeek, Moonshot, Z.AI, MiniMax, Mistral, xAI, Groq and OpenRouter.

use omniroute_wire::ir::{Effort, Format, Profile, ThinkingStyle};

use super::{scale, thoughts, version};

const WIDE: [Effort; 5] = [Effort::None, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh];
/// Of GPT since 5.6.
const WIDEST: [Effort; 6] = [Effort::None, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];

/// Families that do not think, by the beginning of the name.
const SILENT: [&str; 19] = [
    "gpt-3",
    "gpt-4",
    "llama",
    "meta-llama",
    "codellama",
    "mixtral",
    "ministral",
    "codestral",
    "pixtral",
    "open-mi",
    "qwen2",
    "qwen-2",
    "phi-3",
    "gemma-2",
    "gemma-3",
    "command-r",
    "jamba",
    "moonshot-v1",
    "sonar",
];

/// A model of OpenAI's, as far as the choice between the two APIs goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelSeries {
    /// The API that alone has it.
    pub(crate) only: Option<Format>,
    /// Thinks: what it thought crosses Responses only, sealed, and is wanted back.
    pub(crate) thinks: bool,
    /// What Chat refuses it.
    pub(crate) tools_on_chat: ToolsOnChat,
}

/// Whether Chat takes functions for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolsOnChat {
    Always,
    /// As long as the request names no effort but "none".
    WithoutEffort,
    /// With "none" as the effort: it thinks if that is not said.
    WithoutThoughts,
}

pub(super) fn apply(provider: &str, name: &str, profile: &mut Profile) {
    let is_openais = provider == "openai" || is_openais(name);
    profile.system_anywhere = is_openais;
    profile.alternatives_at_top = !is_openais;
    // What it leads to is the vendor's own API, and hosts of that.
    profile.compaction_trigger = is_openais && provider != "openrouter";
    // It brings every effort and every parameter to what the model takes.
    if provider == "openrouter" {
        profile.efforts = scale(&Effort::ALL);
        profile.reasoning_details_back = true;
        thoughts::wanted_back(provider, name, profile);
        return;
    }
    if let Some(rest) = name.strip_prefix("gpt-")
        && let Some(version) = version(rest).filter(|version| *version >= (5, 0))
    {
        return gpt(version, rest, profile);
    }
    if is_o_series(name) {
        return o_series(name, profile);
    }
    if SILENT.iter().any(|family| name.starts_with(family)) {
        profile.thinking = ThinkingStyle::None;
        profile.tools = !name.starts_with("sonar");
        return;
    }
    families(provider, name, profile);
}

/// Which of OpenAI's two APIs have a model, and what Chat refuses it.
pub(crate) fn line(model: &str) -> ModelSeries {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let name = name.strip_prefix("ft:").unwrap_or(&name);
    let is = |part: &str| name.contains(part);
    let word = |wanted: &str| name.split('-').any(|word| word == wanted);
    let gpt = name.strip_prefix("gpt-").and_then(version).filter(|version| *version >= (5, 0));
    let is_o_series = is_o_series(name);
    let only_chat = is("audio") || is("search-preview") || is("search-api") || is_first_o(name);
    let only_responses = (gpt.is_some() || is_o_series) && word("pro")
        || (gpt.is_some() || name.starts_with("codex")) && word("codex")
        || is_o_series && is("deep-research")
        || name.starts_with("computer-use");
    ModelSeries {
        only: match (only_chat, only_responses) {
            (true, _) => Some(Format::OpenAiChat),
            (_, true) => Some(Format::OpenAiResponses),
            _ => None,
        },
        thinks: (gpt.is_some() || is_o_series) && !is("chat"),
        tools_on_chat: match gpt {
            Some(_) if is("chat") => ToolsOnChat::Always,
            // It does not think unless it is told to.
            Some((5, 4)) => ToolsOnChat::WithoutEffort,
            Some(version) if version > (5, 4) => ToolsOnChat::WithoutThoughts,
            _ => ToolsOnChat::Always,
        },
    }
}

fn is_o_series(name: &str) -> bool {
    name.starts_with('o') && name[1..].starts_with(|digit: char| digit.is_ascii_digit())
}

/// The first two came before developer messages, tools, schemas and Responses.
fn is_first_o(name: &str) -> bool {
    name.starts_with("o1-mini") || name.starts_with("o1-preview")
}

/// GPT-5 and later.
fn gpt(version: (u32, u32), rest: &str, profile: &mut Profile) {
    use Effort::{High, Low, Max, Medium, Minimal, None, XHigh};
    profile.max_completion_tokens = true;
    profile.developer_role = true;
    let is = |part: &str| rest.contains(part);
    if is("chat") || is("search-api") {
        // The models of ChatGPT: the first of them does not think, the later ones do as they like.
        if version > (5, 0) || is("search-api") {
            reasons(profile);
        }
        profile.thinking = if version > (5, 0) { ThinkingStyle::Effort } else { ThinkingStyle::None };
        profile.efforts = scale(&[Medium]);
        return;
    }
    reasons(profile);
    profile.efforts = scale(match version {
        (5, 0) if is("pro") => &[High],
        (5, 0) if is("codex") => &[Low, Medium, High],
        (5, 0) => &[Minimal, Low, Medium, High],
        (5, 1) if is("codex-max") => &[Low, Medium, High, XHigh],
        (5, 1) if is("codex") => &[Low, Medium, High],
        (5, 1) => &[None, Low, Medium, High],
        (5, 2..=5) if is("pro") => &[Medium, High, XHigh],
        (5, 2..=5) if is("codex") => &[Low, Medium, High, XHigh],
        (5, 2..=5) => &WIDE,
        (5, _) if is("pro") => &[Medium, High, XHigh, Max],
        (5, _) if is("codex") => &[Low, Medium, High, XHigh, Max],
        (5, _) => &WIDEST,
        // Of the sixth only the smaller ones can be told not to think.
        _ if is("luna") || is("terra") || (version == (6, 0) && is("sol")) => &WIDEST,
        _ => &[Low, Medium, High, XHigh, Max],
    });
}

/// What OpenAI's reasoning models refuse.
const fn reasons(profile: &mut Profile) {
    profile.fixed_sampling = true;
    profile.stop = false;
    profile.logprobs = false;
}

/// OpenAI's own, wherever it is served.
fn is_openais(name: &str) -> bool {
    let is_gpt = name.strip_prefix("gpt-").is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()));
    is_gpt || is_o_series(name) || name.starts_with("chatgpt") || name.starts_with("codex-mini")
}

fn o_series(name: &str, profile: &mut Profile) {
    reasons(profile);
    profile.max_completion_tokens = true;
    let is_first = is_first_o(name);
    profile.developer_role = !is_first;
    profile.tools = !is_first;
    profile.json_schema = !is_first;
    if is_first {
        profile.thinking = ThinkingStyle::None;
    }
    profile.efforts = scale(&[Effort::Low, Effort::Medium, Effort::High]);
}

/// xAI's, by what follows "grok-".
fn grok(rest: &str, profile: &mut Profile) {
    let version = version(rest);
    let is_mini = rest.starts_with("3-mini");
    // Its reasoning models take neither penalties nor stop sequences.
    let thinks = is_mini || rest.starts_with("code") || version.is_some_and(|version| version >= (4, 0));
    if thinks && !rest.contains("non-reasoning") {
        profile.penalties = false;
        profile.stop = false;
    }
    if is_mini {
        profile.efforts = scale(&[Effort::Low, Effort::High]);
    } else if !version.is_some_and(|version| version >= (4, 3) && version.1 != 20) {
        // Those before 4.3 refuse to be told.
        profile.thinking = ThinkingStyle::None;
    }
}

/// Other vendors' models.
fn families(provider: &str, name: &str, profile: &mut Profile) {
    use Effort::{High, Low, Max, None, XHigh};
    let is = |part: &str| name.contains(part);
    thoughts::wanted_back(provider, name, profile);
    if is("deepseek") {
        profile.efforts = scale(&[Low, Effort::Medium, High, XHigh, Max]);
        // DeepSeek's own service thinks by default, and then takes no tool choice but "auto" and "none".
        let thinks = is("deepseek-reasoner") || provider == "deepseek" && is("deepseek-v");
        profile.forced_tools = !(thinks || thoughts::is_makers(provider) && is("deepseek-v4"));
        // There they are an error.
        profile.logprobs = !thinks;
    } else if is("kimi-k2") {
        profile.thinking = ThinkingStyle::None;
        // Since 2.5 any other temperature than the model's own is an error.
        profile.fixed_sampling = provider.starts_with("moonshot") && !is("kimi-k2-");
        // While they think, which these do by default, Moonshot's take no tool choice but "auto" and "none".
        profile.forced_tools = !(thoughts::is_makers(provider) && (is("thinking") || !is("kimi-k2-")));
    } else if is("kimi-k") {
        profile.efforts = scale(&[Low, High, Max]);
        profile.fixed_sampling = provider == "moonshot";
        // The third can be made to call, but not a certain tool.
        profile.named_tool = !thoughts::is_makers(provider);
    } else if is("glm-") {
        if is("glm-4") {
            profile.thinking = ThinkingStyle::None;
        }
    } else if is("minimax-m") {
        profile.thinking = ThinkingStyle::None;
    } else if is("mistral") || is("devstral") || is("magistral") {
        // Some of Mistral's own can be told to think or not to; Magistral always does.
        let can_be_told = ["mistral-small", "mistral-medium", "mistral-large-4", "devstral"].iter().any(|own| is(own));
        if can_be_told {
            profile.efforts = scale(&[None, High]);
        } else {
            profile.thinking = ThinkingStyle::None;
        }
    } else if let Some(rest) = name.strip_prefix("grok-") {
        grok(rest, profile);
    } else if is("qwen") && matches!(provider, "groq" | "cerebras") {
        // Here the parameter has words of its own.
        profile.thinking = ThinkingStyle::None;
    }
}

#[cfg(test)]
mod tests {
    use Effort::{High, Low, Max, Medium, Minimal, None as Off, XHigh};
    use omniroute_wire::ir::{Format, ThoughtDemand};

    use super::*;
    use crate::profile;

    #[test]
    fn openais_reasoning_models_have_the_efforts_of_their_pages() {
        for (name, efforts) in [
            ("o1", &[Low, Medium, High][..]),
            ("o3-mini", &[Low, Medium, High]),
            ("o4-mini-2025-04-16", &[Low, Medium, High]),
            ("gpt-5", &[Minimal, Low, Medium, High]),
            ("gpt-5-mini-2025-08-07", &[Minimal, Low, Medium, High]),
            ("gpt-5-codex", &[Low, Medium, High]),
            ("gpt-5-pro", &[High]),
            ("gpt-5.1", &[Off, Low, Medium, High]),
            ("gpt-5.1-2025-11-13", &[Off, Low, Medium, High]),
            ("gpt-5.1-codex-max", &[Low, Medium, High, XHigh]),
            ("gpt-5.2", &[Off, Low, Medium, High, XHigh]),
            ("gpt-5.2-pro", &[Medium, High, XHigh]),
            ("gpt-5.3-codex", &[Low, Medium, High, XHigh]),
            ("gpt-5.4-mini", &[Off, Low, Medium, High, XHigh]),
            ("gpt-5.6-sol", &[Off, Low, Medium, High, XHigh, Max]),
            ("gpt-6-astra", &[Low, Medium, High, XHigh, Max]),
            ("gpt-6-luna", &[Off, Low, Medium, High, XHigh, Max]),
        ] {
            let own = profile("openai", Format::OpenAiResponses, name);
            assert_eq!(own.efforts.0, efforts, "{name}");
            assert_eq!(own.thinking, ThinkingStyle::Effort, "{name}");
            assert!(own.fixed_sampling && own.max_completion_tokens && own.developer_role, "{name}");
        }
        let clamped = |name, wanted| profile("openai", Format::OpenAiChat, name).efforts.clamp(wanted);
        assert_eq!(clamped("gpt-5", Off), Some(Minimal));
        assert_eq!(clamped("gpt-5.1", Minimal), Some(Off), "of two equally near the lower");
        assert_eq!(clamped("gpt-5-pro", Low), Some(High));
        assert_eq!(clamped("o3", Max), Some(High));
        assert_eq!((clamped("gpt-5.4", Max), clamped("gpt-5.6", Max)), (Some(XHigh), Some(Max)));
    }

    #[test]
    fn models_that_do_not_think_keep_their_sampling() {
        for name in ["gpt-4o", "gpt-4.1-mini", "gpt-3.5-turbo", "llama-3.3-70b-versatile", "gpt-5-chat-latest"] {
            let own = profile("openai", Format::OpenAiChat, name);
            assert_eq!(own.thinking, ThinkingStyle::None, "{name}");
            assert!(!own.fixed_sampling, "{name}");
        }
        let first = profile("openai", Format::OpenAiChat, "o1-mini");
        assert!(first.fixed_sampling && !first.developer_role && !first.tools && !first.json_schema);
        for name in ["omni-moderation", "oss-model", "gpt-oss-120b"] {
            let own = profile("groq", Format::OpenAiChat, name);
            assert_eq!((own.thinking, own.fixed_sampling), (ThinkingStyle::Effort, false), "{name}");
        }
        assert!(profile("node-1", Format::OpenAiChat, "azure/gpt-5.4").fixed_sampling, "also elsewhere");
    }

    #[test]
    fn other_vendors_have_their_own_ways() {
        // provider, name, thinking, thoughts back, fixed sampling
        let effort = ThinkingStyle::Effort;
        let nothing = ThinkingStyle::None;
        for (provider, name, thinking, back, fixed) in [
            ("deepseek", "deepseek-reasoner", effort, true, false),
            ("deepseek", "deepseek-v4-pro", effort, true, false),
            ("deepinfra", "deepseek-ai/DeepSeek-R1", effort, false, false),
            ("moonshot", "kimi-k2.5", nothing, true, true),
            ("moonshot", "kimi-k2-thinking", nothing, true, false),
            ("together", "moonshotai/Kimi-K2-Instruct", nothing, false, false),
            ("moonshot", "kimi-k3", effort, true, true),
            ("baseten", "zai-org/GLM-4.7", nothing, true, false),
            ("fireworks", "minimax-m2p5", nothing, true, false),
            ("mistral", "mistral-large-latest", nothing, false, false),
            ("mistral", "mistral-medium-3-5", effort, false, false),
            ("mistral", "magistral-small-latest", nothing, false, false),
            ("mistral", "codestral-latest", nothing, false, false),
            ("xai", "grok-4.5", effort, false, false),
            ("xai", "grok-4.20-reasoning", nothing, false, false),
            ("xai", "grok-code-fast-1", nothing, false, false),
            ("groq", "qwen/qwen3-32b", nothing, false, false),
            ("perplexity", "sonar-pro", nothing, false, false),
            ("openrouter", "openai/gpt-5", effort, false, false),
        ] {
            let own = profile(provider, Format::OpenAiChat, name);
            let found = (own.thinking, own.reasoning_content_back, own.fixed_sampling);
            assert_eq!(found, (thinking, back, fixed), "{provider} {name}");
        }
        let (nobodys, calls, tools) = (ThoughtDemand::None, ThoughtDemand::Calls, ThoughtDemand::Tools);
        for (format, provider, name, back, demanded, details) in [
            (Format::OpenAiChat, "deepseek", "deepseek-v4-pro", true, tools, false),
            (Format::OpenAiChat, "deepseek", "deepseek-chat", true, nobodys, false),
            (Format::OpenAiChat, "moonshot", "kimi-k2.5", true, calls, false),
            (Format::OpenAiChat, "node-1", "mimo-v2.5-pro", true, calls, false),
            (Format::OpenAiChat, "deepinfra", "XiaomiMiMo/MiMo-V2.5", true, nobodys, false),
            (Format::OpenAiChat, "node-1", "zai-org/GLM-5", true, nobodys, false),
            (Format::OpenAiChat, "node-1", "DeepSeek-V3.2", true, tools, false),
            (Format::OpenAiChat, "together", "deepseek-ai/DeepSeek-V3.2", true, nobodys, false),
            (Format::OpenAiChat, "openrouter", "deepseek/deepseek-v4-pro", true, tools, true),
            (Format::OpenAiChat, "openrouter", "google/gemini-3-pro-preview", false, nobodys, true),
            (Format::Anthropic, "node-1", "deepseek-v4-pro", true, tools, false),
            (Format::Anthropic, "node-1", "claude-opus-5", false, nobodys, false),
        ] {
            let own = profile(provider, format, name);
            let found = (own.reasoning_content_back, own.reasoning_content_demanded, own.reasoning_details_back);
            assert_eq!(found, (back, demanded, details), "{provider} {name}");
        }
        assert_eq!(profile("mistral", Format::OpenAiChat, "mistral-small-latest").efforts.clamp(Low), Some(Off));
        assert_eq!(profile("mistral", Format::OpenAiChat, "mistral-small-latest").efforts.clamp(Medium), Some(High));
    }

    #[test]
    fn what_a_reasoning_model_refuses_is_known() {
        // provider, name, sampling, penalties, stop, log probabilities
        for (provider, name, sampling, penalties, stop, logprobs) in [
            ("openai", "gpt-4o", true, true, true, true),
            ("openai", "gpt-5", false, true, false, false),
            ("openai", "gpt-5-chat-latest", true, true, true, true),
            ("openai", "gpt-5.2-chat-latest", false, true, false, false),
            ("openai", "gpt-5.4-mini", false, true, false, false),
            ("node-1", "azure/o4-mini", false, true, false, false),
            ("openai", "o1-preview", false, true, false, false),
            ("xai", "grok-4.5", true, false, false, true),
            ("xai", "grok-3-mini", true, false, false, true),
            ("xai", "grok-4-fast-non-reasoning", true, true, true, true),
            ("xai", "grok-3", true, true, true, true),
            ("deepseek", "deepseek-reasoner", true, true, true, false),
            ("deepseek", "deepseek-chat", true, true, true, true),
            ("node-1", "qwen3", true, true, true, true),
        ] {
            let own = profile(provider, Format::OpenAiChat, name);
            let found = (!own.fixed_sampling, own.penalties, own.stop, own.logprobs);
            assert_eq!(found, (sampling, penalties, stop, logprobs), "{provider} {name}");
        }
    }

    #[test]
    fn system_texts_may_stand_anywhere_with_openais_own_models() {
        for (provider, name, anywhere) in [
            ("openai", "gpt-4o", true),
            ("openai", "ft:gpt-4o:x", true),
            ("node-1", "gpt-5.4", true),
            ("openrouter", "openai/gpt-5", true),
            ("openrouter", "qwen/qwen3-32b", false),
            ("groq", "openai/gpt-oss-120b", false),
            ("node-1", "Qwen3-32B", false),
            ("mistral", "mistral-large-latest", false),
        ] {
            assert_eq!(profile(provider, Format::OpenAiChat, name).system_anywhere, anywhere, "{provider} {name}");
        }
        assert!(!profile("ollama", Format::Ollama, "gpt-oss:20b").system_anywhere);
    }

    #[test]
    fn openai_and_hosts_of_its_models_know_what_asks_for_a_compaction() {
        for (provider, name, knows) in [
            ("openai", "gpt-5.4", true),
            ("openai", "my-deployment", true),
            ("node-1", "gpt-5.4", true),
            ("node-1", "Qwen3-32B", false),
            ("groq", "openai/gpt-oss-120b", false),
            ("openrouter", "openai/gpt-5", false),
        ] {
            let own = profile(provider, Format::OpenAiResponses, name);
            assert_eq!(own.compaction_trigger, knows, "{provider} {name}");
        }
    }

    #[test]
    fn only_openai_refuses_alternatives_at_the_top_of_a_tools_schema() {
        for (provider, name, refuses) in [
            ("openai", "gpt-4o", true),
            ("openai", "my-deployment", true),
            ("node-1", "gpt-5.4", true),
            ("openrouter", "openai/gpt-5", true),
            ("openrouter", "anthropic/claude-opus-5", false),
            ("groq", "openai/gpt-oss-120b", false),
            ("node-1", "Qwen3-32B", false),
        ] {
            for format in [Format::OpenAiChat, Format::OpenAiResponses] {
                assert_eq!(!profile(provider, format, name).alternatives_at_top, refuses, "{provider} {name}");
            }
        }
    }

    #[test]
    fn who_thinks_at_its_makers_cannot_be_made_to_call() {
        // provider, name, any tool, a certain one
        for (provider, name, forced, named) in [
            ("deepseek", "deepseek-reasoner", false, true),
            ("node-1", "deepseek-reasoner", false, true),
            ("deepseek", "deepseek-v4-pro", false, true),
            ("node-1", "deepseek-v4-flash", false, true),
            ("node-1", "DeepSeek-V3.1", true, true),
            ("deepseek", "deepseek-chat", true, true),
            ("deepinfra", "deepseek-ai/DeepSeek-V4-Pro", true, true),
            ("moonshot", "kimi-k2.5", false, true),
            ("node-1", "kimi-k2.7-code", false, true),
            ("moonshot", "kimi-k2-thinking", false, true),
            ("moonshot", "kimi-k2-0905-preview", true, true),
            ("deepinfra", "moonshotai/Kimi-K2.6", true, true),
            ("moonshot", "kimi-k3", true, false),
            ("openai", "gpt-5.4", true, true),
        ] {
            let own = profile(provider, Format::OpenAiChat, name);
            assert_eq!((own.forced_tools, own.named_tool), (forced, named), "{provider} {name}");
        }
    }
}
