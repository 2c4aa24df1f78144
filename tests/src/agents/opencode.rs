//! opencode: Chat, through the AI SDK; thoughts are shown and not sent back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Agent, Turn, command, edit, events, result};

pub struct Opencode {
    messages: Vec<Value>,
}

// === impl Opencode ===

impl Opencode {
    pub(super) fn new() -> Self {
        Self {
            messages: vec![
                json!({"role": "system", "content": "You are an agent. Use the tools."}),
                json!({"role": "user", "content": "\"please run it\""}),
            ],
        }
    }
}

impl Agent for Opencode {
    fn name(&self) -> &'static str {
        "opencode"
    }

    fn path(&self, _: &str) -> String {
        "/v1/chat/completions".to_owned()
    }

    fn headers(&self) -> (Vec<(&'static str, &'static str)>, &'static str) {
        let headers = vec![
            ("user-agent", "opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1.3.14"),
            ("x-session-id", "ses_df4ad7ad8ffeoc8NuU1z2zsZOG"),
        ];
        (headers, "authorization")
    }

    fn body(&self, model: &str) -> Value {
        let tool = |name: &str, schema: Value| json!({"type": "function", "function": {"name": name, "description": "A tool", "parameters": schema}});
        json!({
            "model": model,
            "max_tokens": 32_000,
            "messages": self.messages,
            "tools": [tool("bash", command("command")), tool("edit", edit())],
            "tool_choice": "auto",
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    }

    fn take(&mut self, _: &str, stream: &str) -> Turn {
        assert!(stream.trim_end().ends_with("data: [DONE]"), "{stream}");
        let mut turn = Turn::default();
        let mut calls: BTreeMap<u64, (String, String, String)> = BTreeMap::new();
        let (mut finish, mut usage) = (None, Value::Null);
        let events = events(stream);
        for event in &events {
            assert_eq!(event["id"], events[0]["id"], "one id throughout");
            if event["usage"].is_object() {
                usage = event["usage"].clone();
            }
            let choice = &event["choices"][0];
            let delta = &choice["delta"];
            turn.text += delta["content"].as_str().unwrap_or_default();
            turn.thought += delta["reasoning_content"].as_str().unwrap_or_default();
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let index = call["index"].as_u64().expect("an index");
                let so_far = calls.entry(index).or_insert_with(|| {
                    // The first piece has to say who is called.
                    let text = |value: &Value| value.as_str().expect("an id and a name first").to_owned();
                    (text(&call["id"]), text(&call["function"]["name"]), String::new())
                });
                so_far.2 += call["function"]["arguments"].as_str().unwrap_or_default();
            }
            finish = choice["finish_reason"].as_str().or(finish);
        }
        assert_eq!(finish, Some(if calls.is_empty() { "stop" } else { "tool_calls" }), "{stream}");
        assert!(usage["total_tokens"].as_u64() > Some(0), "{usage}");
        let mut message = json!({"role": "assistant", "content": turn.text});
        let mut results = Vec::new();
        for (id, name, arguments) in calls.into_values() {
            // Parsed and printed anew, as the SDK does.
            let arguments: Value = serde_json::from_str(&arguments).unwrap_or_else(|why| panic!("{why}: {arguments}"));
            let arguments = arguments.to_string();
            results.push(json!({"role": "tool", "tool_call_id": id, "content": result(&name, &arguments)}));
            let call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
            match message["tool_calls"].as_array_mut() {
                Some(all) => all.push(call),
                None => message["tool_calls"] = json!([call]),
            }
            turn.calls.push(name);
        }
        self.messages.push(message);
        self.messages.extend(results);
        turn
    }
}
