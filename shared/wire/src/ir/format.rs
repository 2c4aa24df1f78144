use std::fmt;

/// A wire format of chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    OpenAiChat,
    OpenAiResponses,
    Anthropic,
    Gemini,
    Ollama,
    /// Upstream only.
    Cohere,
    /// Upstream only.
    Bedrock,
}

/// Formats whose opaque values (signatures, file ids, server tools) are good for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    OpenAi,
    Anthropic,
    Gemini,
    Ollama,
    Cohere,
    Bedrock,
    /// Who tells thoughts as `reasoning_details`, whoever made them.
    OpenRouter,
}

// === impl Format ===

impl Format {
    pub const ALL: [Self; 7] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Anthropic,
        Self::Gemini,
        Self::Ollama,
        Self::Cohere,
        Self::Bedrock,
    ];

    /// Those that clients speak.
    pub const CLIENT: [Self; 5] =
        [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic, Self::Gemini, Self::Ollama];

    pub const fn family(self) -> Family {
        match self {
            Self::OpenAiChat | Self::OpenAiResponses => Family::OpenAi,
            Self::Anthropic => Family::Anthropic,
            Self::Gemini => Family::Gemini,
            Self::Ollama => Family::Ollama,
            Self::Cohere => Family::Cohere,
            Self::Bedrock => Family::Bedrock,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai",
            Self::OpenAiResponses => "responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
            Self::Cohere => "cohere",
            Self::Bedrock => "bedrock",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Family ===

impl Family {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
            Self::Cohere => "cohere",
            Self::Bedrock => "bedrock",
            Self::OpenRouter => "openrouter",
        }
    }
}
