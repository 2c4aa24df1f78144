//! What bytes are, judged by how they begin. What a server says about them counts only for text.

use omniroute_wire::ir::MediaKind;

/// The media type of `bytes`, if they are what is wanted.
pub(super) fn media_type(wanted: MediaKind, told: &str, bytes: &[u8]) -> Option<&'static str> {
    let found = sniff(bytes).or_else(|| text(told, bytes))?;
    let fits = match wanted {
        MediaKind::Image => found.starts_with("image/"),
        MediaKind::Audio => found.starts_with("audio/") || matches!(found, "video/mp4" | "video/webm"),
        MediaKind::Video => found.starts_with("video/"),
        // Pictures are taken for documents by more than one vendor.
        MediaKind::Document => found == "application/pdf" || found.starts_with("text/") || found.starts_with("image/"),
    };
    fits.then_some(found)
}

fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if starts(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if starts(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if starts(b"GIF87a") || starts(b"GIF89a") {
        Some("image/gif")
    } else if starts(b"RIFF") && at(8, b"WEBP") {
        Some("image/webp")
    } else if starts(b"RIFF") && at(8, b"WAVE") {
        Some("audio/wav")
    } else if starts(b"%PDF-") {
        Some("application/pdf")
    } else if starts(b"ID3") || matches!(bytes, [0xff, 0xfb | 0xf3 | 0xf2, ..]) {
        Some("audio/mpeg")
    } else if starts(b"fLaC") {
        Some("audio/flac")
    } else if starts(b"OggS") {
        Some("audio/ogg")
    } else if starts(b"\x1a\x45\xdf\xa3") {
        Some("video/webm")
    } else if at(4, b"ftyp") {
        Some(match bytes.get(8..12) {
            Some(b"heic" | b"heix" | b"mif1") => "image/heic",
            Some(b"M4A ") => "audio/mp4",
            Some(b"qt  ") => "video/quicktime",
            _ => "video/mp4",
        })
    } else {
        None
    }
}

/// Text that says so, and is. A page of HTML is what servers send instead of what was asked for.
fn text(told: &str, bytes: &[u8]) -> Option<&'static str> {
    let told = match told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/plain" => "text/plain",
        "text/markdown" => "text/markdown",
        "text/csv" => "text/csv",
        "application/json" => "text/plain",
        _ => return None,
    };
    std::str::from_utf8(bytes).is_ok().then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_and_not_what_is_said_of_them() {
        let png = b"\x89PNG\r\n\x1a\n....";
        assert_eq!(media_type(MediaKind::Image, "text/plain", png), Some("image/png"));
        assert_eq!(media_type(MediaKind::Image, "image/png", b"<html></html>"), None);
        assert_eq!(media_type(MediaKind::Image, "image/svg+xml", b"<svg/>"), None);
        assert_eq!(media_type(MediaKind::Audio, "audio/wav", png), None);
        assert_eq!(media_type(MediaKind::Document, "", b"%PDF-1.7"), Some("application/pdf"));
        assert_eq!(
            media_type(MediaKind::Document, "text/plain; charset=utf-8", "h\u{e9}".as_bytes()),
            Some("text/plain")
        );
        assert_eq!(media_type(MediaKind::Document, "text/plain", b"\xff\xfe"), None, "no UTF-8");
        assert_eq!(media_type(MediaKind::Document, "text/html", b"<p>"), None);
        assert_eq!(media_type(MediaKind::Image, "", b"RIFF....WEBPVP8 "), Some("image/webp"));
        assert_eq!(media_type(MediaKind::Audio, "", b"RIFF....WAVEfmt "), Some("audio/wav"));
        assert_eq!(media_type(MediaKind::Video, "", b"\0\0\0\x18ftypisom"), Some("video/mp4"));
        assert_eq!(media_type(MediaKind::Image, "", b""), None);
    }
}
