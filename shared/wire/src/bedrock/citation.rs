//! Citations → annotations.

use serde_json::value::RawValue;

use crate::{
    ir::{Annotation, Family},
    object::wire_object,
    text::Str,
};

wire_object! {
    struct CitationField<'a> {
        title: Str<'a> = "title",
        source: Str<'a> = "source",
        content: Vec<SourceContent<'a>> = "sourceContent",
        location: Location<'a> = "location",
    }
}

wire_object! {
    struct SourceContent<'a> {
        text: Str<'a> = "text",
    }
}

wire_object! {
    struct Location<'a> {
        web: WebLocation<'a> = "web",
    }
}

wire_object! {
    struct WebLocation<'a> {
        url: Str<'a> = "url",
        domain: Str<'a> = "domain",
    }
}

/// Reads one citation; `None` for one that makes no sense, which is no reason to lose the answer. Its location is inside the
/// source, so that the annotation has no place inside the text.
pub(super) fn decode(raw: &RawValue) -> Option<Annotation<'_>> {
    let field: CitationField<'_> = serde_json::from_str(raw.get()).ok()?;
    let web = field.location.and_then(|location| location.web).unwrap_or_default();
    let is_url = |text: &Str<'_>| text.starts_with("https://") || text.starts_with("http://");
    let mut texts = field.content.into_iter().flatten().filter_map(|content| content.text);
    let cited = texts.next().map(|first| texts.fold(first.0, |all, next| all + next.0));
    Some(Annotation {
        url: web.url.or(field.source.filter(is_url)).map(Into::into),
        title: field.title.or(web.domain).map(Into::into),
        cited_text: cited.filter(|text| !text.is_empty()),
        start: None,
        end: None,
        family: Family::Bedrock,
        raw: Some(raw.into()),
    })
}
