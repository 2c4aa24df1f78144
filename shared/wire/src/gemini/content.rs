//! One part on the wire → [`Part`]s.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    call_id::call_id,
    message::{Blob, FileData, FunctionCall, PartField},
    piece::is_object,
    schema, signature,
};
use crate::{
    codec::{DecodeContext, WireError},
    ir::{CallKind, Family, Json, MediaKind, Part, Signature, Source},
    media,
    write::Writer,
};

/// Where parts stand: what the ids of calls without one are made of.
pub(super) struct Origin<'o> {
    /// The turn's number in a request, the answer's id in an answer.
    pub(super) turn: &'o str,
    pub(super) calls: usize,
}

/// Whether a call's id was the sender's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdGiven(pub(super) bool);

/// Reads one part. A signature that belongs to a text or a picture follows it as redacted thinking: it is the proof of a
/// thought that only its maker can read.
pub(super) fn push_part<'a>(
    parts: &mut Vec<Part<'a>>,
    mut field: PartField<'a>,
    origin: &mut Origin<'_>,
    context: &DecodeContext<'_>,
) -> Result<Option<IdGiven>, WireError> {
    let signature = field.thought_signature.take().and_then(|text| signature::read(text.into(), context));
    if let Some(call) = field.function_call.take() {
        let (part, given) = call_part(call, signature, origin)?;
        parts.push(part);
        return Ok(Some(given));
    }
    if let Some(text) = field.text.take() {
        if field.thought == Some(true) {
            push_thought(parts, text.into(), signature);
            return Ok(None);
        }
        if !text.is_empty() {
            parts.push(Part::text(text.0));
        }
    } else if let Some(blob) = field.inline_data.take() {
        parts.push(blob_part(blob)?);
    } else if let Some(file) = field.file_data.take() {
        parts.push(file_part(file)?);
    } else if let Some(raw) = vendor_block(&field) {
        parts.push(Part::ServerTool { family: Family::Gemini, raw });
    }
    if let Some(data) = signature {
        parts.push(Part::RedactedThinking { data });
    }
    Ok(None)
}

/// Thoughts come in pieces, their signature last: a client that kept a stream's parts sends them back like that.
fn push_thought<'a>(parts: &mut Vec<Part<'a>>, piece: Cow<'a, str>, proof: Option<Signature<'a>>) {
    match parts.last_mut() {
        Some(Part::Thinking { text, signature: signature @ None }) => {
            if !piece.is_empty() {
                text.to_mut().push_str(&piece);
            }
            *signature = proof;
        }
        _ if piece.is_empty() && proof.is_none() => {}
        _ => parts.push(Part::Thinking { text: piece, signature: proof }),
    }
}

fn call_part<'a>(
    call: FunctionCall<'a>,
    signature: Option<Signature<'a>>,
    origin: &mut Origin<'_>,
) -> Result<(Part<'a>, IdGiven), WireError> {
    let Some(name) = call.name.filter(|name| !name.is_empty()) else {
        return Err(WireError::field("functionCall.name", "a function call needs a `name`"));
    };
    let arguments = match call.args {
        // Some hosts send the object as a text.
        Some(raw) if raw.get().starts_with('"') => schema::text(raw).filter(|text| is_object(text)).unwrap_or_default(),
        Some(raw) => Cow::Borrowed(raw.get()),
        None => Cow::Borrowed("{}"),
    };
    if !arguments.starts_with('{') {
        return Err(WireError::field("functionCall.args", "`args` must be an object"));
    }
    let index = origin.calls;
    origin.calls += 1;
    let given = call.id.filter(|id| !id.is_empty());
    let is_given = IdGiven(given.is_some());
    let id = given.map_or_else(|| call_id(origin.turn, index, &name, &arguments).into(), Cow::from);
    let name = name.into();
    Ok((Part::ToolCall { id, name, arguments, kind: CallKind::Function, signature, cache: None }, is_given))
}

