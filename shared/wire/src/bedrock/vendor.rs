//! Whose model it is. Converse speaks to all of them alike, except where it does not.

use crate::{
    codec::EncodeTarget,
    ir::{Family, Signature, ThinkingStyle},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vendor {
    Claude,
    Nova,
    /// OpenAI's open models.
    OpenAi,
    Other,
}

// === impl Vendor ===

impl Vendor {
    /// By the model's id, with or without a region's prefix, or inside an ARN. The ARN of an application's own profile says
    /// nothing; only Claude takes thinking by budget or adapts it.
    pub(super) fn of(target: &EncodeTarget<'_>) -> Self {
        let model = target.model;
        if model.contains("anthropic.") || model.contains("claude") {
            Self::Claude
        } else if model.contains("amazon.nova") {
            Self::Nova
        } else if model.contains("openai.") {
            Self::OpenAi
        } else if matches!(target.profile.thinking, ThinkingStyle::Budget { .. } | ThinkingStyle::Adaptive) {
            Self::Claude
        } else {
            Self::Other
        }
    }

    /// Takes cache points, the status of a result, images in results and a tool named by choice.
    pub(super) const fn is_full(self) -> bool {
        matches!(self, Self::Claude | Self::Nova)
    }

    /// Whether a signature is good for this vendor here. Claude's are good on every platform that serves Claude.
    pub(super) fn accepts(self, signature: &Signature<'_>) -> bool {
        !signature.payload.is_empty()
            && match signature.family {
                Family::Bedrock => true,
                Family::Anthropic => self == Self::Claude,
                _ => false,
            }
    }
}
