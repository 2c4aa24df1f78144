//! The adapters that there are.

use crate::{
    Adapter, Anthropic, AzureFoundry, Bedrock, Cloudflare, Cohere, Databricks, Gemini, Ollama, OpenAiCompatible,
    OwnApi, Vertex, Watsonx,
};

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
        // Its surface with deployments in its paths is told by the connection.
        "azure-openai" => Some(&OpenAiCompatible::Chat),
        "azure-foundry" => Some(&AzureFoundry),
        "vertex" => Some(&Vertex),
        "watsonx" => Some(&Watsonx),
        "databricks" => Some(&Databricks),
        "cloudflare" => Some(&Cloudflare),
        "own" => Some(&OwnApi),
        _ => None,
    }
}