pub(super) fn blob_part(blob: Blob<'_>) -> Result<Part<'_>, WireError> {
    let Some(data) = blob.data else {
        return Err(WireError::field("inlineData.data", "inline data needs its `data`, as base64"));
    };
    let Some(media_type) = blob.mime_type.filter(|kind| !kind.is_empty()) else {
        return Err(WireError::field("inlineData.mimeType", "inline data needs a `mimeType`"));
    };
    let kind = kind_of(&media_type);
    let source = Source::Inline { media_type: media_type.into(), data: signature::standard_alphabet(data.into()) };
    Ok(media_part(kind, source, blob.display_name.map(Cow::from)))
}

pub(super) fn file_part(file: FileData<'_>) -> Result<Part<'_>, WireError> {
    let Some(uri) = file.file_uri.filter(|uri| !uri.is_empty()) else {
        return Err(WireError::field("fileData.fileUri", "file data needs a `fileUri`"));
    };
    let media_type = file.mime_type.as_deref().filter(|kind| !kind.is_empty());
    let kind =
        if is_video_page(&uri) { MediaKind::Video } else { kind_of(media_type.or(guess(&uri)).unwrap_or_default()) };
    let name = file.display_name.map(Cow::from);
    let source = if is_own_file(&uri) {
        Source::File { id: uri.into(), owner: Family::Gemini }
    } else {
        Source::Url(uri.into())
    };
    Ok(media_part(kind, source, name))
}

fn kind_of(media_type: &str) -> MediaKind {
    match media_type.split('/').next() {
        Some("image") => MediaKind::Image,
        Some("audio") => MediaKind::Audio,
        Some("video") => MediaKind::Video,
        _ => MediaKind::Document,
    }
}

fn media_part<'a>(kind: MediaKind, source: Source<'a>, name: Option<Cow<'a, str>>) -> Part<'a> {
    match kind {
        MediaKind::Image => Part::Image { source, detail: None, cache: None },
        MediaKind::Audio => {
            let format = match &source {
                Source::Inline { media_type, .. } => media::audio_format(media_type).map(Cow::Borrowed),
                _ => None,
            };
            Part::Audio { source, format, transcript: None }
        }
        MediaKind::Video => Part::Video { source },
        MediaKind::Document => Part::Document { source, name, context: None, citations: false, cache: None },
    }
}

/// Files that Google holds: no other vendor can read them.
fn is_own_file(uri: &str) -> bool {
    ["gs://", "files/", "https://generativelanguage.googleapis.com/"].iter().any(|start| uri.starts_with(start))
}

/// Pages whose film the upstream fetches itself.
pub(super) fn is_video_page(url: &str) -> bool {
    ["https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"].iter().any(|host| url.starts_with(host))
}

/// Media type by the ending of a URL's path.
pub(super) fn guess(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase();
    Some(match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "aac" => "audio/aac",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        _ => return None,
    })
}

/// A block of a tool that Google runs, or of a kind that is not known yet, written again as it came.
fn vendor_block<'a>(field: &PartField<'a>) -> Option<Json<'a>> {
    let known: [(&str, Option<&'a RawValue>); 4] = [
        ("executableCode", field.executable_code),
        ("codeExecutionResult", field.code_execution_result),
        ("toolCall", field.tool_call),
        ("toolResponse", field.tool_response),
    ];
    let is_known = known.iter().any(|(_, raw)| raw.is_some());
    if !is_known && !field.rest.iter().any(|(_, raw)| raw.get().starts_with('{')) {
        return None;
    }
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| {
        for (name, raw) in known {
            if let Some(raw) = raw {
                w.field_raw(name, raw.get());
            }
        }
        for (name, raw) in field.rest.iter().filter(|_| !is_known) {
            w.field_raw(name, raw.get());
        }
    });
    Json::from_string(String::from_utf8(out).ok()?)
}
