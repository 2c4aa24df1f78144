//! Cohere's v2 API.

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::models;
use crate::mock_provider::{
    answer::{Answer, Call, Finish},
    ask::{self, Ask, Choice, Kind, Thinking, Tool},
    body::Faults,
    script::Script,
    server::embedding,
    shape::{Checked, Fault, Field, Fields, Is, Problem, list, may, must, object, range},
    stream::Event,
    tokens,
    vendor::{Operation, Vendor, bearer, event},
};

pub(in crate::mock_provider) struct Cohere;

const REQUEST: [Field; 22] = [
    must("model", Is::Filled),
    must("messages", Is::List),
    may("stream", Is::Flag),
    may("tools", Is::List),
    may("strict_tools", Is::Flag),
    may("documents", Is::List),
    may("citation_options", Is::Object),
    may("response_format", Is::Object),
    may("safety_mode", Is::Word(&["CONTEXTUAL", "STRICT", "OFF"])),
    may("max_tokens", Is::Whole),
    may("stop_sequences", Is::Texts),
    may("temperature", Is::Number),
    may("seed", Is::Whole),
    may("frequency_penalty", Is::Number),
    may("presence_penalty", Is::Number),
    may("k", Is::Whole),
    may("p", Is::Number),
    may("logprobs", Is::Flag),
    may("tool_choice", Is::Word(&["REQUIRED", "NONE"])),
    may("thinking", Is::Object),
    may("priority", Is::Whole),
    may("raw_prompting", Is::Flag),
];

