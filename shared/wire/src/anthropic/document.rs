//! Where images and documents come from, both ways.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    base64,
    block::{Block, MediaSource, read_at},
};
use crate::{
    codec::WireError,
    ir::{Family, Source},
    text::{Str, TextOr},
    write::Writer,
};

/// Reads a `source`; true when it is made of content blocks, whose borders the representation does not keep.
pub(super) fn source<'a>(raw: &'a RawValue, path: &str) -> Result<(Source<'a>, bool), WireError> {
    let source: MediaSource<'a> = read_at(raw, path)?;
    let missing = |field: &str| WireError::field(format!("{path}.{field}"), format!("the source needs `{field}`"));
    Ok(match source.kind.as_deref() {
        Some("base64") => {
            let media_type = source.media_type.ok_or_else(|| missing("media_type"))?;
            let data = source.data.ok_or_else(|| missing("data"))?;
            (Source::Inline { media_type: media_type.into(), data: data.into() }, false)
        }
        Some("url") => (Source::Url(source.url.ok_or_else(|| missing("url"))?.into()), false),
        Some("text") => (Source::Text(source.data.ok_or_else(|| missing("data"))?.into()), false),
        Some("file") => {
            let id = source.file_id.ok_or_else(|| missing("file_id"))?;
            (Source::File { id: id.into(), owner: Family::Anthropic }, false)
        }
        Some("content") => {
            let content = source.content.ok_or_else(|| missing("content"))?;
            (Source::Text(joined_text(content, |raw| serde_json::from_str::<Block<'a>>(raw.get()).ok()?.text)), true)
        }
        Some(other) => {
            let message = format!("`{other}` is no source; use base64, url, text, content or file");
            return Err(WireError::field(format!("{path}.type"), message));
        }
        None => return Err(missing("type")),
    })
}

/// The texts among blocks, one paragraph each.
pub(super) fn joined_text<'a, T>(content: TextOr<'a, T>, text: fn(T) -> Option<Str<'a>>) -> Cow<'a, str> {
    match content {
        TextOr::Text(text) => text,
        TextOr::List(blocks) => {
            let mut texts = blocks.into_iter().filter_map(text).map(Cow::from);
            let Some(first) = texts.next() else { return Cow::Borrowed("") };
            texts.fold(first, |mut all, next| {
                all.to_mut().push_str("\n\n");
                all.to_mut().push_str(&next);
                all
            })
        }
    }
}

/// Writes an image's `source`.
pub(super) fn write_image_source(w: &mut Writer<'_>, source: &Source<'_>) -> Result<(), WireError> {
    match source {
        Source::Url(url) => write_url(w, url),
        Source::File { id, owner: Family::Anthropic } => write_file(w, id),
        Source::Inline { media_type, data } => {
            let media_type = match media_type.as_ref() {
                "image/jpg" | "image/pjpeg" => "image/jpeg",
                known @ ("image/jpeg" | "image/png" | "image/gif" | "image/webp") => known,
                other => {
                    let message = format!(
                        "this upstream takes images as JPEG, PNG, GIF or WebP, not as `{other}`; convert it first"
                    );
                    return Err(WireError::unsupported("image", message));
                }
            };
            write_inline(w, media_type, data);
        }
        Source::File { .. } => return Err(foreign_file("image")),
        Source::Text(_) => return Err(WireError::unsupported("image", "an image cannot be given as text")),
    }
    Ok(())
}

/// Writes a document's `source`.
pub(super) fn write_document_source(w: &mut Writer<'_>, source: &Source<'_>) -> Result<(), WireError> {
    match source {
        Source::Url(url) => write_url(w, url),
        Source::File { id, owner: Family::Anthropic } => write_file(w, id),
        Source::File { .. } => return Err(foreign_file("document")),
        Source::Text(text) => write_text(w, text),
        Source::Inline { media_type, data } if media_type == "application/pdf" => write_inline(w, media_type, data),
        Source::Inline { media_type, data } => {
            let text = is_text(media_type).then(|| base64::decode_text(data)).flatten();
            let Some(text) = text else {
                let message = format!("this upstream takes documents as PDF or text, not as `{media_type}`");
                return Err(WireError::unsupported("document", message));
            };
            write_text(w, &text);
        }
    }
    Ok(())
}

/// Whether a document is an image that its client sent as a file.
pub(super) fn is_image(source: &Source<'_>) -> bool {
    matches!(source, Source::Inline { media_type, .. } if media_type.starts_with("image/"))
}

fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || matches!(media_type, "application/json" | "application/xml" | "application/yaml" | "application/javascript")
}

fn foreign_file(what: &str) -> WireError {
    WireError::unsupported(
        what,
        format!("the {what} is a file id of another vendor; send it as a URL or as base64 for this upstream"),
    )
}

fn write_url(w: &mut Writer<'_>, url: &str) {
    w.object(|w| {
        w.field_str("type", "url");
        w.field_str("url", url);
    });
}

fn write_file(w: &mut Writer<'_>, id: &str) {
    w.object(|w| {
        w.field_str("type", "file");
        w.field_str("file_id", id);
    });
}

fn write_inline(w: &mut Writer<'_>, media_type: &str, data: &str) {
    w.object(|w| {
        w.field_str("type", "base64");
        w.field_str("media_type", media_type);
        w.field_str("data", data);
    });
}

fn write_text(w: &mut Writer<'_>, text: &str) {
    w.object(|w| {
        w.field_str("type", "text");
        w.field_str("media_type", "text/plain");
        w.field_str("data", text);
    });
}
