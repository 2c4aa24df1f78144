//! Contents of items, for a Responses upstream.

use std::borrow::Cow;

use crate::{
    codec::WireError,
    ir::{Family, Source},
    media,
    write::Writer,
};

pub(super) fn text_part(w: &mut Writer<'_>, text: &str) {
    w.object(|w| {
        w.field_str("type", "input_text");
        w.field_str("text", text);
    });
}

/// Without an id: the vendor refuses one that is not the one it gave.
pub(super) fn reasoning(w: &mut Writer<'_>, text: &str, payload: Option<&str>) {
    w.object(|w| {
        w.field_str("type", "reasoning");
        match payload {
            Some(payload) => {
                w.key("summary").array(|w| {
                    if !text.is_empty() {
                        w.object(|w| {
                            w.field_str("type", "summary_text");
                            w.field_str("text", text);
                        });
                    }
                });
                w.field_str("encrypted_content", payload);
            }
            None => {
                w.key("summary").array(|_| {});
                w.key("content").array(|w| {
                    w.object(|w| {
                        w.field_str("type", "reasoning_text");
                        w.field_str("text", text);
                    });
                });
            }
        }
    });
}

/// What introduces a document has no field here: it is said in front.
pub(super) fn document(
    w: &mut Writer<'_>,
    source: &Source<'_>,
    (name, context): (Option<&str>, Option<&str>),
    more: impl FnOnce(&mut Writer<'_>),
) -> Result<(), WireError> {
    if let Source::File { owner, .. } = source
        && *owner != Family::OpenAi
    {
        return Err(media::foreign_file("document"));
    }
    if let Some(context) = context.filter(|_| !matches!(source, Source::Text(_))) {
        text_part(w, context);
    }
    w.object(|w| {
        w.field_str("type", if matches!(source, Source::Text(_)) { "input_text" } else { "input_file" });
        match source {
            Source::Text(text) => w.field_str("text", &media::document_as_text(text, name, context)),
            Source::Url(url) => w.field_str("file_url", url),
            Source::File { id, .. } => w.field_str("file_id", id),
            Source::Inline { media_type, data } => {
                w.field_str("filename", &media::file_name(name, media_type));
                w.field_str("file_data", &media::data_url(media_type, data));
            }
        }
        more(w);
    });
    Ok(())
}

pub(super) fn image_source<'p>(source: &'p Source<'_>) -> Result<(&'static str, Cow<'p, str>), WireError> {
    match source {
        Source::Url(url) => Ok(("image_url", url.as_ref().into())),
        Source::Inline { media_type, data } => Ok(("image_url", media::data_url(media_type, data).into())),
        Source::File { id, owner: Family::OpenAi } => Ok(("file_id", id.as_ref().into())),
        Source::File { .. } | Source::Text(_) => Err(media::foreign_file("image")),
    }
}

/// An id that OpenAI takes, on both sides of the round.
pub(super) fn call_id_here(id: &str) -> Cow<'_, str> {
    crate::stable_id::short_call_id(id, super::MAX_CALL_ID)
}
