//! Ollama's shape.

use omniroute_wire::{
    ir::ThinkingStyle,
    ollama::{ModelDetails, ModelFacts, encode_show, encode_tags},
};

use super::Listed;
use crate::snapshot::Index;

/// Parts of names whose models see images, whoever hosts them: for models that the table does not know.
const SEES: [&str; 14] = [
    "gpt-4o", "gpt-4.1", "gpt-5", "o3", "o4", "claude", "gemini", "llava", "-vl", "vision", "pixtral", "gemma3",
    "gemma-3", "llama-4",
];

/// `/api/tags`.
pub(crate) fn list(index: &Index, listed: &[Listed]) -> Vec<u8> {
    let capabilities: Vec<Vec<&str>> = listed.iter().map(|listed| capabilities(index, listed)).collect();
    let facts: Vec<ModelFacts<'_>> = listed.iter().zip(&capabilities).map(|(listed, can)| facts(listed, can)).collect();
    let mut out = Vec::with_capacity(512 * facts.len());
    encode_tags(&facts, &mut out);
    out
}

/// `/api/show`.
pub(crate) fn show(index: &Index, listed: &Listed) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    encode_show(&facts(listed, &capabilities(index, listed)), &mut out);
    out
}

fn facts<'l>(listed: &'l Listed, capabilities: &'l [&'l str]) -> ModelFacts<'l> {
    ModelFacts {
        name: &listed.id,
        modified_at: listed.model.created,
        details: ModelDetails { family: &listed.provider.prefix, ..ModelDetails::default() },
        capabilities,
        context_length: listed.model.context_window,
        ..ModelFacts::default()
    }
}

/// In Ollama's words. Editors offer a model for agents only if it says `tools`.
fn capabilities(index: &Index, listed: &Listed) -> Vec<&'static str> {
    if listed.is_embedding() {
        return vec!["embedding"];
    }
    let mut can = vec!["completion"];
    let connections = index.connections(listed.provider.id.as_str());
    let of_chat = connections.iter().find_map(|connection| {
        let upstream = &connection.upstream;
        upstream.chat_format().map(|format| upstream.profile(format, &listed.model.model))
    });
    let Some(profile) = of_chat else { return can };
    if profile.tools {
        can.push("tools");
    }
    let sees = listed.known().map(|known| known.can("vision"));
    if sees.unwrap_or_else(|| SEES.iter().any(|part| listed.model.model.contains(part))) {
        can.push("vision");
    }
    if profile.thinking != ThinkingStyle::None {
        can.push("thinking");
    }
    can
}