impl Vendor for Cohere {
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        bearer(headers)
    }

    fn call(&self, method: &Method, path: &str, _: &str) -> Option<Operation> {
        match (method, path) {
            (&Method::POST, "v2/chat") => Some(Operation::Chat { model: None, stream: None }),
            (&Method::POST, "v2/embed") => Some(Operation::Embed { model: None, many: true }),
            (&Method::GET, "v1/models") => Some(Operation::Models),
            _ => None,
        }
    }

    fn models(&self) -> &'static [&'static str] {
        &models::COHERE
    }

    fn listed(&self) -> Value {
        let model = |id: &&str| {
            let endpoints = if id.contains("embed") { ["embed"] } else { ["chat"] };
            json!({"name": id, "is_deprecated": false, "endpoints": endpoints, "finetuned": false,
                   "context_length": 256_000, "features": ["tools", "json_schema"]})
        };
        json!({"models": models::COHERE.iter().map(model).collect::<Vec<_>>()})
    }

    fn ask(&self, body: &Value, model: &str, _: &HeaderMap) -> Checked<Ask> {
        let fields = object(body, "", &REQUEST)?;
        range(fields, "", "temperature", 0.0..=1.0)?;
        range(fields, "", "p", 0.01..=0.99)?;
        range(fields, "", "k", 0.0..=500.0)?;
        range(fields, "", "frequency_penalty", 0.0..=1.0)?;
        range(fields, "", "presence_penalty", 0.0..=1.0)?;
        if list(fields, "stop_sequences").len() > 5 {
            return Err(Fault::said("", "invalid request: too many stop sequences, the limit is 5"));
        }
        messages(fields)?;
        let tools = list(fields, "tools")
            .iter()
            .enumerate()
            .map(|(index, one)| tool(one, index))
            .collect::<Checked<Vec<_>>>()?;
        if fields.contains_key("tool_choice") && tools.is_empty() {
            return Err(Fault::said("", "invalid request: tool_choice requires tools"));
        }
        let format = fields.get("response_format").unwrap_or(&Value::Null);
        if format.is_object() {
            let own = [must("type", Is::Word(&["text", "json_object"])), may("json_schema", Is::Object)];
            object(format, "response_format", &own)?;
            if !tools.is_empty() && format["type"] == "json_object" {
                return Err(Fault::said(
                    "",
                    "invalid request: response_format json_object is not supported with tools",
                ));
            }
        }
        let thinks = match fields.get("thinking") {
            None => false,
            Some(thinking) => {
                let own = [must("type", Is::Word(&["enabled", "disabled"])), may("token_budget", Is::Whole)];
                if !model.contains("reasoning") {
                    return Err(Fault::said("", format!("invalid request: thinking is not supported by {model}")));
                }
                object(thinking, "thinking", &own)?["type"] == "enabled"
            }
        };
        let all = list(fields, "messages");
        let text = |message: &Value| match message["content"].as_array() {
            Some(parts) => parts
                .iter()
                .map(|part| part["text"].as_str().or_else(|| part["document"]["data"].as_str()).unwrap_or_default())
                .collect(),
            None => ask::texts(&message["content"]),
        };
        Ok(Ask {
            text: all.last().map(text).unwrap_or_default(),
            tools,
            choice: if body["tool_choice"] == "NONE" { Choice::Forbidden } else { Choice::Auto },
            rounds: ask::rounds(all.iter().map(kind)),
            limit: fields.get("max_tokens").and_then(Value::as_u64),
            n: 1,
            schema: (format["type"] == "json_object").then(|| format["json_schema"].clone()),
            thinking: if thinks { Thinking::On } else { Thinking::Off },
            prompt: ask::cost(fields, &["messages", "tools", "documents"]),
            stream: body["stream"] == true,
        })
    }

    fn answer(&self, answer: &Answer, _: &Ask) -> Value {
        let mut message = json!({"role": "assistant"});
        let mut content = Vec::new();
        if !answer.thought.is_empty() {
            content.push(json!({"type": "thinking", "thinking": answer.thoughts()}));
        }
        if answer.calls.is_empty() {
            content.push(json!({"type": "text", "text": answer.text()}));
        } else {
            let call = |call: &Call| {
                json!({"id": call.id, "type": "function",
                       "function": {"name": call.name, "arguments": call.arguments.concat()}})
            };
            message["tool_calls"] = answer.calls.iter().map(call).collect();
        }
        if !content.is_empty() {
            message["content"] = content.into();
        }
        json!({"id": id(answer), "finish_reason": reason(answer), "message": message, "usage": usage(answer)})
    }

    fn events(&self, answer: &Answer, _: &Ask, script: &Script) -> Vec<Event> {
        let mut stream = Vec::new();
        let mut send = |kind: &str, mut data: Value, tokens| {
            data["type"] = kind.into();
            stream.push(event(Some(kind), &data, tokens));
        };
        let start = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
        send("message-start", json!({"id": id(answer), "delta": {"message": start}}), 0);
        let pieces = [("thinking", &answer.thought, 0), ("text", &answer.pieces, 1)];
        for (index, (kind, pieces, price)) in pieces.into_iter().filter(|(_, pieces, _)| !pieces.is_empty()).enumerate()
        {
            let start = json!({"type": kind, kind: ""});
            send("content-start", json!({"index": index, "delta": {"message": {"content": start}}}), 0);
            for piece in pieces {
                let delta = json!({"message": {"content": {kind: piece}}});
                send("content-delta", json!({"index": index, "delta": delta}), price);
            }
            send("content-end", json!({"index": index}), 0);
        }
        for (index, call) in answer.calls.iter().enumerate() {
            let start = json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}});
            send("tool-call-start", json!({"index": index, "delta": {"message": {"tool_calls": start}}}), 0);
            for piece in &call.arguments {
                let delta = json!({"message": {"tool_calls": {"function": {"arguments": piece}}}});
                send("tool-call-delta", json!({"index": index, "delta": delta}), 1);
            }
            send("tool-call-end", json!({"index": index}), 0);
        }
        if !script.no_finish {
            let mut delta = json!({"finish_reason": reason(answer), "usage": usage(answer)});
            if script.no_usage {
                delta["usage"] = Value::Null;
            }
            send("message-end", json!({"delta": delta}), answer.usage.reasoning);
        }
        stream
    }

    fn faults(&self) -> Faults {
        let error =
            json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "internal server error"}});
        Faults {
            error: event(Some("message-end"), &error, 0).bytes,
            garbage: b"event: content-delta\ndata: {\"delta\": <<<\n\n".to_vec(),
        }
    }

    fn error(&self, fault: &Fault) -> Value {
        let words = match &fault.problem {
            Problem::Missing => format!("invalid request: {} is required", fault.at),
            Problem::Unknown => format!("unknown field: parameter '{}' is not a valid field", fault.at),
            Problem::Expected(what) => format!("invalid type: parameter '{}' must be {what}", fault.at),
            Problem::Said(words) => words.clone(),
        };
        json!({"id": "mock", "message": words})
    }

    fn embed(&self, body: &Value, _: &str, _: bool) -> Checked<(Value, u64)> {
        let kinds = Is::Word(&["search_document", "search_query", "classification", "clustering", "image"]);
        let own = [
            must("model", Is::Filled),
            must("input_type", kinds),
            may("texts", Is::Texts),
            may("images", Is::Texts),
            may("inputs", Is::List),
            may("max_tokens", Is::Whole),
            may("output_dimension", Is::Whole),
            must("embedding_types", Is::Texts),
            may("truncate", Is::Word(&["NONE", "START", "END"])),
        ];
        let fields = object(body, "", &own)?;
        let texts: Vec<&str> = list(fields, "texts").iter().filter_map(Value::as_str).collect();
        if texts.is_empty() || texts.len() > 96 {
            return Err(Fault::said("", "invalid request: between 1 and 96 texts are allowed"));
        }
        let size = fields.get("output_dimension").and_then(Value::as_u64).unwrap_or(8);
        let price: u64 = texts.iter().map(|text| tokens::count(text)).sum();
        let vectors: Vec<Vec<f32>> = texts.iter().map(|text| embedding(text, size)).collect();
        let answer = json!({
            "id": "mock", "embeddings": {"float": vectors}, "texts": texts, "response_type": "embeddings_by_type",
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": price}},
        });
        Ok((answer, price))
    }
}

