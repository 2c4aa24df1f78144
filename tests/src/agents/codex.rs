//! Codex: Responses without a store, so that it sends every item back; free-form and grouped tools.

use serde_json::{Value, json};

use super::{Agent, Turn, command, events, result};

pub struct Codex {
    input: Vec<Value>,
}

// === impl Codex ===

impl Codex {
    pub(super) fn new() -> Self {
        let message = |id: &str, role: &str, text: &str| json!({"type": "message", "id": id, "role": role, "content": [{"type": "input_text", "text": text}]});
        Self {
            input: vec![
                message("msg_a", "developer", "You are a coding agent. Use the tools."),
                message("msg_b", "developer", "<permissions>read, write</permissions>"),
                message("msg_c", "user", "<environment_context>cwd: /srv/project</environment_context>"),
                message("msg_d", "user", "please run it"),
            ],
        }
    }
}

impl Agent for Codex {
    fn name(&self) -> &'static str {
        "Codex"
    }

    fn path(&self, _: &str) -> String {
        "/v1/responses".to_owned()
    }

    fn headers(&self) -> (Vec<(&'static str, &'static str)>, &'static str) {
        let headers = vec![
            ("accept", "text/event-stream"),
            ("originator", "codex_exec"),
            ("session-id", "01a20b52-7643-7813-8b68-ea946d43c521"),
            ("user-agent", "codex_exec/0.169.0 (Debian 12.0.0; x86_64)"),
        ];
        (headers, "authorization")
    }

    fn body(&self, model: &str) -> Value {
        let function = |name: &str, parameters: Value| json!({"type": "function", "name": name, "description": "A tool", "strict": false, "parameters": parameters});
        let agents = json!({"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"],
                            "additionalProperties": false});
        json!({
            "model": model,
            "input": self.input,
            "tools": [
                function("exec_command", command("cmd")),
                {"type": "custom", "name": "apply_patch", "description": "Changes files",
                 "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/s"}},
                {"type": "namespace", "name": "multi_agent_v1", "description": "Other agents",
                 "tools": [function("spawn_agent", agents.clone()), function("close_agent", agents)]},
                {"type": "web_search", "external_web_access": false},
            ],
            "tool_choice": "auto",
            "parallel_tool_calls": true,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "store": false,
            "stream": true,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "01a20b52-7643-7813-8b68-ea946d43c521",
            "client_metadata": {"session_id": "01a20b52"},
        })
    }

    fn take(&mut self, _: &str, stream: &str) -> Turn {
        let events = events(stream);
        check_order(&events);
        let mut turn = Turn::default();
        let mut results = Vec::new();
        for item in
            events.iter().filter(|event| event["type"] == "response.output_item.done").map(|event| &event["item"])
        {
            // What the program's own types do not have is gone.
            let kept = |fields: &[&str]| -> Value {
                let kept = fields.iter().filter(|field| !item[**field].is_null());
                kept.map(|field| ((*field).to_owned(), item[*field].clone())).collect::<serde_json::Map<_, _>>().into()
            };
            match item["type"].as_str().expect("a type") {
                "message" => {
                    for part in item["content"].as_array().expect("parts") {
                        turn.text += part["text"].as_str().unwrap_or_default();
                    }
                    let parts: Vec<Value> = item["content"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|part| json!({"type": "output_text", "text": part["text"]}))
                        .collect();
                    self.input
                        .push(json!({"type": "message", "id": item["id"], "role": "assistant", "content": parts}));
                }
                "reasoning" => {
                    for part in item["summary"].as_array().expect("a summary") {
                        turn.thought += part["text"].as_str().unwrap_or_default();
                    }
                    let mut item = kept(&["type", "id", "summary", "encrypted_content"]);
                    item["content"] = Value::Null;
                    self.input.push(item);
                }
                kind @ ("function_call" | "custom_tool_call") => {
                    let name = item["name"].as_str().expect("a name");
                    let input = item["arguments"].as_str().or_else(|| item["input"].as_str()).expect("an input");
                    if kind == "function_call" {
                        serde_json::from_str::<serde_json::Map<_, _>>(input)
                            .unwrap_or_else(|why| panic!("{why}: {input}"));
                    }
                    turn.calls.push(name.to_owned());
                    results.push(json!({"type": format!("{kind}_output"), "call_id": item["call_id"],
                                        "output": result(name, input)}));
                    self.input.push(kept(&[
                        "type",
                        "id",
                        "status",
                        "name",
                        "namespace",
                        "arguments",
                        "input",
                        "call_id",
                    ]));
                }
                other => panic!("an unknown item: {other}"),
            }
        }
        self.input.extend(results);
        turn
    }
}

/// Numbers without gaps, items that open and close, and the end without which the program asks again.
fn check_order(events: &[Value]) {
    assert_eq!(events[0]["type"], "response.created");
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], index, "{event}");
    }
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!(count("response.output_item.added"), count("response.output_item.done"));
    let last = events.last().expect("events");
    assert_eq!(last["type"], "response.completed", "{last}");
    assert!(last["response"]["usage"]["total_tokens"].as_u64() > Some(0), "{last}");
    assert_eq!(last["response"]["output"].as_array().map(Vec::len), Some(count("response.output_item.done")));
}
