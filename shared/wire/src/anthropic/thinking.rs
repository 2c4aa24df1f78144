//! Whether and how the model may think in this request.
//!
//! Models that take a budget check more than those that decide for themselves: no forced tool, a budget below the output
//! limit, and an open tool loop must begin with a thought that they signed. Where a request cannot meet that, it goes
//! without thinking rather than be refused.

use super::{
    effort_word,
    message::{Message, Slot, Speaker},
};
use crate::{
    codec::EncodeTarget,
    ir::{Effort, Losses, Reasoning, Request, ThinkingStyle},
    write::Writer,
};

/// The smallest budget that the API takes.
const MIN_BUDGET: u64 = 1_024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Thinking {
    pub(super) mode: Mode,
    pub(super) effort: Option<Effort>,
    display: Option<&'static str>,
    /// Whether thoughts of earlier turns go back.
    pub(super) keep_history: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Unsaid,
    Disabled,
    Budget(u64),
    Adaptive,
}

/// What else in the request decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    pub(super) max_tokens: u64,
    pub(super) forced_tool: bool,
    /// The client speaks this format itself, so its words are taken literally.
    pub(super) own: bool,
    /// And its limit was not lowered: with interleaved thinking its budget may exceed that.
    pub(super) own_limit: bool,
}

