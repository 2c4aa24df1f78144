//! What kind of answer is expected, and what every one of it has.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use omniroute_wire::ir::Format;

/// What is asked of an upstream in the client's own format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    Chat(Format),
    Embeddings,
    Images,
}

/// Made once: that takes longer than a search.
static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"choices\""));
static DATA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"data\""));
static OUTPUT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"output\""));
static CONTENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"content\""));
static DONE_FIELD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"done\""));
static CANDIDATES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"candidates\""));
static PROMPT_FEEDBACK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"promptFeedback\""));

// === impl AnswerKind ===

impl AnswerKind {
    /// Whether a whole document can be an answer: it has a field that every answer of the kind has.
    pub(super) fn has_substance(self, document: &[u8]) -> bool {
        let has = |field: &Finder<'_>| field.find(document).is_some();
        match self {
            Self::Embeddings | Self::Images => has(&DATA),
            Self::Chat(Format::OpenAiChat) => has(&CHOICES),
            Self::Chat(Format::OpenAiResponses) => has(&OUTPUT),
            Self::Chat(Format::Anthropic) => has(&CONTENT),
            Self::Chat(Format::Gemini) => has(&CANDIDATES) || has(&PROMPT_FEEDBACK),
            Self::Chat(Format::Ollama) => has(&DONE_FIELD),
            // Never passed through as they are.
            Self::Chat(Format::Cohere | Format::Bedrock) => true,
        }
    }
}
