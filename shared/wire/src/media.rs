//! Media as formats carry them: data URLs, base64, media types.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{codec::WireError, ir::Source, write::Writer};

/// A URL field that may hold a data URL.
pub(crate) fn source_of_url(url: Cow<'_, str>) -> Source<'_> {
    match url {
        Cow::Borrowed(text) => match split_data_url(text) {
            Some((media_type, data)) => Source::Inline { media_type: media_type.into(), data: data.into() },
            None => Source::Url(url),
        },
        Cow::Owned(text) => match split_data_url(&text) {
            Some((media_type, data)) => {
                Source::Inline { media_type: media_type.to_owned().into(), data: data.to_owned().into() }
            }
            None => Source::Url(Cow::Owned(text)),
        },
    }
}

/// `data:image/png;base64,AAAA` → (`image/png`, `AAAA`). Only base64 is taken.
pub(crate) fn split_data_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).map(|_| &url[5..])?;
    let (head, data) = rest.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    let media_type = media_type.split(';').next().unwrap_or_default();
    Some((if media_type.is_empty() { "application/octet-stream" } else { media_type }, data))
}

/// The reverse of [`split_data_url`].
pub(crate) fn data_url(media_type: &str, data: &str) -> String {
    let mut url = String::with_capacity(media_type.len() + data.len() + 13);
    url.push_str("data:");
    url.push_str(media_type);
    url.push_str(";base64,");
    url.push_str(data);
    url
}

/// Writes a sound as a part of a message in OpenAI's formats, which take base64 and the name of its format.
pub(crate) fn write_openai_audio(
    w: &mut Writer<'_>,
    source: &Source<'_>,
    format: Option<&str>,
) -> Result<(), WireError> {
    let Source::Inline { media_type, data } = source else {
        return Err(WireError::unsupported("audio", "this upstream takes audio as base64 only"));
    };
    let format = format.or_else(|| audio_format(media_type)).unwrap_or("wav");
    w.object(|w| {
        w.field_str("type", "input_audio");
        w.key("input_audio").object(|w| {
            w.field_str("data", data);
            w.field_str("format", format);
        });
    });
    Ok(())
}

/// Base64 texts cannot simply be put behind each other: what is inside of them can.
pub(crate) fn join_base64(pieces: &[impl AsRef<str>]) -> Cow<'_, str> {
    match pieces {
        [] => "".into(),
        [only] => only.as_ref().into(),
        pieces => {
            let bytes: Vec<u8> =
                pieces.iter().flat_map(|piece| STANDARD.decode(piece.as_ref()).unwrap_or_default()).collect();
            STANDARD.encode(bytes).into()
        }
    }
}

/// The refusal of media that lie with another vendor.
pub(crate) fn foreign_file(what: &str) -> WireError {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let message =
        format!("this upstream takes {article} {what} as a URL or as base64, not as a file id of another vendor");
    WireError::unsupported(what, message)
}

/// The text inside base64, when the media type says that it is text and it is UTF-8.
pub(crate) fn inline_text(media_type: &str, data: &str) -> Option<String> {
    let is_text = media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || matches!(
            media_type,
            "application/json"
                | "application/xml"
                | "application/yaml"
                | "application/x-yaml"
                | "application/javascript"
        );
    if !is_text {
        return None;
    }
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}

/// A document as text, for targets without a place for its title and introduction.
pub(crate) fn document_as_text<'t>(text: &'t str, name: Option<&str>, context: Option<&str>) -> Cow<'t, str> {
    let headings: Vec<&str> = [name, context].into_iter().flatten().filter(|heading| !heading.is_empty()).collect();
    if headings.is_empty() {
        return text.into();
    }
    Cow::Owned(format!("<document>\n{}\n{text}\n</document>", headings.join("\n")))
}

/// A file's name with an ending: OpenAI tells the kind of a file by it.
pub(crate) fn file_name<'n>(name: Option<&'n str>, media_type: &str) -> Cow<'n, str> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("document");
    let has_ending = name.rsplit_once('.').is_some_and(|(stem, ending)| {
        !stem.is_empty() && (1..=5).contains(&ending.len()) && ending.chars().all(|c| c.is_ascii_alphanumeric())
    });
    if has_ending {
        return name.into();
    }
    let ending = match media_type {
        "text/plain" => "txt",
        "text/markdown" => "md",
        "text/csv" => "csv",
        "text/html" => "html",
        "application/json" => "json",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation" => "pptx",
        _ => "pdf",
    };
    Cow::Owned(format!("{name}.{ending}"))
}

/// OpenAI's name of an audio container → media type.
pub(crate) fn audio_media_type(format: &str) -> &'static str {
    match format {
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        "opus" | "ogg" => "audio/ogg",
        "aac" => "audio/aac",
        "pcm16" => "audio/pcm",
        _ => "application/octet-stream",
    }
}

/// Media type → OpenAI's name of an audio container.
pub(crate) fn audio_format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/flac" => "flac",
        "audio/ogg" | "audio/opus" => "opus",
        "audio/aac" => "aac",
        "audio/pcm" | "audio/l16" => "pcm16",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_read_out_of_base64() {
        assert_eq!(inline_text("text/markdown", "aMOp").as_deref(), Some("h\u{e9}"));
        assert_eq!(inline_text("application/pdf", "aMOp"), None);
        assert_eq!(inline_text("text/plain", "not base64!"), None);
        assert_eq!(inline_text("text/plain", "/w=="), None, "not UTF-8");
    }

    #[test]
    fn files_get_an_ending_and_documents_their_headings() {
        assert_eq!(file_name(Some("Trip"), "application/pdf"), "Trip.pdf");
        assert_eq!(file_name(Some("v1. Notes of the day"), "text/plain"), "v1. Notes of the day.txt");
        assert_eq!(file_name(Some("a.docx"), "application/pdf"), "a.docx");
        assert_eq!(file_name(None, "x/y"), "document.pdf");
        assert_eq!(document_as_text("t", None, Some("")), "t");
        assert_eq!(document_as_text("t", Some("n"), Some("c")), "<document>\nn\nc\nt\n</document>");
    }

    #[test]
    fn data_urls_split_and_join() {
        assert_eq!(split_data_url("data:image/png;base64,AA=="), Some(("image/png", "AA==")));
        assert_eq!(split_data_url("DATA:text/plain;charset=utf-8;base64,AA=="), Some(("text/plain", "AA==")));
        assert_eq!(split_data_url("data:text/plain,hello"), None, "not base64");
        assert_eq!(split_data_url("https://x/data:image/png;base64,AA"), None);
        assert_eq!(split_data_url("é"), None, "no panic inside a character");
        assert_eq!(data_url("image/png", "AA=="), "data:image/png;base64,AA==");
    }
}
