//! Limits and sampling: what the API takes, in which range, and beside what.

use super::extras::Extras;
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Losses, Modality, Request},
    write::Writer,
};

/// Output limit where neither the client nor the catalog names one.
const DEFAULT_MAX_TOKENS: u64 = 8_192;
/// Longer answers than this take over ten minutes without a stream, which Anthropic's own clients refuse to ask for.
const MAX_TOKENS_WITHOUT_STREAM: u64 = 21_333;

/// The output limit: the client's, else the model's.
pub(super) fn max_tokens(request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) -> u64 {
    let most = target.profile.max_output_tokens;
    match request.output_limit(target.profile, 0, losses) {
        Some(limit) => limit,
        None if target.stream => most.unwrap_or(DEFAULT_MAX_TOKENS),
        None => most.unwrap_or(DEFAULT_MAX_TOKENS).min(MAX_TOKENS_WITHOUT_STREAM),
    }
}

/// Refuses what has a meaning here that no upstream of this format can give.
pub(super) fn refuse_meaningful(request: &Request<'_>) -> Result<(), WireError> {
    let sampling = &request.sampling;
    if sampling.n.is_some_and(|n| n > 1) {
        return Err(WireError::unsupported("n", "this upstream gives one answer to a request"));
    }
    if sampling.logprobs == Some(true) || sampling.top_logprobs.is_some_and(|count| count > 0) {
        return Err(WireError::unsupported("logprobs", "this upstream gives no log probabilities"));
    }
    if let Some(modality) = request.modalities.iter().find(|modality| **modality != Modality::Text) {
        let what = if *modality == Modality::Audio { "audio" } else { "images" };
        return Err(WireError::unsupported("modalities", format!("this upstream makes no {what}")));
    }
    Ok(())
}

/// Writes stop sequences.
///
/// # Errors
/// When one is white space only, which the API refuses.
pub(super) fn write_stop(w: &mut Writer<'_>, request: &Request<'_>, own: bool) -> Result<(), WireError> {
    if request.stop.is_empty() {
        return Ok(());
    }
    let field = if own { "stop_sequences" } else { "stop" };
    if let Some(index) = request.stop.iter().position(|stop| stop.trim().is_empty()) {
        let message = "this upstream takes no stop sequence that is empty or only white space";
        return Err(WireError::field(format!("{field}.{index}"), message));
    }
    w.field("stop_sequences", &request.stop);
    Ok(())
}

/// Writes sampling parameters; the harmless ones that do not exist here are listed.
pub(super) fn write_sampling(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    extras: &Extras<'_>,
    thinking: bool,
    losses: &mut Losses,
) {
    let sampling = &request.sampling;
    let fixed = target.profile.fixed_sampling;
    let mut temperature = sampling.temperature;
    if let Some(value) = temperature {
        // A thinking model takes 1 only, which is also what it takes unasked.
        if fixed || thinking {
            temperature = None;
            if (value - 1.0).abs() > f64::EPSILON {
                losses.drop_field("temperature");
            }
        } else if value > 1.0 {
            temperature = Some(1.0);
            losses.drop_field("temperature");
        }
    }
    w.field_opt("temperature", temperature.as_ref());
    if let Some(top_p) = sampling.top_p {
        let range = if thinking { 0.95..=1.0 } else { 0.0..=1.0 };
        // Newer models refuse both at once.
        let beside = !extras.own() && temperature.is_some();
        if !fixed && !beside && range.contains(&top_p) {
            w.field("top_p", &top_p);
        } else if top_p < 1.0 {
            losses.drop_field("top_p");
        }
    }
    if let Some(top_k) = sampling.top_k {
        if fixed || thinking {
            losses.drop_field("top_k");
        } else {
            w.field("top_k", &top_k);
        }
    }
    for (name, given) in [
        ("min_p", sampling.min_p.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("presence_penalty", sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("repetition_penalty", sampling.repeat_penalty.is_some()),
        ("seed", sampling.seed.is_some()),
        ("logit_bias", sampling.logit_bias.as_ref().is_some_and(|bias| bias.as_str() != "{}")),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
}
