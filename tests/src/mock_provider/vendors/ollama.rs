//! Ollama's own API: fields that it does not know are ignored, as a Go program's are; wrong types are not.

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::models;
use crate::mock_provider::{
    answer::{Answer, Finish},
    ask::{self, Ask, Choice, Kind, Thinking, Tool},
    body::Faults,
    script::Script,
    server::embedding,
    shape::{Checked, Fault, Is, Problem, is_base64, list, may, must, open_object},
    stream::Event,
    tokens,
    vendor::{Operation, Vendor, bearer},
};

pub(in crate::mock_provider) struct Ollama;

const DATE: &str = "2025-10-01T10:00:00.123456789Z";

impl Vendor for Ollama {
    /// It asks for no key; one that comes along is looked at, so that a wrong one shows.
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        bearer(headers)
    }

    fn keyless(&self) -> bool {
        true
    }

    fn call(&self, method: &Method, path: &str, _: &str) -> Option<Operation> {
        match (method, path) {
            (&Method::POST, "chat") => Some(Operation::Chat { model: None, stream: None }),
            (&Method::POST, "embed") => Some(Operation::Embed { model: None, many: true }),
            (&Method::GET, "tags") => Some(Operation::Models),
            _ => None,
        }
    }

    fn models(&self) -> &'static [&'static str] {
        &models::OLLAMA
    }

    fn listed(&self) -> Value {
        let model = |id: &&str| {
            json!({"name": id, "model": id, "modified_at": DATE, "size": 4_683_075_271_u64, "digest": "0a8c26691023",
                   "details": {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
                               "parameter_size": "8.0B", "quantization_level": "Q4_K_M"}})
        };
        json!({"models": models::OLLAMA.iter().map(model).collect::<Vec<_>>()})
    }

    fn ask(&self, body: &Value, _: &str, _: &HeaderMap) -> Checked<Ask> {
        let own = [
            must("model", Is::Filled),
            may("messages", Is::List),
            may("stream", Is::Flag),
            may("tools", Is::List),
            may("options", Is::Object),
            may("keep_alive", Is::Any),
        ];
        let fields = open_object(body, "", &own)?;
        for (index, value) in list(fields, "messages").iter().enumerate() {
            message(value, &format!("messages[{index}]"))?;
        }
        let options = fields.get("options").unwrap_or(&Value::Null);
        if let Some((name, value)) = wrong_option(options) {
            return Err(Fault::said("", format!("option {name:?} must be of type number: {value}")));
        }
        let tools = list(fields, "tools").iter().map(tool).collect::<Checked<Vec<_>>>()?;
        let schema = match fields.get("format") {
            None | Some(Value::Null) => None,
            Some(Value::String(word)) if word.is_empty() => None,
            Some(Value::String(word)) if word == "json" => Some(Value::Null),
            Some(schema @ Value::Object(_)) => Some(schema.clone()),
            Some(other) => {
                return Err(Fault::said(
                    "",
                    format!("invalid format: {other}; expected \"json\" or a valid JSON Schema object"),
                ));
            }
        };
        let thinks = match fields.get("think") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(Value::String(level)) if ["high", "medium", "low"].contains(&level.as_str()) => true,
            Some(other) => {
                return Err(Fault::said(
                    "",
                    format!("invalid think value: {other} (must be true, false, \"high\", \"medium\", or \"low\")"),
                ));
            }
        };
        let messages = list(fields, "messages");
        Ok(Ask {
            text: messages.last().map(|last| ask::texts(&last["content"])).unwrap_or_default(),
            tools,
            choice: Choice::Auto,
            rounds: ask::rounds(messages.iter().map(kind)),
            limit: options["num_predict"].as_u64(),
            n: 1,
            schema,
            thinking: if thinks { Thinking::On } else { Thinking::Off },
            prompt: ask::cost(fields, &["messages", "tools"]),
            stream: body["stream"] != false,
        })
    }

    fn answer(&self, answer: &Answer, _: &Ask) -> Value {
        let mut message = json!({"role": "assistant", "content": answer.text()});
        if !answer.thought.is_empty() {
            message["thinking"] = answer.thoughts().into();
        }
        if !answer.calls.is_empty() {
            message["tool_calls"] = calls(answer);
        }
        last(answer, &message, false)
    }

    fn events(&self, answer: &Answer, _: &Ask, script: &Script) -> Vec<Event> {
        let line =
            |message: Value| json!({"model": answer.model, "created_at": DATE, "message": message, "done": false});
        let mut events: Vec<Event> = Vec::new();
        let send = |events: &mut Vec<Event>, value: &Value, tokens| {
            events.push(Event { bytes: format!("{value}\n").into_bytes(), completion_tokens: tokens });
        };
        for piece in &answer.thought {
            send(&mut events, &line(json!({"role": "assistant", "content": "", "thinking": piece})), 0);
        }
        for piece in &answer.pieces {
            send(&mut events, &line(json!({"role": "assistant", "content": piece})), 1);
        }
        if !answer.calls.is_empty() {
            let said = answer.usage.completion - answer.usage.reasoning;
            let message = json!({"role": "assistant", "content": "", "tool_calls": calls(answer)});
            send(&mut events, &line(message), said);
        }
        if !script.no_finish {
            let message = json!({"role": "assistant", "content": ""});
            send(&mut events, &last(answer, &message, script.no_usage), answer.usage.reasoning);
        }
        events
    }

    fn faults(&self) -> Faults {
        Faults {
            error: b"{\"error\":\"an error was encountered while running the model\"}\n".to_vec(),
            garbage: b"{\"model\": <<<\n".to_vec(),
        }
    }

    fn stream_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn error(&self, fault: &Fault) -> Value {
        let words = match &fault.problem {
            Problem::Missing => format!("{} is required", fault.at),
            Problem::Unknown => format!("unknown field {}", fault.at),
            Problem::Expected(what) => format!("json: cannot unmarshal into Go struct field {}: want {what}", fault.at),
            Problem::Said(words) => words.clone(),
        };
        json!({"error": words})
    }

    fn embed(&self, body: &Value, model: &str, _: bool) -> Checked<(Value, u64)> {
        let own = [
            must("model", Is::Filled),
            must("input", Is::Any),
            may("truncate", Is::Flag),
            may("dimensions", Is::Whole),
            may("options", Is::Object),
        ];
        let fields = open_object(body, "", &own)?;
        let input = match &fields["input"] {
            Value::String(text) => vec![text.clone()],
            Value::Array(all) if all.iter().all(Value::is_string) => {
                all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => return Err(Fault::said("", "invalid input type")),
        };
        let size = fields.get("dimensions").and_then(Value::as_u64).unwrap_or(8);
        let vectors: Vec<Vec<f32>> = input.iter().map(|text| embedding(text, size)).collect();
        let price: u64 = input.iter().map(|text| tokens::count(text)).sum();
        let answer = json!({"model": model, "embeddings": vectors, "total_duration": 14_143_917, "load_duration": 1_019_500,
                            "prompt_eval_count": price});
        Ok((answer, price))
    }
}

