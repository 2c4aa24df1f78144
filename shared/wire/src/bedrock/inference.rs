//! Limits, sampling, and what only one vendor's models know.

use super::{
    schema::Fields,
    thinking::{Mode, Thinking},
    vendor::Vendor,
};
use crate::{
    anthropic::BETA_HEADER,
    codec::{EncodeTarget, WireError},
    ir::{Losses, Request},
    write::Writer,
};

/// Writes `inferenceConfig`, when there is anything to say.
pub(super) fn write_config(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    vendor: Vendor,
    thinking: &Thinking,
    losses: &mut Losses,
) -> Result<(), WireError> {
    check_stops(request, vendor)?;
    let sampling = &request.sampling;
    // Nova's highest effort takes none of these.
    let unbounded = thinking.mode == Mode::NovaEffort(Some("high")) || thinking.mode == Mode::NovaEffort(Some("max"));
    let fixed = target.profile.fixed_sampling || unbounded;
    let claude_thinks = matches!(thinking.mode, Mode::ClaudeBudget(_) | Mode::ClaudeAdaptive(_));
    let asked = request.output_limit(target.profile, 0, losses);
    let mut note = |name: &'static str, lost: bool| {
        if lost {
            losses.drop_field(name);
        }
    };
    let limit = thinking.max_tokens.or(asked);
    note(request.max_tokens_name, limit.is_some() && unbounded);
    let max_tokens = limit.filter(|_| !unbounded);

    // A thinking Claude takes a temperature of 1 only, which is its own.
    let no_temperature = fixed || claude_thinks;
    let given = sampling.temperature;
    note("temperature", given.is_some_and(|value| value > 1.0 || (no_temperature && (fixed || value != 1.0))));
    let temperature = given.filter(|_| !no_temperature).map(|value| value.clamp(0.0, 1.0));

    // Newer Claudes take one of the two; a thinking one only a wide `top_p`.
    let no_top_p = fixed
        || (vendor == Vendor::Claude && temperature.is_some())
        || (claude_thinks && sampling.top_p.is_some_and(|value| value < 0.95));
    note("top_p", sampling.top_p.is_some() && no_top_p);
    let top_p = sampling.top_p.filter(|_| !no_top_p);

    if max_tokens.is_none() && temperature.is_none() && top_p.is_none() && request.stop.is_empty() {
        return Ok(());
    }
    w.key("inferenceConfig").object(|w| {
        w.field_opt("maxTokens", max_tokens.as_ref());
        w.field_opt("temperature", temperature.as_ref());
        w.field_opt("topP", top_p.as_ref());
        if !request.stop.is_empty() {
            w.field("stopSequences", &request.stop);
        }
    });
    Ok(())
}

fn check_stops(request: &Request<'_>, vendor: Vendor) -> Result<(), WireError> {
    for stop in &request.stop {
        if stop.is_empty() || (vendor == Vendor::Claude && stop.trim().is_empty()) {
            let message = "this upstream refuses a stop sequence that is empty or only white space";
            return Err(WireError::field("stop", message));
        }
    }
    Ok(())
}

/// Writes `additionalModelRequestFields`: ours first, then the client's own, which win.
pub(super) fn write_additional(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    vendor: Vendor,
    thinking: &Thinking,
    losses: &mut Losses,
) -> Result<(), WireError> {
    let own: Fields<'_> = match request.extensions.get("additionalModelRequestFields") {
        Some(raw) if raw.as_str() != "null" => serde_json::from_str(raw.as_str())
            .map_err(|_| WireError::field("additionalModelRequestFields", "it must be an object"))?,
        _ => Fields::default(),
    };
    let switches = switches_field(request, target, vendor, losses);
    let ours: Vec<(&str, String)> =
        [thinking_field(thinking), top_k_field(request, target, vendor, thinking, losses), switches]
            .into_iter()
            .flatten()
            .filter(|(name, _)| own.get(name).is_none())
            .collect();
    if ours.is_empty() && own.0.is_empty() {
        return Ok(());
    }
    w.key("additionalModelRequestFields").object(|w| {
        ours.iter().for_each(|(name, json)| w.field_raw(name, json));
        own.0.iter().for_each(|(name, raw)| w.field_raw(name, raw.get()));
    });
    Ok(())
}

/// Of the switches of an Anthropic client those that Claude has here too; any other is refused as an "invalid beta flag".
fn switches_field(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    vendor: Vendor,
    losses: &mut Losses,
) -> Option<(&'static str, String)> {
    let given: Vec<String> = serde_json::from_str(request.extensions.get(BETA_HEADER)?.as_str()).unwrap_or_default();
    let takes = |flag: &str| {
        let long = flag.starts_with("context-1m-")
            && ["sonnet-4-2025", "sonnet-4-5"].iter().any(|name| target.model.contains(name));
        vendor == Vendor::Claude && (flag.starts_with("interleaved-thinking-") || long)
    };
    let taken: Vec<&String> = given.iter().filter(|flag| takes(flag)).collect();
    if taken.len() < given.len() {
        losses.drop_field(BETA_HEADER);
    }
    (!taken.is_empty()).then(|| ("anthropic_beta", serde_json::json!(taken).to_string()))
}

fn thinking_field(thinking: &Thinking) -> Option<(&'static str, String)> {
    Some(match thinking.mode {
        Mode::Unsaid => return None,
        Mode::ClaudeBudget(budget) => ("thinking", format!(r#"{{"type":"enabled","budget_tokens":{budget}}}"#)),
        Mode::ClaudeAdaptive(None) => ("thinking", r#"{"type":"adaptive"}"#.to_owned()),
        Mode::ClaudeAdaptive(Some(true)) => ("thinking", r#"{"type":"adaptive","display":"summarized"}"#.to_owned()),
        Mode::ClaudeAdaptive(Some(false)) => ("thinking", r#"{"type":"adaptive","display":"omitted"}"#.to_owned()),
        Mode::NovaEffort(None) => ("reasoningConfig", r#"{"type":"disabled"}"#.to_owned()),
        Mode::NovaEffort(Some(word)) => {
            let word = if word == "max" { "high" } else { word };
            ("reasoningConfig", format!(r#"{{"type":"enabled","maxReasoningEffort":"{word}"}}"#))
        }
        Mode::OpenAiEffort(word) => {
            let word = if word == "max" { "high" } else { word };
            ("reasoning_effort", format!("\"{word}\""))
        }
    })
}

fn top_k_field(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    vendor: Vendor,
    thinking: &Thinking,
    losses: &mut Losses,
) -> Option<(&'static str, String)> {
    let top_k = request.sampling.top_k?;
    match vendor {
        Vendor::Claude if !thinking.is_on() && !target.profile.fixed_sampling => Some(("top_k", top_k.to_string())),
        Vendor::Nova if !thinking.is_on() => Some(("inferenceConfig", format!(r#"{{"topK":{top_k}}}"#))),
        _ => {
            losses.drop_field("top_k");
            None
        }
    }
}
