//! Content parts of Chat messages → [`Part`]s.

use std::borrow::Cow;

use super::{
    details::Marks,
    message::{
        Annotation, Answered, Audio, BlockSource, CacheControl, ContentPart, File, Message, ReasoningDetail,
        ThoughtPiece,
    },
};
use crate::{
    codec::{DecodeContext, WireError, signature_from},
    ir::{self, CacheMark, CallKind, Family, Part, Signature, Source},
    media,
    text::{Str, TextOr},
};

/// The parts of a message's `content`.
pub(super) fn user_parts<'a>(
    message: Message<'a>,
    path: &str,
    context: &DecodeContext<'_>,
) -> Result<Vec<Part<'a>>, WireError> {
    match message.content {
        None => Ok(Vec::new()),
        Some(content) => parts_of(content, path, context),
    }
}

fn parts_of<'a>(
    content: TextOr<'a, ContentPart<'a>>,
    path: &str,
    context: &DecodeContext<'_>,
) -> Result<Vec<Part<'a>>, WireError> {
    match content {
        TextOr::Text(text) if text.is_empty() => Ok(Vec::new()),
        TextOr::Text(text) => Ok(vec![Part::text(text)]),
        TextOr::List(parts) => parts
            .into_iter()
            .enumerate()
            // Mistral's numbers of sources, which mean something in its own answer only.
            .filter(|(_, part)| part.kind.as_deref() != Some("reference"))
            .map(|(index, part)| decode_part(part, &format!("{path}.{index}"), context))
            .collect(),
    }
}

fn decode_part<'a>(part: ContentPart<'a>, path: &str, context: &DecodeContext<'_>) -> Result<Part<'a>, WireError> {
    let missing = |field: &str| WireError::field(format!("{path}.{field}"), format!("the part needs `{field}`"));
    let cache = cache_mark(part.cache_control.as_ref());
    let kind = part.kind.as_deref().unwrap_or("text").to_owned();
    Ok(match kind.as_str() {
        "text" | "input_text" | "output_text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            Part::Text { text: text.into(), annotations: Vec::new(), cache }
        }
        "refusal" => Part::Refusal { text: part.refusal.ok_or_else(|| missing("refusal"))?.into() },
        "image_url" => {
            let image = part.image_url.ok_or_else(|| missing("image_url"))?.0;
            let url = image.url.ok_or_else(|| missing("image_url.url"))?;
            Part::Image { source: media::source_of_url(url.into()), detail: image.detail.map(Into::into), cache }
        }
        "video_url" => {
            let video = part.video_url.ok_or_else(|| missing("video_url"))?.0;
            let url = video.url.ok_or_else(|| missing("video_url.url"))?;
            Part::Video { source: media::source_of_url(url.into()) }
        }
        "input_audio" => audio_part(part.input_audio.ok_or_else(|| missing("input_audio"))?)
            .ok_or_else(|| missing("input_audio.data"))?,
        "file" => {
            file_part(part.file.ok_or_else(|| missing("file"))?, cache).ok_or_else(|| missing("file.file_data"))?
        }
        // Anthropic-shaped blocks, as some editors send them inside Chat messages.
        "image" => {
            let source = part.source.and_then(block_source).ok_or_else(|| missing("source"))?;
            Part::Image { source, detail: None, cache }
        }
        "document" => {
            let source = part.source.and_then(block_source).ok_or_else(|| missing("source"))?;
            Part::Document { source, name: part.title.map(Into::into), context: None, citations: false, cache }
        }
        "tool_use" => Part::ToolCall {
            id: part.id.ok_or_else(|| missing("id"))?.into(),
            name: part.name.ok_or_else(|| missing("name"))?.into(),
            arguments: part.input.map_or("{}", |raw| raw.get()).into(),
            kind: CallKind::Function,
            signature: None,
            cache,
        },
        "tool_result" => Part::ToolResult {
            call_id: part.tool_use_id.ok_or_else(|| missing("tool_use_id"))?.into(),
            name: None,
            parts: match part.content {
                Some(content) => parts_of(content, path, context)?,
                None => Vec::new(),
            },
            is_error: part.is_error.unwrap_or(false),
            cache,
        },
        "thinking" => Part::Thinking {
            text: thought_text(part.thinking.ok_or_else(|| missing("thinking"))?),
            signature: part
                .signature
                .filter(|signature| !signature.is_empty())
                .map(|signature| signature_from(signature.into(), Family::Anthropic, context.sealer)),
        },
        "redacted_thinking" => Part::RedactedThinking {
            data: signature_from(part.data.ok_or_else(|| missing("data"))?.into(), Family::Anthropic, context.sealer),
        },
        other => {
            return Err(WireError::field(
                format!("{path}.type"),
                format!("`{other}` is no content part of this API; use text, image_url, input_audio or file"),
            ));
        }
    })
}

/// A thought, whichever of its two forms it has.
pub(super) fn thought_text<'a>(thinking: TextOr<'a, ThoughtPiece<'a>>) -> Cow<'a, str> {
    let pieces = match thinking {
        TextOr::Text(text) => return text,
        TextOr::List(pieces) => pieces,
    };
    let mut texts = pieces.into_iter().filter_map(|piece| piece.text);
    let first = texts.next().map(Cow::from).unwrap_or_default();
    texts.fold(first, |all, text| all + text.0)
}

/// The parts of an answer: what is of no kind that is known shows nothing, and is no reason to lose the rest.
pub(super) fn answer_parts<'a>(message: Answered<'a>, path: &str, context: &DecodeContext<'_>) -> Vec<Part<'a>> {
    match message.content {
        None => Vec::new(),
        Some(TextOr::Text(text)) if text.is_empty() => Vec::new(),
        Some(TextOr::Text(text)) => vec![Part::text(text)],
        Some(TextOr::List(parts)) => parts
            .into_iter()
            .filter_map(|part| decode_part(part, path, context).ok())
            .filter(|part| !matches!(part, Part::Text { text, .. } if text.is_empty()))
            .collect(),
    }
}

