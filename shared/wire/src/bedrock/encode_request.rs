//! [`Request`] → a Converse body. ConverseStream's is the same; the model goes into the URL.

use super::{
    cache, cache_point,
    content::ContentWriter,
    conversation::{self, Conversation, SystemBlock},
    inference,
    names::DocumentNames,
    schema,
    thinking::Thinking,
    tools::ToolPlan,
    vendor::Vendor,
};
use crate::{
    anthropic::BETA_HEADER,
    codec::{EncodeTarget, Encoded, WireError},
    ir::{Json, Losses, Modality, OutputFormat, Request, ThinkingStyle},
    text::Str,
    write::Writer,
};

/// Fields of Converse's own that a client of another format may put into its body; they are passed on as they are.
const OWN_FIELDS: [&str; 7] = [
    "guardrailConfig",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "additionalModelResponseFieldPaths",
    "projectIdentifier",
    "promptVariables",
];

/// The service takes so many pairs of metadata, keys and values of so many characters.
const MAX_METADATA: usize = 16;
const MAX_METADATA_TEXT: usize = 256;

/// Writes a request for Bedrock.
///
/// # Errors
/// When the request needs something that this format cannot say.
pub fn encode_request(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    refuse(request)?;
    let vendor = Vendor::of(target);
    let mut tools = ToolPlan::of(request, target, vendor, losses)?;
    let thinking = Thinking::of(request, target, vendor, tools.is_forced(), losses);
    // A model that decides by itself whether to think wants its thoughts back in any case.
    let keep_thinking =
        vendor != Vendor::Claude || thinking.is_on() || target.profile.thinking == ThinkingStyle::Adaptive;
    let mut conversation = conversation::arrange(request, target, vendor, keep_thinking, losses)?;
    cache::settle(request, target, vendor, &mut tools, &mut conversation, losses);
    // Behind the cache points: what is said for this request only must not change the prefix of the next.
    conversation.system.extend(tools.notes.iter().map(|note| SystemBlock { text: (*note).into(), cache: None }));

    let mut body = Vec::with_capacity(request.size_hint());
    let mut result = Ok(());
    Writer::new(&mut body).object(|w| {
        result = (|| {
            write_conversation(w, &conversation, target, vendor, losses)?;
            tools.write(w, target, vendor, losses)?;
            inference::write_config(w, request, target, vendor, &thinking, losses)?;
            inference::write_additional(w, request, target, vendor, &thinking, losses)?;
            write_output(w, request, &tools, &thinking, losses)?;
            write_rest(w, request, vendor, losses);
            Ok(())
        })();
    });
    result.map(|()| Encoded { body, answer_tool: tools.has_answer(), ..Encoded::default() })
}

/// What would change the meaning if it were left out.
fn refuse(request: &Request<'_>) -> Result<(), WireError> {
    let sampling = &request.sampling;
    if sampling.n.is_some_and(|n| n > 1) {
        return Err(WireError::unsupported("n", "this upstream gives one answer a request"));
    }
    if sampling.logprobs == Some(true) || sampling.top_logprobs.is_some_and(|top| top > 0) {
        return Err(WireError::unsupported("logprobs", "this upstream gives no log probabilities"));
    }
    if request.modalities.iter().any(|modality| *modality != Modality::Text) {
        return Err(WireError::unsupported("modalities", "this upstream answers in text only"));
    }
    Ok(())
}

fn write_conversation(
    w: &mut Writer<'_>,
    conversation: &Conversation<'_, '_>,
    target: &EncodeTarget<'_>,
    vendor: Vendor,
    losses: &mut Losses,
) -> Result<(), WireError> {
    if !conversation.system.is_empty() {
        w.key("system").array(|w| {
            for block in &conversation.system {
                w.object(|w| w.field_str("text", &block.text));
                cache_point::write_point(w, block.cache);
            }
        });
    }
    let mut writer = ContentWriter { target, vendor, losses, names: DocumentNames::default() };
    let mut result = Ok(());
    w.key("messages").array(|w| {
        result = conversation.messages.iter().try_for_each(|message| writer.write_message(w, message));
    });
    result
}

