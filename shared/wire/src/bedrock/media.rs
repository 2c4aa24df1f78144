//! Media: bytes or S3, with a format instead of a media type.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{codec::WireError, ir::Source, write::Writer};

/// An image's format by its media type.
pub(super) fn image_format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => return None,
    })
}

/// The media type of a format of an image.
pub(super) fn image_media_type(format: &str) -> String {
    format!("image/{format}")
}

/// A document's format by its extension.
pub(super) fn document_format_of(extension: &str) -> Option<&'static str> {
    const FORMATS: [&str; 9] = ["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"];
    FORMATS.into_iter().find(|format| format.eq_ignore_ascii_case(extension))
}

/// A document's format by its media type, or by its name where the media type says no more than "text" or "bytes".
pub(super) fn document_format(media_type: &str, name: Option<&str>) -> Option<&'static str> {
    let by_name = || name.and_then(|name| name.rsplit_once('.')).and_then(|(_, ext)| document_format_of(ext));
    Some(match media_type {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" | "text/x-markdown" => "md",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/octet-stream" | "" => return by_name(),
        "application/json" | "application/xml" | "application/yaml" | "application/x-yaml" => "txt",
        text if text.starts_with("text/") => by_name().unwrap_or("txt"),
        _ => return None,
    })
}

fn audio_format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/flac" => "flac",
        "audio/ogg" => "ogg",
        "audio/opus" => "opus",
        "audio/aac" => "aac",
        "audio/mp4" => "mp4",
        "audio/m4a" | "audio/x-m4a" => "m4a",
        "audio/webm" => "webm",
        "audio/pcm" | "audio/l16" => "pcm",
        _ => return None,
    })
}

fn video_format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "video/mp4" => "mp4",
        "video/quicktime" => "mov",
        "video/x-matroska" => "mkv",
        "video/webm" => "webm",
        "video/x-flv" => "flv",
        "video/mpeg" => "mpeg",
        "video/x-ms-wmv" => "wmv",
        "video/3gpp" => "three_gp",
        _ => return None,
    })
}

/// Writes an image, audio or video block: `{"image": {"format", "source"}}`.
pub(super) fn write_media(w: &mut Writer<'_>, what: &'static str, source: &Source<'_>) -> Result<(), WireError> {
    let by_type = match what {
        "image" => image_format,
        "audio" => audio_format,
        _ => video_format,
    };
    let format = match source {
        Source::Inline { media_type, .. } => by_type(media_type).ok_or_else(|| {
            WireError::unsupported(what, format!("this upstream does not take `{media_type}` as {what}"))
        })?,
        Source::Url(url) => {
            let extension = url.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
            by_type(&format!("{what}/{extension}")).unwrap_or("png")
        }
        Source::File { .. } | Source::Text(_) => "",
    };
    check(what, source)?;
    w.object(|w| {
        w.key(what).object(|w| {
            w.field_str("format", format);
            w.key("source").object(|w| write_source(w, source));
        });
    });
    Ok(())
}

/// Whether the service can be given it at all.
pub(super) fn check(what: &'static str, source: &Source<'_>) -> Result<(), WireError> {
    match source {
        Source::Inline { .. } | Source::Text(_) => Ok(()),
        Source::Url(url) if url.starts_with("s3://") => Ok(()),
        Source::Url(_) => {
            Err(WireError::unsupported(what, format!("this upstream takes {what} as base64 or from S3, not by URL")))
        }
        Source::File { .. } => {
            Err(WireError::unsupported(what, format!("this upstream cannot read a file id of another vendor ({what})")))
        }
    }
}

/// The inside of a `source`.
pub(super) fn write_source(w: &mut Writer<'_>, source: &Source<'_>) {
    match source {
        Source::Inline { data, .. } => w.field_str("bytes", data),
        Source::Url(uri) => w.key("s3Location").object(|w| w.field_str("uri", uri)),
        Source::Text(text) => w.field_str("bytes", &STANDARD.encode(text.as_bytes())),
        Source::File { .. } => {}
    }
}

/// The service's word for a document's format; `None` for one that it does not read.
pub(super) fn document_format_of_source(source: &Source<'_>, name: Option<&str>) -> Option<&'static str> {
    match source {
        Source::Text(_) => Some("txt"),
        Source::Inline { media_type, .. } => document_format(media_type, name),
        Source::Url(url) => url.rsplit_once('.').and_then(|(_, extension)| document_format_of(extension)),
        Source::File { .. } => None,
    }
}
