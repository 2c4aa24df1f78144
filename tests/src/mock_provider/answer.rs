//! What the model says: the same answer to the same question, always.

use serde_json::{Value, json};

use super::{
    ask::{self, Ask, Choice, Thinking, Tool},
    script::Script,
    tokens,
};

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

/// Words that are thought before something is said.
const THOUGHT: &str = "Let me think — 思考. ";

/// A chat answer before it is written down, in whatever dialect.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub number: u64,
    pub model: String,
    /// Choices, all alike.
    pub n: usize,
    /// Tokens of what is thought aloud.
    pub thought: Vec<String>,
    /// Tokens of the text; empty when there are calls.
    pub pieces: Vec<String>,
    pub calls: Vec<Call>,
    pub finish: Finish,
    pub usage: Usage,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Said,
    Limit,
    Calls,
}

/// A tool call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub id: String,
    pub name: String,
    /// Tokens of the arguments: JSON, or free text.
    pub arguments: Vec<String>,
    pub free: bool,
}

/// The text of the last message of a chat request.
pub(super) fn last_text(body: &Value) -> String {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    last.map(|message| ask::texts(&message["content"])).unwrap_or_default()
}

// === impl Answer ===

impl Answer {
    /// Answers a request that has been checked. `number` makes the ids.
    pub(super) fn to(ask: &Ask, model: &str, script: &Script, number: u64) -> Self {
        let calls = calls(ask, script, number);
        let mut pieces = if calls.is_empty() { text(ask, script) } else { Vec::new() };
        let mut finish = if calls.is_empty() { Finish::Said } else { Finish::Calls };
        if let Some(limit) = ask.limit.and_then(|limit| usize::try_from(limit).ok())
            && pieces.len() > limit
        {
            pieces.truncate(limit);
            finish = Finish::Limit;
        }
        let thinks = match ask.thinking {
            Thinking::Off => false,
            Thinking::Scripted => script.thinking,
            Thinking::On => true,
        };
        let thought: Vec<String> = tokens::split(if thinks { THOUGHT } else { "" }).map(str::to_owned).collect();
        let n = ask.n.max(1);
        let said: usize = pieces.len() + calls.iter().map(|call| call.arguments.len()).sum::<usize>();
        let reasoning = script.reasoning_tokens + thought.len() as u64;
        let usage = Usage {
            prompt: ask.prompt.max(script.cached_tokens),
            cached: script.cached_tokens,
            completion: (said * n) as u64 + reasoning,
            reasoning,
        };
        Self { number, model: model.to_owned(), n, thought, pieces, calls, finish, usage }
    }

    pub(super) fn id(&self) -> String {
        format!("chatcmpl-mock-{}", self.number)
    }

    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }

    pub(super) fn thoughts(&self) -> String {
        self.thought.concat()
    }

    /// As one document.
    pub(super) fn document(&self) -> Value {
        let choices: Vec<Value> = (0..self.n)
            .map(|index| {
                let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
                if !self.thought.is_empty() {
                    message["reasoning_content"] = self.thoughts().into();
                }
                if self.calls.is_empty() {
                    message["content"] = self.text().into();
                } else {
                    let call = |call: &Call| {
                        let (kind, input) = call.words();
                        json!({"id": call.id, "type": kind,
                               kind: {"name": call.name, input: call.arguments.concat()}})
                    };
                    message["tool_calls"] = self.calls.iter().map(call).collect();
                }
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": self.finish.of_openai()})
            })
            .collect();
        json!({
            "id": self.id(), "object": "chat.completion", "created": CREATED, "model": self.model, "choices": choices,
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

/// An echo, with letters of one to four bytes so that a split in the wrong place shows; or JSON where that was asked for.
fn text(ask: &Ask, script: &Script) -> Vec<String> {
    match (script.words, &ask.schema) {
        (Some(words), _) => (0..words).map(|word| format!("word{word} ")).collect(),
        (None, Some(schema)) => tokens::split(&fitting(schema, schema).to_string()).map(str::to_owned).collect(),
        (None, None) => tokens::split(&format!("You said: {} — grüße, 世界 🦀", ask.text)).map(str::to_owned).collect(),
    }
}

/// Calls when the request has tools, does not forbid them, and has not been answered with enough results yet. Which
/// tools and with what is the script's to say; else the first ones, with arguments that fit.
fn calls(ask: &Ask, script: &Script, number: u64) -> Vec<Call> {
    if ask.choice == Choice::Forbidden || ask.rounds >= script.rounds.unwrap_or(1) {
        return Vec::new();
    }
    let wanted = |tool: &&Tool| match &ask.choice {
        Choice::Named(name) => tool.name == *name,
        _ => script.calls.is_empty() || script.calls.contains_key(&tool.name),
    };
    let chosen: Vec<&Tool> = ask.tools.iter().filter(wanted).collect();
    let most = if script.calls.is_empty() { 1 } else { chosen.len() };
    let count = if chosen.is_empty() { 0 } else { script.tool_calls.unwrap_or(most) };
    let call = |(index, tool): (usize, &&Tool)| {
        let arguments = match script.calls.get(&tool.name) {
            Some(Value::String(text)) => text.clone(),
            Some(given) => given.to_string(),
            None if tool.free => "*** Begin: \"free\" text\nof two lines".to_owned(),
            None => arguments(&tool.schema),
        };
        Call {
            id: format!("call_mock_{number}_{index}"),
            name: tool.name.clone(),
            arguments: tokens::split(&arguments).map(str::to_owned).collect(),
            free: tool.free,
        }
    };
    chosen.iter().cycle().take(count).enumerate().map(call).collect()
}

/// A value that fits a schema; `root` has the definitions.
fn fitting(schema: &Value, root: &Value) -> Value {
    if let Some(to) = schema["$ref"].as_str() {
        return root.pointer(to.trim_start_matches('#')).map_or(Value::Null, |schema| fitting(schema, root));
    }
    let first = &schema["enum"][0];
    if !first.is_null() {
        return first.clone();
    }
    if let Some(one) = schema["anyOf"].as_array().and_then(|any| any.first()) {
        return fitting(one, root);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind.unwrap_or("object").to_ascii_lowercase().as_str() {
        "integer" | "number" => json!(7),
        "boolean" => json!(true),
        "array" => json!([fitting(&schema["items"], root)]),
        "string" => json!("text in Zürich"),
        _ => {
            let empty = serde_json::Map::new();
            let properties = schema["properties"].as_object().unwrap_or(&empty);
            properties
                .iter()
                .map(|(name, schema)| (name.clone(), fitting(schema, root)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
    }
}

// === impl Finish ===

impl Finish {
    pub(super) fn of_openai(self) -> &'static str {
        match self {
            Self::Said => "stop",
            Self::Limit => "length",
            Self::Calls => "tool_calls",
        }
    }
}

// === impl Call ===

impl Call {
    /// OpenAI's words for the kind of call and for its input.
    pub(super) fn words(&self) -> (&'static str, &'static str) {
        if self.free { ("custom", "input") } else { ("function", "arguments") }
    }

    /// The arguments as JSON.
    pub(super) fn input(&self) -> Value {
        serde_json::from_str(&self.arguments.concat()).unwrap_or(Value::Null)
    }
}

/// Arguments that fit the schema, with spaces, so that whoever prints them anew is found out.
fn arguments(schema: &Value) -> String {
    let empty = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let fields: Vec<String> = properties
        .iter()
        .map(|(name, property)| {
            let kind = property["type"].as_str().map(str::to_ascii_lowercase);
            let value = match (&property["enum"][0], kind.as_deref()) {
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
    format!("{{ {} }}", fields.join(", "))
}
