//! Media that a target cannot fetch itself. The gateway finds their URLs here, fetches them, and puts the bytes in their
//! place before the request is encoded; an encoder that still meets a URL refuses it.

use std::borrow::Cow;

use super::{Format, Part, Profile, Request, Source};

/// What a URL is expected to hold, so that whoever fetches it can check the media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    Document,
}

/// A URL in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlSource<'r> {
    pub url: &'r str,
    pub kind: MediaKind,
}

/// Whether the target fetches media URLs. Some formats have no place for a URL, whatever the model's profile says.
pub const fn fetches_media(format: Format, profile: &Profile) -> bool {
    match format {
        Format::Ollama | Format::Bedrock => false,
        _ => profile.media_urls,
    }
}

/// The URLs that have to be replaced before `request` is encoded for the target: each once, in the order of the turns,
/// also those inside tool results. Empty when the target fetches them itself.
pub fn url_sources<'r>(request: &'r Request<'_>, format: Format, profile: &Profile) -> Vec<UrlSource<'r>> {
    let mut found: Vec<UrlSource<'r>> = Vec::new();
    let wanted = |kind| !(fetches_media(format, profile) && has_place_for_url(format, kind));
    for turn in &request.turns {
        collect(&turn.parts, &wanted, &mut found);
    }
    found
}

/// Whether the format can say the address of such media at all.
const fn has_place_for_url(format: Format, kind: MediaKind) -> bool {
    !matches!(
        (format, kind),
        (Format::OpenAiChat, MediaKind::Audio | MediaKind::Document)
            | (Format::OpenAiResponses, MediaKind::Audio)
            | (Format::Cohere, MediaKind::Document)
    )
}

fn collect<'r>(parts: &'r [Part<'_>], wanted: &impl Fn(MediaKind) -> bool, found: &mut Vec<UrlSource<'r>>) {
    for part in parts {
        let (source, kind) = match part {
            Part::ToolResult { parts, .. } => {
                collect(parts, wanted, found);
                continue;
            }
            Part::Image { source, .. } => (source, MediaKind::Image),
            Part::Audio { source, .. } => (source, MediaKind::Audio),
            Part::Video { source } => (source, MediaKind::Video),
            Part::Document { source, .. } => (source, MediaKind::Document),
            _ => continue,
        };
        if let Source::Url(url) = source
            && wanted(kind)
            && !found.iter().any(|own| own.url == url.as_ref())
        {
            found.push(UrlSource { url, kind });
        }
    }
}

/// Puts what was fetched in the place of every source with this URL. Returns how many there were.
pub fn replace_url<'a>(
    request: &mut Request<'a>,
    url: &str,
    media_type: impl Into<Cow<'a, str>>,
    base64: impl Into<Cow<'a, str>>,
) -> usize {
    let inline = Source::Inline { media_type: media_type.into(), data: base64.into() };
    request.turns.iter_mut().map(|turn| replace(&mut turn.parts, url, &inline)).sum()
}

fn replace<'a>(parts: &mut [Part<'a>], url: &str, inline: &Source<'a>) -> usize {
    let mut count = 0;
    for part in parts {
        match part {
            Part::ToolResult { parts, .. } => count += replace(parts, url, inline),
            Part::Image { source, .. }
            | Part::Audio { source, .. }
            | Part::Video { source }
            | Part::Document { source, .. } => {
                if matches!(source, Source::Url(own) if own == url) {
                    *source = inline.clone();
                    count += 1;
                }
            }
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Role, Turn};

    fn image(url: &str) -> Part<'_> {
        Part::Image { source: Source::Url(url.into()), detail: None, cache: None }
    }

    fn request() -> Request<'static> {
        let mut request = Request::new(Format::OpenAiChat, "m");
        let result = Part::ToolResult {
            call_id: "c".into(),
            name: None,
            parts: vec![image("https://a/1.png"), image("https://a/2.png")],
            is_error: false,
            cache: None,
        };
        let inline = Source::Inline { media_type: "image/png".into(), data: "AA==".into() };
        request.turns.push(Turn {
            role: Role::User,
            parts: vec![
                Part::text("look"),
                image("https://a/1.png"),
                Part::Image { source: inline, detail: None, cache: None },
                Part::Video { source: Source::Url("https://a/v.mp4".into()) },
            ],
            name: None,
        });
        request.turns.push(Turn { role: Role::Tool, parts: vec![result], name: None });
        request
    }

    #[test]
    fn every_url_is_found_once_also_inside_results() {
        let request = request();
        let profile = Profile { media_urls: false, ..Profile::default() };
        let found: Vec<_> = url_sources(&request, Format::Gemini, &profile).into_iter().map(|own| own.url).collect();
        assert_eq!(found, ["https://a/1.png", "https://a/v.mp4", "https://a/2.png"]);
    }

    #[test]
    fn a_target_that_fetches_gets_its_urls_and_ollama_never_does() {
        let request = request();
        let profile = Profile::default();
        assert!(url_sources(&request, Format::Anthropic, &profile).is_empty());
        assert_eq!(url_sources(&request, Format::Ollama, &profile).len(), 3);
    }

    #[test]
    fn a_format_without_a_place_for_the_address_gets_the_bytes() {
        let mut request = request();
        let document = Part::Document {
            source: Source::Url("https://a/d.pdf".into()),
            name: None,
            context: None,
            citations: false,
            cache: None,
        };
        request.turns[0].parts.push(document);
        let profile = Profile::default();
        let kinds = |format| url_sources(&request, format, &profile).iter().map(|own| own.kind).collect::<Vec<_>>();
        assert_eq!(kinds(Format::OpenAiChat), [MediaKind::Document]);
        assert_eq!(kinds(Format::OpenAiResponses), []);
    }

    #[test]
    fn one_download_replaces_every_use() {
        let mut request = request();
        let profile = Profile::default();
        assert_eq!(replace_url(&mut request, "https://a/1.png", "image/png", "QUJD"), 2);
        assert_eq!(replace_url(&mut request, "https://a/other.png", "image/png", "QUJD"), 0);
        let left: Vec<_> = url_sources(&request, Format::Bedrock, &profile).into_iter().map(|own| own.kind).collect();
        assert_eq!(left, [MediaKind::Video, MediaKind::Image]);
    }
}
