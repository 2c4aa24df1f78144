//! The adapters that there are.

use crate::{Adapter, Anthropic, Bedrock, Cohere, Gemini, Ollama, OpenAiCompatible, OwnApi};

/// The adapter of a catalog format or a node type.
pub fn adapter_of(format: &str) -> Option<&'static dyn Adapter> {
    match format {
        "openai" | "openai-compatible" => Some(&OpenAiCompatible::Chat),
        "openai-responses" => Some(&OpenAiCompatible::Responses),
        "anthropic" | "anthropic-compatible" => Some(&Anthropic),
        "gemini" => Some(&Gemini),
        "ollama" => Some(&Ollama),
        "cohere" => Some(&Cohere),
        "bedrock" => Some(&Bedrock),
        "own" => Some(&OwnApi),
        _ => None,
    }
}