/// Decides.
pub(super) fn plan(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    messages: &[Message<'_>],
    given: Circumstances,
    losses: &mut Losses,
) -> Thinking {
    let field = if given.own { "thinking" } else { "reasoning" };
    let Some(reasoning) = request.reasoning else {
        let keep_history = given.own || target.profile.reasoning_content_back;
        return Thinking { keep_history, ..Thinking::default() };
    };
    let style = target.profile.thinking;
    let off = match reasoning.enabled {
        Some(enabled) => !enabled,
        None => reasoning.effort == Some(Effort::None),
    };
    if style == ThinkingStyle::None {
        if !off {
            losses.drop_field(field);
        }
        return Thinking::default();
    }
    let effort = effort(&reasoning, target, given.max_tokens);
    if off {
        return switched_off(&reasoning, target, effort, given.own, losses);
    }
    if reasoning.enabled.is_none() && given.own {
        // An effort alone governs the whole answer; it does not ask for thoughts.
        let effort = if matches!(style, ThinkingStyle::Budget { .. }) { None } else { effort };
        if effort.is_none() {
            losses.drop_field("output_config.effort");
        }
        reasoning.list_moved(effort, losses);
        return Thinking { effort, keep_history: true, ..Thinking::default() };
    }
    let (mode, effort) = wanted(&reasoning, target, effort, given);
    let refused = match mode {
        Mode::Budget(budget) => {
            given.forced_tool
                || budget < MIN_BUDGET
                || (!given.own_limit && budget >= given.max_tokens)
                || !open_loop_is_signed(messages)
        }
        // The client knows whether its model can do both.
        Mode::Adaptive => given.forced_tool && !given.own,
        Mode::Unsaid | Mode::Disabled => false,
    };
    if refused {
        losses.drop_field(field);
        let can_disable = match style {
            ThinkingStyle::Budget { can_disable, .. } => can_disable,
            ThinkingStyle::Effort => true,
            ThinkingStyle::Adaptive | ThinkingStyle::None => false,
        };
        let mode = if can_disable { Mode::Disabled } else { Mode::Unsaid };
        return Thinking { mode, ..Thinking::default() };
    }
    reasoning.list_moved(effort, losses);
    let display = match (reasoning.visible, given.own) {
        (Some(false), true) => Some("omitted"),
        // Newer models say nothing of their thoughts unless asked.
        (Some(true), own) if own || mode == Mode::Adaptive => Some("summarized"),
        // Dialects that show thoughts get them without having to ask.
        (None, false) if style == ThinkingStyle::Adaptive => Some("summarized"),
        _ => None,
    };
    Thinking { mode, effort, display, keep_history: true }
}

fn effort(reasoning: &Reasoning, target: &EncodeTarget<'_>, max_tokens: u64) -> Option<Effort> {
    let from_budget = || reasoning.budget.map(|budget| Effort::nearest(budget, Some(max_tokens), u64::MAX));
    let wanted = reasoning.effort.filter(|effort| *effort != Effort::None).or_else(from_budget)?;
    target.profile.efforts.clamp(wanted).filter(|effort| *effort != Effort::None)
}

fn switched_off(
    reasoning: &Reasoning,
    target: &EncodeTarget<'_>,
    effort: Option<Effort>,
    own: bool,
    losses: &mut Losses,
) -> Thinking {
    let profile = target.profile;
    let effort = effort.filter(|_| own && reasoning.effort.is_some());
    match profile.thinking {
        ThinkingStyle::Budget { can_disable: false, .. } => {
            losses.drop_field(if own { "thinking" } else { "reasoning" });
            Thinking::default()
        }
        ThinkingStyle::Budget { .. } => {
            if effort.is_some() {
                losses.drop_field("output_config.effort");
            }
            Thinking { mode: Mode::Disabled, ..Thinking::default() }
        }
        // Some of these models cannot be told not to think: the catalog gives the others the effort "none".
        ThinkingStyle::Adaptive if !own && !profile.efforts.0.contains(&Effort::None) => {
            losses.drop_field("reasoning");
            Thinking { effort: profile.efforts.clamp(Effort::Minimal), ..Thinking::default() }
        }
        _ => Thinking { mode: Mode::Disabled, effort, ..Thinking::default() },
    }
}

fn wanted(
    reasoning: &Reasoning,
    target: &EncodeTarget<'_>,
    effort: Option<Effort>,
    given: Circumstances,
) -> (Mode, Option<Effort>) {
    let (min, max) = match target.profile.thinking {
        ThinkingStyle::Adaptive => return (Mode::Adaptive, effort),
        ThinkingStyle::Budget { min, max, .. } => (min.max(MIN_BUDGET), max),
        // Nothing is known of the model: it gets what the client said, in the form that the most hosts take.
        ThinkingStyle::Effort | ThinkingStyle::None if reasoning.adaptive => return (Mode::Adaptive, effort),
        ThinkingStyle::Effort | ThinkingStyle::None => (MIN_BUDGET, u64::MAX),
    };
    let level = || reasoning.effort.filter(|effort| *effort != Effort::None).unwrap_or(Effort::Medium);
    let budget = match reasoning.budget {
        Some(budget) if given.own_limit => budget.min(max),
        Some(budget) => budget.clamp(min, max.max(min)).min(Effort::Max.budget(Some(given.max_tokens), max)),
        None => level().budget(Some(given.max_tokens), max).max(min),
    };
    let said = given.own && reasoning.effort.is_some() && target.profile.thinking == ThinkingStyle::Effort;
    (Mode::Budget(budget), effort.filter(|_| said))
}

/// Whether the rounds of calls that still go on begin with a thought of this family, as the API demands. True where no
/// loop is open.
fn open_loop_is_signed(messages: &[Message<'_>]) -> bool {
    let mut first = None;
    for message in messages.iter().rev() {
        match message.speaker {
            Speaker::Assistant => first = Some(message),
            Speaker::User if !message.has_results() => break,
            Speaker::User | Speaker::System => {}
        }
    }
    first.is_none_or(|message| message.slots.first().is_some_and(Slot::is_thinking))
}

/// Takes the thoughts out of the history.
pub(super) fn strip(messages: &mut [Message<'_>], losses: &mut Losses) {
    for message in messages {
        let before = message.slots.len();
        message.slots.retain(|slot| !slot.is_thinking());
        if message.slots.len() < before {
            losses.drop_field("thinking");
        }
    }
}

// === impl Thinking ===

impl Thinking {
    pub(super) const fn is_on(&self) -> bool {
        matches!(self.mode, Mode::Budget(_) | Mode::Adaptive)
    }

    /// Writes the `thinking` field, if there is one.
    pub(super) fn write(&self, w: &mut Writer<'_>, rest: impl FnOnce(&mut Writer<'_>)) {
        let kind = match self.mode {
            Mode::Unsaid => return,
            Mode::Disabled => "disabled",
            Mode::Budget(_) => "enabled",
            Mode::Adaptive => "adaptive",
        };
        w.key("thinking").object(|w| {
            w.field_str("type", kind);
            if let Mode::Budget(budget) = self.mode {
                w.field("budget_tokens", &budget);
            }
            w.field_str_opt("display", self.display.filter(|_| self.is_on()));
            rest(w);
        });
    }

    pub(super) fn effort_word(&self) -> Option<&'static str> {
        self.effort.map(effort_word)
    }
}
