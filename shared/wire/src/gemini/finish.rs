//! Why an answer ended.

use crate::ir::FinishReason;

/// A word of the upstream's. An unknown one counts as a normal end.
pub(super) fn finish_reason(word: &str) -> FinishReason {
    match word {
        "MAX_TOKENS" => FinishReason::MaxTokens,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" | "MALFORMED_RESPONSE" => {
            FinishReason::MalformedCall
        }
        _ => FinishReason::End,
    }
}

/// This format has no word for calls: "STOP" beside them means them.
pub(super) fn with_calls(reason: FinishReason, called: bool) -> FinishReason {
    if called && reason == FinishReason::End { FinishReason::ToolCalls } else { reason }
}

pub(super) const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::End | FinishReason::StopSequence | FinishReason::ToolCalls | FinishReason::Pause => "STOP",
        FinishReason::MaxTokens | FinishReason::ContextWindow => "MAX_TOKENS",
        FinishReason::ContentFilter | FinishReason::Refusal => "SAFETY",
        FinishReason::MalformedCall => "MALFORMED_FUNCTION_CALL",
    }
}
