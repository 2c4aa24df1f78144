//! Parts that are no calls, results or thoughts → pieces.

use super::{
    content::{guess, is_video_page},
    piece::{Media, Piece, PieceKind},
};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Family, Losses, Part, Source},
};

/// The pieces of a part: none when it is empty or lost, two when a document has an introduction.
pub(super) fn pieces<'p>(
    part: &'p Part<'p>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Vec<Piece<'p>>, WireError> {
    let one = |media: Media<'p>| vec![Piece::new(PieceKind::Media(media))];
    Ok(match part {
        Part::Text { text, annotations, cache } => {
            if cache.is_some() {
                losses.drop_field("cache_control");
            }
            if !annotations.is_empty() {
                losses.drop_field("annotations");
            }
            texts([text.as_ref()])
        }
        Part::Refusal { text } => texts([text.as_ref()]),
        Part::Image { source, detail, cache } => {
            if cache.is_some() {
                losses.drop_field("cache_control");
            }
            if detail.as_deref().is_some_and(|detail| detail != "auto") {
                losses.drop_field("image_url.detail");
            }
            one(media_of(source, "image", target)?)
        }
        Part::Video { source } => one(media_of(source, "video", target)?),
        Part::Audio { source: Source::File { owner, .. }, transcript: Some(text), .. } if *owner != Family::Gemini => {
            losses.drop_field("audio");
            texts([text.as_ref()])
        }
        Part::Audio { source, .. } => one(media_of(source, "audio", target)?),
        Part::Document { source, name, context, citations, cache } => {
            if cache.is_some() {
                losses.drop_field("cache_control");
            }
            if *citations {
                losses.drop_field("document.citations");
            }
            let mut pieces = texts([name, context].into_iter().flatten().map(AsRef::as_ref));
            match source {
                Source::Text(text) => pieces.extend(texts([text.as_ref()])),
                source => pieces.extend(one(media_of(source, "document", target)?)),
            }
            pieces
        }
        Part::ServerTool { family: Family::Gemini, raw } => vec![Piece::new(PieceKind::Raw(raw.as_str()))],
        Part::ServerTool { .. } => {
            losses.drop_field("server_tool");
            Vec::new()
        }
        Part::Thinking { .. } | Part::RedactedThinking { .. } => {
            losses.drop_field("thinking");
            Vec::new()
        }
        Part::ToolCall { .. } | Part::ToolResult { .. } => {
            losses.drop_field("misplaced_tool_part");
            Vec::new()
        }
    })
}

/// Text pieces of those that say something: the upstream refuses empty ones.
fn texts<'p>(all: impl IntoIterator<Item = &'p str>) -> Vec<Piece<'p>> {
    all.into_iter().filter(|text| !text.is_empty()).map(Piece::text).collect()
}

fn media_of<'p>(source: &'p Source<'p>, what: &str, target: &EncodeTarget<'_>) -> Result<Media<'p>, WireError> {
    match source {
        Source::Inline { media_type, data } => Ok(Media::Inline { media_type, data }),
        Source::File { id, owner: Family::Gemini } => Ok(Media::Uri { media_type: guess(id), uri: id }),
        Source::Url(url) if target.profile.media_urls || is_video_page(url) => {
            let media_type = if is_video_page(url) { None } else { guess(url) };
            Ok(Media::Uri { media_type, uri: url })
        }
        Source::Url(_) => {
            Err(WireError::unsupported(what, format!("this upstream takes the {what} as base64 only, not as a URL")))
        }
        Source::File { .. } | Source::Text(_) => Err(WireError::unsupported(
            what,
            format!("this upstream takes the {what} as a URL or as base64, not as a file id of another vendor"),
        )),
    }
}
