//! `thinkingConfig`: a level on 3.x, a budget on 2.5.

use super::message::WholeNumber;
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Effort, Format, Losses, Reasoning, Request, ThinkingStyle},
    object::wire_object,
    text::Str,
    write::Writer,
};

wire_object! {
    pub(super) struct ThinkingConfig<'a> {
        include_thoughts: bool = "includeThoughts" | "include_thoughts",
        budget: WholeNumber = "thinkingBudget" | "thinking_budget",
        level: Str<'a> = "thinkingLevel" | "thinking_level",
    }
}

pub(super) fn decode_thinking(config: ThinkingConfig<'_>) -> Result<Reasoning, WireError> {
    let mut reasoning = Reasoning { visible: config.include_thoughts, ..Reasoning::default() };
    match config.budget {
        None => {}
        Some(WholeNumber(0)) => reasoning.enabled = Some(false),
        Some(WholeNumber(-1)) => {
            reasoning.enabled = Some(true);
            reasoning.adaptive = true;
        }
        Some(budget) => match budget.count() {
            Some(tokens) => {
                reasoning.enabled = Some(true);
                reasoning.budget = Some(tokens);
            }
            None => {
                return Err(WireError::field(
                    "generationConfig.thinkingConfig.thinkingBudget",
                    "`thinkingBudget` must be -1 (dynamic), 0 (off) or a number of tokens",
                ));
            }
        },
    }
    if let Some(word) = config.level {
        reasoning.effort = match word.to_ascii_lowercase().as_str() {
            "thinking_level_unspecified" | "" => None,
            "minimal" => Some(Effort::Minimal),
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            other => {
                return Err(WireError::field(
                    "generationConfig.thinkingConfig.thinkingLevel",
                    format!("`{other}` is no level; use MINIMAL, LOW, MEDIUM or HIGH"),
                ));
            }
        };
    }
    Ok(reasoning)
}

/// How the target is told to think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    level: Option<&'static str>,
    budget: Option<i64>,
    include: Option<bool>,
}

// === impl Plan ===

impl Plan {
    pub(super) fn of(request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) -> Self {
        let Some(reasoning) = request.reasoning else { return Self::default() };
        let cap = request.max_tokens.or(target.profile.max_output_tokens);
        let off = reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None);
        let mut plan = Self::default();
        match target.profile.thinking {
            ThinkingStyle::None => {
                if !off {
                    losses.drop_field("reasoning");
                }
                return plan;
            }
            ThinkingStyle::Effort | ThinkingStyle::Adaptive => {
                let wanted = match (off, reasoning.effort, reasoning.budget) {
                    (true, ..) => Some(Effort::None),
                    (false, Some(effort), _) => Some(effort),
                    (false, None, Some(budget)) => Some(Effort::nearest(budget, cap, u64::MAX)),
                    // "As much as you see fit" is what such a model does by itself.
                    (false, None, None) => None,
                };
                let given = wanted.and_then(|wanted| target.profile.efforts.clamp(wanted));
                plan.level = given.map(level);
                if off {
                    // These models cannot stop thinking; the lowest level is the nearest to it.
                    losses.drop_field("reasoning");
                } else {
                    reasoning.list_moved(given, losses);
                }
            }
            ThinkingStyle::Budget { min, max, can_disable } => {
                let tokens = match (off, reasoning.budget, reasoning.effort) {
                    (true, ..) if can_disable => Some(0),
                    (true, ..) => {
                        losses.drop_field("reasoning");
                        Some(min)
                    }
                    (false, Some(budget), _) => Some(budget.clamp(min, max.max(min))),
                    (false, None, Some(effort)) => Some(effort.budget(cap, max).clamp(min, max.max(min))),
                    (false, None, None) => None,
                };
                plan.budget = match tokens {
                    Some(tokens) => i64::try_from(tokens).ok(),
                    None if reasoning.adaptive || reasoning.enabled == Some(true) => Some(-1),
                    None => None,
                };
            }
        }
        plan.include = match (reasoning.visible, request.format) {
            (Some(visible), _) => Some(visible),
            // The client's own words, and it said nothing.
            (None, Format::Gemini) => None,
            // Dialects that show thoughts get them without having to ask.
            (None, _) => (!off).then_some(true),
        };
        plan
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.key("thinkingConfig").object(|w| {
            w.field_str_opt("thinkingLevel", self.level);
            w.field_opt("thinkingBudget", self.budget.as_ref());
            w.field_opt("includeThoughts", self.include.as_ref());
        });
    }
}

const fn level(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    }
}
