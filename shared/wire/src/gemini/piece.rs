//! One part as it is written: the same for a request's history and for an answer.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{ir::CallKind, tools::arguments_as_object, write::Writer};

pub(super) struct Piece<'p> {
    pub(super) kind: PieceKind<'p>,
    pub(super) signature: Option<Cow<'p, str>>,
    /// Fields beside the data, name and raw value.
    pub(super) extras: Vec<(&'p str, &'p str)>,
}

pub(super) enum PieceKind<'p> {
    Text(Cow<'p, str>),
    Thought(Cow<'p, str>),
    Media(Media<'p>),
    Call {
        id: &'p str,
        name: &'p str,
        /// An object.
        arguments: Cow<'p, str>,
    },
    Response {
        id: &'p str,
        name: Cow<'p, str>,
        /// An object.
        response: String,
        media: Vec<Media<'p>>,
        /// Fields of the response itself.
        extras: Vec<(&'p str, &'p str)>,
    },
    /// A part of a tool that Google runs, as it came.
    Raw(&'p str),
}

pub(super) enum Media<'p> {
    Inline { media_type: &'p str, data: &'p str },
    Uri { media_type: Option<&'p str>, uri: &'p str },
}

// === impl Piece ===

impl<'p> Piece<'p> {
    pub(super) const fn new(kind: PieceKind<'p>) -> Self {
        Self { kind, signature: None, extras: Vec::new() }
    }

    pub(super) fn text(text: impl Into<Cow<'p, str>>) -> Self {
        Self::new(PieceKind::Text(text.into()))
    }

    /// Whether a signature that stands alone may move onto it.
    pub(super) const fn takes_signature(&self) -> bool {
        self.signature.is_none() && matches!(self.kind, PieceKind::Text(_) | PieceKind::Media(_))
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.object(|w| {
            match &self.kind {
                PieceKind::Text(text) => w.field_str("text", text),
                PieceKind::Thought(text) => {
                    w.field_str("text", text);
                    w.field("thought", &true);
                }
                PieceKind::Media(media) => media.write(w),
                PieceKind::Call { id, name, arguments } => w.key("functionCall").object(|w| {
                    w.field_str("id", id);
                    w.field_str("name", name);
                    w.field_raw("args", arguments);
                }),
                PieceKind::Response { id, name, response, media, extras } => w.key("functionResponse").object(|w| {
                    w.field_str("id", id);
                    w.field_str("name", name);
                    w.field_raw("response", response);
                    if !media.is_empty() {
                        w.key("parts").array(|w| media.iter().for_each(|media| w.object(|w| media.write(w))));
                    }
                    extras.iter().for_each(|(name, raw)| w.field_raw(name, raw));
                }),
                PieceKind::Raw(raw) => write_fields(w, raw),
            }
            w.field_str_opt("thoughtSignature", self.signature.as_deref());
            self.extras.iter().for_each(|(name, raw)| w.field_raw(name, raw));
        });
    }
}

// === impl Media ===

impl Media<'_> {
    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Self::Inline { media_type, data } => w.key("inlineData").object(|w| {
                w.field_str("mimeType", media_type);
                w.field_str("data", data);
            }),
            Self::Uri { media_type, uri } => w.key("fileData").object(|w| {
                w.field_str_opt("mimeType", *media_type);
                w.field_str("fileUri", uri);
            }),
        }
    }
}

fn write_fields(w: &mut Writer<'_>, raw: &str) {
    for (name, raw) in super::schema::object(raw).unwrap_or_default() {
        w.field_raw(&name, raw.get());
    }
}

/// The arguments of a call as an object; `None` when they are no JSON object.
pub(super) fn object_arguments(arguments: &str, kind: CallKind) -> Option<Cow<'_, str>> {
    let arguments = arguments_as_object(arguments, kind);
    is_object(&arguments).then_some(arguments)
}

/// Whether a text is one JSON object and nothing else.
pub(super) fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Any text as an object: wrapped under `key` unless it is one.
pub(super) fn wrapped(text: &str, key: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + key.len() + 8);
    Writer::new(&mut out).object(|w| match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => w.field_raw(key, raw.get()),
        Err(_) => w.field_str(key, text),
    });
    String::from_utf8(out).unwrap_or_default()
}
