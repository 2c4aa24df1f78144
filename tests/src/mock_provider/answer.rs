//! What the model says: the same answer to the same question, always.

use serde_json::{Value, json};

use super::{script::Script, tokens};

/// Every answer carries these dates and names.
pub(super) const CREATED: u64 = 1_700_000_000;
pub(super) const FINGERPRINT: &str = "fp_mock";

/// What a call used, as OpenAI counts it: prompt with the cached part, completion with the reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub prompt: u64,
    pub cached: u64,
    pub completion: u64,
    pub reasoning: u64,
}

/// A chat answer before it is written down as a document or as a stream.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub id: String,
    pub model: String,
    /// Choices, all alike.
    pub n: usize,
    /// Tokens of the text; empty when there are calls.
    pub pieces: Vec<String>,
    pub calls: Vec<Call>,
    pub finish: &'static str,
    pub usage: Usage,
}

/// A tool call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub id: String,
    pub name: String,
    /// Tokens of the arguments' JSON text.
    pub arguments: Vec<String>,
}

/// The text of the last message of a chat request.
pub(super) fn last_text(body: &Value) -> String {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    match last.map(|message| &message["content"]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

// === impl Answer ===

impl Answer {
    /// Answers a request that has been checked. `number` makes the ids.
    pub(super) fn to_chat(body: &Value, model: &str, script: &Script, number: u64) -> Self {
        let calls = calls(body, script, number);
        let n = body["n"].as_u64().map_or(1, |n| usize::try_from(n).unwrap_or(1));
        let mut pieces = if calls.is_empty() { text(body, script) } else { Vec::new() };
        let limit = body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64());
        let mut finish = if calls.is_empty() { "stop" } else { "tool_calls" };
        if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok())
            && pieces.len() > limit
        {
            pieces.truncate(limit);
            finish = "length";
        }
        let said: usize = pieces.len() + calls.iter().map(|call| call.arguments.len()).sum::<usize>();
        let usage = Usage {
            prompt: tokens::of_prompt(body).max(script.cached_tokens),
            cached: script.cached_tokens,
            completion: (said * n) as u64 + script.reasoning_tokens,
            reasoning: script.reasoning_tokens,
        };
        Self { id: format!("chatcmpl-mock-{number}"), model: model.to_owned(), n, pieces, calls, finish, usage }
    }

    /// As one document.
    pub(super) fn document(&self) -> Value {
        let choices: Vec<Value> = (0..self.n)
            .map(|index| {
                let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
                if self.calls.is_empty() {
                    message["content"] = self.pieces.concat().into();
                } else {
                    let call = |call: &Call| {
                        json!({"id": call.id, "type": "function",
                               "function": {"name": call.name, "arguments": call.arguments.concat()}})
                    };
                    message["tool_calls"] = self.calls.iter().map(call).collect();
                }
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": self.finish})
            })
            .collect();
        json!({
            "id": self.id, "object": "chat.completion", "created": CREATED, "model": self.model, "choices": choices,
            "usage": self.usage.document(), "service_tier": "default", "system_fingerprint": FINGERPRINT,
        })
    }
}

// === impl Usage ===

impl Usage {
    pub(super) fn document(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        })
    }
}

/// An echo, with letters of one to four bytes so that a split in the wrong place shows.
fn text(body: &Value, script: &Script) -> Vec<String> {
    match script.words {
        Some(words) => (0..words).map(|word| format!("word{word} ")).collect(),
        None => tokens::split(&format!("You said: {} — grüße, 世界 🦀", last_text(body))).map(str::to_owned).collect(),
    }
}

/// Calls when the request has tools, does not forbid them, and has not been answered with a result yet.
fn calls(body: &Value, script: &Script, number: u64) -> Vec<Call> {
    let Some(tools) = body["tools"].as_array() else {
        return Vec::new();
    };
    let answered = body["messages"].as_array().and_then(|all| all.last()).is_some_and(|last| last["role"] == "tool");
    if answered || body["tool_choice"] == "none" {
        return Vec::new();
    }
    let named = body["tool_choice"]["function"]["name"].as_str();
    let chosen = tools.iter().map(|tool| &tool["function"]);
    let chosen = chosen.filter(|function| named.is_none_or(|name| function["name"] == name));
    chosen
        .cycle()
        .take(if tools.is_empty() { 0 } else { script.tool_calls.unwrap_or(1) })
        .enumerate()
        .map(|(index, function)| Call {
            id: format!("call_mock_{number}_{index}"),
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            arguments: arguments(&function["parameters"]),
        })
        .collect()
}

/// Arguments that fit the schema, with spaces, so that whoever prints them anew is found out.
fn arguments(schema: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let fields: Vec<String> = properties
        .iter()
        .map(|(name, property)| {
            let value = match (&property["enum"][0], property["type"].as_str()) {
                (Value::Null, Some("integer" | "number")) => json!(7),
                (Value::Null, Some("boolean")) => json!(true),
                (Value::Null, Some("array")) => json!([]),
                (Value::Null, Some("object")) => json!({}),
                (Value::Null, _) => json!(format!("{name} in Zürich")),
                (first, _) => first.clone(),
            };
            format!("{}:  {value}", Value::from(name.as_str()))
        })
        .collect();
    tokens::split(&format!("{{ {} }}", fields.join(", "))).map(str::to_owned).collect()
}