fn id(answer: &Answer) -> String {
    format!("00000000-0000-4000-8000-{:012}", answer.number)
}

fn reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Said => "COMPLETE",
        Finish::Limit => "MAX_TOKENS",
        Finish::Calls => "TOOL_CALL",
    }
}

fn usage(answer: &Answer) -> Value {
    let both = json!({"input_tokens": answer.usage.prompt, "output_tokens": answer.usage.completion});
    json!({"billed_units": both, "tokens": both, "cached_tokens": answer.usage.cached})
}

fn kind(message: &Value) -> Kind {
    match message["role"].as_str() {
        Some("tool") => Kind::Results,
        Some("assistant") => Kind::Assistant,
        Some("user") => Kind::User,
        _ => Kind::Other,
    }
}

fn messages(fields: &Fields) -> Checked {
    let all = list(fields, "messages");
    if all.is_empty() {
        return Err(Fault::said("", "invalid request: messages must not be empty"));
    }
    let mut open: Vec<&str> = Vec::new();
    for (index, value) in all.iter().enumerate() {
        let at = format!("messages[{index}]");
        let role = must("role", Is::Text);
        let content = may("content", Is::Any);
        match value["role"].as_str() {
            Some("tool") => {
                object(value, &at, &[role, must("tool_call_id", Is::Filled), must("content", Is::Any)])?;
                let id = value["tool_call_id"].as_str().unwrap_or_default();
                let Some(place) = open.iter().position(|one| *one == id) else {
                    return Err(Fault::said(
                        "",
                        format!("invalid request: tool call id {id} not found in previous tool calls"),
                    ));
                };
                open.remove(place);
            }
            Some("system" | "developer") => {
                object(value, &at, &[role, content])?;
            }
            Some("user") => {
                object(value, &at, &[role, must("content", Is::Any)])?;
            }
            Some("assistant") => {
                let own = [
                    role,
                    content,
                    may("tool_plan", Is::Text),
                    may("tool_calls", Is::List),
                    may("citations", Is::List),
                ];
                let fields = object(value, &at, &own)?;
                for call in list(fields, "tool_calls") {
                    let own =
                        [must("id", Is::Filled), must("type", Is::Word(&["function"])), must("function", Is::Object)];
                    let call = object(call, &format!("{at}.tool_calls"), &own)?;
                    let function = [must("name", Is::Filled), must("arguments", Is::Text)];
                    object(&call["function"], &format!("{at}.tool_calls.function"), &function)?;
                    open.push(call["id"].as_str().unwrap_or_default());
                }
            }
            _ => return Err(Fault::said("", format!("invalid request: unknown role at {at}"))),
        }
        let next_is_tool = all.get(index + 1).is_some_and(|next| next["role"] == "tool");
        if !open.is_empty() && !next_is_tool {
            return Err(Fault::said("", format!("invalid request: tool calls without results: {}", open.join(", "))));
        }
        content_parts(value, &at)?;
    }
    Ok(())
}

fn content_parts(message: &Value, at: &str) -> Checked {
    match &message["content"] {
        Value::Null | Value::String(_) => Ok(()),
        Value::Array(parts) if !parts.is_empty() => parts.iter().try_for_each(|part| {
            let kind = must("type", Is::Text);
            let role = message["role"].as_str().unwrap_or_default();
            match (part["type"].as_str(), role) {
                (Some("text"), _) => object(part, at, &[kind, must("text", Is::Text)]).map(|_| ()),
                (Some("image_url"), "user") => object(part, at, &[kind, must("image_url", Is::Object)]).map(|_| ()),
                (Some("thinking"), "assistant") => object(part, at, &[kind, must("thinking", Is::Text)]).map(|_| ()),
                (Some("document"), "tool") => object(part, at, &[kind, must("document", Is::Object)]).map(|_| ()),
                _ => Err(Fault::said("", format!("invalid request: unknown content type at {at}"))),
            }
        }),
        _ => Err(Fault::said("", format!("invalid request: content at {at} must be a string or a non-empty array"))),
    }
}

fn tool(value: &Value, index: usize) -> Checked<Tool> {
    let at = format!("tools[{index}]");
    let tool = object(value, &at, &[must("type", Is::Word(&["function"])), must("function", Is::Object)])?;
    let own = [must("name", Is::Filled), may("description", Is::Text), must("parameters", Is::Object)];
    let function = object(&tool["function"], &format!("{at}.function"), &own)?;
    Ok(Tool {
        name: function["name"].as_str().unwrap_or_default().to_owned(),
        schema: function["parameters"].clone(),
        free: false,
    })
}
