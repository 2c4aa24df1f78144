//! `think`: a switch, or a level for models that have levels.

use serde_json::value::RawValue;

use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Effort, Format, Losses, Reasoning, Request, ThinkingStyle},
    text::Str,
    write::Writer,
};

/// Reads `think`.
pub(super) fn decode_think(raw: &RawValue) -> Result<Option<Reasoning>, WireError> {
    // What a thinking model thinks stands in the answer's own field, so whoever asks for it can see it.
    let shown = Reasoning { visible: Some(true), ..Reasoning::default() };
    match raw.get() {
        "null" => return Ok(None),
        "true" => return Ok(Some(Reasoning { enabled: Some(true), ..shown })),
        "false" => return Ok(Some(Reasoning { enabled: Some(false), ..Reasoning::default() })),
        _ => {}
    }
    let level = serde_json::from_str::<Str<'_>>(raw.get()).ok();
    match level.as_deref().and_then(Effort::parse) {
        Some(Effort::None) => Ok(Some(Reasoning { enabled: Some(false), ..Reasoning::default() })),
        Some(effort) => Ok(Some(Reasoning { enabled: Some(true), effort: Some(effort), ..shown })),
        None => Err(WireError::field("think", "`think` must be true, false, \"low\", \"medium\", \"high\" or \"max\"")),
    }
}

/// Writes `think`, when the request says anything about it.
pub(super) fn write_think(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let Some(reasoning) = request.reasoning else { return };
    let own_word = if request.format == Format::Ollama { "think" } else { "reasoning" };
    let off = reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None) || reasoning.budget == Some(0);
    let asked =
        reasoning.enabled.is_some() || reasoning.effort.is_some() || reasoning.budget.is_some() || reasoning.adaptive;
    if !asked {
        return;
    }
    match target.profile.thinking {
        // Such a model refuses the switch in its on position only.
        ThinkingStyle::None if off => {}
        ThinkingStyle::None => losses.drop_field(own_word),
        _ if off => w.field("think", &false),
        ThinkingStyle::Effort => {
            let cap = request.max_tokens.or(target.profile.max_output_tokens);
            let wanted =
                reasoning.effort.or_else(|| reasoning.budget.map(|budget| Effort::nearest(budget, cap, u64::MAX)));
            let given = wanted.and_then(|wanted| target.profile.efforts.clamp(wanted));
            reasoning.list_moved(given, losses);
            match given {
                Some(effort) => w.field_str("think", level(effort)),
                None => w.field("think", &true),
            }
        }
        ThinkingStyle::Budget { .. } | ThinkingStyle::Adaptive => {
            if reasoning.effort.is_some() || reasoning.budget.is_some() {
                losses.drop_field(format!("{own_word}.effort"));
            }
            w.field("think", &true);
        }
    }
}

const fn level(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh | Effort::Max => "max",
    }
}
