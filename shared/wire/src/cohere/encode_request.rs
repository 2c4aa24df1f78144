//! [`Request`] → a v2 Chat body.

use super::{documents::Documents, extension::Extension, messages::Messages, tools};
use crate::{
    codec::{EncodeTarget, Encoded, WireError},
    ir::{Effort, Losses, Modality, OutputFormat, Request, ThinkingStyle},
    write::Writer,
};

/// Cohere takes this many stop sequences.
const MAX_STOPS: usize = 5;

/// Writes a request for Cohere.
///
/// # Errors
/// When the request needs something that this format cannot say.
pub fn encode_request(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    refuse(request)?;
    let mut body = Vec::with_capacity(request.size_hint());
    let mut result = Ok(());
    Writer::new(&mut body).object(|w| result = write_body(w, request, target, losses));
    result.map(|()| Encoded { body, ..Encoded::default() })
}

/// What would change the meaning if it were left out.
fn refuse(request: &Request<'_>) -> Result<(), WireError> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(WireError::unsupported("n", "this upstream gives one answer a request"));
    }
    if request.sampling.top_logprobs.is_some_and(|top| top > 0) {
        return Err(WireError::unsupported("top_logprobs", "this upstream gives no alternatives of a token"));
    }
    if request.modalities.iter().any(|modality| *modality != Modality::Text) {
        return Err(WireError::unsupported("modalities", "this upstream answers in text only"));
    }
    Ok(())
}

fn write_body(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(), WireError> {
    w.field_str("model", target.model);
    // Cohere refuses a format of the answer beside documents, and a client's own documents are not ours to change.
    let closed = request.output != OutputFormat::Text
        || request.extensions.get(Extension::Documents.name()).is_some_and(|raw| raw.as_str() != "null");
    let mut documents = Documents::new(closed);
    let mut result = Ok(());
    w.key("messages").array(|w| {
        result = Messages { request, target, losses, documents: &mut documents, media: Vec::new(), count: 0 }.write(w);
    });
    result?;
    documents.write(w);
    tools::write_tools(w, request, target, losses)?;
    write_limits(w, request, target, losses)?;
    write_thinking(w, request, target, losses);
    write_output(w, request, target, losses);
    note_identity(request, losses);
    for (name, raw) in request.extensions.iter() {
        if Extension::ALL.iter().any(|own| own.name() == name) {
            w.field_raw(name, raw.as_str());
        } else {
            losses.drop_field(name.to_owned());
        }
    }
    w.field("stream", &target.stream);
    Ok(())
}

fn write_limits(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(), WireError> {
    w.field_opt("max_tokens", request.output_limit(target.profile, 0, losses).as_ref());
    if request.stop.iter().any(|stop| stop.is_empty()) {
        return Err(WireError::field("stop", "a stop sequence must not be empty"));
    }
    if !request.stop.is_empty() {
        if request.stop.len() > MAX_STOPS {
            losses.drop_field(format!("stop.{MAX_STOPS}"));
        }
        w.field("stop_sequences", &request.stop[..request.stop.len().min(MAX_STOPS)]);
    }
    let sampling = &request.sampling;
    let mut clamped = |w: &mut Writer<'_>, theirs: &str, ours: &str, value: Option<f64>, low: f64, high: f64| {
        if let Some(value) = value {
            let near = value.clamp(low, high);
            // 0.99 is what 1 means here.
            if (near - value).abs() > 0.011 {
                losses.drop_field(ours.to_owned());
            }
            w.field(theirs, &near);
        }
    };
    clamped(w, "temperature", "temperature", sampling.temperature, 0.0, 1.0);
    clamped(w, "p", "top_p", sampling.top_p, 0.01, 0.99);
    clamped(w, "frequency_penalty", "frequency_penalty", sampling.frequency_penalty, 0.0, 1.0);
    // Some models take one of the two penalties only.
    if sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0) {
        if sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0) {
            losses.drop_field("presence_penalty");
        }
    } else {
        clamped(w, "presence_penalty", "presence_penalty", sampling.presence_penalty, 0.0, 1.0);
    }
    if let Some(top_k) = sampling.top_k {
        if top_k > 500 {
            losses.drop_field("top_k");
        }
        w.field("k", &top_k.min(500));
    }
    match sampling.seed.map(u64::try_from) {
        Some(Ok(seed)) => w.field("seed", &seed),
        Some(Err(_)) => losses.drop_field("seed"),
        None => {}
    }
    if sampling.logprobs == Some(true) {
        w.field("logprobs", &true);
    }
    for (name, given) in [
        ("min_p", sampling.min_p.is_some()),
        ("repetition_penalty", sampling.repeat_penalty.is_some()),
        ("logit_bias", sampling.logit_bias.is_some()),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
    Ok(())
}

/// Thinking is on or off, with a budget or without. A model of which the catalog does not say that it takes one is not told.
fn write_thinking(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let Some(reasoning) = request.reasoning else { return };
    let off = reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None);
    let (min, max, can_disable) = match target.profile.thinking {
        ThinkingStyle::Budget { min, max, can_disable } => (min.max(1), max, can_disable),
        ThinkingStyle::Adaptive => (1, u64::MAX, true),
        ThinkingStyle::None | ThinkingStyle::Effort => {
            if !off {
                losses.drop_field("reasoning");
            }
            return;
        }
    };
    if off {
        if can_disable {
            w.key("thinking").object(|w| w.field_str("type", "disabled"));
        } else {
            losses.drop_field("reasoning");
        }
        return;
    }
    let cap = request.max_tokens.or(target.profile.max_output_tokens);
    let wanted = match (reasoning.budget, reasoning.effort, target.profile.thinking) {
        (Some(budget), ..) => Some(budget),
        (None, Some(effort), ThinkingStyle::Budget { .. }) if !reasoning.adaptive => Some(effort.budget(cap, max)),
        _ => None,
    };
    // Something must be left for the answer.
    let most = cap.map_or(max, |cap| max.min(cap.saturating_sub(1))).max(min);
    let budget = wanted.map(|wanted| wanted.clamp(min, most));
    if budget.is_none() && reasoning.enabled.is_none() && reasoning.effort.is_none() && !reasoning.adaptive {
        return;
    }
    w.key("thinking").object(|w| {
        w.field_str("type", "enabled");
        w.field_opt("token_budget", budget.as_ref());
    });
}

fn write_output(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let schema = match &request.output {
        OutputFormat::Text => return,
        OutputFormat::Json => None,
        OutputFormat::Schema { schema, description, .. } => {
            if description.is_some() {
                losses.drop_field("response_format.json_schema.description");
            }
            Some(schema)
        }
    };
    let native = schema.filter(|_| target.profile.json_schema);
    if schema.is_some() && native.is_none() {
        losses.drop_field("response_format.json_schema");
    }
    w.key("response_format").object(|w| {
        w.field_str("type", "json_object");
        w.field_json_opt("json_schema", native);
    });
}

fn note_identity(request: &Request<'_>, losses: &mut Losses) {
    let tier = request.service_tier.as_deref().filter(|tier| !matches!(*tier, "auto" | "default"));
    for (name, given) in [
        ("user", request.user.is_some()),
        ("metadata", request.metadata.is_some()),
        ("service_tier", tier.is_some()),
        ("prompt_cache_key", request.cache_key.is_some()),
        ("store", request.store == Some(true)),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
}
