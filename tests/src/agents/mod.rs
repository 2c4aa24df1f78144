//! What coding agents send and how they go on, one module for each: the fields of their requests, how they read a
//! stream, and what of an answer they send back. The shapes are those of the real programs; the texts are not.
//!
//! An agent asks, runs the tools that the answer calls, sends the results, until an answer calls none.

mod claude_code;
mod codex;
mod gemini_cli;
mod opencode;

use serde_json::{Value, json};

pub use self::{claude_code::ClaudeCode, codex::Codex, gemini_cli::GeminiCli, opencode::Opencode};
use crate::harness::Client;

/// A conversation as one of the programs leads it.
pub trait Agent {
    fn name(&self) -> &'static str;

    fn path(&self, model: &str) -> String;

    /// Headers of every request, and the name of the one that has the key.
    fn headers(&self) -> (Vec<(&'static str, &'static str)>, &'static str);

    fn body(&self, model: &str) -> Value;

    /// Reads an answer of `model`, runs its calls, and adds both to the conversation.
    ///
    /// # Panics
    /// When the answer is such that the real program could not go on.
    fn take(&mut self, model: &str, stream: &str) -> Turn;
}

/// What an answer was.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    pub text: String,
    pub thought: String,
    /// Names of the tools that were called.
    pub calls: Vec<String>,
}

/// All programs, each at the start of a conversation.
pub fn all() -> Vec<Box<dyn Agent + Send>> {
    vec![Box::new(ClaudeCode::new()), Box::new(Codex::new()), Box::new(GeminiCli::new()), Box::new(Opencode::new())]
}

/// Leads the conversation to its end.
///
/// # Panics
/// When an answer is no success or nothing that the agent can use.
pub async fn run(agent: &mut dyn Agent, client: &Client, model: &str) -> Vec<Turn> {
    const MOST_TURNS: usize = 10;
    let mut turns = Vec::new();
    loop {
        let (mut headers, key) = agent.headers();
        let credential =
            if key == "authorization" { format!("Bearer {}", client.key()) } else { client.key().to_owned() };
        headers.push((key, &credential));
        let body = agent.body(model);
        let answer = client.post_with(&agent.path(model), &headers, &body).await;
        assert_eq!(
            answer.status,
            200,
            "{} with {model}, turn {}: {}\nafter {body}",
            agent.name(),
            turns.len(),
            answer.body
        );
        let turn = agent.take(model, &answer.body);
        let over = turn.calls.is_empty();
        turns.push(turn);
        if over {
            return turns;
        }
        assert!(turns.len() < MOST_TURNS, "{} with {model} does not come to an end", agent.name());
    }
}

/// What every tool of these agents gives back.
fn result(name: &str, arguments: &str) -> String {
    format!("ran {name} on {} bytes: omni-42", arguments.len())
}

/// The data of a stream's events.
fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap_or_else(|why| panic!("{why}: {data}")))
        .collect()
}

/// The schema of a tool that runs a command.
fn command(name: &str) -> Value {
    json!({
        "type": "object",
        "properties": {
            name: {"type": "string", "description": "What to run"},
            "timeout": {"type": "integer", "minimum": 1, "exclusiveMinimum": 0, "maximum": 600_000},
            "background": {"type": "boolean"},
        },
        "required": [name],
        "additionalProperties": false,
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    })
}

/// The schema of a tool that edits a file.
fn edit() -> Value {
    json!({
        "type": "object",
        "properties": {
            "path": {"type": "string", "format": "uri-reference"},
            "mode": {"type": "string", "enum": ["insert", "replace"]},
            "edits": {"type": "array", "items": {"type": "object", "properties": {
                "old": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "new": {"type": "string"},
            }, "required": ["new"]}},
        },
        "required": ["path", "edits"],
    })
}
