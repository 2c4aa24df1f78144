//! Media types of bare base64. Ollama carries none, but every other format demands one.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    ir::{Part, Source},
    media,
};

/// An entry of `images`: base64, though some clients send a data URL or a URL.
pub(super) fn media_part(entry: Cow<'_, str>) -> Part<'_> {
    if entry.contains(':') {
        return Part::Image { source: media::source_of_url(entry), detail: None, cache: None };
    }
    let media_type = sniff(&entry);
    let source = Source::Inline { media_type: Cow::Borrowed(media_type), data: entry };
    if media_type.starts_with("audio/") {
        Part::Audio { source, format: None, transcript: None }
    } else {
        Part::Image { source, detail: None, cache: None }
    }
}

/// By the first bytes. What is not recognised counts as PNG: it is an image, and upstreams look at the bytes themselves.
fn sniff(data: &str) -> &'static str {
    let head = data.as_bytes().get(..16).and_then(|head| STANDARD.decode(head).ok()).unwrap_or_default();
    match head.as_slice() {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'B', b'M', ..] => "image/bmp",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => "audio/wav",
        [b'I', b'D', b'3', ..] | [0xff, 0xe2..=0xff, ..] => "audio/mpeg",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => "image/avif",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', b'i', b'c', ..] => "image/heic",
        _ => "image/png",
    }
}

/// The text of a document that is text, whatever it is wrapped in.
pub(super) fn text_of<'s>(source: &'s Source<'_>) -> Option<Cow<'s, str>> {
    match source {
        Source::Text(text) => Some(Cow::Borrowed(text)),
        Source::Inline { media_type, data } if is_text(media_type) => {
            STANDARD.decode(data.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).map(Cow::Owned)
        }
        _ => None,
    }
}

fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || matches!(media_type, "application/json" | "application/xml" | "application/yaml" | "application/x-yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_media_type() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n0000"[..], "image/png"),
            (b"\xff\xd8\xff\xe0\0\0\0\0\0\0\0\0", "image/jpeg"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            (b"ID3\x04\0\0\0\0\0\0\0\0", "audio/mpeg"),
            (b"\xff\xfb\x90\x64\0\0\0\0\0\0\0\0", "audio/mpeg"),
        ] {
            assert_eq!(sniff(&STANDARD.encode(bytes)), expected);
        }
        for odd in ["", "AA==", "é", "not base64 at all!!"] {
            assert_eq!(sniff(odd), "image/png");
        }
    }
}
