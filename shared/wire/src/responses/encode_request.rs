//! [`Request`] → a Responses body.

use super::{
    decode_input::EMPTY_REASONING,
    decode_request::{ENCRYPTED_REASONING, LOGPROBS},
    decode_tools::RAW_CHOICE,
    encode_input::InputWriter,
    encode_tools::write_tools,
};
use crate::{
    codec::{EncodeTarget, Encoded, WireError},
    ir::{Effort, Family, Format, Losses, Modality, OutputFormat, Request, SystemPart, SystemRole, ThinkingStyle},
    openai::{effort_word, tier_word},
    stable_id::plain_user,
    system_text,
    tool_call_pairing::PHASES,
    tool_schema,
    write::Writer,
};

/// Writes a request for a Responses upstream.
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

fn write_body(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(), WireError> {
    w.field_str("model", target.model);
    let by_turns;
    let said = if takes_several(request, target) {
        request
    } else {
        by_turns = system_text::by_turns(request);
        &*by_turns
    };
    let (instructions, systems) = split_system(said, target, losses);
    if !instructions.is_empty() {
        w.field_str("instructions", &instructions.join("\n\n"));
    }
    if !said.turns.is_empty() || !systems.is_empty() {
        let mut result = Ok(());
        w.key("input").array(|w| result = InputWriter::new(said, target, losses).items(w, &systems));
        result?;
    }
    write_tools(w, request, target, losses)?;
    write_limits(w, request, target, losses);
    let wants_thoughts = write_reasoning(w, request, target, losses);
    write_text(w, request, target, losses);
    write_include(w, request, target, wants_thoughts);
    write_identity(w, request, losses);
    if target.stream {
        w.field("stream", &true);
    }
    write_extensions(w, request, losses);
    Ok(())
}

/// What is meant and cannot be said is refused before anything is spent.
fn refuse(request: &Request<'_>) -> Result<(), WireError> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(WireError::unsupported("n", "this upstream gives one answer per request"));
    }
    if request.modalities.iter().any(|modality| *modality != Modality::Text) {
        return Err(WireError::unsupported("modalities", "this upstream answers with text only"));
    }
    Ok(())
}

/// Whether system texts may stand where the client put them: OpenAI takes them anywhere, and a client of this very format
/// knows what its host takes.
pub(super) fn takes_several(request: &Request<'_>, target: &EncodeTarget<'_>) -> bool {
    target.profile.system_anywhere || request.format == Format::OpenAiResponses
}

/// The texts in front that become `instructions`, and the rest.
fn split_system<'r>(
    request: &'r Request<'r>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> (Vec<&'r str>, Vec<&'r SystemPart<'r>>) {
    let any_json = match request.output {
        OutputFormat::Text => false,
        OutputFormat::Json => true,
        OutputFormat::Schema { .. } => !target.profile.json_schema,
    };
    let mut front = Vec::new();
    let mut rest = Vec::new();
    for part in &request.system {
        // A line that changes with every request, and means nothing to other vendors.
        if system_text::is_billing_line(request, part) {
            losses.drop_field("system.billing_header");
            continue;
        }
        // The word "JSON" must stand in the input for an answer in JSON: there, instructions do not count.
        let marked = part.cache.is_some() && request.format == Format::OpenAiResponses;
        let movable = part.role == SystemRole::System && !any_json && !marked;
        // Hosts that make a chat of it take one system text, in front.
        let takes_one = !takes_several(request, target);
        if rest.is_empty() && part.position == 0 && (movable || takes_one) {
            front.push(part.text.as_ref());
        } else {
            rest.push(part);
        }
    }
    (front, rest)
}

fn write_limits(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let profile = target.profile;
    // OpenAI refuses less, which other dialects may ask for.
    let least = if request.format == Format::OpenAiResponses { 0 } else { 16 };
    w.field_opt("max_output_tokens", request.output_limit(profile, least, losses).as_ref());
    let sampling = &request.sampling;
    for (name, value) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
        match value {
            Some(_) if profile.fixed_sampling => losses.drop_field(name),
            value => w.field_opt(name, value.as_ref()),
        }
    }
    let logprobs = profile.logprobs;
    w.field_opt("top_logprobs", sampling.top_logprobs.filter(|_| logprobs).as_ref());
    for (name, given) in [
        ("logprobs", !logprobs && sampling.logprobs == Some(true)),
        ("top_logprobs", !logprobs && sampling.top_logprobs.is_some()),
        ("stop", !request.stop.is_empty()),
        ("top_k", sampling.top_k.is_some()),
        ("min_p", sampling.min_p.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some_and(|value| value != 0.0)),
        ("presence_penalty", sampling.presence_penalty.is_some_and(|value| value != 0.0)),
        ("repetition_penalty", sampling.repeat_penalty.is_some()),
        ("seed", sampling.seed.is_some()),
        ("logit_bias", sampling.logit_bias.is_some()),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
}

