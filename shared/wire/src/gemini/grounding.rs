//! `groundingMetadata` and `citationMetadata` ↔ annotations.

use super::{
    message::{OneOrMany, WholeNumber},
    text_map::TextMap,
};
use crate::{
    ir::{Annotation, Family},
    object::wire_object,
    text::Str,
    write::Writer,
};

wire_object! {
    pub(super) struct Grounding<'a> {
        chunks: OneOrMany<Chunk<'a>> = "groundingChunks" | "grounding_chunks",
        supports: OneOrMany<Support<'a>> = "groundingSupports" | "grounding_supports",
    }
}

wire_object! {
    pub(super) struct Chunk<'a> {
        web: GroundingSource<'a> = "web",
        maps: GroundingSource<'a> = "maps",
        retrieved: GroundingSource<'a> = "retrievedContext" | "retrieved_context",
    }
}

wire_object! {
    pub(super) struct GroundingSource<'a> {
        uri: Str<'a> = "uri",
        title: Str<'a> = "title",
    }
}

wire_object! {
    pub(super) struct Support<'a> {
        segment: Segment<'a> = "segment",
        chunks: Vec<WholeNumber> = "groundingChunkIndices" | "grounding_chunk_indices",
    }
}

wire_object! {
    pub(super) struct Segment<'a> {
        part: WholeNumber = "partIndex" | "part_index",
        start: WholeNumber = "startIndex" | "start_index",
        end: WholeNumber = "endIndex" | "end_index",
        text: Str<'a> = "text",
    }
}

wire_object! {
    pub(super) struct Citations<'a> {
        citations: OneOrMany<Citation<'a>> = "citationSources" | "citation_sources" | "citations",
    }
}

wire_object! {
    pub(super) struct Citation<'a> {
        start: WholeNumber = "startIndex" | "start_index",
        end: WholeNumber = "endIndex" | "end_index",
        uri: Str<'a> = "uri",
        title: Str<'a> = "title",
    }
}

/// Most annotations that one answer may have: each support names many sources, and each pair is one.
const MAX_ANNOTATIONS: usize = 4096;

/// What grounding says of the text behind `map`. Sources that support no passage of their own are cited for the whole.
pub(super) fn of_grounding<'a>(grounding: Grounding<'a>, map: &TextMap) -> Vec<Annotation<'a>> {
    let chunks: Vec<GroundingSource<'a>> = grounding
        .chunks
        .unwrap_or_default()
        .0
        .into_iter()
        .map(|chunk| chunk.web.or(chunk.maps).or(chunk.retrieved).unwrap_or_default())
        .collect();
    let mut used = vec![false; chunks.len()];
    let mut all = Vec::new();
    for support in grounding.supports.unwrap_or_default().0 {
        let segment = support.segment.unwrap_or_default();
        let part = segment.part.and_then(|part| usize::try_from(part.0).ok()).unwrap_or(0);
        let base = map.part_start(part);
        let start = base.saturating_add(segment.start.and_then(WholeNumber::count).unwrap_or(0));
        let end = segment.end.and_then(WholeNumber::count).map(|end| base.saturating_add(end));
        for index in support.chunks.unwrap_or_default() {
            let Some(at) = usize::try_from(index.0).ok().filter(|at| *at < chunks.len()) else { continue };
            if all.len() >= MAX_ANNOTATIONS {
                return all;
            }
            used[at] = true;
            let mut annotation = of_place(&chunks[at]);
            annotation.cited_text = segment.text.clone().map(Into::into);
            annotation.start = end.map(|_| map.char_at(start));
            annotation.end = end.map(|end| map.char_at(end));
            all.push(annotation);
        }
    }
    let unused = chunks.iter().zip(used).filter(|(place, used)| !used && place.uri.is_some());
    all.extend(unused.map(|(place, _)| of_place(place)).take(MAX_ANNOTATIONS));
    all
}

/// Passages that the model recited.
pub(super) fn of_citations<'a>(citations: Citations<'a>, map: &TextMap) -> Vec<Annotation<'a>> {
    let all = citations.citations.unwrap_or_default().0.into_iter().take(MAX_ANNOTATIONS);
    all.map(|citation| {
        let end = citation.end.and_then(WholeNumber::count);
        let start = citation.start.and_then(WholeNumber::count).unwrap_or(0);
        Annotation {
            start: end.map(|_| map.char_at(start)),
            end: end.map(|end| map.char_at(end)),
            ..of_place(&GroundingSource { uri: citation.uri, title: citation.title, rest: Vec::new() })
        }
    })
    .collect()
}

fn of_place<'a>(place: &GroundingSource<'a>) -> Annotation<'a> {
    Annotation {
        url: place.uri.clone().map(Into::into),
        title: place.title.clone().map(Into::into),
        cited_text: None,
        start: None,
        end: None,
        family: Family::Gemini,
        raw: None,
    }
}

/// Writes annotations as a `groundingMetadata` object. `bytes` turns a character's number into its byte's.
pub(super) fn write_grounding<'n>(w: &mut Writer<'_>, annotations: &[&'n Annotation<'n>], bytes: impl Fn(u64) -> u64) {
    let mut sources: Vec<(&str, &str)> = Vec::new();
    let mut supports: Vec<(&'n Annotation<'n>, usize)> = Vec::new();
    for annotation in annotations {
        let source = (annotation.url.as_deref().unwrap_or_default(), annotation.title.as_deref().unwrap_or_default());
        let at = sources.iter().position(|own| *own == source).unwrap_or_else(|| {
            sources.push(source);
            sources.len() - 1
        });
        if annotation.end.is_some() {
            supports.push((annotation, at));
        }
    }
    w.object(|w| {
        w.key("groundingChunks").array(|w| {
            for (uri, title) in &sources {
                w.object(|w| {
                    w.key("web").object(|w| {
                        w.field_str("uri", uri);
                        w.field_str("title", title);
                    });
                });
            }
        });
        if supports.is_empty() {
            return;
        }
        w.key("groundingSupports").array(|w| {
            for (annotation, source) in &supports {
                w.object(|w| {
                    w.key("segment").object(|w| {
                        w.field("startIndex", &bytes(annotation.start.unwrap_or(0)));
                        w.field("endIndex", &bytes(annotation.end.unwrap_or(0)));
                        w.field_str_opt("text", annotation.cited_text.as_deref().filter(|_| is_own(annotation)));
                    });
                    w.field("groundingChunkIndices", &[source]);
                });
            }
        });
    });
}

/// The cited text of this family is the passage of the answer; that of others is a passage of the source.
fn is_own(annotation: &Annotation<'_>) -> bool {
    annotation.family == Family::Gemini
}