fn write_output(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    tools: &ToolPlan<'_, '_>,
    thinking: &Thinking,
    losses: &mut Losses,
) -> Result<(), WireError> {
    let native = match &request.output {
        OutputFormat::Schema { name, description, schema, .. } if tools.native_schema => {
            Some((name, description, schema::closed(schema.as_str(), "response_format", losses)?))
        }
        _ => None,
    };
    if native.is_none() && thinking.effort.is_none() {
        return Ok(());
    }
    w.key("outputConfig").object(|w| {
        if let Some((name, description, schema)) = &native {
            w.key("textFormat").object(|w| {
                w.field_str("type", "json_schema");
                w.key("structure").object(|w| {
                    w.key("jsonSchema").object(|w| {
                        // As text, not as an object.
                        w.field_str("schema", schema);
                        w.field_str("name", name.as_deref().unwrap_or("response"));
                        w.field_str_opt("description", description.as_deref());
                    });
                });
            });
        }
        w.field_str_opt("effort", thinking.effort);
    });
    Ok(())
}

fn write_rest(w: &mut Writer<'_>, request: &Request<'_>, vendor: Vendor, losses: &mut Losses) {
    for (name, raw) in request.extensions.iter() {
        if OWN_FIELDS.contains(&name) {
            w.field_raw(name, raw.as_str());
        } else if name != "additionalModelRequestFields" && name != BETA_HEADER {
            losses.drop_field(name.to_owned());
        }
    }
    let has = |name: &str| request.extensions.get(name).is_some();
    if vendor == Vendor::Claude && !request.stop.is_empty() && !has("additionalModelResponseFieldPaths") {
        // Otherwise nobody says which of them it was.
        w.field("additionalModelResponseFieldPaths", &["/stop_sequence"]);
    }
    if !has("serviceTier") {
        write_tier(w, request.service_tier.as_deref(), losses);
    } else if request.service_tier.is_some() {
        losses.drop_field("service_tier");
    }
    match &request.metadata {
        Some(metadata) if !has("requestMetadata") => write_metadata(w, metadata, losses),
        Some(_) => losses.drop_field("metadata"),
        None => {}
    }
    let sampling = &request.sampling;
    for (name, given) in [
        ("user", request.user.is_some()),
        ("prompt_cache_key", request.cache_key.is_some()),
        ("store", request.store == Some(true)),
        ("seed", sampling.seed.is_some()),
        ("min_p", sampling.min_p.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some()),
        ("presence_penalty", sampling.presence_penalty.is_some()),
        ("repetition_penalty", sampling.repeat_penalty.is_some()),
        ("logit_bias", sampling.logit_bias.is_some()),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
}

fn write_tier(w: &mut Writer<'_>, tier: Option<&str>, losses: &mut Losses) {
    match tier {
        // What happens anyway.
        None | Some("auto" | "default" | "standard_only") => {}
        Some(tier @ ("flex" | "priority" | "reserved")) => {
            w.key("serviceTier").object(|w| w.field_str("type", tier));
        }
        Some(_) => losses.drop_field("service_tier"),
    }
}

/// Pairs of texts go into the service's log; what else metadata hold has no place there.
fn write_metadata(w: &mut Writer<'_>, metadata: &Json<'_>, losses: &mut Losses) {
    let Ok(pairs) = serde_json::from_str::<schema::Fields<'_>>(metadata.as_str()) else {
        return losses.drop_field("metadata");
    };
    let legal = |text: &str| {
        text.chars().count() <= MAX_METADATA_TEXT
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":_@$#=/+,-.".contains(c))
    };
    let mut kept: Vec<(&str, Str<'_>)> = Vec::new();
    for (name, raw) in &pairs.0 {
        match serde_json::from_str::<Str<'_>>(raw.get()) {
            Ok(value) if kept.len() < MAX_METADATA && !name.is_empty() && legal(name) && legal(&value) => {
                kept.push((name, value));
            }
            _ => losses.drop_field(format!("metadata.{}", &**name)),
        }
    }
    if !kept.is_empty() {
        w.key("requestMetadata").object(|w| kept.iter().for_each(|(name, value)| w.field_str(name, value)));
    }
}
