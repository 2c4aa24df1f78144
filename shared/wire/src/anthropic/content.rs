//! Content blocks → [`Part`]s, of requests and answers alike.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    block::{Block, Citation, CitationsConfig, RawResult, TypeTag, cache_mark, read_at},
    document,
};
use crate::{
    codec::{DecodeContext, WireError, signature_from},
    ir::{Annotation, CacheMark, CallKind, Family, Json, Part, Signature, Source},
    text::{Str, TextOr},
};

/// A block, read.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Part(Part<'a>, Vec<Extra<'a>>),
    /// A block that holds system text in the middle of a user's turn.
    System(Vec<(Cow<'a, str>, Option<CacheMark>)>),
}

/// A field that the representation has no place for.
#[derive(Debug)]
pub(super) struct Extra<'a> {
    /// Known by id; `None` where the block's place in its turn has to do.
    pub(super) place: Option<String>,
    pub(super) field: Cow<'a, str>,
    pub(super) raw: Json<'a>,
}

/// Where a block stands: results hold fewer kinds than turns, and cannot hold each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Turn,
    Result,
}

/// The blocks of a turn's `content`.
pub(super) fn pieces<'a>(
    content: TextOr<'a, &'a RawValue>,
    path: &str,
    context: &DecodeContext<'_>,
) -> Result<Vec<Piece<'a>>, WireError> {
    let mut pieces = match content {
        TextOr::Text(text) if text.is_empty() => Vec::new(),
        TextOr::Text(text) => vec![Piece::Part(Part::text(text), Vec::new())],
        TextOr::List(blocks) => {
            let mut pieces = Vec::with_capacity(blocks.len());
            for (index, raw) in blocks.into_iter().enumerate() {
                pieces.push(block_in(Within::Turn, raw, &format!("{path}.{index}"), context)?);
            }
            pieces
        }
    };
    attach_call_signatures(&mut pieces);
    Ok(pieces)
}

/// One block of an answer.
pub(super) fn block<'a>(raw: &'a RawValue, path: &str, context: &DecodeContext<'_>) -> Result<Piece<'a>, WireError> {
    block_in(Within::Turn, raw, path, context)
}

fn is_known(kind: &str, within: Within) -> bool {
    match kind {
        "text" | "image" | "document" | "search_result" => true,
        "thinking" | "redacted_thinking" | "tool_use" | "tool_result" | "mid_conv_system" => within == Within::Turn,
        _ => false,
    }
}

/// A block of a tool that Anthropic runs, or of a kind made after this was written.
fn opaque(raw: &RawValue) -> Piece<'_> {
    Piece::Part(Part::ServerTool { family: Family::Anthropic, raw: raw.into() }, Vec::new())
}

fn block_in<'a>(
    within: Within,
    raw: &'a RawValue,
    path: &str,
    context: &DecodeContext<'_>,
) -> Result<Piece<'a>, WireError> {
    let block = serde_json::from_str::<Block<'a>>(raw.get()).ok().filter(|block| !holds_opaque_blocks(block));
    if let Some(block) = block {
        return piece(within, block, None, Some(raw), path, context);
    }
    let kind: TypeTag<'a> = read_at(raw, path)?;
    match kind.kind.as_deref() {
        Some(kind) if !is_known(kind, within) => Ok(opaque(raw)),
        Some("tool_result") => {
            let RawResult { kind, content, tool_use_id, is_error, cache_control, rest } = read_at(raw, path)?;
            let block = Block { kind, tool_use_id, is_error, cache_control, rest, ..Block::default() };
            piece(within, block, content, Some(raw), path, context)
        }
        _ => piece(within, read_at(raw, path)?, None, Some(raw), path, context),
    }
}

/// Whether there are blocks inside that must be kept as they stand.
fn holds_opaque_blocks(block: &Block<'_>) -> bool {
    let Some(TextOr::List(blocks)) = &block.content else { return false };
    block.kind.as_deref() == Some("tool_result")
        && !blocks.iter().all(|block| matches!(block.kind.as_deref(), Some("text" | "image" | "document")))
}