/// Writes `reasoning` and says whether thoughts will come.
fn write_reasoning(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) -> bool {
    let profile = target.profile;
    let own: Vec<_> = request
        .extensions
        .iter()
        .filter(|_| request.format == Format::OpenAiResponses)
        .filter_map(|(path, raw)| path.strip_prefix("reasoning.").map(|field| (field, raw)))
        .collect();
    let Some(reasoning) = request.reasoning else {
        return profile.thinking != ThinkingStyle::None && profile.fixed_sampling;
    };
    if profile.thinking == ThinkingStyle::None {
        losses.drop_field("reasoning");
        return false;
    }
    let cap = request.max_tokens.or(profile.max_output_tokens);
    let wanted = match (reasoning.enabled, reasoning.effort, reasoning.budget) {
        (Some(false), ..) => Some(Effort::None),
        (_, Some(effort), _) => Some(effort),
        (_, None, Some(budget)) => Some(Effort::nearest(budget, cap, u64::MAX)),
        // "Think, as much as you see fit" is what such a model does by itself.
        (_, None, None) => None,
    };
    let given = wanted.and_then(|wanted| profile.effort(wanted));
    reasoning.list_moved(given, losses);
    let effort = given.map(effort_word);
    if wanted.is_some() && effort.is_none() {
        losses.drop_field("reasoning");
    }
    // Other dialects show thoughts unless told not to.
    let visible =
        reasoning.visible.unwrap_or(request.format.family() != Family::OpenAi) && wanted != Some(Effort::None);
    let summary_given = own.iter().any(|(field, _)| *field == "summary");
    if effort.is_none() && !visible && own.is_empty() {
        return wanted != Some(Effort::None);
    }
    w.key("reasoning").object(|w| {
        w.field_str_opt("effort", effort);
        if visible && !summary_given {
            w.field_str("summary", "auto");
        }
        for (field, raw) in own {
            w.field_raw(field, raw.as_str());
        }
    });
    wanted != Some(Effort::None)
}

fn write_text(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let own: Vec<_> = request
        .extensions
        .iter()
        .filter(|_| request.format.family() == Family::OpenAi)
        .filter_map(|(path, raw)| match path {
            "verbosity" => Some(("verbosity", raw)),
            path => path.strip_prefix("text.").map(|field| (field, raw)),
        })
        .collect();
    if request.output == OutputFormat::Text && own.is_empty() {
        return;
    }
    w.key("text").object(|w| {
        match &request.output {
            OutputFormat::Text => {}
            OutputFormat::Json => w.key("format").object(|w| w.field_str("type", "json_object")),
            OutputFormat::Schema { .. } if !target.profile.json_schema => {
                losses.drop_field("response_format.json_schema");
                w.key("format").object(|w| w.field_str("type", "json_object"));
            }
            OutputFormat::Schema { name, description, schema, strict } => w.key("format").object(|w| {
                w.field_str("type", "json_schema");
                w.field_str("name", name.as_deref().unwrap_or("response"));
                w.field_str_opt("description", description.as_deref());
                let (schema, strict) = tool_schema::answer(schema, *strict, request.format, losses);
                w.field_raw("schema", &schema);
                w.field_opt("strict", strict.as_ref());
            }),
        }
        for (field, raw) in own {
            w.field_raw(field, raw.as_str());
        }
    });
}

/// Signatures are asked for wherever thoughts will come: without them the next turn loses the thread.
fn write_include(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, wants_thoughts: bool) {
    let stateless = request.store == Some(false) && target.profile.fixed_sampling;
    let mut words: Vec<String> = Vec::new();
    if wants_thoughts || stateless {
        words.push(ENCRYPTED_REASONING.to_owned());
    }
    if request.sampling.logprobs == Some(true) && target.profile.logprobs {
        words.push(LOGPROBS.to_owned());
    }
    if request.format == Format::OpenAiResponses
        && let Some(raw) = request.extensions.get("include")
    {
        words.extend(serde_json::from_str::<Vec<String>>(raw.as_str()).unwrap_or_default());
    }
    if !words.is_empty() {
        w.field("include", &words);
    }
}

fn write_identity(w: &mut Writer<'_>, request: &Request<'_>, losses: &mut Losses) {
    let own = request.format.family() == Family::OpenAi;
    let user = request.user.as_deref().map(|user| if own { user.into() } else { plain_user(user) });
    w.field_str_opt("user", user.as_deref());
    match request.store {
        Some(store) => w.field("store", &store),
        // Here the default is to keep the answer; other dialects never asked for that.
        None if request.format != Format::OpenAiResponses => w.field("store", &false),
        None => {}
    }
    if own {
        w.field_json_opt("metadata", request.metadata.as_ref());
        w.field_str_opt("service_tier", request.service_tier.as_deref());
        w.field_str_opt("prompt_cache_key", request.cache_key.as_deref());
    } else {
        if request.metadata.is_some() {
            losses.drop_field("metadata");
        }
        match request.service_tier.as_deref().filter(|tier| *tier != "auto").map(tier_word) {
            None => {}
            Some(Some(word)) => w.field_str("service_tier", word),
            Some(None) => losses.drop_field("service_tier"),
        }
    }
    // Those of this format's own requests are written where they stand.
    if request.format != Format::OpenAiResponses && request.has_cache_marks() {
        losses.drop_field("cache_control");
    }
}

/// Fields that Chat has and Responses lacks are losses, not extensions.
fn write_extensions(w: &mut Writer<'_>, request: &Request<'_>, losses: &mut Losses) {
    for (name, raw) in request.extensions.iter() {
        let own = request.format == Format::OpenAiResponses;
        let written =
            own && is_written_in_place(name) || request.format.family() == Family::OpenAi && name == "verbosity";
        let shared = matches!(name, "prompt_cache_retention" | "prompt_cache_options");
        if written {
            continue;
        }
        if name != EMPTY_REASONING && (own || shared && request.format == Format::OpenAiChat) {
            w.field_raw(name, raw.as_str());
        } else {
            losses.drop_field(name.to_owned());
        }
    }
}

/// Extensions that stand inside other fields.
fn is_written_in_place(name: &str) -> bool {
    matches!(name, PHASES | RAW_CHOICE | "include")
        || ["reasoning.", "text.", "tools."].iter().any(|prefix| name.starts_with(prefix))
}
