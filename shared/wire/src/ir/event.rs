//! What a provider answers, as it comes.

use std::{borrow::Cow, time::Duration};

use super::{Annotation, CallKind, Family, FinishReason, Json, Signature};
use crate::usage::Usage;
use omniroute_core::error::ErrorClass;

/// One step of a streamed answer. An encoder may rely on the order that [`super::Validator`] checks: `Start` first; the
/// events of a part lie between its start and its stop; `Finish` once per choice or `Error` once, then only `Usage` (and
/// `Served`, which may stand anywhere).
///
/// Part numbers count per choice from 0 in the order of their starts; several parts may be open at once (parallel
/// tool calls), and an encoder whose format allows one at a time buffers the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    Start {
        id: Cow<'a, str>,
        model: Cow<'a, str>,
        /// Unix seconds.
        created: Option<u64>,
    },
    /// How the answer is served, once that is known. What is not said again stays.
    Served {
        service_tier: Option<Cow<'a, str>>,
        system_fingerprint: Option<Cow<'a, str>>,
    },
    PartStart {
        choice: u32,
        part: u32,
        kind: PartKind<'a>,
    },
    /// Text of a `Text` or `Refusal` part.
    TextDelta {
        choice: u32,
        part: u32,
        text: Cow<'a, str>,
    },
    ThinkingDelta {
        choice: u32,
        part: u32,
        text: Cow<'a, str>,
    },
    /// The whole signature of a thinking or tool-call part.
    SignatureDelta {
        choice: u32,
        part: u32,
        signature: Signature<'a>,
    },
    /// Characters of a call's raw arguments.
    ArgsDelta {
        choice: u32,
        part: u32,
        text: Cow<'a, str>,
    },
    Annotation {
        choice: u32,
        part: u32,
        annotation: Annotation<'a>,
    },
    /// OpenAI's form, for the text just sent.
    Logprobs {
        choice: u32,
        raw: Json<'a>,
    },
    PartStop {
        choice: u32,
        part: u32,
    },
    /// Cumulative: the last one counts.
    Usage(Usage),
    Finish {
        choice: u32,
        reason: FinishReason,
        stop_sequence: Option<Cow<'a, str>>,
    },
    Error(StreamError),
    Ping,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PartKind<'a> {
    Text,
    Thinking,
    RedactedThinking {
        data: Signature<'a>,
    },
    ToolCall {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        kind: CallKind,
    },
    Refusal,
    /// Complete at its start; no deltas.
    ServerTool {
        family: Family,
        raw: Json<'a>,
    },
    /// Complete at its start: base64 of an image or a sound the model made.
    Media {
        media_type: Cow<'a, str>,
        data: Cow<'a, str>,
    },
}

/// A failure in mid-stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamError {
    pub class: ErrorClass,
    /// Stable code of ours.
    pub code: &'static str,
    pub message: String,
    pub retry_after: Option<Duration>,
    /// Of the client's request, once it is known who is told.
    pub request_id: Option<Box<str>>,
}

// === impl Event ===

impl Event<'_> {
    /// The choice and part it belongs to, when it belongs to a part.
    pub const fn place(&self) -> Option<(u32, u32)> {
        match *self {
            Self::PartStart { choice, part, .. }
            | Self::TextDelta { choice, part, .. }
            | Self::ThinkingDelta { choice, part, .. }
            | Self::SignatureDelta { choice, part, .. }
            | Self::ArgsDelta { choice, part, .. }
            | Self::Annotation { choice, part, .. }
            | Self::PartStop { choice, part } => Some((choice, part)),
            _ => None,
        }
    }
}