/// A picture beside an answer's content.
pub(super) fn picture<'a>(part: ContentPart<'a>, context: &DecodeContext<'_>) -> Option<Part<'a>> {
    let part = ContentPart { kind: Some(Str("image_url".into())), ..part };
    decode_part(part, "choices.message.images", context).ok()
}

pub(super) fn audio_part(audio: Audio<'_>) -> Option<Part<'_>> {
    let data = audio.data?;
    let media_type = audio.format.as_deref().map_or("audio/wav", media::audio_media_type);
    Some(Part::Audio {
        source: Source::Inline { media_type: media_type.into(), data: data.into() },
        format: audio.format.map(Into::into),
        transcript: audio.transcript.map(Into::into),
    })
}

fn file_part(file: File<'_>, cache: Option<CacheMark>) -> Option<Part<'_>> {
    let source = match (file.file_data, file.file_id) {
        (Some(data), _) => match media::source_of_url(data.into()) {
            // Bare base64 without a data URL is taken too.
            Source::Url(data) if !data.contains("://") => {
                Source::Inline { media_type: Cow::Borrowed("application/pdf"), data }
            }
            source => source,
        },
        (None, Some(id)) => Source::File { id: id.into(), owner: Family::OpenAi },
        (None, None) => return None,
    };
    Some(Part::Document { source, name: file.filename.map(Into::into), context: None, citations: false, cache })
}

fn block_source(source: BlockSource<'_>) -> Option<Source<'_>> {
    match source.kind.as_deref() {
        Some("url") => source.url.map(|url| Source::Url(url.into())),
        Some("text") => source.data.map(|text| Source::Text(text.into())),
        _ => Some(Source::Inline { media_type: source.media_type?.into(), data: source.data?.into() }),
    }
}

pub(super) fn cache_mark(field: Option<&CacheControl<'_>>) -> Option<CacheMark> {
    let field = field?;
    Some(if field.ttl.as_deref() == Some("1h") { CacheMark::OneHour } else { CacheMark::FiveMinutes })
}

pub(super) fn annotation(field: Annotation<'_>) -> Option<ir::Annotation<'_>> {
    let citation = field.url_citation?;
    Some(ir::Annotation {
        url: citation.url.map(Into::into),
        title: citation.title.map(Into::into),
        cited_text: None,
        start: citation.start_index,
        end: citation.end_index,
        family: Family::OpenAi,
        raw: None,
    })
}

/// Thinking of an answer: its details as they are told, or the plain text.
pub(super) fn push_told<'a>(parts: &mut Vec<Part<'a>>, message: &mut Answered<'a>) {
    let details = message.reasoning_details.take().unwrap_or_default();
    let plain = message.reasoning_content.take().or(message.reasoning.take()).filter(|text| !text.is_empty());
    if details.is_empty() {
        parts.extend(plain.map(|text| Part::Thinking { text: text.into(), signature: None }));
    }
    for detail in details {
        let signature = Marks::of(&detail).signature();
        if detail.kind.as_deref() == Some("reasoning.encrypted") {
            let data = signature.filter(|_| detail.data.is_some());
            parts.extend(data.map(|data| Part::RedactedThinking { data }));
            continue;
        }
        let text = detail.text.or(detail.summary).unwrap_or_default();
        if !text.is_empty() || signature.is_some() {
            parts.push(Part::Thinking { text: text.into(), signature });
        }
    }
}

/// Thinking that a client sends back. `reasoning_details` (with signatures) wins over the plain texts.
pub(super) fn push_reasoning<'a>(parts: &mut Vec<Part<'a>>, message: &mut Message<'a>, context: &DecodeContext<'_>) {
    let details = message.reasoning_details.take().unwrap_or_default();
    let plain = message.reasoning_content.take().or(message.reasoning.take()).filter(|text| !text.is_empty());
    if details.is_empty() {
        parts.extend(plain.map(|text| Part::Thinking { text: text.into(), signature: None }));
        return;
    }
    let mut open = None;
    for detail in details {
        let index = detail.index;
        let Some(part) = reasoning_part(detail, context) else { continue };
        // As a stream told it: a thought in pieces, which a client may have kept as they came, its signature in the last.
        match (parts.last_mut(), part) {
            (
                Some(Part::Thinking { text, signature: signature @ None }),
                Part::Thinking { text: more, signature: own },
            ) if open.is_some_and(|open| open == index && (index.is_some() || more.is_empty())) => {
                text.to_mut().push_str(&more);
                *signature = own;
            }
            (_, part) => parts.push(part),
        }
        open = Some(index);
    }
}

fn reasoning_part<'a>(detail: ReasoningDetail<'a>, context: &DecodeContext<'_>) -> Option<Part<'a>> {
    let family = super::reasoning_family(detail.format.as_deref());
    let sign = |payload: Cow<'a, str>| -> Signature<'a> { signature_from(payload, family, context.sealer) };
    match detail.kind.as_deref() {
        Some("reasoning.encrypted") => detail.data.map(|data| Part::RedactedThinking { data: sign(data.into()) }),
        Some("reasoning.summary") => detail.summary.map(|text| Part::Thinking { text: text.into(), signature: None }),
        _ => Some(Part::Thinking {
            text: detail.text.unwrap_or_default().into(),
            signature: detail.signature.filter(|payload| !payload.is_empty()).map(|payload| sign(payload.into())),
        }),
    }
}
