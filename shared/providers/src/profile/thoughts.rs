//! Who wants its thoughts back.

use omniroute_wire::ir::{Profile, ThoughtDemand};

use crate::{Catalog, Group};

/// Models that want their own thoughts back with their calls, in every later request. Whoever serves them, it is their
/// template that asks. Their makers answer 400 where a thought is missing, and so may a host that is not known here.
///
/// DeepSeek since 3.2 (the first one refused them), Kimi since K2 Thinking, GLM since 4.7, MiniMax, MiMo since 2. Among tools
/// DeepSeek asks it of every answer, the others of those with calls.
pub(super) fn wanted_back(provider: &str, name: &str, profile: &mut Profile) {
    let is = |part: &str| name.contains(part);
    let deepseek = is("deepseek") && !is("r1") && !is("coder");
    let kimi = is("kimi-k") && (is("thinking") || !name.ends_with("instruct"));
    let mimo = is("mimo-v2");
    profile.reasoning_content_back = deepseek || kimi || mimo || is("glm-4.7") || is("glm-5") || is("minimax-m");
    profile.reasoning_content_demanded = match () {
        () if !is_makers(provider) && provider != "openrouter" => ThoughtDemand::None,
        // DeepSeek's chat model does not think.
        () if deepseek && !is("deepseek-chat") => ThoughtDemand::Tools,
        () if kimi || mimo => ThoughtDemand::Calls,
        () => ThoughtDemand::None,
    };
}

/// Whether a request may come to the maker of a model who is strict with it: unless the host is known to serve others' models
/// itself.
pub(super) fn is_makers(provider: &str) -> bool {
    let known = Catalog::builtin().get(provider);
    known.is_none_or(|known| matches!(known.group, Group::Maker | Group::Gateway))
}