/// `contents`: those of a result, where they have not been read along with it. `raw`: the block as it stands; one that
/// was read along with a result has none.
fn piece<'a>(
    within: Within,
    block: Block<'a>,
    contents: Option<TextOr<'a, &'a RawValue>>,
    raw: Option<&'a RawValue>,
    path: &str,
    context: &DecodeContext<'_>,
) -> Result<Piece<'a>, WireError> {
    let missing = |field: &str| WireError::field(format!("{path}.{field}"), format!("the block needs `{field}`"));
    let kind = block.kind.as_deref().ok_or_else(|| missing("type"))?;
    if !is_known(kind, within) {
        return raw.map(opaque).ok_or_else(|| missing("type"));
    }
    let (cache, scoped) = cache_mark(block.cache_control);
    let place = match kind {
        "tool_use" => block.id.as_deref().map(|id| format!("tool_use.{id}")),
        "tool_result" => block.tool_use_id.as_deref().map(|id| format!("tool_result.{id}")),
        _ => None,
    };
    let mut extras = Vec::new();
    let mut keep = |field: Cow<'a, str>, raw: &'a RawValue| {
        extras.push(Extra { place: place.clone(), field, raw: raw.into() });
    };
    if let Some(raw) = block.cache_control.filter(|_| scoped) {
        keep(Cow::Borrowed("cache_control"), raw);
    }
    for (field, raw) in block.rest {
        // "Called by the model itself" is what a call without the field says too.
        if raw.get() != "null" && !(field == "caller" && raw.get().contains("\"direct\"")) {
            keep(field, raw);
        }
    }
    let part = match kind {
        "text" => {
            let text = block.text.ok_or_else(|| missing("text"))?;
            Part::Text { text: text.into(), annotations: annotations(block.citations), cache }
        }
        "image" => {
            let source = block.source.ok_or_else(|| missing("source"))?;
            Part::Image { source: document::source(source, &format!("{path}.source"))?.0, detail: None, cache }
        }
        "document" => {
            let raw = block.source.ok_or_else(|| missing("source"))?;
            let (source, blocks) = document::source(raw, &format!("{path}.source"))?;
            if blocks {
                keep(Cow::Borrowed("source"), raw);
            }
            Part::Document {
                source,
                name: block.title.map(Into::into),
                context: block.context.map(Into::into),
                citations: cites(block.citations),
                cache,
            }
        }
        "search_result" => {
            if let Some(raw) = raw {
                keep(Cow::Borrowed("search_result"), raw);
            }
            let content = block.content.ok_or_else(|| missing("content"))?;
            let origin = block.source.and_then(|raw| serde_json::from_str::<Str<'a>>(raw.get()).ok());
            Part::Document {
                source: Source::Text(document::joined_text(content, |block| block.text)),
                name: block.title.map(Into::into),
                context: origin.map(Into::into),
                citations: cites(block.citations),
                cache,
            }
        }
        "thinking" => {
            let text = block.thinking.ok_or_else(|| missing("thinking"))?.into();
            let signature = block.signature.filter(|signature| !signature.is_empty());
            let signature = signature.map(|payload| signature_from(payload.into(), Family::Anthropic, context.sealer));
            // A sealed token around nothing only says that the thought had no signature where it was made.
            Part::Thinking { text, signature: signature.filter(|signature| !signature.payload.is_empty()) }
        }
        "redacted_thinking" => {
            let data = block.data.ok_or_else(|| missing("data"))?;
            Part::RedactedThinking { data: signature_from(data.into(), Family::Anthropic, context.sealer) }
        }
        "tool_use" => Part::ToolCall {
            id: block.id.ok_or_else(|| missing("id"))?.into(),
            name: block.name.ok_or_else(|| missing("name"))?.into(),
            arguments: match block.input.map_or("{}", RawValue::get) {
                object if object.starts_with('{') => object.into(),
                _ => return Err(WireError::field(format!("{path}.input"), "`input` must be an object")),
            },
            kind: CallKind::Function,
            signature: None,
            cache,
        },
        "tool_result" => {
            let call_id: Cow<'a, str> = block.tool_use_id.ok_or_else(|| missing("tool_use_id"))?.into();
            let parts = match (block.content, contents) {
                (Some(content), _) => result_parts(content, piece_inside, &call_id, path, context, &mut extras)?,
                (None, Some(raw)) => result_parts(raw, raw_inside, &call_id, path, context, &mut extras)?,
                (None, None) => Vec::new(),
            };
            Part::ToolResult { call_id, name: None, parts, is_error: block.is_error.unwrap_or(false), cache }
        }
        _ => {
            let system = system_piece(block.content, cache).or_else(|| raw.map(opaque));
            return system.ok_or_else(|| missing("content"));
        }
    };
    Ok(Piece::Part(part, extras))
}

