//! One block of a stream while it is open.

use serde_json::value::RawValue;

use super::media::image_media_type;
use crate::{
    ir::{CallKind, Event, Family, Json, PartKind, Signature},
    media::join_base64,
    object::wire_object,
    text::Str,
    write::Writer,
};

wire_object! {
    pub(super) struct BlockStart<'a> {
        tool_use: ToolUseStart<'a> = "toolUse",
        tool_result: ToolResultStart<'a> = "toolResult",
        image: ImageStart<'a> = "image",
    }
}

wire_object! {
    pub(super) struct ToolUseStart<'a> {
        id: Str<'a> = lenient "toolUseId",
        name: Str<'a> = "name",
        kind: Str<'a> = lenient "type",
    }
}

wire_object! {
    pub(super) struct ToolResultStart<'a> {
        id: Str<'a> = lenient "toolUseId",
        kind: Str<'a> = lenient "type",
        status: Str<'a> = lenient "status",
    }
}

wire_object! {
    pub(super) struct ImageStart<'a> {
        format: Str<'a> = lenient "format",
    }
}

/// What a block turned out to be. Those that have no deltas in the IR are held until they are whole.
#[derive(Clone, Debug)]
pub(super) enum Open {
    Text(u32),
    Thinking(u32),
    Call {
        part: u32,
        has_arguments: bool,
    },
    /// Pieces of base64, each complete in itself.
    Redacted(Vec<String>),
    Image {
        format: String,
        pieces: Vec<String>,
    },
    ServerCall {
        id: String,
        name: String,
        input: String,
    },
    ServerResult {
        id: String,
        kind: Option<String>,
        status: Option<String>,
        content: Vec<String>,
    },
}

// === impl Open ===

impl Open {
    /// A block that says at its start what it is.
    pub(super) fn begin(
        start: BlockStart<'_>,
        take_part: impl FnOnce() -> u32,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Option<Self> {
        if let Some(call) = start.tool_use {
            let (id, name) = (call.id.unwrap_or_default(), call.name.unwrap_or_default());
            if call.kind.as_deref() == Some("server_tool_use") {
                let (id, name) = (id.0.into_owned(), name.0.into_owned());
                return Some(Self::ServerCall { id, name, input: String::new() });
            }
            let part = take_part();
            let kind = PartKind::ToolCall { id: id.into(), name: name.into(), kind: CallKind::Function };
            emit(Event::PartStart { choice: 0, part, kind });
            return Some(Self::Call { part, has_arguments: false });
        }
        if let Some(result) = start.tool_result {
            return Some(Self::ServerResult {
                id: result.id.unwrap_or_default().0.into_owned(),
                kind: result.kind.map(|text| text.0.into_owned()),
                status: result.status.map(|text| text.0.into_owned()),
                content: Vec::new(),
            });
        }
        let format = start.image?.format.unwrap_or_default();
        Some(Self::Image { format: format.0.into_owned(), pieces: Vec::new() })
    }

    /// A piece of a call's input.
    pub(super) fn input(&mut self, text: &str, emit: &mut dyn FnMut(Event<'_>)) {
        if text.is_empty() {
            return;
        }
        match self {
            Self::Call { part, has_arguments } => {
                *has_arguments = true;
                emit(Event::ArgsDelta { choice: 0, part: *part, text: text.into() });
            }
            Self::ServerCall { input, .. } => input.push_str(text),
            _ => {}
        }
    }

    /// Bytes that it keeps until it is whole.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Text(_) | Self::Thinking(_) | Self::Call { .. } => 0,
            Self::Redacted(pieces) | Self::Image { pieces, .. } => pieces.iter().map(String::len).sum(),
            Self::ServerCall { input, .. } => input.len(),
            Self::ServerResult { content, .. } => content.iter().map(String::len).sum(),
        }
    }

    /// The block is whole.
    pub(super) fn stop(self, take_part: impl FnOnce() -> u32, emit: &mut dyn FnMut(Event<'_>)) {
        match self {
            Self::Text(part) | Self::Thinking(part) => emit(Event::PartStop { choice: 0, part }),
            // A call without parameters has no deltas; clients parse the arguments all the same.
            Self::Call { part, has_arguments } => {
                if !has_arguments {
                    emit(Event::ArgsDelta { choice: 0, part, text: "{}".into() });
                }
                emit(Event::PartStop { choice: 0, part });
            }
            Self::Redacted(pieces) => {
                let data = Signature { family: Family::Bedrock, payload: join_base64(&pieces).into_owned().into() };
                whole(PartKind::RedactedThinking { data }, take_part(), emit);
            }
            Self::Image { format, pieces } => {
                let media_type = image_media_type(&format).into();
                whole(PartKind::Media { media_type, data: join_base64(&pieces) }, take_part(), emit);
            }
            Self::ServerCall { .. } | Self::ServerResult { .. } => {
                if let Some(raw) = self.server_block() {
                    whole(PartKind::ServerTool { family: Family::Bedrock, raw }, take_part(), emit);
                }
            }
        }
    }

    /// The block as it would stand in an answer that is not streamed.
    fn server_block(&self) -> Option<Json<'static>> {
        let mut out = Vec::new();
        Writer::new(&mut out).object(|w| match self {
            Self::ServerCall { id, name, input } => w.key("toolUse").object(|w| {
                w.field_str("toolUseId", id);
                w.field_str("name", name);
                let valid = serde_json::from_str::<&RawValue>(input).is_ok();
                w.field_raw("input", if valid { input } else { "{}" });
                w.field_str("type", "server_tool_use");
            }),
            Self::ServerResult { id, kind, status, content } => w.key("toolResult").object(|w| {
                w.field_str("toolUseId", id);
                w.field_str_opt("type", kind.as_deref());
                w.field_str_opt("status", status.as_deref());
                w.key("content").array(|w| content.iter().for_each(|raw| w.raw(raw)));
            }),
            _ => {}
        });
        String::from_utf8(out).ok().and_then(Json::from_string)
    }
}

fn whole(kind: PartKind<'_>, part: u32, emit: &mut dyn FnMut(Event<'_>)) {
    emit(Event::PartStart { choice: 0, part, kind });
    emit(Event::PartStop { choice: 0, part });
}
