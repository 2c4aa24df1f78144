//! [`Request`] → a Chat Completions body.

use std::borrow::Cow;

use super::{
    details::{Made, is_makers, write_made, write_told},
    encode_content::{upstream_call_id, write_content, write_result},
};
use crate::{
    codec::{EncodeTarget, Encoded, WireError},
    ir::{
        Effort, Family, Format, Losses, Modality, OutputFormat, Part, Request, Role, Signature, SystemPart, SystemRole,
        ThinkingStyle, ToolChoice, ToolKind, Turn,
    },
    stable_id::plain_user,
    system_text::{self, Systems, is_within_results},
    tool_schema,
    tools::{self, arguments_as_object},
    write::Writer,
};

/// A thought, or a proof of one, as `reasoning_details` tells it.
enum Detail<'p> {
    /// As it came, with the text.
    Told(&'p str, &'p str),
    Made(Made<'p>),
}

/// Writes a request for an OpenAI-compatible upstream.
///
/// # Errors
/// When the request needs something that this format cannot say.
pub fn encode_request(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    let mut body = Vec::with_capacity(request.size_hint());
    let mut failure = None;
    Writer::new(&mut body).object(|w| {
        w.field_str("model", target.model);
        w.key("messages").array(|w| failure = write_messages(w, request, target, losses).err());
        write_tools(w, request, target, losses);
        write_limits(w, request, target, losses);
        write_output(w, request, target, losses);
        write_identity(w, request, losses);
        if target.stream {
            w.field("stream", &true);
            w.key("stream_options").object(|w| w.field("include_usage", &true));
        }
        if request.format.family() == Family::OpenAi {
            write_extensions(w, request, losses);
        } else {
            for (name, _) in request.extensions.iter() {
                losses.drop_field(name.to_owned());
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(Encoded { body, ..Encoded::default() }),
    }
}

/// Fields that Responses has and Chat lacks are losses, not extensions.
fn write_extensions(w: &mut Writer<'_>, request: &Request<'_>, losses: &mut Losses) {
    for (name, raw) in request.extensions.iter() {
        if request.format == Format::OpenAiChat || name == "verbosity" || name == "prediction" {
            w.field_raw(name, raw.as_str());
        } else {
            losses.drop_field(name.to_owned());
        }
    }
}

fn write_messages(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(), WireError> {
    // A client of this very format knows what its host takes.
    let anywhere = target.profile.system_anywhere || request.format == Format::OpenAiChat;
    let request = if anywhere { Cow::Borrowed(request) } else { system_text::by_turns(request) };
    let mut systems = Systems::of(&request, losses);
    if anywhere {
        systems.front().iter().for_each(|system| write_system(w, system, target));
    } else if let Some(text) = systems.joined_front() {
        w.object(|w| {
            w.field_str("role", "system");
            w.field_str("content", &text);
        });
    }
    for (position, turn) in request.turns.iter().enumerate() {
        // Results first: they belong directly behind the calls, whatever else the turn says.
        for part in &turn.parts {
            if let Part::ToolResult { call_id, parts, is_error, .. } = part {
                write_result(w, &upstream_call_id(call_id, target), parts, *is_error, losses);
            }
        }
        if !is_within_results(&request.turns, position) {
            systems.due(position).iter().for_each(|system| write_system(w, system, target));
        }
        write_rest(w, turn, target, losses)?;
    }
    systems.rest().iter().for_each(|system| write_system(w, system, target));
    Ok(())
}

fn write_system(w: &mut Writer<'_>, system: &SystemPart<'_>, target: &EncodeTarget<'_>) {
    let developer = target.profile.developer_role && system.role == SystemRole::Developer;
    w.object(|w| {
        w.field_str("role", if developer { "developer" } else { "system" });
        w.field_str("content", &system.text);
    });
}

/// What a turn says beside its results.
fn write_rest(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(), WireError> {
    let mut rest: Vec<&Part<'_>> = turn.parts.iter().filter(|part| !matches!(part, Part::ToolResult { .. })).collect();
    if turn.role == Role::Assistant {
        write_assistant(w, turn, &rest, target, losses);
        return Ok(());
    }
    // Images in results have no place in a tool message: they follow as the user's.
    rest.extend(turn.parts.iter().filter_map(result_parts).flatten().filter(|part| is_media(part)));
    if rest.is_empty() {
        return Ok(());
    }
    let mut failure = None;
    w.object(|w| {
        w.field_str("role", "user");
        w.field_str_opt("name", turn.name.as_deref());
        failure = write_content(w.key("content"), &rest, losses).err();
    });
    failure.map_or(Ok(()), Err)
}

fn result_parts<'p, 'a>(part: &'p Part<'a>) -> Option<&'p [Part<'a>]> {
    if let Part::ToolResult { parts, .. } = part { Some(parts) } else { None }
}

const fn is_media(part: &Part<'_>) -> bool {
    matches!(part, Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. })
}

fn write_assistant(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    parts: &[&Part<'_>],
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) {
    let mut text: Option<Cow<'_, str>> = None;
    let mut thinking = String::new();
    let mut refusal: Option<&str> = None;
    let mut calls = Vec::new();
    let mut details: Vec<Detail<'_>> = Vec::new();
    let takes_details = target.profile.reasoning_details_back;
    let takes_signatures = target.model.contains("gemini") && !takes_details;
    // From another host that speaks to the same model.
    let good = |own: &&Signature<'_>| takes_details && is_makers(target.model, own.family);
    for part in parts {
        match part {
            Part::Text { text: piece, annotations, .. } => {
                if !annotations.is_empty() {
                    losses.drop_field("annotations");
                }
                *text.get_or_insert_default() += piece.as_ref();
            }
            Part::Thinking { text, signature: Some(told) } if told.family == Family::OpenRouter => {
                details.push(Detail::Told(&told.payload, text));
            }
            Part::Thinking { text, signature } => match signature.as_ref().filter(good) {
                Some(signature) => {
                    details.push(Detail::Made(Made { text: Some(text), signature, call: None }));
                }
                None => thinking.push_str(text),
            },
            Part::Refusal { text } => refusal = Some(text),
            Part::ToolCall { id, name, arguments, kind, signature, .. } => {
                // Only Google's own models know the field; others refuse it.
                let signature = signature.as_ref().filter(|own| own.family == Family::Gemini);
                if let Some(signature) = signature.filter(good) {
                    details.push(Detail::Made(Made { text: None, signature, call: Some(id) }));
                } else if signature.is_some() && !takes_signatures {
                    losses.drop_field("thought_signature");
                }
                calls.push((id, name, arguments, *kind, signature.filter(|_| takes_signatures)));
            }
            Part::RedactedThinking { data } if data.family == Family::OpenRouter => {
                details.push(Detail::Told(&data.payload, ""));
            }
            Part::RedactedThinking { data } => match Some(data).filter(good) {
                Some(signature) => details.push(Detail::Made(Made { text: None, signature, call: None })),
                None => losses.drop_field("redacted_thinking"),
            },
            Part::ServerTool { .. } => losses.drop_field("server_tool"),
            Part::Image { .. } | Part::Audio { .. } | Part::Video { .. } | Part::Document { .. } => {
                losses.drop_field("assistant.media");
            }
            Part::ToolResult { .. } => {}
        }
    }
    let think_back = target.profile.reasoning_content_back && !thinking.is_empty();
    if !think_back && !thinking.is_empty() {
        losses.drop_field("thinking");
    }
    if text.is_none() && refusal.is_none() && calls.is_empty() {
        // A turn that held only thoughts says nothing that this format could carry.
        return;
    }
    w.object(|w| {
        w.field_str("role", "assistant");
        w.field_str_opt("name", turn.name.as_deref());
        match &text {
            Some(text) => w.field_str("content", text),
            None => w.field_null("content"),
        }
        w.field_str_opt("refusal", refusal);
        if think_back {
            w.field_str(if takes_details { "reasoning" } else { "reasoning_content" }, &thinking);
        }
        if !details.is_empty() {
            w.key("reasoning_details").array(|w| {
                for (index, detail) in details.iter().enumerate() {
                    match detail {
                        Detail::Told(payload, text) => write_told(w, payload, text),
                        Detail::Made(made) => write_made(w, *made, index),
                    }
                }
            });
        }
        if !calls.is_empty() {
            w.key("tool_calls").array(|w| {
                for (id, name, arguments, kind, signature) in calls {
                    w.object(|w| {
                        w.field_str("id", &upstream_call_id(id, target));
                        w.field_str("type", "function");
                        w.key("function").object(|w| {
                            w.field_str("name", target.names.upstream(name));
                            w.field_str("arguments", &arguments_as_object(arguments, kind));
                        });
                        if let Some(signature) = signature {
                            w.key("extra_content").object(|w| {
                                w.key("google").object(|w| w.field_str("thought_signature", &signature.payload));
                            });
                        }
                    });
                }
            });
        }
    });
}

fn write_tools(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    for tool in &request.vendor_tools {
        let own = request.format == Format::OpenAiChat && tool.name == "web_search_options";
        if own {
            w.field_raw("web_search_options", tool.raw.as_str());
        } else {
            losses.drop_field(format!("tools.{}", tool.name));
        }
    }
    if request.tools.is_empty() {
        return;
    }
    w.key("tools").array(|w| {
        for tool in &request.tools {
            w.object(|w| {
                w.field_str("type", "function");
                w.key("function").object(|w| {
                    w.field_str("name", target.names.upstream(&tool.name));
                    w.field_str_opt("description", tool.description.as_deref());
                    match &tool.kind {
                        ToolKind::Function { schema, strict } => {
                            let between = (request.format, target.profile);
                            let (parameters, strict) =
                                tool_schema::function(schema.as_ref(), *strict, &tool.name, between, losses);
                            w.field_raw("parameters", &parameters);
                            w.field_opt("strict", strict.as_ref());
                        }
                        ToolKind::Custom { grammar } => {
                            if grammar.is_some() {
                                losses.drop_field("tools.format");
                            }
                            w.field_raw("parameters", tools::CUSTOM_SCHEMA);
                        }
                    }
                });
            });
        }
    });
    w.field_opt("parallel_tool_calls", request.parallel_tool_calls.as_ref());
    let forced = matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })
    );
    if forced && !target.profile.forced_tools {
        losses.drop_field("tool_choice");
        return;
    }
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => w.field_str("tool_choice", "auto"),
        Some(ToolChoice::None) => w.field_str("tool_choice", "none"),
        Some(ToolChoice::Required) => w.field_str("tool_choice", "required"),
        // Of one tool it is the same.
        Some(ToolChoice::Named(_)) if !target.profile.named_tool => {
            if request.tools.len() > 1 {
                losses.drop_field("tool_choice");
            }
            w.field_str("tool_choice", "required");
        }
        Some(ToolChoice::Named(name)) => w.key("tool_choice").object(|w| {
            w.field_str("type", "function");
            w.key("function").object(|w| w.field_str("name", target.names.upstream(name)));
        }),
        Some(ToolChoice::Allowed { names, required }) => w.key("tool_choice").object(|w| {
            w.field_str("type", "allowed_tools");
            w.key("allowed_tools").object(|w| {
                w.field_str("mode", if *required { "required" } else { "auto" });
                w.key("tools").array(|w| {
                    for name in names {
                        w.object(|w| {
                            w.field_str("type", "function");
                            w.key("function").object(|w| w.field_str("name", target.names.upstream(name)));
                        });
                    }
                });
            });
        }),
        // Refused before: see `check_portable`.
        Some(ToolChoice::Vendor(_)) => {}
    }
}