/// A block of a result that was read along with it.
fn piece_inside<'a>(block: Block<'a>, path: &str, context: &DecodeContext<'_>) -> Result<Piece<'a>, WireError> {
    piece(Within::Result, block, None, None, path, context)
}

fn raw_inside<'a>(raw: &'a RawValue, path: &str, context: &DecodeContext<'_>) -> Result<Piece<'a>, WireError> {
    block_in(Within::Result, raw, path, context)
}

fn result_parts<'a, T>(
    content: TextOr<'a, T>,
    read: fn(T, &str, &DecodeContext<'_>) -> Result<Piece<'a>, WireError>,
    call_id: &str,
    path: &str,
    context: &DecodeContext<'_>,
    extras: &mut Vec<Extra<'a>>,
) -> Result<Vec<Part<'a>>, WireError> {
    let blocks = match content {
        TextOr::Text(text) if text.is_empty() => return Ok(Vec::new()),
        TextOr::Text(text) => return Ok(vec![Part::text(text)]),
        TextOr::List(blocks) => blocks,
    };
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        if let Piece::Part(part, inner) = read(block, &format!("{path}.content.{index}"), context)? {
            let place = format!("tool_result.{call_id}.content.{}", parts.len());
            extras.extend(inner.into_iter().map(|extra| Extra { place: Some(place.clone()), ..extra }));
            parts.push(part);
        }
    }
    Ok(parts)
}

/// The texts of a system block; `None` when it holds more than text.
fn system_piece<'a>(content: Option<TextOr<'a, Block<'a>>>, outer: Option<CacheMark>) -> Option<Piece<'a>> {
    let blocks = match content? {
        TextOr::Text(text) => return Some(Piece::System(vec![(text, outer)])),
        TextOr::List(blocks) => blocks,
    };
    let mut texts = Vec::with_capacity(blocks.len());
    for block in blocks {
        let (Some("text"), Some(text)) = (block.kind.as_deref(), block.text) else { return None };
        texts.push((text.into(), cache_mark(block.cache_control).0));
    }
    if let Some((_, cache)) = texts.last_mut() {
        *cache = cache.or(outer);
    }
    Some(Piece::System(texts))
}

fn cites(raw: Option<&RawValue>) -> bool {
    let config = raw.and_then(|raw| serde_json::from_str::<CitationsConfig<'_>>(raw.get()).ok());
    config.and_then(|config| config.enabled).unwrap_or(false)
}

fn annotations(raw: Option<&RawValue>) -> Vec<Annotation<'_>> {
    let list = raw.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
    list.into_iter().flatten().filter_map(annotation).collect()
}

/// One citation. Its offsets count in the cited document, not in the answer, so they stay in the raw form.
pub(super) fn annotation(raw: &RawValue) -> Option<Annotation<'_>> {
    let citation: Citation<'_> = serde_json::from_str(raw.get()).ok()?;
    // A web citation without its proof was made by us out of another family's: it must not go back to Anthropic.
    let web = citation.kind.as_deref() == Some("web_search_result_location");
    let foreign = web && citation.encrypted_index.as_deref().unwrap_or_default().is_empty();
    Some(Annotation {
        url: citation.url.map(Into::into),
        title: citation.title.or(citation.document_title).map(Into::into),
        cited_text: citation.cited_text.map(Into::into),
        start: None,
        end: None,
        family: Family::Anthropic,
        raw: (!foreign).then(|| raw.into()),
    })
}

/// A call's signature of another family travels in a redacted block beside the call, because calls have no field for it.
fn attach_call_signatures(pieces: &mut Vec<Piece<'_>>) {
    let mut index = 0;
    while index < pieces.len() {
        let Piece::Part(Part::RedactedThinking { data: Signature { family: Family::Gemini, payload } }, _) =
            &pieces[index]
        else {
            index += 1;
            continue;
        };
        let signature = Signature { family: Family::Gemini, payload: payload.clone() };
        let behind = index.checked_sub(1);
        let free = [Some(index + 1), behind]
            .into_iter()
            .flatten()
            .find(|at| matches!(pieces.get(*at), Some(Piece::Part(Part::ToolCall { signature: None, .. }, _))));
        let call = free.and_then(|at| pieces.get_mut(at));
        if let Some(Piece::Part(Part::ToolCall { signature: own, .. }, _)) = call {
            *own = Some(signature);
            pieces.remove(index);
        } else {
            index += 1;
        }
    }
}
