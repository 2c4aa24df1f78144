//! One module per vendor: what it checks, and how it writes an answer.

mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
mod ollama;
mod pairing;
mod responses;

#[cfg(test)]
mod tests;

pub(super) use self::{
    anthropic::Anthropic, bedrock::Bedrock, cohere::Cohere, gemini::Gemini, ollama::Ollama, responses::Responses,
};

/// Models by vendor, for tests that go through all of them.
pub mod models {
    pub const ANTHROPIC: [&str; 2] = ["claude-sonnet-4-5-mock", "claude-opus-4-6-mock"];
    pub const GEMINI: [&str; 3] = ["gemini-2.5-flash-mock", "gemini-3-pro-mock", "gemini-embedding-mock"];
    pub const OLLAMA: [&str; 3] = ["llama-mock", "qwen3-mock:8b", "embed-mock"];
    pub const COHERE: [&str; 3] = ["command-a-mock", "command-a-reasoning-mock", "embed-v4-mock"];
    pub const BEDROCK: [&str; 2] = ["anthropic.claude-sonnet-4-5-mock-v1:0", "amazon.nova-mock-v1:0"];
    pub const RESPONSES: [&str; 3] = ["gpt-mock", "gpt-mock-mini", "gpt-5-mock"];
}