fn write_limits(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let profile = target.profile;
    if let Some(limit) = request.output_limit(profile, 0, losses) {
        w.field(if profile.max_completion_tokens { "max_completion_tokens" } else { "max_tokens" }, &limit);
    }
    if !profile.stop && !request.stop.is_empty() {
        losses.drop_field("stop");
    } else if !request.stop.is_empty() {
        // OpenAI takes four.
        if request.stop.len() > 4 {
            losses.drop_field("stop.4");
        }
        w.field("stop", &request.stop[..request.stop.len().min(4)]);
    }
    let sampling = &request.sampling;
    let adjustable: [(&str, Option<f64>); 4] = [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("frequency_penalty", sampling.frequency_penalty),
        ("presence_penalty", sampling.presence_penalty),
    ];
    for (name, value) in adjustable {
        match value {
            Some(_) if profile.fixed_sampling => losses.drop_field(name),
            Some(_) if !profile.penalties && name.ends_with("penalty") => losses.drop_field(name),
            value => w.field_opt(name, value.as_ref()),
        }
    }
    for (name, given) in [
        ("top_k", sampling.top_k.is_some()),
        ("min_p", sampling.min_p.is_some()),
        ("repetition_penalty", sampling.repeat_penalty.is_some()),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
    w.field_opt("seed", sampling.seed.as_ref());
    w.field_opt("n", sampling.n.filter(|n| *n > 1).as_ref());
    if profile.logprobs {
        w.field_opt("logprobs", sampling.logprobs.as_ref());
        w.field_opt("top_logprobs", sampling.top_logprobs.as_ref());
        w.field_json_opt("logit_bias", sampling.logit_bias.as_ref());
    } else {
        for (name, given) in [
            ("logprobs", sampling.logprobs == Some(true)),
            ("top_logprobs", sampling.top_logprobs.is_some()),
            ("logit_bias", sampling.logit_bias.is_some()),
        ] {
            if given {
                losses.drop_field(name);
            }
        }
    }
    write_effort(w, request, target, losses);
}

fn write_effort(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let Some(reasoning) = request.reasoning else { return };
    if target.profile.thinking != ThinkingStyle::Effort {
        losses.drop_field("reasoning");
        return;
    }
    let cap = request.max_tokens.or(target.profile.max_output_tokens);
    let wanted = match (reasoning.enabled, reasoning.effort, reasoning.budget) {
        (Some(false), ..) => Some(Effort::None),
        (_, Some(effort), _) => Some(effort),
        (_, None, Some(budget)) => Some(Effort::nearest(budget, cap, u64::MAX)),
        // "Think, as much as you see fit" is what such a model does by itself.
        (_, None, None) => None,
    };
    let Some(wanted) = wanted else { return };
    match target.profile.effort(wanted) {
        Some(effort) => {
            reasoning.list_moved(Some(effort), losses);
            w.field_str("reasoning_effort", super::effort_word(effort));
        }
        None => losses.drop_field("reasoning"),
    }
}

fn write_output(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::Json => w.key("response_format").object(|w| w.field_str("type", "json_object")),
        OutputFormat::Schema { .. } if !target.profile.json_schema => {
            losses.drop_field("response_format.json_schema");
            w.key("response_format").object(|w| w.field_str("type", "json_object"));
        }
        OutputFormat::Schema { name, description, schema, strict } => w.key("response_format").object(|w| {
            w.field_str("type", "json_schema");
            w.key("json_schema").object(|w| {
                w.field_str("name", name.as_deref().unwrap_or("response"));
                w.field_str_opt("description", description.as_deref());
                let (schema, strict) = tool_schema::answer(schema, *strict, request.format, losses);
                w.field_raw("schema", &schema);
                w.field_opt("strict", strict.as_ref());
            });
        }),
    }
    if !request.modalities.is_empty() {
        w.key("modalities").array(|w| {
            for modality in &request.modalities {
                w.str(match modality {
                    Modality::Text => "text",
                    Modality::Audio => "audio",
                    Modality::Image => "image",
                });
            }
        });
    }
}

fn write_identity(w: &mut Writer<'_>, request: &Request<'_>, losses: &mut Losses) {
    let own = request.format.family() == Family::OpenAi;
    let user = request.user.as_deref().map(|user| if own { user.into() } else { plain_user(user) });
    w.field_str_opt("user", user.as_deref());
    if own {
        w.field_json_opt("metadata", request.metadata.as_ref());
        w.field_str_opt("service_tier", request.service_tier.as_deref());
        w.field_str_opt("prompt_cache_key", request.cache_key.as_deref());
        w.field_opt("store", request.store.as_ref());
    } else {
        if request.metadata.is_some() {
            losses.drop_field("metadata");
        }
        match request.service_tier.as_deref().filter(|tier| *tier != "auto").map(super::tier_word) {
            None => {}
            Some(Some(word)) => w.field_str("service_tier", word),
            Some(None) => losses.drop_field("service_tier"),
        }
    }
    if request.has_cache_marks() {
        losses.drop_field("cache_control");
    }
}
