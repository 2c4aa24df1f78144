//! How an answer is read.

use omniroute_wire::{ir::Format, translate::Dialect};

use super::AnswerKind;
use crate::translate::{EmbeddingsTranslation, Translation};

/// How an answer is read.
pub(crate) enum TranslationMode {
    Passthrough {
        kind: AnswerKind,
        /// The client did not ask for the usage chunk.
        hide_usage: bool,
    },
    Translate(Box<Translation>),
    Embeddings(Box<EmbeddingsTranslation>),
}

// === impl TranslationMode ===

impl TranslationMode {
    /// Whether a streamed answer reaches the client as server-sent events, among which it takes some that it does not know.
    /// Google's clients do not.
    pub(crate) fn takes_events(&self) -> bool {
        match self {
            Self::Passthrough { kind, .. } => !matches!(kind, AnswerKind::Chat(Format::Ollama | Format::Gemini)),
            Self::Translate(translation) => {
                !matches!(translation.dialect, Dialect::Gemini { .. } | Dialect::Ollama { .. })
            }
            Self::Embeddings(_) => false,
        }
    }

    /// Whether the client's own body went up.
    pub(crate) const fn is_passthrough(&self) -> bool {
        matches!(self, Self::Passthrough { .. })
    }

    /// Whether the upstream knows the client's own switches.
    pub(crate) fn stays_in_family(&self) -> bool {
        match self {
            Self::Passthrough { .. } => true,
            Self::Translate(translation) => translation.dialect.format() == translation.upstream,
            Self::Embeddings(_) => false,
        }
    }

    /// The chat format in which the upstream is asked.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Self::Passthrough { kind: AnswerKind::Chat(format), .. } => Some(*format),
            Self::Translate(translation) => Some(translation.upstream),
            Self::Passthrough { .. } | Self::Embeddings(_) => None,
        }
    }

    /// Whether an answer in this format passes as it came.
    pub(crate) fn passes(&self, format: Format) -> bool {
        matches!(self, Self::Passthrough { kind: AnswerKind::Chat(passed), .. } if *passed == format)
    }

    /// Whether the client speaks OpenAI's Chat dialect.
    pub(crate) fn is_chat(&self) -> bool {
        match self {
            Self::Passthrough { kind, .. } => *kind == AnswerKind::Chat(Format::OpenAiChat),
            Self::Translate(translation) => matches!(translation.dialect, Dialect::Chat | Dialect::Completions),
            Self::Embeddings(_) => false,
        }
    }
}
