//! The `response` object, which answers are and which the first and last events of a stream carry.

use super::{
    echo::{FIELDS, SERVICE_TIER},
    error::write_error,
    usage::write_usage,
};
use crate::{
    codec::ResponseContext,
    ir::{FinishReason, StreamError},
    usage::Usage,
    write::Writer,
};

/// How far the answer is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Status<'s> {
    InProgress,
    Completed,
    /// With the word for why.
    Incomplete(&'static str),
    Failed(&'s StreamError),
}

// === impl Status ===

impl Status<'_> {
    pub(super) const fn of(reason: FinishReason) -> Self {
        match reason {
            FinishReason::MaxTokens | FinishReason::ContextWindow => Self::Incomplete("max_output_tokens"),
            FinishReason::ContentFilter => Self::Incomplete("content_filter"),
            FinishReason::End
            | FinishReason::StopSequence
            | FinishReason::ToolCalls
            | FinishReason::Refusal
            | FinishReason::Pause
            // Never reaches a client as a finish: it is an upstream error (docs/translation.md).
            | FinishReason::MalformedCall => Self::Completed,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }
}

/// Id of the answer.
pub fn response_id(exchange: &ResponseContext) -> String {
    format!("resp_{}", exchange.id)
}

/// What of a response is its own: the rest repeats the request.
pub(super) struct Own<'o> {
    pub(super) created: u64,
    pub(super) status: Status<'o>,
    pub(super) service_tier: Option<&'o str>,
    /// Absent until the answer is whole.
    pub(super) usage: Option<&'o Usage>,
}

pub(super) fn write_response(
    w: &mut Writer<'_>,
    exchange: &ResponseContext,
    own: &Own<'_>,
    output: impl FnOnce(&mut Writer<'_>),
) {
    let echo = |name: &str| exchange.echo.iter().find(|(own, _)| *own == name).map(|(_, raw)| raw.as_str());
    w.object(|w| {
        w.field_str("id", &response_id(exchange));
        w.field_str("object", "response");
        w.field("created_at", &own.created);
        w.field_str("status", own.status.word());
        w.field("background", &false);
        match own.status {
            Status::Failed(error) => write_error(w.key("error"), error),
            _ => w.field_null("error"),
        }
        match own.status {
            Status::Incomplete(reason) => w.key("incomplete_details").object(|w| w.field_str("reason", reason)),
            _ => w.field_null("incomplete_details"),
        }
        w.field_str("model", &exchange.model);
        w.key("output").array(output);
        for (name, default) in FIELDS {
            w.field_raw(name, echo(name).unwrap_or(default));
        }
        match (own.service_tier, echo(SERVICE_TIER)) {
            (Some(tier), _) => w.field_str(SERVICE_TIER, tier),
            (None, Some(raw)) => w.field_raw(SERVICE_TIER, raw),
            (None, None) => w.field_str(SERVICE_TIER, "default"),
        }
        match own.usage {
            Some(usage) => write_usage(w.key("usage"), usage),
            None => w.field_null("usage"),
        }
    });
}
