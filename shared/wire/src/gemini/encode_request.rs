//! [`Request`] → a `generateContent` body.

use super::{encode_config, encode_contents::Planner, encode_tools, extras, path::plain_model, piece::Piece};
use crate::{
    codec::{EncodeTarget, Encoded, NameTable, WireError},
    ir::{Family, Format, Losses, Request},
    write::Writer,
};

/// Longest name of a function.
const MAX_NAME: usize = 64;

/// The names of a request's functions as this format allows them: letters, digits, `_`, `.`, `:`, `-`, and no digit first.
pub fn name_table(request: &Request<'_>) -> NameTable {
    NameTable::build(request, MAX_NAME, |at, c| {
        c.is_ascii_alphabetic() || c == '_' || (at > 0 && (c.is_ascii_digit() || matches!(c, '.' | ':' | '-')))
    })
}

/// Writes a request. The model is in the path ([`super::upstream_path`]), and so is the wish for a stream.
///
/// # Errors
/// When the request needs something that this format cannot say.
pub fn encode_request(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    let mut body = Vec::with_capacity(request.size_hint());
    let answer_tool = write_body(&mut Writer::new(&mut body), request, target, None, losses)?;
    Ok(Encoded { body, answer_tool, ..Encoded::default() })
}

/// The body as the next item; with `model` inside where the path does not have the last word. Tells whether a tool of ours
/// stands for the format of the answer.
pub(super) fn write_body(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    model: Option<&str>,
    losses: &mut Losses,
) -> Result<bool, WireError> {
    let mut contents = Planner::new(request, target, losses).plan(request)?;
    let tools = encode_tools::Plan::of(request, target, losses)?;
    contents.system.extend(tools.note);
    let config = encode_config::Plan::of(request, target, tools.withholds_format, losses)?;
    list_lost(request, losses);
    w.object(|w| {
        if let Some(model) = model {
            w.field_str("model", &format!("models/{}", plain_model(model)));
        }
        if !contents.system.is_empty() {
            w.key("systemInstruction").object(|w| {
                w.key("parts").array(|w| contents.system.iter().for_each(|text| Piece::text(*text).write(w)));
            });
        }
        w.key("contents").array(|w| {
            for content in &contents.contents {
                w.object(|w| {
                    w.field_str("role", if content.is_model { "model" } else { "user" });
                    w.key("parts").array(|w| content.pieces.iter().for_each(|piece| piece.write(w)));
                });
            }
        });
        tools.write(w, request, target);
        config.write(w, request);
        if let Some(tier) = service_tier(request) {
            w.field_str("serviceTier", tier);
        }
        for (name, raw) in top_level(request) {
            w.field_raw(name, raw);
        }
    });
    Ok(tools.has_answer())
}

fn top_level<'p>(request: &'p Request<'_>) -> impl Iterator<Item = (&'p str, &'p str)> {
    let own = request.format == Format::Gemini;
    let all = request.extensions.iter().filter(move |(path, _)| own && !path.contains('.'));
    all.map(|(path, raw)| (path, raw.as_str()))
}

/// Names the fields that this format has no place for.
fn list_lost(request: &Request<'_>, losses: &mut Losses) {
    for (path, _) in request.extensions.iter() {
        // Arguments in pieces would come in a form of their own; whole ones say the same.
        let streamed_arguments = path.starts_with("toolConfig.functionCallingConfig.");
        if request.format != Format::Gemini || streamed_arguments || is_orphan(request, path) {
            losses.drop_field(path.to_owned());
        }
    }
    for (name, given) in [
        ("user", request.user.is_some()),
        ("metadata", request.metadata.is_some()),
        ("prompt_cache_key", request.cache_key.is_some()),
        ("store", request.store == Some(true)),
        (
            "service_tier",
            request.service_tier.is_some() && service_tier(request).is_none() && !is_default_tier(request),
        ),
    ] {
        if given {
            losses.drop_field(name);
        }
    }
}

/// A path of this family that is written nowhere.
fn is_orphan(request: &Request<'_>, path: &str) -> bool {
    let known = ["generationConfig.", "toolConfig.", super::decode_tools::FUNCTION_PATH];
    let of_function = path.strip_prefix(super::decode_tools::FUNCTION_PATH);
    let has_function = |rest: &str| request.tools.iter().any(|tool| rest.starts_with(tool.name.as_ref()));
    let placed = known.iter().any(|prefix| path.starts_with(prefix)) && of_function.is_none_or(has_function);
    // Those of parts are followed by who writes the parts.
    path.contains('.') && !placed && !extras::is_of_part(path)
}

fn service_tier<'p>(request: &'p Request<'_>) -> Option<&'p str> {
    let tier = request.service_tier.as_deref()?;
    match (request.format.family(), tier) {
        (Family::Gemini, tier) => Some(tier),
        (_, "flex") => Some("flex"),
        (_, "priority") => Some("priority"),
        _ => None,
    }
}

/// Words of the other families for what this one does when nothing is said.
fn is_default_tier(request: &Request<'_>) -> bool {
    matches!(request.service_tier.as_deref(), Some("auto" | "default" | "standard" | "standard_only"))
}
