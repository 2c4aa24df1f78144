//! Tokens of what is no text, by the formulas that the vendors give.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem;
use omniroute_wire::ir::Source;

use super::tokenizer::Family;

/// Of a picture this much is looked at, in bytes of base64: its size stands at the beginning.
const HEAD: usize = 64 * 1024;
/// Of a picture whose size is not known.
const UNKNOWN_SIZE: (u64, u64) = (1024, 1024);

/// A page of a PDF as text and picture, and bytes of a page where they cannot be counted.
const PAGE: u64 = 2_000;
const BYTES_PER_PAGE: u64 = 75 * 1024;

/// Seconds of sound are told from bytes: 16 kB/s where it is compressed, 48 kB/s where it is not.
const COMPRESSED: u64 = 16_000;
const PLAIN: u64 = 48_000;

/// A picture.
pub(super) fn image(family: Family, source: &Source<'_>, detail: Option<&str>) -> u64 {
    let (width, height) = size(source).unwrap_or(UNKNOWN_SIZE);
    match family {
        // Scaled down to 1,568 pixels a side, then a token for 750 of them.
        Family::Anthropic => {
            let (width, height) = fit(width, height, 1_568);
            (width * height).div_ceil(750).min(1_600)
        }
        // 258 for a small one, and for each tile of 768 pixels of a large one.
        Family::Gemini if width <= 384 && height <= 384 => 258,
        Family::Gemini => 258 * width.div_ceil(768) * height.div_ceil(768),
        // 85, and 170 for each tile of 512 pixels after scaling the short side to 768.
        Family::OpenAi | Family::Other if detail == Some("low") => 85,
        Family::OpenAi | Family::Other => {
            let (width, height) = fit(width, height, 2_048);
            let short = width.min(height).max(1);
            let (width, height) =
                if short > 768 { (width * 768 / short, height * 768 / short) } else { (width, height) };
            85 + 170 * width.div_ceil(512) * height.div_ceil(512)
        }
    }
}

fn fit(width: u64, height: u64, longest: u64) -> (u64, u64) {
    let long = width.max(height);
    if long <= longest {
        return (width, height);
    }
    ((width * longest / long).max(1), (height * longest / long).max(1))
}

/// Width and height, where the bytes are there. Larger ones than any vendor takes are cut.
fn size(source: &Source<'_>) -> Option<(u64, u64)> {
    const MOST: u64 = 65_536;
    let Source::Inline { data, .. } = source else { return None };
    let head = STANDARD.decode(&data.as_bytes()[..data.len().min(HEAD) & !3]).ok()?;
    let size = imagesize::blob_size(&head).ok()?;
    Some(((size.width as u64).clamp(1, MOST), (size.height as u64).clamp(1, MOST)))
}

/// Sound: 32 tokens a second at Gemini, 10 elsewhere.
pub(super) fn audio(family: Family, source: &Source<'_>) -> u64 {
    let Source::Inline { media_type, data } = source else { return 0 };
    let is_plain = media_type.contains("wav") || media_type.contains("pcm") || media_type.contains("l16");
    let seconds = bytes(data).div_ceil(if is_plain { PLAIN } else { COMPRESSED });
    seconds * if family == Family::Gemini { 32 } else { 10 }
}

/// Films: 263 tokens a second, of 250 kB each.
pub(super) fn video(source: &Source<'_>) -> u64 {
    match source {
        Source::Inline { data, .. } => bytes(data).div_ceil(250_000) * 263,
        _ => 0,
    }
}

/// A document that is no text: by its pages.
pub(super) fn document(source: &Source<'_>) -> u64 {
    let Source::Inline { data, .. } = source else { return PAGE };
    let decoded = STANDARD.decode(data.as_bytes()).unwrap_or_default();
    let marked = pages(&decoded);
    PAGE * if marked > 0 { marked } else { bytes(data).div_ceil(BYTES_PER_PAGE).max(1) }
}

/// Pages that a PDF names as such; 0 when it packs them.
fn pages(pdf: &[u8]) -> u64 {
    let is_page = |at: &usize| {
        let rest = pdf[at + 5..].trim_ascii_start();
        rest.strip_prefix(b"/Page").is_some_and(|rest| !rest.starts_with(b"s"))
    };
    memmem::find_iter(pdf, b"/Type").filter(is_page).count() as u64
}

fn bytes(base64: &str) -> u64 {
    base64.len() as u64 * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a PNG of that size.
    fn png(width: u32, height: u32) -> Source<'static> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
        Source::Inline { media_type: "image/png".into(), data: STANDARD.encode(bytes).into() }
    }

    #[test]
    fn pictures_cost_what_their_vendors_say() {
        // The examples of the vendors' own pages.
        assert_eq!(image(Family::OpenAi, &png(1024, 1024), None), 765);
        assert_eq!(image(Family::OpenAi, &png(2048, 4096), None), 1105);
        assert_eq!(image(Family::OpenAi, &png(4096, 8192), Some("low")), 85);
        assert_eq!(image(Family::Anthropic, &png(200, 200), None), 54);
        assert_eq!(image(Family::Anthropic, &png(1000, 1000), None), 1334);
        assert_eq!(image(Family::Gemini, &png(300, 300), None), 258);
        assert_eq!(image(Family::Gemini, &png(960, 540), None), 516);
        let elsewhere = Source::Url("https://a.example/1.png".into());
        assert_eq!(image(Family::OpenAi, &elsewhere, None), 765);
        let broken = Source::Inline { media_type: "image/png".into(), data: "!!".into() };
        assert_eq!(image(Family::OpenAi, &broken, None), 765);
        assert!(image(Family::Gemini, &png(u32::MAX, u32::MAX), None) < 2_000_000);
    }

    #[test]
    fn documents_are_counted_by_pages() {
        let inline =
            |bytes: &[u8]| Source::Inline { media_type: "application/pdf".into(), data: STANDARD.encode(bytes).into() };
        assert_eq!(document(&inline(b"%PDF /Type /Pages /Type /Page x /Type/Page")), 4_000);
        assert_eq!(document(&inline(&[b'x'; 100 * 1024])), 4_000);
        assert_eq!(document(&inline(b"/Type")), 2_000);
        assert_eq!(document(&Source::Url("https://a.example/x.pdf".into())), 2_000);
    }
}
