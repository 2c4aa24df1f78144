//! Contents of messages, for an OpenAI-compatible upstream.

use std::borrow::Cow;

use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Family, Losses, Part, Source, ToolIds},
    media,
    stable_id::{nine_character_id, short_call_id},
    write::Writer,
};

/// Longest id of a call that OpenAI takes in Chat.
const MAX_CALL_ID: usize = 40;

/// A call's id as the target takes it.
pub(super) fn upstream_call_id<'i>(id: &'i str, target: &EncodeTarget<'_>) -> Cow<'i, str> {
    match target.profile.tool_ids {
        ToolIds::Any => short_call_id(id, MAX_CALL_ID),
        ToolIds::NineCharacters => nine_character_id(id),
    }
}

pub(super) fn write_result(w: &mut Writer<'_>, call_id: &str, parts: &[Part<'_>], is_error: bool, losses: &mut Losses) {
    // The usual result is one text, which may be long: it is not copied.
    let mut text = Cow::Borrowed("");
    for part in parts {
        match part {
            Part::Text { text: piece, .. } => text += piece.as_ref(),
            Part::Image { .. } => text += "[image: see the next user message]",
            Part::Document { .. } | Part::Audio { .. } | Part::Video { .. } => {
                text += "[file: see the next user message]";
            }
            _ => losses.drop_field("tool_result.content"),
        }
    }
    // A host that knows no error flag must still learn that the call failed.
    if is_error && !text.to_ascii_lowercase().contains("error") {
        text.to_mut().insert_str(0, "Error: ");
    }
    w.object(|w| {
        w.field_str("role", "tool");
        w.field_str("tool_call_id", call_id);
        w.field_str("content", &text);
    });
}

pub(super) fn write_content(w: &mut Writer<'_>, parts: &[&Part<'_>], losses: &mut Losses) -> Result<(), WireError> {
    if let [Part::Text { text, .. }] = parts {
        w.str(text);
        return Ok(());
    }
    let mut failure = None;
    w.array(|w| {
        for part in parts {
            if let Err(error) = write_part(w, part, losses) {
                failure = Some(error);
                return;
            }
        }
    });
    failure.map_or(Ok(()), Err)
}

fn write_part(w: &mut Writer<'_>, part: &Part<'_>, losses: &mut Losses) -> Result<(), WireError> {
    match part {
        Part::Text { text, .. } | Part::Refusal { text } => write_text(w, text),
        Part::Image { source, detail, .. } => {
            let url = url_of(source, "image")?;
            w.object(|w| {
                w.field_str("type", "image_url");
                w.key("image_url").object(|w| {
                    w.field_str("url", &url);
                    w.field_str_opt("detail", detail.as_deref());
                });
            });
        }
        Part::Video { source } => {
            let url = url_of(source, "video")?;
            w.object(|w| {
                w.field_str("type", "video_url");
                w.key("video_url").object(|w| w.field_str("url", &url));
            });
        }
        Part::Audio { source, format, .. } => media::write_openai_audio(w, source, format.as_deref())?,
        Part::Document { source, name, context, citations, .. } => {
            if *citations {
                losses.drop_field("document.citations");
            }
            write_document(w, source, name.as_deref(), context.as_deref())?;
        }
        Part::Thinking { .. } | Part::RedactedThinking { .. } => losses.drop_field("thinking"),
        Part::ServerTool { .. } => losses.drop_field("server_tool"),
        Part::ToolCall { .. } | Part::ToolResult { .. } => {}
    }
    Ok(())
}

fn write_text(w: &mut Writer<'_>, text: &str) {
    w.object(|w| {
        w.field_str("type", "text");
        w.field_str("text", text);
    });
}

/// What introduces a document has no field here: it is said in front.
fn write_document(
    w: &mut Writer<'_>,
    source: &Source<'_>,
    name: Option<&str>,
    context: Option<&str>,
) -> Result<(), WireError> {
    if let Source::File { owner, .. } = source
        && *owner != Family::OpenAi
    {
        return Err(media::foreign_file("document"));
    }
    if let Source::Text(text) = source {
        write_text(w, &media::document_as_text(text, name, context));
        return Ok(());
    }
    if let Some(context) = context {
        write_text(w, context);
    }
    w.object(|w| {
        w.field_str("type", "file");
        w.key("file").object(|w| match source {
            Source::File { id, .. } => w.field_str("file_id", id),
            Source::Inline { media_type, data } => {
                w.field_str("filename", &media::file_name(name, media_type));
                w.field_str("file_data", &media::data_url(media_type, data));
            }
            Source::Url(url) => w.field_str("file_data", url),
            Source::Text(_) => {}
        });
    });
    Ok(())
}

fn url_of<'p>(source: &'p Source<'_>, what: &str) -> Result<Cow<'p, str>, WireError> {
    match source {
        Source::Url(url) => Ok(url.as_ref().into()),
        Source::Inline { media_type, data } => Ok(media::data_url(media_type, data).into()),
        Source::File { .. } | Source::Text(_) => Err(media::foreign_file(what)),
    }
}
