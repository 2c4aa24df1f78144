//! Content parts of items → [`Part`]s.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::item::{AnnotationField, ContentPart, InputAudio, OutputObject, UrlObject};
use crate::{
    codec::WireError,
    ir::{Annotation, CacheMark, Family, Part, Source},
    media,
    object::read,
    text::{Str, TextOr},
};

/// The parts of a message's `content`, or of a result's list.
pub(super) fn parts<'a>(content: TextOr<'a, ContentPart<'a>>, path: &str) -> Result<Vec<Part<'a>>, WireError> {
    match content {
        TextOr::Text(text) if text.is_empty() => Ok(Vec::new()),
        TextOr::Text(text) => Ok(vec![Part::text(text)]),
        TextOr::List(list) => {
            list.into_iter().enumerate().map(|(index, field)| part(field, &format!("{path}.{index}"))).collect()
        }
    }
}

fn part<'a>(field: ContentPart<'a>, path: &str) -> Result<Part<'a>, WireError> {
    let missing = |name: &str| WireError::field(format!("{path}.{name}"), format!("the part needs `{name}`"));
    let cache = cache_mark(field.breakpoint);
    let kind = field.kind.as_deref().unwrap_or("input_text").to_owned();
    Ok(match kind.as_str() {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => Part::Text {
            text: field.text.ok_or_else(|| missing("text"))?.into(),
            annotations: field.annotations.into_iter().flatten().filter_map(annotation).collect(),
            cache,
        },
        "refusal" => Part::Refusal { text: field.refusal.ok_or_else(|| missing("refusal"))?.into() },
        "input_image" | "image_url" | "computer_screenshot" => {
            let (source, detail) = match (field.image_url, field.file_id) {
                (Some(raw), _) => {
                    let url = url_field(raw, &format!("{path}.image_url"))?;
                    (media::source_of_url(url.url.ok_or_else(|| missing("image_url"))?.into()), url.detail)
                }
                (None, Some(id)) => (Source::File { id: id.into(), owner: Family::OpenAi }, None),
                (None, None) => return Err(missing("image_url")),
            };
            Part::Image { source, detail: field.detail.or(detail).map(Into::into), cache }
        }
        "input_video" | "video_url" => {
            let raw = field.video_url.ok_or_else(|| missing("video_url"))?;
            let url = url_field(raw, &format!("{path}.video_url"))?.url.ok_or_else(|| missing("video_url"))?;
            Part::Video { source: media::source_of_url(url.into()) }
        }
        "input_audio" => audio(field.input_audio.unwrap_or_default()).ok_or_else(|| missing("input_audio.data"))?,
        "input_file" => {
            let source = match (field.file_data, field.file_url, field.file_id) {
                (Some(data), ..) => inline_file(data, field.filename.as_deref()),
                (None, Some(url), _) => Source::Url(url.into()),
                (None, None, Some(id)) => Source::File { id: id.into(), owner: Family::OpenAi },
                (None, None, None) => return Err(missing("file_data")),
            };
            Part::Document { source, name: field.filename.map(Into::into), context: None, citations: false, cache }
        }
        other => {
            return Err(WireError::field(
                format!("{path}.type"),
                format!("`{other}` is no content part of this API; use input_text, input_image or input_file"),
            ));
        }
    })
}

/// A data URL; bare base64 is taken too.
fn inline_file<'a>(data: Str<'a>, name: Option<&str>) -> Source<'a> {
    match media::source_of_url(data.into()) {
        Source::Url(data) if !data.contains("://") => {
            let media_type = match name.and_then(|name| name.rsplit_once('.')) {
                Some((_, "txt" | "md" | "csv")) => "text/plain",
                _ => "application/pdf",
            };
            Source::Inline { media_type: Cow::Borrowed(media_type), data }
        }
        source => source,
    }
}

fn audio(field: InputAudio<'_>) -> Option<Part<'_>> {
    let media_type = field.format.as_deref().map_or("audio/wav", media::audio_media_type);
    let source = Source::Inline { media_type: media_type.into(), data: field.data?.into() };
    Some(Part::Audio { source, format: field.format.map(Into::into), transcript: None })
}

fn url_field<'a>(raw: &'a RawValue, path: &str) -> Result<UrlObject<'a>, WireError> {
    let wrong = || WireError::field(path, "must be a URL or a data URL");
    if raw.get().starts_with('"') {
        let url = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
        Ok(UrlObject { url: Some(url), ..UrlObject::default() })
    } else {
        serde_json::from_str(raw.get()).map_err(|_| wrong())
    }
}

fn cache_mark(field: Option<&RawValue>) -> Option<CacheMark> {
    field.filter(|raw| raw.get().starts_with('{')).map(|_| CacheMark::FiveMinutes)
}

/// A citation. Those of files have no URL; all keep their own form.
pub(super) fn annotation(raw: &RawValue) -> Option<Annotation<'_>> {
    let field: AnnotationField<'_> = serde_json::from_str(raw.get()).ok()?;
    field.kind.as_ref()?;
    Some(Annotation {
        url: field.url.map(Into::into),
        title: field.title.or(field.filename).map(Into::into),
        cited_text: None,
        start: field.start_index,
        end: field.end_index,
        family: Family::OpenAi,
        raw: Some(raw.into()),
    })
}

/// A call's result: a string, a list of parts, or an object of an old client. Says too whether the call failed.
pub(super) fn result<'a>(raw: Option<&'a RawValue>, path: &str) -> Result<(Vec<Part<'a>>, bool), WireError> {
    let Some(raw) = raw else { return Ok((Vec::new(), false)) };
    let json = raw.get();
    if json.starts_with(['"', '[']) {
        let content: TextOr<'a, ContentPart<'a>> = read(json.as_bytes()).map_err(|error| within(path, error))?;
        return Ok((parts(content, path)?, false));
    }
    if let Ok(OutputObject { content: Some(text), success, .. }) = serde_json::from_str(json) {
        return Ok((vec![Part::text(text)], success == Some(false)));
    }
    // Any other JSON is what the tool said.
    Ok((vec![Part::text(json)], false))
}

/// A field that is a string; of any other JSON the text is taken.
pub(super) fn text_field(raw: Option<&RawValue>) -> Cow<'_, str> {
    match raw {
        None => Cow::Borrowed(""),
        Some(raw) if raw.get().starts_with('"') => {
            serde_json::from_str::<Str<'_>>(raw.get()).map_or(Cow::Borrowed(raw.get()), Into::into)
        }
        Some(raw) => Cow::Borrowed(raw.get()),
    }
}

/// An error of a value that was read on its own, with the path of that value in front.
pub(super) fn within(path: &str, error: WireError) -> WireError {
    let param = match error.param.as_deref() {
        Some(inner) if inner.starts_with('[') => format!("{path}{inner}"),
        Some(inner) => format!("{path}.{inner}"),
        None => path.to_owned(),
    };
    WireError { code: "invalid_field", message: error.message, param: Some(param) }
}
