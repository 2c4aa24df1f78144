//! Who wants its thoughts back.

use omniroute_wire::ir::Profile;

use crate::Catalog;

/// Models that want their own thoughts back with their calls, in every later request. Whoever serves them, it is their
/// template that asks. Their makers answer 400 where a thought is missing, and so may a host that is not known here.
///
/// DeepSeek since 3.2 (the first one refused them), Kimi since K2 Thinking, GLM since 4.7, MiniMax.
pub(super) fn wanted_back(provider: &str, name: &str, profile: &mut Profile) {
    let is = |part: &str| name.contains(part);
    let deepseek = is("deepseek") && !is("r1") && !is("coder");
    let kimi = is("kimi-k") && (is("thinking") || !name.ends_with("instruct"));
    profile.reasoning_content_back = deepseek || kimi || is("glm-4.7") || is("glm-5") || is("minimax-m");
    let is_makers =
        ["deepseek", "moonshot", "openrouter"].contains(&provider) || Catalog::builtin().get(provider).is_none();
    // DeepSeek's chat model does not think.
    profile.reasoning_content_demanded = is_makers && ((deepseek && !is("deepseek-chat")) || kimi);
}
