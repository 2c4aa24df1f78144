//! How a model is told to think: in its vendor's own words.

use super::vendor::Vendor;
use crate::{
    codec::EncodeTarget,
    ir::{Effort, Family, Format, Losses, Part, Reasoning, Request, Role, ThinkingStyle},
};

/// What is left for the answer beside a budget, where nobody said how long it may be.
const ROOM_FOR_ANSWER: u64 = 4_096;

/// How the request asks for thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Thinking {
    pub(super) mode: Mode,
    /// Goes into `outputConfig`.
    pub(super) effort: Option<&'static str>,
    /// At least so much room must the answer have, thoughts included.
    pub(super) max_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing is said.
    #[default]
    Unsaid,
    ClaudeBudget(u64),
    /// With whether thoughts are shown, where the client says so.
    ClaudeAdaptive(Option<bool>),
    NovaEffort(Option<&'static str>),
    OpenAiEffort(&'static str),
}

// === impl Thinking ===

impl Thinking {
    /// `forced`: whether some tool must be called, which Claude does not do while thinking.
    pub(super) fn of(
        request: &Request<'_>,
        target: &EncodeTarget<'_>,
        vendor: Vendor,
        forced: bool,
        losses: &mut Losses,
    ) -> Self {
        let Some(reasoning) = request.reasoning else { return Self::default() };
        let off = reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None);
        let asked = reasoning.enabled == Some(true)
            || reasoning.adaptive
            || reasoning.budget.is_some_and(|budget| budget > 0)
            || reasoning.effort.is_some();
        let plan = match (vendor, target.profile.thinking) {
            // Claude does not think unless told to.
            (Vendor::Claude, _) if off || !asked => return Self::default(),
            (Vendor::Claude, ThinkingStyle::Budget { .. } | ThinkingStyle::Adaptive) if forced => None,
            (Vendor::Claude, ThinkingStyle::Budget { min, max, .. }) => budget(request, target, reasoning, min, max),
            (Vendor::Claude, ThinkingStyle::Adaptive) => Some(adaptive(request, target, reasoning, losses)),
            (Vendor::Nova, ThinkingStyle::Effort) if target.model.contains("nova-2") => {
                let effort = effort_of(request, target, reasoning, losses);
                let mode = if off { Mode::NovaEffort(None) } else { Mode::NovaEffort(effort.or(Some("medium"))) };
                (off || asked).then_some(Self { mode, ..Self::default() })
            }
            (Vendor::OpenAi, ThinkingStyle::Effort) if !off => effort_of(request, target, reasoning, losses)
                .map(|word| Self { mode: Mode::OpenAiEffort(word), ..Self::default() }),
            _ => None,
        };
        if plan.is_none() && asked && !off {
            losses.drop_field("reasoning");
        }
        plan.unwrap_or_default()
    }

    pub(super) const fn is_on(&self) -> bool {
        !matches!(self.mode, Mode::Unsaid | Mode::NovaEffort(None))
    }
}

/// `None` where it cannot be: no room, or an open round whose calls were not thought out under a signature that is good here.
fn budget(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    reasoning: Reasoning,
    min: u64,
    max: u64,
) -> Option<Thinking> {
    if open_round_lacks_thinking(request) {
        return None;
    }
    let min = min.max(1_024);
    let most = target.profile.max_output_tokens;
    let cap = match (request.max_tokens, most) {
        (Some(limit), Some(most)) => Some(limit.min(most)),
        (limit, most) => limit.or(most),
    };
    let wanted = reasoning.budget.filter(|budget| *budget > 0);
    let wanted = wanted.unwrap_or_else(|| reasoning.effort.unwrap_or(Effort::Medium).budget(cap, max));
    let ceiling = cap.map_or(max, |cap| max.min(cap.saturating_sub(1)));
    if ceiling < min {
        return None;
    }
    let budget = wanted.clamp(min, ceiling);
    let max_tokens = cap.unwrap_or_else(|| budget.saturating_add(ROOM_FOR_ANSWER));
    Some(Thinking { mode: Mode::ClaudeBudget(budget), effort: None, max_tokens: Some(max_tokens) })
}

fn adaptive(request: &Request<'_>, target: &EncodeTarget<'_>, reasoning: Reasoning, losses: &mut Losses) -> Thinking {
    let by_budget = |budget| Effort::nearest(budget, target.profile.max_output_tokens, 128_000);
    let wanted = reasoning.effort.or(reasoning.budget.map(by_budget));
    let effort = wanted.and_then(|wanted| target.profile.efforts.clamp(wanted));
    reasoning.list_moved(effort, losses);
    // Newer models say nothing of their thoughts unless asked. An Anthropic client would have asked; dialects that show
    // thoughts get them without having to.
    let visible = reasoning.visible.or((request.format != Format::Anthropic).then_some(true));
    Thinking { mode: Mode::ClaudeAdaptive(visible), effort: effort.map(word), max_tokens: None }
}

fn effort_of(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    reasoning: Reasoning,
    losses: &mut Losses,
) -> Option<&'static str> {
    let cap = request.max_tokens.or(target.profile.max_output_tokens);
    let wanted = reasoning.effort.or_else(|| reasoning.budget.map(|budget| Effort::nearest(budget, cap, u64::MAX)))?;
    let given = target.profile.efforts.clamp(wanted);
    reasoning.list_moved(given, losses);
    given.map(word)
}

const fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

/// Claude demands that the last assistant's message of an open round of calls begins with a signed thought.
fn open_round_lacks_thinking(request: &Request<'_>) -> bool {
    let Some(last) = request.turns.iter().rposition(|turn| turn.role == Role::Assistant) else { return false };
    let is_call = |part: &Part<'_>| matches!(part, Part::ToolCall { .. });
    let first = request.turns[..=last].iter().rposition(|turn| turn.role != Role::Assistant).map_or(0, |at| at + 1);
    let mut parts = request.turns[first..=last].iter().flat_map(|turn| &turn.parts);
    if !parts.clone().any(is_call) {
        return false;
    }
    let silent = |part: &&Part<'_>| !matches!(part, Part::Text { text, .. } if text.trim().is_empty());
    !parts.find(silent).is_some_and(|part| match part {
        Part::Thinking { signature, .. } => {
            signature.as_ref().is_some_and(|signature| Vendor::Claude.accepts(signature))
        }
        Part::RedactedThinking { data } => data.family == Family::Bedrock,
        _ => false,
    })
}