fn kind(message: &Value) -> Kind {
    match message["role"].as_str() {
        Some("tool") => Kind::Results,
        Some("assistant") => Kind::Assistant,
        Some("user") => Kind::User,
        _ => Kind::Other,
    }
}

fn message(value: &Value, at: &str) -> Checked {
    let own = [
        must("role", Is::Word(&["system", "user", "assistant", "tool"])),
        may("content", Is::Text),
        may("thinking", Is::Text),
        may("images", Is::Texts),
        may("tool_calls", Is::List),
        may("tool_name", Is::Text),
        may("tool_call_id", Is::Text),
    ];
    let fields = open_object(value, at, &own)?;
    if list(fields, "images").iter().filter_map(Value::as_str).any(|image| !is_base64(image)) {
        return Err(Fault::said("", "illegal base64 data at input byte 4"));
    }
    for call in list(fields, "tool_calls") {
        let at = format!("{at}.tool_calls.function");
        open_object(&call["function"], &at, &[must("name", Is::Filled), must("arguments", Is::Object)])?;
    }
    Ok(())
}

fn tool(value: &Value) -> Checked<Tool> {
    let at = "tools.function";
    let own = [must("name", Is::Filled), may("description", Is::Text), may("parameters", Is::Object)];
    let fields = open_object(&value["function"], at, &own)?;
    let schema = fields.get("parameters").cloned().unwrap_or_default();
    // What the Go types of a tool's parameters hold.
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("tools.function.parameters.properties.{name}");
        let kind =
            open_object(property, &at, &[may("description", Is::Text), may("enum", Is::List), may("anyOf", Is::List)])?;
        let is_kind = kind
            .get("type")
            .is_none_or(|kind| kind.is_string() || kind.as_array().is_some_and(|all| all.iter().all(Value::is_string)));
        if !is_kind {
            return Err(Fault::expected(at, "api.PropertyType"));
        }
    }
    Ok(Tool { name: fields["name"].as_str().unwrap_or_default().to_owned(), schema, free: false })
}

fn wrong_option(options: &Value) -> Option<(&str, &Value)> {
    let numbers = ["num_predict", "temperature", "top_p", "top_k", "seed", "num_ctx", "repeat_penalty", "min_p"];
    let all = options.as_object()?.iter().map(|(name, value)| (name.as_str(), value));
    all.into_iter().find(|(name, value)| numbers.contains(name) && !value.is_number())
}

fn calls(answer: &Answer) -> Value {
    let call = |(index, call): (usize, &crate::mock_provider::answer::Call)| json!({"function": {"index": index, "name": call.name, "arguments": call.input()}});
    answer.calls.iter().enumerate().map(call).collect()
}

fn last(answer: &Answer, message: &Value, no_usage: bool) -> Value {
    let reason = if answer.finish == Finish::Limit { "length" } else { "stop" };
    let mut line = json!({
        "model": answer.model, "created_at": DATE, "message": message, "done": true, "done_reason": reason,
        "total_duration": 4_883_583_458_u64, "load_duration": 1_334_875, "prompt_eval_duration": 342_546_000,
        "eval_duration": 4_535_599_000_u64,
    });
    if !no_usage {
        line["prompt_eval_count"] = answer.usage.prompt.into();
        line["eval_count"] = answer.usage.completion.into();
    }
    line
}
