//! What a provider answers, in one piece.

use std::borrow::Cow;

use super::{Extensions, Json, Part};
use crate::usage::Usage;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response<'a> {
    pub id: Cow<'a, str>,
    /// The model as the upstream names it.
    pub model: Cow<'a, str>,
    /// Unix seconds.
    pub created: Option<u64>,
    pub choices: Vec<Choice<'a>>,
    pub usage: Usage,
    pub service_tier: Option<Cow<'a, str>>,
    pub system_fingerprint: Option<Cow<'a, str>>,
    pub extensions: Extensions<'a>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice<'a> {
    pub parts: Vec<Part<'a>>,
    /// Absent only when the upstream gave none.
    pub finish: Option<FinishReason>,
    pub stop_sequence: Option<Cow<'a, str>>,
    /// OpenAI's form.
    pub logprobs: Option<Json<'a>>,
}

/// Why it ended; docs/translation.md has each format's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    End,
    MaxTokens,
    StopSequence,
    ToolCalls,
    ContentFilter,
    Refusal,
    ContextWindow,
    Pause,
    MalformedCall,
}
